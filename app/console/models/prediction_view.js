/** One prediction: boxes on the image, classes with their scores, or JSON. */

import { html, nothing } from "../vendor/lit.js";
import { draw } from "../shared/drawing.js";
import { Element } from "../shared/element.js";

/** @typedef {import("../shared/types").Prediction} Prediction */

const MOST_CHARACTERS = 4000;

class PredictionView extends Element {
  static properties = { prediction: { attribute: false }, image: { attribute: false } };

  constructor() {
    super();
    this.prediction = /** @type {Prediction} */ ({ milliseconds: 0 });
    /** @type {ImageBitmap | null} */
    this.image = null;
  }

  updated() {
    const canvas = this.querySelector("canvas");
    if (canvas !== null && this.image !== null) draw(canvas, this.image, this.prediction.detections?.[0] ?? []);
  }

  render() {
    const { detections, predictions, texts, milliseconds } = this.prediction;
    const summary = predictions?.[0]
      ? `Image, classified as ${predictions[0].label}`
      : detections?.[0]
        ? `Image with ${detections[0].length} detected boxes${hasMasks(detections[0]) ? " and masks" : ""}`
        : "Image";
    return html`
      ${this.image === null ? nothing : html`<canvas class="shown" role="img" aria-label=${summary}></canvas>`}
      ${predictions?.[0] ? classes(predictions[0].top) : nothing}
      ${detections?.[0] ? boxes(detections[0]) : nothing}
      ${texts?.[0] ? html`<p>Text: <strong>${texts[0].text}</strong> (${texts[0].score.toFixed(3)})</p>` : nothing}
      ${predictions || detections || texts ? nothing : html`<pre>${cut(JSON.stringify(this.prediction))}</pre>`}
      <p class="soft small">${milliseconds.toFixed(2)} ms in the engine</p>`;
  }
}

/** @param {{label: string, score: number}[]} top */
function classes(top) {
  return html`<table><thead><tr><th scope="col">Class</th><th scope="col">Share</th>
      <th scope="col" class="number">Score</th></tr></thead>
    <tbody>${top.map(
      ({ label, score }) => html`<tr><td>${label}</td>
        <td><progress class="share" aria-label="Score of ${label}" max="1" value=${score}></progress></td>
        <td class="number">${score.toFixed(4)}</td></tr>`,
    )}</tbody></table>`;
}

/** @param {import("../shared/types").Detection[]} detections */
function hasMasks(detections) {
  return detections.some(({ mask }) => mask);
}

/** @param {import("../shared/types").Detection[]} detections */
function boxes(detections) {
  if (detections.length === 0) return html`<p>No box has a score above the threshold.</p>`;
  return html`<div class="scroll tall" tabindex="0" role="region" aria-label="Boxes"><table>
    <thead><tr><th scope="col">Class</th><th scope="col" class="number">Score</th>
      <th scope="col">Box, pixels</th></tr></thead>
    <tbody>${detections.map(
      ({ label, score, box }) => html`<tr><td>${label}</td><td class="number">${score.toFixed(3)}</td>
        <td>${box.map((value) => value.toFixed(0)).join(", ")}</td></tr>`,
    )}</tbody></table></div>`;
}

/** @param {string} text */
function cut(text) {
  return text.length <= MOST_CHARACTERS
    ? text
    : `${text.slice(0, MOST_CHARACTERS)} … ${text.length - MOST_CHARACTERS} more characters`;
}

customElements.define("prediction-view", PredictionView);
