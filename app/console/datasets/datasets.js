/** The list of datasets, and the upload of one. */

import { html, nothing } from "../vendor/lit.js";
import { get, withQuery } from "../shared/api.js";
import { DATASET_KINDS, datasetKind } from "./dataset_kinds.js";
import { Element, curl } from "../shared/element.js";
import { bytes, number, time } from "../shared/format.js";
import { go, place, setQuery } from "../router.js";
import "./upload_dataset.js";

/** @typedef {import("../shared/types").Page<import("../shared/types").DatasetSummary>} DatasetPage */

const LIMIT = 20;

class Datasets extends Element {
  constructor() {
    super();
    /** @type {DatasetPage | null} */
    this.page = null;
  }

  connectedCallback() {
    super.connectedCallback();
    window.addEventListener("hashchange", () => this.load(), { signal: this.leaving.signal });
    this.load();
  }

  get query() {
    const { query } = place();
    return {
      name: query.get("name") ?? "",
      kind: query.get("kind") ?? "",
      derived_from_id: query.get("derived_from_id") ?? "",
      cursor: query.get("cursor") ?? "",
    };
  }

  load() {
    if (place().parts.join("/") !== "datasets") return;
    const path = withQuery("/v1/datasets", { limit: LIMIT, ...this.query });
    this.attempt(async () => {
      this.page = await get(path, this.leaving.signal);
    });
  }

  render() {
    return html`<div class="head"><div><h1>Datasets</h1></div></div>
      <section class="panel" aria-labelledby="upload-title">
        <h2 id="upload-title">Upload a dataset</h2>
        <upload-dataset @stored=${(/** @type {CustomEvent} */ event) => go(`/datasets/${event.detail.id}?new=yes`)}>
        </upload-dataset>
      </section>
      <section class="panel" aria-labelledby="list-title">
        <h2 id="list-title">Datasets of this service</h2>
        ${this.problem()} ${this.filters()} ${this.page === null ? nothing : this.list(this.page)}
      </section>`;
  }

  get isFiltered() {
    return Object.values(this.query).some(Boolean);
  }

  filters() {
    if (this.page !== null && this.page.items.length === 0 && !this.isFiltered) return nothing;
    const { name, kind, derived_from_id } = this.query;
    return html`<div class="fields">
        <div class="field"><label for="filter-name">Name contains</label>
          <input id="filter-name" type="search" .value=${name}
            @change=${(/** @type {any} */ event) => setQuery({ name: event.target.value, cursor: null })}></div>
        <div class="field"><label for="filter-kind">Kind</label>
          <select id="filter-kind"
            @change=${(/** @type {any} */ event) => setQuery({ kind: event.target.value, cursor: null })}>
            <option value="">All kinds</option>
            ${DATASET_KINDS.map(
              (item) => html`<option value=${item.name} ?selected=${item.name === kind}>${item.title}</option>`,
            )}</select></div>
      </div>
      ${
        derived_from_id
          ? html`<p class="row">Made from <a href="#/models/${derived_from_id}">${derived_from_id}</a>
              <button @click=${() => setQuery({ derived_from_id: null, cursor: null })}>Show all</button></p>`
          : nothing
      }`;
  }

  /** @param {DatasetPage} page */
  list(page) {
    if (page.items.length === 0) return this.isFiltered ? html`<p>No dataset matches.</p>` : empty();
    return html`
      <div class="scroll" tabindex="0" role="region" aria-label="Datasets"><table>
        <thead><tr><th scope="col">Name</th><th scope="col">Kind</th><th scope="col" class="number">Samples</th>
          <th scope="col" class="number wide">Classes</th><th scope="col" class="number wide">Size</th>
          <th scope="col" class="wide">Created</th></tr></thead>
        <tbody>${page.items.map(row)}</tbody>
      </table></div>
      <div class="row">
        ${this.query.cursor ? html`<button @click=${() => setQuery({ cursor: null })}>First page</button>` : nothing}
        ${
          page.next_cursor
            ? html`<button @click=${() => setQuery({ cursor: page.next_cursor })}>Next page</button>`
            : nothing
        }
      </div>`;
  }
}

/** @param {import("../shared/types").DatasetSummary} dataset */
function row(dataset) {
  return html`<tr>
    <th scope="row"><a href="#/datasets/${dataset.id}">${dataset.name}</a>
      ${dataset.derived_from_id ? html`<span class="tag">synthetic</span>` : nothing}</th>
    <td>${datasetKind(dataset.kind).title}</td>
    <td class="number">${number(dataset.samples)}</td>
    <td class="number wide">${dataset.class_count || "–"}</td>
    <td class="number wide">${bytes(dataset.bytes)}</td>
    <td class="wide">${time(dataset.created_at)}</td>
  </tr>`;
}

function empty() {
  return html`<div class="empty">
    <p>There is no dataset yet. None is needed to quantize a model. You need one to</p>
    <ul class="notes">
      <li>measure accuracy, or calibrate with data of your own,</li>
      <li>explain what the units of a network detect,</li>
      <li>grade generated samples against real ones,</li>
      <li>train a translator.</li>
    </ul>
    <p></p>
    <p>Choose its kind and file above, or send one by the API:</p>
    ${curl("curl $URL/v1/datasets -F kind=images -F file=@images.zip")}
  </div>`;
}

customElements.define("datasets-page", Datasets);
