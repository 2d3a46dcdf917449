/** One unit: where it fires, its formula, its score by length, its weights to classes. */

import { html, nothing } from "../vendor/lit.js";
import { get, withQuery } from "../shared/api.js";
import { Element, curl } from "../shared/element.js";
import { decimals, number, percent } from "../shared/format.js";
import { formulaText } from "./formula.js";
import { place } from "../router.js";
import { classWeights } from "./class_weights.js";
import { formulaTree } from "./formula_tree.js";
import { scoresByLength } from "./scores_by_length.js";
import "./unit_samples.js";

/** @typedef {import("./explanation_types").Explanation} Explanation */
/** @typedef {import("./explanation_types").Unit} Unit */

class UnitPage extends Element {
  constructor() {
    super();
    this.key = "";
    this.number = "";
    /** @type {Explanation | null} */
    this.explanation = null;
    /** @type {Unit | null} */
    this.unit = null;
  }

  connectedCallback() {
    super.connectedCallback();
    window.addEventListener("hashchange", () => this.load(), { signal: this.leaving.signal });
    this.load();
  }

  get path() {
    const layer = place().query.get("layer");
    return withQuery(`/v1/explanations/${this.key}/units/${encodeURIComponent(this.number)}`, { layer });
  }

  load() {
    if (place().parts.join("/") !== `explanations/${this.key}/units/${this.number}`) return;
    this.attempt(async () => {
      this.explanation = await get(`/v1/explanations/${this.key}`, this.leaving.signal);
      this.requestUpdate();
      this.unit = await get(this.path, this.leaving.signal);
    });
  }

  render() {
    const { explanation, unit } = this;
    const crumb = html`<p class="crumb"><a href="#/explanations">Explanations</a> /
      <a href="#/explanations/${this.key}">${explanation?.name ?? this.key}</a></p>`;
    if (explanation === null || unit === null) return html`${crumb} ${this.problem()}`;
    return html`
      <div class="head"><div>${crumb}<h1>${formulaText(unit.formula)}</h1>
        <p class="soft">unit ${unit.unit} of <code>${unit.layer}</code>
          ${unit.reason ? html`, ${unit.reason}` : nothing}</p>
      </div></div>
      ${unit.formula === null ? nothing : unitFigures(unit, explanation)}
      <section class="panel"><h2>Strongest samples</h2>
        <unit-samples .explanation=${explanation} .unit=${unit}></unit-samples></section>
      ${
        unit.tree === null
          ? nothing
          : html`<div class="columns">
            <section class="panel"><h2>Formula</h2>${formulaTree(unit.tree)}</section>
            <section class="panel"><h2>IoU by length of the formula</h2>${scoresByLength(unit)}</section></div>`
      }
      <section class="panel"><h2>Classes</h2>${classWeights(unit)}</section>
      <section class="panel"><h2>By the API</h2>${curl(this.commands(explanation))}</section>`;
  }

  /** @param {Explanation} explanation */
  commands(explanation) {
    const details = `curl '$URL${this.path}'`;
    if (explanation.about === "text") return details;
    return `${details}\ncurl -o unit.png '$URL${this.path.replace(/(\?|$)/, "/image$1")}'`;
  }
}

/**
 * @param {Unit} unit
 * @param {Explanation} explanation
 */
function unitFigures(unit, explanation) {
  const best = unit.optimal ? "proven to be best of that length" : "a better one is not excluded";
  return html`<div class="figures">
    <div class="figure"><span class="soft small">IoU of the formula</span><b>${decimals(unit.score)}</b>
      <span class="small">${best}${unit.bound === null ? nothing : html`; at most ${decimals(unit.bound)}`}</span></div>
    <div class="figure"><span class="soft small">Best single concept</span><b>${decimals(unit.concept_score)}</b>
      <span class="small">${unit.concept}</span></div>
    <div class="figure"><span class="soft small">Ceiling</span><b>${decimals(unit.ceiling)}</b>
      <span class="small">highest IoU of any formula over these concepts</span></div>
    <div class="figure"><span class="soft small">Fires</span><b>${percent(unit.firings / explanation.pixels)}</b>
      <span class="small">of the ${{ images: "pixels", signals: "time steps", text: "texts" }[explanation.about]}, above
        ${number(unit.threshold)}</span></div></div>`;
}

customElements.define("unit-page", UnitPage);
