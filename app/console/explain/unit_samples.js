/** The samples in which a unit is strongest: images, signals or texts. */

import { html, nothing } from "../vendor/lit.js";
import { Element } from "../shared/element.js";
import { number } from "../shared/format.js";
import { unitSample } from "./unit_addresses.js";
import { textExample, textLegend } from "./text_example.js";
import { unitLegend } from "./unit_legend.js";

/** @typedef {import("./explanation_types").Explanation} Explanation */
/** @typedef {import("./explanation_types").Unit} Unit */
/** @typedef {import("./explanation_types").UnitExample} UnitExample */

class UnitSamples extends Element {
  static properties = { explanation: { attribute: false }, unit: { attribute: false } };

  constructor() {
    super();
    this.explanation = /** @type {Explanation} */ (/** @type {unknown} */ (null));
    this.unit = /** @type {Unit} */ (/** @type {unknown} */ (null));
    this.undrawn = false;
  }

  render() {
    const { unit, explanation } = this;
    if (unit.examples.length === 0) return html`<p>The unit fires in no sample.</p>`;
    const { about } = explanation;
    if (about === "text") {
      return html`${textLegend(unit)}<ol class="samples-of text">${unit.examples.map(
        (example) => html`<li>${textExample(unit, example)} ${factsOf(example)}</li>`,
      )}</ol>`;
    }
    if (this.undrawn) {
      return html`<p>The samples cannot be drawn: their dataset <code>${explanation.settings.dataset_id}</code> was
          deleted. Their names are kept:</p>
        <ol>${unit.examples.map((example) => html`<li>${nameOf(example)} ${factsOf(example)}</li>`)}</ol>`;
    }
    return html`${unitLegend(about)}<ol class="samples-of ${about}">${unit.examples.map(
      (example, index) => html`<li><img src=${unitSample(explanation.id, unit, index)} loading="lazy"
          @error=${this.fail} alt="${nameOf(example)}: where the unit fires, where its formula holds">
        <span>${nameOf(example)}</span> ${factsOf(example)}</li>`,
    )}</ol>`;
  }

  fail() {
    this.undrawn = true;
    this.requestUpdate();
  }
}

/** @param {UnitExample} example */
function nameOf({ name, index }) {
  return name?.split("/").pop() ?? `signal ${number(index)}`;
}

/** @param {UnitExample} example */
function factsOf({ activation, label, predicted }) {
  return html`<span class="small soft">activation ${number(activation)}${label ? html`, class ${label}` : nothing}${
    predicted ? html`, predicted ${predicted}` : nothing
  }</span>`;
}

customElements.define("unit-samples", UnitSamples);
