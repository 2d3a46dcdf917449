/** Search over the units of all explanations, of one model or of all. */

import { html, keyed, nothing } from "../vendor/lit.js";
import { get, withQuery } from "../shared/api.js";
import { Element, curl } from "../shared/element.js";
import { place, setQuery } from "../router.js";
import "./unit_card.js";

/** @typedef {import("./explanation_types").Explanation} Explanation */
/** @typedef {import("./explanation_types").FoundUnit} FoundUnit */
/** @typedef {import("../shared/types").ModelSummary} ModelSummary */
/** @typedef {{model: ModelSummary, units: FoundUnit[], next: string | null}} Found */

const FIELDS = { concept: "find_concept", formula: "find_formula", min_score: "find_score" };
const OF_EACH = 8;
const OF_ONE = 24;

class UnitSearch extends Element {
  static properties = { models: { attribute: false } };

  constructor() {
    super();
    /** @type {ModelSummary[]} */
    this.models = [];
    /** @type {Found[] | null} */
    this.found = null;
    /** @type {Map<string, Explanation>} */
    this.explanations = new Map();
    this.asked = "";
  }

  connectedCallback() {
    super.connectedCallback();
    window.addEventListener("hashchange", () => this.load(), { signal: this.leaving.signal });
  }

  updated() {
    this.load();
  }

  get query() {
    const { query } = place();
    const values = Object.entries(FIELDS).map(([name, field]) => [name, query.get(field) ?? ""]);
    return /** @type {Record<string, string>} */ (Object.fromEntries(values));
  }

  load() {
    const { parts, query } = place();
    if (parts.join("/") !== "explanations" || this.models.length === 0) return;
    const chosen = query.get("find_model") ?? "";
    const asked = JSON.stringify([this.query, chosen, this.models.map(({ id }) => id)]);
    if (asked === this.asked) return;
    this.asked = asked;
    const { concept, formula, min_score } = this.query;
    this.found = null;
    if (!concept && !formula && !min_score) {
      this.requestUpdate();
      return;
    }
    const models = this.models.filter(({ id }) => !chosen || id === chosen);
    this.attempt(async () => {
      const found = await Promise.all(models.map((model) => this.search(model, chosen ? OF_ONE : OF_EACH)));
      if (asked === this.asked) this.found = found.filter(({ units }) => units.length > 0);
    });
  }

  /**
   * @param {ModelSummary} model
   * @param {number} limit
   * @param {string | null} [cursor]
   * @returns {Promise<Found>}
   */
  async search(model, limit, cursor = null) {
    const path = withQuery(`/v1/models/${model.id}/units`, { limit, cursor, ...this.query });
    const { items, next_cursor } = await get(path, this.leaving.signal);
    for (const { explanation_id: id } of items) {
      if (!this.explanations.has(id))
        this.explanations.set(id, await get(`/v1/explanations/${id}`, this.leaving.signal));
    }
    return { model, units: items, next: next_cursor };
  }

  /** @param {Found} found */
  more(found) {
    this.attempt(async () => {
      const { units, next } = await this.search(found.model, OF_ONE, found.next);
      found.units.push(...units);
      found.next = next;
    });
  }

  render() {
    const { concept, formula, min_score } = this.query;
    const chosen = place().query.get("find_model") ?? "";
    const change = (/** @type {any} */ event) => setQuery({ [event.target.name]: event.target.value.trim() });
    const path = withQuery(`/v1/models/${chosen || "mdl_…"}/units`, this.query);
    return html`<form role="search" aria-label="Units of all explanations" @change=${change}
        @submit=${(/** @type {Event} */ event) => event.preventDefault()}>
      <div class="fields filters">
        <div class="field"><label for="find-concept">Concept, whole name</label>
          <input id="find-concept" name="find_concept" type="search" .value=${concept}></div>
        <div class="field"><label for="find-formula">Formula contains</label>
          <input id="find-formula" name="find_formula" type="search" .value=${formula}></div>
        <div class="field"><label for="find-score">IoU at least</label>
          <input id="find-score" name="find_score" type="number" min="0" max="1" step="any" .value=${min_score}></div>
        <div class="field"><label for="find-model">Of model</label><select id="find-model" name="find_model">
          <option value="">all</option>
          ${this.models.map(
            (one) => html`<option value=${one.id} ?selected=${one.id === chosen}>${one.name}</option>`,
          )}</select></div></div></form>
      ${this.problem()}
      <div aria-live="polite">${this.summary()}</div>
      ${(this.found ?? []).map((found) => this.group(found))}
      <details><summary>The same by the API</summary>${curl(`curl '$URL${path}'`)}</details>`;
  }

  summary() {
    if (this.found === null) return html`<p class="small soft">Units of all explanations, best first.</p>`;
    return this.found.length ? nothing : html`<p>No unit matches.</p>`;
  }

  /** @param {Found} found */
  group(found) {
    const { model, units, next } = found;
    return html`<h3>${model.name}</h3>
      <ul class="gallery">${units.map((unit) => {
        const explanation = this.explanations.get(unit.explanation_id);
        return html`<li>${keyed(
          `${unit.explanation_id}/${unit.layer}/${unit.unit}`,
          html`<unit-card .explanation=${explanation} .summary=${unit}></unit-card>`,
        )}</li>`;
      })}</ul>
      ${next === null ? nothing : html`<button @click=${() => this.more(found)}>More of ${model.name}</button>`}`;
  }
}

customElements.define("unit-search", UnitSearch);
