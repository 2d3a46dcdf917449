/** Values of the form of an analysis, and the request made of them. */

/** @typedef {import("./explanation_types").AnalysisKind} AnalysisKind */

/**
 * @typedef {object} AnalysisValues
 * @property {string} taxonomy Lines such as `vehicle: car, bus`
 * @property {string} related
 * @property {string} together
 * @property {string} dataset
 * @property {string} samples
 * @property {string} label
 * @property {string} units
 * @property {string} tries
 * @property {string} seed
 * @property {string[]} models
 */

/** @type {AnalysisValues} */
export const ANALYSIS_DEFAULTS = {
  taxonomy: "",
  related: "0.4",
  together: "0",
  dataset: "",
  samples: "10",
  label: "",
  units: "10",
  tries: "200",
  seed: "0",
  models: [],
};

/**
 * Return the request that the values make; what is at its default is left out.
 * @param {AnalysisKind} kind
 * @param {AnalysisValues} values
 */
export function analysisRequest(kind, values) {
  /** @type {Record<string, unknown>} */
  const request = { kind };
  if (kind === "abstractions") {
    if (values.taxonomy.trim()) request.taxonomy = groupsOf(values.taxonomy);
    if (values.related !== "0.4") request.related_from = Number(values.related);
    if (values.together !== "0") request.together_from = Number(values.together);
  }
  if (kind === "interpretability") {
    if (values.dataset) request.dataset_id = values.dataset;
    if (values.samples !== "10") request.min_samples = Number(values.samples);
  }
  if (kind === "copy_paste") {
    request.label = values.label;
    if (values.units !== "10") request.units = Number(values.units);
    if (values.tries !== "200") request.tries = Number(values.tries);
    if (values.seed !== "0") request.seed = Number(values.seed);
  }
  if (kind === "drift") request.model_ids = values.models;
  return request;
}

/** @param {string} lines */
function groupsOf(lines) {
  const groups = lines
    .split("\n")
    .map((line) => line.split(/:(.*)/s))
    .filter(([name]) => name.trim());
  return Object.fromEntries(
    groups.map(([name, concepts]) => [
      name.trim(),
      (concepts ?? "")
        .split(",")
        .map((concept) => concept.trim())
        .filter(Boolean),
    ]),
  );
}
