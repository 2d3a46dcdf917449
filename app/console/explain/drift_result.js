/** Units before and after, such as in a model and its quantized one. */

import { html, nothing } from "../vendor/lit.js";
import { ApiError, get, post, withQuery } from "../shared/api.js";
import { Element } from "../shared/element.js";
import { decimals, number, percent } from "../shared/format.js";
import { formulaText } from "./formula.js";
import { go, place, setQuery } from "../router.js";
import { unitPage, unitSample } from "./unit_addresses.js";
import { shareBar } from "../shared/bars.js";
import { unitLegend } from "./unit_legend.js";
import "../shared/chart.js";

/** @typedef {import("./explanation_types").DriftResult} DriftResult */
/** @typedef {import("./explanation_types").Explanation} Explanation */
/** @typedef {import("./explanation_types").ExplanationSummary} ExplanationSummary */
/** @typedef {import("./explanation_types").ModelDrift} ModelDrift */
/** @typedef {import("./explanation_types").UnitDrift} UnitDrift */
/** @typedef {import("../shared/types").Model} Model */

const SHOWN = 6;

/** @type {Record<string, {title: string, order: (one: UnitDrift, other: UnitDrift) => number}>} */
const ORDERS = {
  lost: {
    title: "IoU of the formula lost most",
    order: (one, other) => one.score_after - one.score_before - (other.score_after - other.score_before),
  },
  iou: { title: "fires elsewhere most", order: (one, other) => one.iou - other.iou },
  won: {
    title: "IoU of the formula gained most",
    order: (one, other) => other.score_after - other.score_before - (one.score_after - one.score_before),
  },
};

class DriftView extends Element {
  static properties = { result: { attribute: false }, explanation: { attribute: false } };

  constructor() {
    super();
    this.result = /** @type {DriftResult} */ (/** @type {unknown} */ (null));
    /** @type {Explanation | null} Null if it was deleted */
    this.explanation = null;
    /** @type {Map<string, string>} Names of the models */
    this.names = new Map();
    /** @type {Map<string, string>} Explanations of the models that show the same units */
    this.twins = new Map();
    this.shown = SHOWN;
    this.sending = false;
  }

  connectedCallback() {
    super.connectedCallback();
    window.addEventListener("hashchange", () => this.requestUpdate(), { signal: this.leaving.signal });
    this.attempt(async () => {
      for (const { model_id: id } of this.result.models) {
        await this.findModel(id);
        this.requestUpdate();
      }
    });
  }

  /** @param {string} id */
  async findModel(id) {
    try {
      this.names.set(id, /** @type {Model} */ (await get(`/v1/models/${id}`, this.leaving.signal)).name);
    } catch (error) {
      if (!(error instanceof ApiError && error.problem.status === 404)) throw error;
    }
    const { explanation } = this;
    if (explanation === null) return;
    const path = withQuery("/v1/explanations", {
      model_id: id,
      dataset_id: explanation.settings.dataset_id,
      limit: 100,
    });
    const { items } = await get(path, this.leaving.signal);
    const layers = explanation.layers.map(({ layer }) => layer).join();
    const units = explanation.layers.reduce((total, layer) => total + layer.units, 0);
    const twin = items.find(
      (/** @type {ExplanationSummary} */ one) => one.layers.join() === layers && one.units === units,
    );
    if (twin !== undefined) this.twins.set(id, twin.id);
  }

  render() {
    const { models } = this.result;
    const chosen = models.find(({ model_id }) => model_id === place().query.get("model")) ?? models[0];
    return html`${this.problem()}
      <section class="panel"><h2>Models</h2>${this.comparison(models)}</section>
      ${
        models.length > 1
          ? html`<div class="field"><label for="drifted">Units of</label><select id="drifted"
            @change=${(/** @type {any} */ event) => setQuery({ model: event.target.value })}>${models.map(
              ({ model_id, bits }) => html`<option value=${model_id} ?selected=${model_id === chosen.model_id}>
                ${this.names.get(model_id) ?? model_id} ${bits ?? ""}</option>`,
            )}</select></div>`
          : nothing
      }
      ${this.units(chosen)}`;
  }

  /** @param {ModelDrift[]} models */
  comparison(models) {
    return html`<div class="scroll" tabindex="0" role="region" aria-label="Drift of models"><table class="bars">
      <thead><tr><th scope="col">Model</th><th scope="col"><span class="unseen">Bar of the IoU</span></th>
        <th scope="col" class="number">Fires at the same places, IoU</th>
        <th scope="col" class="number">Same formula</th>
        <th scope="col" class="number wide">Change of the formulas’ IoU</th></tr></thead>
      <tbody>${models.map(
        (model) => html`<tr><th scope="row"><a href="#/models/${model.model_id}">${
          this.names.get(model.model_id) ?? model.model_id
        }</a> ${model.bits ? html`<span class="tag">${model.bits}</span>` : nothing}</th>
          <td>${shareBar(model.mean_iou)}</td><td class="number">${decimals(model.mean_iou)}</td>
          <td class="number">${percent(model.same_formula)}</td>
          <td class="number wide">${decimals(model.score_change)}</td></tr>`,
      )}</tbody></table></div>`;
  }

