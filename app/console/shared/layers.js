/** Layers of a graph whose units can be explained. */

/** @typedef {import("./types").Graph} Graph */
/** @typedef {import("./types").Layer} Layer */

const ACTIVATIONS = [
  "Relu",
  "Clip",
  "LeakyRelu",
  "PRelu",
  "Elu",
  "Selu",
  "Celu",
  "Sigmoid",
  "HardSigmoid",
  "HardSwish",
  "Tanh",
  "Gelu",
  "Softplus",
  "Softsign",
  "Mish",
  "ThresholdedRelu",
];
const WITHOUT_UNITS = ["Constant", "ConstantOfShape", "Shape", "Size", "Range", "Identity"];

/**
 * Return the layers that can be named: all, or the outputs of activation functions.
 * @param {Graph} graph
 * @param {boolean} all
 */
export function namedLayers(graph, all) {
  return graph.layers.filter(({ operator }) =>
    all ? !WITHOUT_UNITS.includes(operator) : ACTIVATIONS.includes(operator),
  );
}

/**
 * Return the tensor that is explained unless another is chosen: the output of the last activation function.
 * @param {Graph} graph
 */
export function usualLayer(graph) {
  return (namedLayers(graph, false).at(-1) ?? namedLayers(graph, true).at(-1))?.outputs[0] ?? "";
}
