/** Methods of quantization, as the form offers them. */

/** @typedef {import("../shared/types").Graph} Graph */
/** @typedef {import("../shared/types").Model} Model */

/**
 * @typedef {object} Method
 * @property {string} name
 * @property {string} about
 * @property {boolean} tunes Whether it has a budget
 * @property {"batch_norm"[]} needs
 */

/** @type {Method[]} */
export const METHODS = [
  {
    name: "auto",
    tunes: true,
    needs: [],
    about: "Tunes after rounding, on inputs made from the network. For any network.",
  },
  { name: "rq", tunes: false, needs: [], about: "Raw quantization: only rounds, takes seconds. For 8 bits." },
  {
    name: "dfq",
    tunes: false,
    needs: [],
    about: "Equalizes, rounds and corrects biases, takes seconds. For 8 and mostly 6 bits.",
  },
  { name: "aciq", tunes: false, needs: [], about: "Analytic clipping, bits by channel, takes seconds." },
  { name: "zeroq", tunes: true, needs: ["batch_norm"], about: "Tunes on inputs distilled from BatchNorm statistics." },
  { name: "gdfq", tunes: true, needs: ["batch_norm"], about: "Tunes on inputs of a generator. For classifiers." },
  { name: "zaq", tunes: true, needs: [], about: "Tunes on inputs where both networks disagree." },
  { name: "ft", tunes: true, needs: [], about: "Tunes on your own inputs: needs a calibration dataset." },
];

/**
 * Return why a method cannot be used; empty if it can.
 * @param {Method} method
 * @param {Graph} graph
 * @param {boolean} hasCalibration
 */
export function obstacle(method, graph, hasCalibration) {
  if (method.needs.includes("batch_norm") && !graph.layers.some((layer) => layer.batch_norm)) {
    return "The model has no BatchNorm after a layer, which this method needs.";
  }
  if (method.name === "ft" && !hasCalibration) return "Choose a calibration dataset below.";
  return "";
}
