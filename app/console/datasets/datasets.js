/** The list of datasets, and the upload of one. */

import { html, nothing } from "../vendor/lit.js";
import { DATASET_KINDS, datasetKind } from "./dataset_kinds.js";
import { curl } from "../shared/element.js";
import { bytes, number, time } from "../shared/format.js";
import { ListPage } from "../shared/list_page.js";
import { go, setQuery } from "../router.js";
import "./upload_dataset.js";

/** @typedef {import("../shared/types").Page<import("../shared/types").DatasetSummary>} DatasetPage */

/** @type {[string, string][]} */
const KINDS = [
  ["", "All kinds"],
  ...DATASET_KINDS.map(({ name, title }) => /** @type {[string, string]} */ ([name, title])),
];

class Datasets extends ListPage {
  constructor() {
    super("datasets", ["name", "kind", "derived_from_id"]);
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

  filters() {
    if (this.isEmpty) return nothing;
    const { derived_from_id } = this.query;
    return html`<div class="fields">
        ${this.search("name", "Name contains")}
        ${this.choice("kind", "Kind", KINDS)}
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
      ${this.pager()}`;
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
