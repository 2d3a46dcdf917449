/** The options of each kind of analysis, with what they mean. */

import { html, nothing } from "../vendor/lit.js";
import { number } from "../shared/format.js";

/** @typedef {import("./analysis_options.js").AnalysisValues} AnalysisValues */
/** @typedef {import("./explanation_types").AnalysisKind} AnalysisKind */
/** @typedef {import("./explanation_types").Explanation} Explanation */
/** @typedef {import("../shared/types").DatasetSummary} DatasetSummary */
/** @typedef {import("../shared/types").Model} Model */
/** @typedef {import("../shared/types").ModelSummary} ModelSummary */

/**
 * @typedef {object} Choices What the service has that can be chosen
 * @property {Explanation} explanation
 * @property {Model} model
 * @property {DatasetSummary[]} labelled
 * @property {ModelSummary[]} relatives Models of the same origin
 */

/**
 * @param {AnalysisKind} kind
 * @param {AnalysisValues} values
 * @param {Choices} choices
 */
export function analysisFields(kind, values, choices) {
  switch (kind) {
    case "abstractions":
      return abstractionsFields(values, choices.explanation);
    case "interpretability":
      return interpretabilityFields(values, choices);
    case "copy_paste":
      return copyPasteFields(values, choices.model);
    case "drift":
      return driftFields(values, choices);
  }
}

/**
 * @param {AnalysisValues} values
 * @param {Explanation} explanation
 */
function abstractionsFields(values, explanation) {
  const names = Object.values(explanation.concepts).flat().slice(0, 12).join(", ");
  return html`<div class="field"><label for="taxonomy">Groups of related concepts, one a line (optional)</label>
      <textarea id="taxonomy" name="taxonomy" class="code" rows="4" aria-describedby="taxonomy-about"
        placeholder="vehicle: car, bus" .value=${values.taxonomy}></textarea>
      <span class="soft" id="taxonomy-about">Without groups, ${
        explanation.about === "text"
          ? "the vectors of the dataset are used, if it has any, and otherwise co-occurrence"
          : "only co-occurrence is known"
      }. Concepts: ${names}${names.length ? " …" : nothing}</span></div>
    <div class="fields top">
      ${numeric("together", "Least PMI of co-occurring concepts, nats", values.together, "0: as often as by chance.")}
      ${numeric("related", "Least cosine of related concepts", values.related, "Where vectors are used.")}</div>`;
}

/**
 * @param {AnalysisValues} values
 * @param {Choices} choices
 */
function interpretabilityFields(values, { explanation, labelled }) {
  return html`
    ${
      explanation.about !== "images"
        ? html`<p>The labels of the explained dataset are used.</p>`
        : labelled.length
          ? html`<div class="field"><label for="dataset">Labelled dataset</label>
            <select id="dataset" name="dataset" aria-describedby="dataset-about">${labelled.map(
              ({ id, name, kind, samples }) => html`<option value=${id} ?selected=${id === values.dataset}>
              ${name} (${kind}, ${number(samples)} samples)</option>`,
            )}</select>
            <span class="soft" id="dataset-about">Says for which images the model is right. Its classes are labels of
              the model.</span></div>`
          : html`<div class="notice"><p>Images with concepts have no classes, so a labelled dataset is needed: images in
            a folder for each class, or images with boxes. <a href="#/datasets">Upload one</a>.</p></div>`
    }
    ${numeric("samples", "Least samples", values.samples, "Units that fire in fewer samples are left out.", "2", "1")}`;
}

/**
 * @param {AnalysisValues} values
 * @param {Model} model
 */
function copyPasteFields(values, { metadata, id }) {
  if (!metadata.labels?.length)
    return html`<div class="notice"><p>The model has no labels, so there is no class to bring about.
      <a href="#/models/${id}">Correct its metadata</a>, then explain it again.</p></div>`;
  return html`<div class="field"><label for="label">Class to bring about</label>
      <input id="label" name="label" list="labels" required autocomplete="off" aria-describedby="label-about"
        .value=${values.label}>
      <datalist id="labels">${metadata.labels.map((label) => html`<option value=${label}></option>`)}</datalist>
      <span class="soft" id="label-about">Inputs that are predicted as another class are edited. One of the labels, such
        as ${metadata.labels.slice(0, 4).join(", ")}.</span></div>
    <div class="fields top">
      ${numeric("units", "Units", values.units, "Those with the highest weights propose edits.", "1", "1")}
      ${numeric("tries", "Inputs to edit", values.tries, "As many are edited at random.", "10", "1")}
      ${numeric("seed", "Random seed", values.seed, "Equal seeds give equal results.", "0", "1")}</div>`;
}

/**
 * @param {AnalysisValues} values
 * @param {Choices} choices
 */
function driftFields(values, { model, relatives }) {
  if (relatives.length === 0)
    return html`<div class="notice"><p>No other model has the same origin as ${model.name}.
      <a href="#/models/${model.id}/quantize">Quantize it</a> first.</p></div>`;
  return html`<fieldset><legend>Models to compare with ${model.name}</legend>${relatives.map(
    ({
      id,
      name,
      quantization,
    }) => html`<p class="tick"><input type="checkbox" id="model-${id}" name="models" value=${id}
        .checked=${values.models.includes(id)}> <label for="model-${id}">${name}</label>
      ${
        quantization
          ? html`<span class="tag">${quantization.method}
            ${quantization.mixed ? "mixed" : `W${quantization.weight_bits}A${quantization.activation_bits}`}</span>`
          : nothing
      }</p>`,
  )}</fieldset>`;
}

/**
 * @param {string} name
 * @param {string} label
 * @param {string} value
 * @param {string} about
 * @param {string} [least]
 * @param {string} [step]
 */
function numeric(name, label, value, about, least, step = "any") {
  return html`<div class="field"><label for=${name}>${label}</label>
    <input id=${name} name=${name} type="number" min=${least ?? nothing} step=${step} required
      aria-describedby="${name}-about" .value=${value}>
    <span class="soft" id="${name}-about">${about}</span></div>`;
}
