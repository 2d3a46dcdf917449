/** Kinds of analyses: the question each answers. */

/** @typedef {import("./explanation_types").AnalysisKind} AnalysisKind */

/** @type {Record<AnalysisKind, {title: string, question: string, about: string}>} */
export const ANALYSES = {
  abstractions: {
    title: "Abstractions",
    question: "Which kinds of formulas are there?",
    about:
      "Sorts formulas into single concepts, coherent and incoherent disjunctions, specialized and polysemantic ones. " +
      "Groups of related concepts make it more exact.",
  },
  interpretability: {
    title: "Interpretability",
    question: "Is the model more often right where units have good formulas?",
    about: "Correlates the IoU of each formula with the accuracy of the model on the samples in which the unit fires.",
  },
  copy_paste: {
    title: "Copy-paste",
    question: "Do formulas predict which changes of an input change the prediction?",
    about:
      "Pastes image regions, or inserts and removes words, as formulas propose, and counts how often the prediction " +
      "becomes a class. Random concepts are the control.",
  },
  drift: {
    title: "Drift",
    question: "What happened to each unit in a quantized model?",
    about: "Compares where units fire and which formulas they have in models of one origin.",
  },
};

/** @type {Record<string, {title: string, about: string}>} */
export const ABSTRACTIONS = {
  single: { title: "Single", about: "a single concept" },
  lexically_coherent: { title: "Lexically coherent", about: "OR of concepts related in meaning" },
  lexically_incoherent: {
    title: "Lexically incoherent",
    about: "OR of concepts that are unrelated in meaning and occur together, so the model may confuse them",
  },
  specialized: { title: "Specialized", about: "a concept narrowed by AND or AND NOT" },
  polysemantic: { title: "Polysemantic", about: "OR of concepts that are unrelated and do not occur together" },
};