  /** @param {ModelDrift} model */
  units(model) {
    const name = place().query.get("order") ?? "lost";
    const units = [...model.units].sort((ORDERS[name] ?? ORDERS.lost).order);
    const sorted = [...model.units].sort((one, other) => one.score_before - other.score_before);
    const x = sorted.map((unit) => unit.score_before);
    const lines = [
      { label: "IoU after", values: sorted.map((unit) => unit.score_after), dots: true },
      { label: "no change", values: x },
    ];
    return html`<section class="panel"><h2>IoU of the formulas before and after</h2>
        <line-chart .x=${x} .lines=${lines} .axis=${"IoU before"} .left=${"IoU after"}
          .label=${"IoU of each unit’s formula before and after; the list below has the values"}></line-chart></section>
      <section class="panel"><h2>Units before and after</h2>
        <div class="field narrow"><label for="drift-order">Sort by</label><select id="drift-order"
          @change=${(/** @type {any} */ event) => setQuery({ order: event.target.value })}>${Object.entries(ORDERS).map(
            ([key, { title }]) => html`<option value=${key} ?selected=${key === name}>${title}</option>`,
          )}</select></div>
        ${this.twinNote(model)}
        <ol class="drifted">${units.slice(0, this.shown).map((unit) => this.beforeAfter(unit, model))}</ol>
        ${
          units.length > this.shown
            ? html`<button @click=${() => {
                this.shown += 3 * SHOWN;
                this.requestUpdate();
              }}>More units (${number(units.length - this.shown)})</button>`
            : nothing
        }</section>`;
  }

  /** @param {ModelDrift} model */
  twinNote(model) {
    const { explanation } = this;
    if (explanation === null || explanation.about === "text") return nothing;
    if (this.twins.has(model.model_id)) return unitLegend(explanation.about);
    return html`${unitLegend(explanation.about)}<p class="small">The analysis keeps no images of the units after.
      <button ?disabled=${this.sending} @click=${() => this.explainTwin(model.model_id, explanation)}>Explain
        ${this.names.get(model.model_id) ?? "the model"} the same way</button> to see them.</p>`;
  }

  /**
   * @param {UnitDrift} unit
   * @param {ModelDrift} model
   */
  beforeAfter(unit, model) {
    const before = this.explanation?.id;
    const after = this.twins.get(model.model_id);
    return html`<li><h3>Unit ${unit.unit} <span class="soft small">of ${unit.layer}; fires at the same places:
        IoU ${decimals(unit.iou)}</span>
        <span class="tag ${unit.same_formula ? "good" : "warn"}">${unit.same_formula ? "same" : "other"} formula</span>
      </h3><div class="columns">
        ${this.state("Before", before, unit, unit.formula_before, unit.score_before)}
        ${this.state("After", after, unit, unit.formula_after, unit.score_after)}</div></li>`;
  }

  /**
   * @param {string} title
   * @param {string | undefined} explanation Its id
   * @param {UnitDrift} unit
   * @param {string | null} formula
   * @param {number} score
   */
  state(title, explanation, unit, formula, score) {
    const about = this.explanation?.about;
    return html`<div><p class="small soft">${title}</p>
      ${
        explanation !== undefined && formula !== null && about !== "text"
          ? html`<img class=${about ?? ""} src=${unitSample(explanation, unit, 0)} loading="lazy"
            @error=${(/** @type {Event} */ event) => /** @type {HTMLElement} */ (event.target).remove()}
            alt="${title}: strongest sample of unit ${unit.unit}, where it fires, where its formula holds">`
          : nothing
      }
      <p>${
        explanation === undefined
          ? formulaText(formula)
          : html`<a href=${unitPage(explanation, unit)}>${formulaText(formula)}</a>`
      } ${formula === null ? nothing : html`<span class="small">IoU ${decimals(score)}</span>`}</p></div>`;
  }

  /**
   * @param {string} model Its id
   * @param {Explanation} explanation
   */
  explainTwin(model, explanation) {
    this.sending = true;
    this.attempt(async () => {
      try {
        const job = await post(`/v1/models/${model}/explanations`, { ...explanation.settings, name: null });
        go(`/jobs/${/** @type {{id: string}} */ (job).id}`);
      } finally {
        this.sending = false;
      }
    });
  }
}

customElements.define("drift-view", DriftView);
