/** The units of an explanation as cards, filtered and sorted by the address. */

import { html, keyed, nothing } from "../vendor/lit.js";
import { ApiError, get, withQuery } from "../shared/api.js";
import { Element, curl } from "../shared/element.js";
import { number } from "../shared/format.js";
import { place, setQuery } from "../router.js";
import { unitLegend } from "./unit_legend.js";
import "./unit_card.js";

/** @typedef {import("./explanation_types").Explanation} Explanation */
/** @typedef {import("./explanation_types").UnitSummary} UnitSummary */
/** @typedef {{items: UnitSummary[], next_cursor: string | null, total: number}} UnitPage */

const LIMIT = 24;
const FILTERS = ["layer", "concept", "formula", "min_score", "sort", "cursor"];
const SORTS = {
  "-score": "IoU, highest first",
  score: "IoU, lowest first",
  "-gain": "gain over the best single concept",
  ceiling: "ceiling, lowest first",
  "-ceiling": "ceiling, highest first",
  "-concept_score": "IoU of the best single concept",
  "-firings": "how often it fires",
  length: "length of the formula",
  unit: "number of the unit",
};

class UnitGallery extends Element {
  static properties = { explanation: { attribute: false } };

  constructor() {
    super();
    this.explanation = /** @type {Explanation} */ (/** @type {unknown} */ (null));
    /** @type {UnitPage | null} */
    this.page = null;
    this.drawn = true;
  }

  connectedCallback() {
    super.connectedCallback();
    window.addEventListener("hashchange", () => this.load(), { signal: this.leaving.signal });
    this.load();
    if (this.explanation.about !== "text") this.findDataset();
  }

  findDataset() {
    this.attempt(async () => {
      try {
        await get(`/v1/datasets/${this.explanation.settings.dataset_id}`, this.leaving.signal);
      } catch (error) {
        if (!(error instanceof ApiError && error.problem.status === 404)) throw error;
        this.drawn = false;
      }
    });
  }

  get query() {
    const { query } = place();
    const values = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""]));
    return { ...values, sort: values.sort || "-score" };
  }

  get path() {
    return withQuery(`/v1/explanations/${this.explanation.id}/units`, { limit: LIMIT, ...this.query });
  }

  load() {
    if (place().parts.join("/") !== `explanations/${this.explanation.id}`) return;
    this.attempt(async () => {
      this.page = await get(this.path, this.leaving.signal);
    });
  }

  render() {
    const { page, explanation } = this;
    return html`${this.filters()} ${this.problem()}
      ${
        this.drawn
          ? nothing
          : html`<div class="notice"><p>The dataset was deleted, so its samples cannot be drawn. The formulas are kept.
            </p></div>`
      }
      ${explanation.about !== "text" && this.drawn ? unitLegend(explanation.about) : nothing}
      ${page === null ? nothing : this.cards(page)}
      <details><summary>The same by the API</summary>${curl(`curl '$URL${this.path}'`)}</details>`;
  }

  filters() {
    const { layer, concept, formula, min_score, sort } = /** @type {Record<string, string>} */ (this.query);
    const layers = this.explanation.layers.map((one) => one.layer);
    const change = (/** @type {any} */ event) =>
      setQuery({ [event.target.name]: event.target.value.trim(), cursor: null });
    return html`<form class="fields filters" role="search" aria-label="Units" @change=${change}
        @submit=${(/** @type {Event} */ event) => event.preventDefault()}>
      ${
        layers.length > 1
          ? html`<div class="field"><label for="unit-layer">Layer</label><select id="unit-layer" name="layer">
            <option value="">all</option>
            ${layers.map((name) => html`<option value=${name} ?selected=${name === layer}>${name}</option>`)}
          </select></div>`
          : nothing
      }
      <div class="field"><label for="unit-concept">Concept</label>
        <input id="unit-concept" name="concept" type="search" list="unit-concepts" autocomplete="off" .value=${concept}>
        <datalist id="unit-concepts">${this.concepts.map(
          (name) => html`<option value=${name}></option>`,
        )}</datalist></div>
      <div class="field"><label for="unit-formula">Formula contains</label>
        <input id="unit-formula" name="formula" type="search" .value=${formula}></div>
      <div class="field"><label for="unit-score">IoU at least</label>
        <input id="unit-score" name="min_score" type="number" min="0" max="1" step="any" .value=${min_score}></div>
      <div class="field"><label for="unit-sort">Sort by</label><select id="unit-sort" name="sort">
        ${Object.entries(SORTS).map(
          ([name, title]) => html`<option value=${name} ?selected=${name === sort}>${title}</option>`,
        )}</select></div></form>`;
  }

  get concepts() {
    const used = this.explanation.layers.flatMap((layer) => layer.most_used.map(({ concept }) => concept));
    return [...new Set([...used, ...Object.values(this.explanation.concepts).flat()])];
  }

  /** @param {UnitPage} page */
  cards(page) {
    if (page.items.length === 0) return html`<p>No unit matches. Take away a filter.</p>`;
    return html`<p class="small soft" aria-live="polite">${number(page.total)}
        ${page.total === 1 ? "unit" : "units"}${
          page.total > page.items.length ? `, ${page.items.length} shown` : nothing
        }</p>
      <ul class="gallery">${page.items.map(
        (summary) =>
          html`<li>${keyed(
            `${summary.layer}/${summary.unit}/${this.drawn}`,
            html`<unit-card .explanation=${this.explanation} .summary=${summary} .drawn=${this.drawn}></unit-card>`,
          )}</li>`,
      )}</ul>
      <div class="row">
        ${
          place().query.has("cursor")
            ? html`<button @click=${() => setQuery({ cursor: null })}>First units</button>`
            : nothing
        }
        ${
          page.next_cursor
            ? html`<button @click=${() => setQuery({ cursor: page.next_cursor })}>Next units</button>`
            : nothing
        }</div>`;
  }
}

customElements.define("unit-gallery", UnitGallery);
