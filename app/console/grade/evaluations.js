/** The list of evaluations: filter, sort by a metric, choose some to compare. */

import { html, nothing } from "../vendor/lit.js";
import { curlPost } from "../shared/element.js";
import { number, time } from "../shared/format.js";
import { ListPage } from "../shared/list_page.js";
import { ALL_METRICS, metricTitle } from "./metrics.js";
import { setQuery } from "../router.js";

/** @typedef {import("./evaluation_types").EvaluationSummary} EvaluationSummary */
/** @typedef {import("../shared/types").Page<EvaluationSummary>} EvaluationPage */

/** @type {[string, string][]} */
const ORDERS = [
  ["", "newest first"],
  ...ALL_METRICS.map(({ name, title, smallerIsBetter }) => {
    return /** @type {[string, string]} */ ([smallerIsBetter ? name : `-${name}`, `best ${title} first`]);
  }),
];
const COLUMNS = ["density", "coverage", "fid"];

class Evaluations extends ListPage {
  constructor() {
    super("evaluations", ["name", "sort", "reference_id", "generated_id"]);
    /** @type {string[]} Ids of those to compare, the first one first. */
    this.chosen = [];
  }

  render() {
    return html`<div class="head"><div><h1>Evaluations</h1>
        <p class="soft">Generated samples graded against real ones: fidelity and diversity, with their
          uncertainty.</p></div>
        <div class="row"><a class="button primary" href="#/evaluations/new">Grade samples</a></div></div>
      <section class="panel" aria-label="Evaluations">
        ${this.problem()} ${this.filters()} ${this.page === null ? nothing : this.list(this.page)}
      </section>`;
  }

  filters() {
    if (this.isEmpty) return nothing;
    const { reference_id, generated_id } = this.query;
    const dataset = reference_id || generated_id;
    return html`<div class="fields">
        ${this.search("name", "Name contains")}
        ${this.choice("sort", "Order", ORDERS)}
      </div>
      ${
        dataset
          ? html`<p class="row">With the dataset <a href="#/datasets/${dataset}">${dataset}</a>
              <button @click=${() => setQuery({ reference_id: null, generated_id: null, cursor: null })}>Show
                all</button></p>`
          : nothing
      }`;
  }

  /** @param {EvaluationPage} page */
  list(page) {
    if (page.items.length === 0) return this.isFiltered ? html`<p>No evaluation matches.</p>` : empty();
    const sorted = this.query.sort.replace("-", "");
    const columns = sorted && !COLUMNS.includes(sorted) ? [sorted, ...COLUMNS] : COLUMNS;
    return html`
      <div class="scroll" tabindex="0" role="region" aria-label="Evaluations"><table>
        <thead><tr><th scope="col"><span class="hidden-text">Compare</span></th><th scope="col">Name</th>
          ${columns.map((name) => html`<th scope="col" class="number">${metricTitle(name)}</th>`)}
          <th scope="col" class="number wide">Samples</th><th scope="col" class="number wide">k</th>
          <th scope="col" class="wide">Created</th></tr></thead>
        <tbody>${page.items.map((item) => this.row(item, columns))}</tbody>
      </table></div>
      <div class="row">
        ${
          this.chosen.length > 1
            ? html`<a class="button primary" href="#/evaluations/compare?ids=${this.chosen.join(",")}">Compare
              ${this.chosen.length}</a>`
            : html`<button disabled>Compare</button><span class="small soft">Choose two or more to compare.</span>`
        }
      </div>
      ${this.pager()}`;
  }

  /**
   * @param {EvaluationSummary} item
   * @param {string[]} columns
   */
  row(item, columns) {
    return html`<tr>
      <td><input type="checkbox" aria-label="Compare ${item.name}" .checked=${this.chosen.includes(item.id)}
        @change=${() => this.choose(item.id)}></td>
      <th scope="row"><a href="#/evaluations/${item.id}">${item.name}</a>
        ${
          item.differs.length && this.query.sort
            ? html`<br><span class="small soft">not comparable with the first: other ${item.differs.join(", ")}</span>`
            : nothing
        }</th>
      ${columns.map((name) => html`<td class="number">${number(item.values[name])}</td>`)}
      <td class="number wide">${number(item.reference_samples)} / ${number(item.generated_samples)}</td>
      <td class="number wide">${item.k}</td>
      <td class="wide">${time(item.created_at)}</td></tr>`;
  }

  /** @param {string} id */
  choose(id) {
    this.chosen = this.chosen.includes(id) ? this.chosen.filter((one) => one !== id) : [...this.chosen, id];
    this.requestUpdate();
  }
}

function empty() {
  const request = {
    reference_id: "dts_…",
    generated_id: "dts_…",
    features: { model_id: "mdl_…", tensor: "avgpool" },
    bootstrap: 200,
  };
  return html`<div class="empty">
    <p>There is no evaluation yet. It needs</p>
    <ul class="notes">
      <li>two <a href="#/datasets">datasets</a> of one kind (images, signals or features): real samples and generated
        ones,</li>
      <li>for images and signals a <a href="#/models">model</a> trained on such data, one of whose tensors gives the
        features by which samples are compared.</li>
    </ul>
    <p></p>
    <p>Then <a href="#/evaluations/new">grade the generated ones</a>, or by the API:</p>
    ${curlPost("/v1/evaluations", request)}
  </div>`;
}

customElements.define("evaluations-page", Evaluations);
