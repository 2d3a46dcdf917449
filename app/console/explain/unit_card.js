/** A unit in a gallery: its strongest sample, its formula, its IoU. */

import { html, nothing } from "../vendor/lit.js";
import { get, withQuery } from "../shared/api.js";
import { Element } from "../shared/element.js";
import { decimals } from "../shared/format.js";
import { formulaText } from "./formula.js";
import { unitPage, unitSample } from "./unit_addresses.js";
import { shareBar } from "../shared/bars.js";
import { textExample } from "./text_example.js";

/** @typedef {import("./explanation_types").Explanation} Explanation */
/** @typedef {import("./explanation_types").Unit} Unit */
/** @typedef {import("./explanation_types").UnitSummary} UnitSummary */

class UnitCard extends Element {
  static properties = { explanation: { attribute: false }, summary: { attribute: false }, drawn: { attribute: false } };

  constructor() {
    super();
    this.explanation = /** @type {Explanation} */ (/** @type {unknown} */ (null));
    this.summary = /** @type {UnitSummary} */ (/** @type {unknown} */ (null));
    /** Whether its images can be drawn: the dataset still exists. */
    this.drawn = true;
    /** @type {Unit | null} Of a text, whose examples are shown. */
    this.unit = null;
  }

  connectedCallback() {
    super.connectedCallback();
    if (this.explanation.about !== "text") return;
    const { layer, unit } = this.summary;
    this.attempt(async () => {
      const path = withQuery(`/v1/explanations/${this.explanation.id}/units/${unit}`, { layer });
      this.unit = await get(path, this.leaving.signal);
    });
  }

  render() {
    const { summary, explanation } = this;
    return html`
      ${this.sample()}
      <p class="name"><a href=${unitPage(explanation.id, summary)}>${formulaText(summary.formula)}</a></p>
      ${
        summary.formula === null
          ? html`<p class="small soft">${summary.reason}</p>`
          : html`<p class="score small">${shareBar(summary.score, summary.ceiling)}
              <span>IoU <b>${decimals(summary.score)}</b>, ceiling ${decimals(summary.ceiling)}</span></p>`
      }
      <p class="small soft">unit ${summary.unit} of ${summary.layer}</p>`;
  }

  sample() {
    const { summary, explanation, unit } = this;
    if (summary.firings === 0) return nothing;
    if (explanation.about === "text") {
      if (unit === null) return this.problem();
      return unit.examples.length ? textExample(unit, unit.examples[0]) : nothing;
    }
    if (!this.drawn) return nothing;
    return html`<img class=${explanation.about} src=${unitSample(explanation.id, summary, 0)} loading="lazy"
      alt="Strongest sample of unit ${summary.unit} of ${summary.layer}: where it fires, where its formula holds">`;
  }
}

customElements.define("unit-card", UnitCard);
