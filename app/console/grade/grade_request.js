/** The request of an evaluation, made of the values of its form; and the tensor that usually gives features. */

import { ALL_METRICS } from "./metrics.js";

/** @typedef {import("./evaluation_types").EvaluationRequest} EvaluationRequest */
/** @typedef {import("../shared/types").Graph} Graph */

export const GRADED_KINDS = ["images", "signals", "features"];

export const GRADE_DEFAULTS = {
  reference: "",
  generated: "",
  model: "",
  tensor: "",
  classifier: "",
  k: "5",
  bootstrap: "200",
  subsample: "",
  seed: "0",
  perClass: false,
  name: "",
  /** @type {string[]} Names of metrics that are left out. */
  without: [],
};

/**
 * @param {typeof GRADE_DEFAULTS} values
 * @param {boolean} hasFeatures Whether the datasets are features already
 * @returns {EvaluationRequest}
 */
export function gradeRequest(values, hasFeatures) {
  const ks = values.k.split(/[\s,]+/).filter(Boolean).map(Number);
  /** @type {EvaluationRequest} */
  const request = { reference_id: values.reference, generated_id: values.generated };
  if (!hasFeatures) request.features = { model_id: values.model, tensor: values.tensor };
  request.k = ks.length === 1 ? ks[0] : ks;
  if (values.without.length) request.metrics = offered(values).filter((name) => !values.without.includes(name));
  if (Number(values.bootstrap)) request.bootstrap = Number(values.bootstrap);
  if (values.classifier && !hasFeatures) request.classifier_id = values.classifier;
  if (values.perClass) request.per_class = true;
  if (values.subsample) request.subsample = Number(values.subsample);
  if (Number(values.seed)) request.seed = Number(values.seed);
  if (values.name) request.name = values.name;
  return request;
}

/**
 * Return the names of the metrics that these values allow.
 * @param {{classifier: string}} values
 */
export function offered({ classifier }) {
  return ALL_METRICS.map(({ name }) => name).filter((name) => name !== "inception_score" || classifier);
}

/**
 * Return the values of the form for a request that was sent earlier.
 * @param {EvaluationRequest} request
 */
export function gradeValues(request) {
  return {
    ...GRADE_DEFAULTS,
    reference: request.reference_id,
    generated: request.generated_id,
    model: request.features?.model_id ?? "",
    tensor: request.features?.tensor ?? "",
    classifier: request.classifier_id ?? "",
    k: [request.k ?? 5].flat().join(", "),
    bootstrap: String(request.bootstrap ?? 0),
    subsample: request.subsample ? String(request.subsample) : "",
    seed: String(request.seed ?? 0),
    perClass: request.per_class ?? false,
    without: request.metrics
      ? ALL_METRICS.map(({ name }) => name).filter((name) => !request.metrics?.includes(name))
      : [],
  };
}

/**
 * Return the usual features: the input of the last layer with weights, or the last tensor if that is the network's own.
 * @param {Graph} graph
 */
export function usualTensor(graph) {
  const tensors = featureTensors(graph);
  const last = [...graph.layers].reverse().find(({ parameters }) => parameters > 0);
  const before = tensors.find(({ name, produced_by }) => produced_by !== null && last?.inputs.includes(name));
  return (before ?? tensors[tensors.length - 1])?.name ?? "";
}

/**
 * Return the tensors that may be features: floats with an axis besides that of the samples.
 * @param {Graph} graph
 */
export function featureTensors(graph) {
  return graph.tensors.filter(({ dtype, shape }) => dtype.startsWith("float") && (shape?.length ?? 0) > 1);
}
