/** The list of explanations, and the search over the units of all of them. */

import { html, nothing } from "../vendor/lit.js";
import { get } from "../shared/api.js";
import { curlPost } from "../shared/element.js";
import { decimals, number, time } from "../shared/format.js";
import { ListPage } from "../shared/list_page.js";
import { analysesTable } from "./analyses_list.js";
import "./unit_search.js";

/** @typedef {import("./explanation_types").AnalysisSummary} AnalysisSummary */
/** @typedef {import("./explanation_types").ExplanationSummary} ExplanationSummary */
/** @typedef {import("../shared/types").ModelSummary} ModelSummary */
/** @typedef {import("../shared/types").Page<ExplanationSummary>} ExplanationPage */

class Explanations extends ListPage {
  constructor() {
    super("explanations", ["name", "model_id"]);
    /** @type {ModelSummary[]} */
    this.models = [];
    /** @type {Set<string>} Ids of the models that the newest explanations are about. */
    this.explained = new Set();
    /** @type {Map<string, string>} Names of the newest explanations. */
    this.names = new Map();
    /** @type {AnalysisSummary[]} */
    this.analyses = [];
  }

  /** @param {AbortSignal} signal */
  async read(signal) {
    await super.read(signal);
    this.models = (await get("/v1/models?limit=100", signal)).items;
    const newest = /** @type {ExplanationPage} */ (await get("/v1/explanations?limit=100", signal));
    this.explained = new Set(newest.items.map((item) => item.model_id));
    this.names = new Map(newest.items.map(({ id, name }) => [id, name]));
    this.analyses = (await get("/v1/analyses?limit=5", signal)).items;
  }

  render() {
    const { page } = this;
    const head = html`<div class="head"><div><h1>Explanations</h1>
      <p class="soft">What the units of a model detect, as formulas over labelled concepts.</p></div></div>`;
    if (page === null) return html`${head} ${this.problem()}`;
    if (this.isEmpty)
      return html`${head} ${this.problem()} ${this.firstSteps()}`;
    return html`${head} ${this.problem()}
      <section class="panel"><h2>Find units</h2><unit-search .models=${this.models.filter(({ id }) =>
        this.explained.has(id),
      )}></unit-search></section>
      <section class="panel"><h2>Explanations of this service</h2>${this.filters()}
        ${page.items.length ? this.list(page) : html`<p>No explanation matches.</p>`}
        <p class="small soft">To make another, open a <a href="#/models">model</a> and choose Explain.</p></section>
      ${
        this.analyses.length
          ? html`<section class="panel"><h2>Newest analyses</h2>${analysesTable(this.analyses, this.names)}</section>`
          : nothing
      }`;
  }

  firstSteps() {
    return html`<section class="panel empty"><h2>There is no explanation yet</h2>
      <p>A unit is one channel of a layer. An explanation says for each where it fires: a formula such as
        <span class="formula">(car <span class="operator">OR</span> road)
        <span class="operator">AND NOT</span> dusk</span>, and how well it fits.</p>
      <ol class="steps">
        <li>${
          this.models.length
            ? html`A model: <a href="#/models">choose one</a>.`
            : html`Upload a <a href="#/models">model</a>.`
        }</li>
        <li>Upload a <a href="#/datasets">dataset</a> with labelled concepts: images with label maps, signals with a
          concept at each time, or texts, whose words are the concepts.</li>
        <li>On the page of the model choose <b>Explain</b>, or by the API:</li>
      </ol>
      ${curlPost("/v1/models/mdl_…/explanations", { dataset_id: "dts_…", layer: "relu_12" })}</section>`;
  }

  filters() {
    const models = this.models.map(({ id, name }) => /** @type {[string, string]} */ ([id, name]));
    return html`<div class="fields filters">${this.search("name", "Name contains")}
      ${this.choice("model_id", "Model", [["", "all"], ...models])}</div>`;
  }

  /** @param {ExplanationPage} page */
  list(page) {
    const nameOfModel = (/** @type {string} */ id) => this.models.find((model) => model.id === id)?.name ?? id;
    return html`<div class="scroll" tabindex="0" role="region" aria-label="Explanations"><table>
      <thead><tr><th scope="col">Name</th><th scope="col">Model</th><th scope="col" class="wide">Layers</th>
        <th scope="col" class="number">Units</th><th scope="col" class="number">Mean IoU</th>
        <th scope="col" class="wide">Created</th></tr></thead>
      <tbody>${page.items.map(
        (item) => html`<tr><th scope="row"><a href="#/explanations/${item.id}">${item.name}</a></th>
          <td><a href="#/models/${item.model_id}">${nameOfModel(item.model_id)}</a></td>
          <td class="wide"><code>${item.layers.slice(0, 3).join(", ")}${item.layers.length > 3 ? " …" : ""}</code></td>
          <td class="number">${number(item.units)}</td>
          <td class="number">${decimals(item.mean_iou)}</td>
          <td class="wide">${time(item.created_at)}</td></tr>`,
      )}</tbody></table></div>
      ${this.pager()}`;
  }
}

customElements.define("explanations-page", Explanations);
