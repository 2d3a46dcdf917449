/** Methods and settings of the training of translators, as the form offers them. */

/** @type {Record<string, {title: string, about: string}>} */
export const METHODS_OF_TRANSLATION = {
  cyclegan: {
    title: "CycleGAN",
    about:
      "Learns both directions from images without pairs. A cycle loss makes an image that is translated and " +
      "translated back equal to itself.",
  },
  pix2pix: {
    title: "pix2pix",
    about:
      "Learns one direction from pairs, an image and its target. Closer to the targets than CycleGAN where " +
      "pairs exist.",
  },
};

/** @type {Record<string, {title: string, about: string, values: Record<string, string>}>} */
export const SIZES = {
  trial: {
    title: "A trial, minutes on a CPU",
    about: "32 pixels and few channels: shows that the data and the direction are right, not good images.",
    values: { image_size: "32", base_channels: "8", residual_blocks: "2", budget: "max_minutes", amount: "3" },
  },
  cpu: {
    title: "One hour on a CPU",
    about: "128 pixels and half the channels of the papers.",
    values: { image_size: "128", base_channels: "32", residual_blocks: "", budget: "max_minutes", amount: "60" },
  },
  published: {
    title: "As published, for a GPU",
    about: "256 pixels, 64 channels, 200 passes over the images.",
    values: { image_size: "256", base_channels: "64", residual_blocks: "", budget: "epochs", amount: "200" },
  },
};

/**
 * Return the losses of a method by what they are about, for charts.
 * @param {string[]} names
 */
export function lossGroups(names) {
  const adversarial = names.filter((name) => /^[GD](_|$)/.test(name));
  const images = names.filter((name) => !adversarial.includes(name));
  return [
    { title: "Losses of generators (G) and discriminators (D)", names: adversarial },
    { title: "Differences between images", names: images },
  ].filter((group) => group.names.length > 0);
}

const OF_METHOD = { cyclegan: ["cycle_weight", "identity"], pix2pix: ["direction", "l1_weight"] };
const NUMBERS = ["image_size", "base_channels", "residual_blocks", "batch_size", "learning_rate", "seed"];
const TEXTS = ["dataset_id", "evaluation_dataset_id", "generator", "serving_precision", "resume_from_id", "name"];

/**
 * Return whether the generators are of the architecture unet.
 * @param {Record<string, string>} values Of the form
 */
export function hasUnet({ generator, method }) {
  return (generator || (method === "pix2pix" ? "unet" : "resnet")) === "unet";
}

/**
 * Return the request of a training; what is empty is left to the defaults of the API.
 * @param {Record<string, string>} values Of the form
 */
export function trainingRequest(values) {
  const ofMethod = OF_METHOD[/** @type {"cyclegan"} */ (values.method)];
  /** @type {Record<string, unknown>} */
  const request = { method: values.method };
  for (const name of [...TEXTS, ...ofMethod, ...NUMBERS]) {
    const isText = TEXTS.includes(name) || name === "direction";
    if (values[name]) request[name] = isText ? values[name] : Number(values[name]);
  }
  if (hasUnet(values)) delete request.residual_blocks;
  if (request.serving_precision === "exact") delete request.serving_precision;
  if (values.amount) request[values.budget] = Number(values.amount);
  return request;
}
