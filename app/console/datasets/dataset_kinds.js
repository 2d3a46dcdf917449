/** Kinds of datasets: what each is for, what its file must contain, and which file names suggest it. */

/**
 * @typedef {object} DatasetKind
 * @property {string} name
 * @property {string} title
 * @property {string} use What one does with it
 * @property {"zip" | "npz" | "text"} file
 * @property {string} contains
 * @property {string} example Lines of the content
 * @property {boolean} [hasImages] Whether the API shows its samples as images
 * @property {(names: string[]) => boolean} fits Whether an archive with these names looks like it
 */

const IMAGE = /\.(jpe?g|png|webp|gif|bmp|tiff?)$/i;

/** @param {RegExp} pattern */
const some = (pattern) => (/** @type {string[]} */ names) => names.some((name) => pattern.test(name));

/** @type {DatasetKind[]} In the order in which they are offered. */
export const DATASET_KINDS = [
  {
    name: "images",
    title: "Images",
    use: "Measures accuracy, calibrates, tunes, and is graded against other images.",
    file: "zip",
    contains:
      "A zip of images. A folder for each class, or an index such as val.txt or labels.csv, names the classes; " +
      "both may be left out.",
    example: "cat/0001.jpg\ncat/0002.jpg\ndog/0001.jpg",
    hasImages: true,
    fits: some(IMAGE),
  },
  {
    name: "detection",
    title: "Images with boxes",
    use: "Measures the mAP of a detector.",
    file: "zip",
    contains:
      "A zip of images with annotations of COCO (annotations.json), PASCAL VOC (an XML file for each image) or YOLO " +
      "(a text file for each image, with a data.yaml or classes.txt).",
    example: "images/0001.jpg\nannotations.json",
    hasImages: true,
    fits: some(/(annotations\.json|instances_[^/]*\.json|data\.yaml|obj\.names|\.xml)$/i),
  },
  {
    name: "concepts",
    title: "Images with concepts",
    use: "Explains what the units of a network detect.",
    file: "zip",
    contains:
      "A zip with images/, labels/CATEGORY/NAME.png, whose pixel values are numbers of concepts (0 for none), and " +
      "concepts.json, which names them. Optional: image_labels.csv, for concepts of whole images.",
    example: "images/0001.jpg\nlabels/object/0001.png\nconcepts.json",
    hasImages: true,
    fits: some(/(^|\/)concepts\.json$/i),
  },
  {
    name: "domains",
    title: "Images of two domains",
    use: "Trains a translator.",
    file: "zip",
    contains: "A zip with A/ and B/ (or trainA/ and trainB/), at least two images each, better hundreds.",
    example: "A/0001.jpg\nA/0002.jpg\nB/0001.jpg",
    hasImages: true,
    fits: some(/(^|[/])(A|trainA)[/]/),
  },
  {
    name: "signals",
    title: "Signals",
    use: "Like images, for networks that take signals, such as an ECG.",
    file: "npz",
    contains:
      "An .npz with signals [N, channels, length] of floats. Optional: labels [N] with classes [K], and concepts " +
      "[N, length] with concept_names [J].",
    example: "numpy.savez('ecg.npz', signals=signals, labels=labels, classes=names)",
    fits: some(/^signals\.npy$/),
  },
  {
    name: "features",
    title: "Features",
    use: "Grades generated samples in a feature space of your own.",
    file: "npz",
    contains: "An .npz with features [N, D] of floats, a row for each sample. Optional: labels [N] with classes [K].",
    example: "numpy.savez('real.npz', features=features)",
    fits: some(/^features\.npy$/),
  },
  {
    name: "tensors",
    title: "Tensors",
    use: "For models with several inputs, or with whole numbers as input.",
    file: "npz",
    contains:
      "An .npz with an array [N, …] for each input of the model, under the input's name. Optional: labels [N] with " +
      "classes [K].",
    example: "numpy.savez('inputs.npz', premise=premise, hypothesis=hypothesis)",
    fits: some(/\.npy$/),
  },
  {
    name: "text_pairs",
    title: "Pairs of texts",
    use: "Explains and measures networks that compare two sentences.",
    file: "zip",
    contains:
      "A zip with pairs.jsonl, a line for each pair with premise, hypothesis and optional label and tags; and " +
      "vocab.txt for models without a tokenizer. Optional: vectors.txt.",
    example: 'pairs.jsonl: {"premise": "a dog runs", "hypothesis": "an animal moves", "label": "entailment"}',
    fits: some(/(^|\/)pairs\.jsonl$/),
  },
  {
    name: "texts",
    title: "Texts",
    use: "Measures and explains networks that take a text.",
    file: "text",
    contains: "A text file, UTF-8: JSON lines, or a table (CSV, TSV), with text and optional label and tags.",
    example: "text,label\nA fine film.,good\nToo long.,bad",
    fits: () => false,
  },
];

/** What the chooser of files accepts for each sort of file. */
export const ACCEPTED = { zip: ".zip", npz: ".npz", text: ".csv,.tsv,.jsonl,.json,.txt" };

/** The more particular kinds first: any archive with images also looks like `images`. */
const BY_CONTENT = ["concepts", "text_pairs", "detection", "domains", "signals", "features", "images", "tensors"];

/** @param {string} name */
export function datasetKind(name) {
  return DATASET_KINDS.find((kind) => kind.name === name) ?? DATASET_KINDS[0];
}

/**
 * Return the kind that an archive with these names looks like; null if it looks like none.
 * @param {string[]} names
 */
export function likelyKind(names) {
  return BY_CONTENT.find((name) => datasetKind(name).fits(names)) ?? null;
}
