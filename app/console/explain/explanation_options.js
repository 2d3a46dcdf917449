/** Values of the form of an explanation, and the request made of them. */

/** @typedef {import("../shared/types").Model} Model */
/** @typedef {import("../shared/types").DatasetSummary} DatasetSummary */

/**
 * @typedef {object} ExplanationValues
 * @property {string} dataset
 * @property {string[] | null} layers Null until the graph is known
 * @property {string} firing `default`, `quantile` or `threshold`
 * @property {string} quantile In percent
 * @property {string} threshold
 * @property {string} search
 * @property {string} length
 * @property {string} beam
 * @property {string} penalty
 * @property {string[]} operators
 * @property {string[]} derived
 * @property {string} height
 * @property {string} width
 * @property {string} units
 * @property {string} firings
 * @property {string} seed
 * @property {string} name
 * @property {boolean} cut
 */

/** @type {ExplanationValues} */
export const EXPLANATION_DEFAULTS = {
  dataset: "",
  layers: null,
  firing: "default",
  quantile: "0.5",
  threshold: "0",
  search: "beam",
  length: "3",
  beam: "5",
  penalty: "1",
  operators: ["or", "and", "and_not"],
  derived: [],
  height: "",
  width: "",
  units: "",
  firings: "1",
  seed: "0",
  name: "",
  cut: false,
};

/** @type {Record<string, {samples: "images" | "signals" | "text", about: string}>} */
export const PROBE_KINDS = {
  concepts: { samples: "images", about: "images with label maps" },
  signals: { samples: "signals", about: "signals with a concept at each time" },
  text_pairs: { samples: "text", about: "sentence pairs; words are concepts" },
  texts: { samples: "text", about: "texts; words are concepts" },
};

/**
 * Return the kinds of datasets by which a model can be explained.
 * @param {Model} model
 */
export function probeKinds({ metadata }) {
  if (metadata.text !== null) return ["texts", "text_pairs"];
  if (metadata.task.startsWith("text_")) return ["text_pairs"];
  if (metadata.task.startsWith("signal_")) return ["signals"];
  if (metadata.preprocessing !== null) return ["concepts"];
  return ["signals", "text_pairs"];
}

/**
 * Return the request that the values make; what is at its default is left out.
 * @param {ExplanationValues} values
 * @param {"images" | "signals" | "text"} samples
 */
export function explanationRequest(values, samples) {
  const layers = values.layers ?? [];
  /** @type {Record<string, unknown>} */
  const request = { dataset_id: values.dataset, layer: layers.length === 1 ? layers[0] : layers };
  if (values.firing === "quantile") request.quantile = Number((Number(values.quantile) / 100).toPrecision(12));
  if (values.firing === "threshold") request.threshold = Number(values.threshold);
  if (values.search !== "beam") request.search = values.search;
  if (values.length !== "3") request.max_length = Number(values.length);
  if (values.search === "beam" && values.beam !== "5") request.beam_size = Number(values.beam);
  if (values.penalty !== "1") request.complexity_penalty = Number(values.penalty);
  if (values.operators.join() !== EXPLANATION_DEFAULTS.operators.join()) request.operators = values.operators;
  if (values.derived.length && samples !== "text") request.derived_concepts = values.derived;
  if (samples === "images" && values.height && values.width)
    request.resolution = [Number(values.height), Number(values.width)];
  if (values.units.trim()) request.units = unitNumbers(values.units);
  if (values.firings !== "1") request.min_firings = Number(values.firings);
  if (values.seed !== "0") request.seed = Number(values.seed);
  if (values.name.trim()) request.name = values.name.trim();
  if (samples === "text" && values.cut) request.cut_sentences = true;
  return request;
}

/**
 * Return the numbers of a text such as `0-9, 17`; what is no number is kept, so that the service can refuse it.
 * @param {string} text
 */
function unitNumbers(text) {
  return text
    .split(/[\s,]+/)
    .filter(Boolean)
    .flatMap((part) => {
      const range = /^(\d+)-(\d+)$/.exec(part);
      if (range === null) return [/^\d+$/.test(part) ? Number(part) : part];
      const [first, last] = [Number(range[1]), Number(range[2])];
      return Array.from({ length: Math.max(0, Math.min(last - first, 9999) + 1) }, (_, offset) => first + offset);
    });
}
