/** One evaluation: metrics with their uncertainty, sweep, map, samples to look at. */

import { html, nothing } from "../vendor/lit.js";
import { get, remove } from "../shared/api.js";
import { datasetKind } from "../datasets/dataset_kinds.js";
import { Element, curl, warningList } from "../shared/element.js";
import { bytes, duration, number, time } from "../shared/format.js";
import { metricTitle } from "./metrics.js";
import { go } from "../router.js";
import "./evaluation_map.js";
import "./evaluation_samples.js";
import "./evaluation_sweep.js";
import "./metric_chart.js";

/** @typedef {import("../shared/types").DatasetSummary} DatasetSummary */
/** @typedef {import("./evaluation_types").Evaluation} Evaluation */

class EvaluationPage extends Element {
  constructor() {
    super();
    this.key = "";
    /** @type {Evaluation | null} */
    this.evaluation = null;
    /** @type {Record<string, DatasetSummary>} Both datasets, unless they were deleted. */
    this.datasets = {};
    this.asked = false;
  }

  connectedCallback() {
    super.connectedCallback();
    this.attempt(async () => {
      const evaluation = await get(`/v1/evaluations/${this.key}`, this.leaving.signal);
      const { reference_id, generated_id } = evaluation.settings;
      const listed = await get("/v1/datasets?limit=1000", this.leaving.signal);
      const all = /** @type {DatasetSummary[]} */ (listed.items);
      const there = all.filter(({ id }) => id === reference_id || id === generated_id);
      this.datasets = Object.fromEntries(there.map((dataset) => [dataset.id, dataset]));
      this.evaluation = evaluation;
    });
  }

  /** Whether samples can be shown as images. @param {Evaluation} evaluation */
  hasImages({ settings }) {
    return [settings.reference_id, settings.generated_id].every(
      (id) => id in this.datasets && datasetKind(this.datasets[id].kind).hasImages,
    );
  }

  render() {
    const evaluation = this.evaluation;
    const crumb = html`<p class="crumb"><a href="#/evaluations">Evaluations</a></p>`;
    if (evaluation === null) return html`${crumb} ${this.problem()}`;
    const images = this.hasImages(evaluation);
    return html`
      <div class="head">
        <div>${crumb}<h1>${evaluation.name}</h1>
          <p class="soft">${number(evaluation.generated_samples)} generated samples against
            ${number(evaluation.reference_samples)} real ones, k = ${evaluation.k},
            ${number(evaluation.features.dimensions)} features</p></div>
        <div class="row">
          <a class="button primary" href="#/evaluations/compare?ids=${evaluation.id}">Compare</a>
          <a class="button" href="#/evaluations/new?like=${evaluation.id}">Grade again</a>
          <a class="button" href="/v1/evaluations/${evaluation.id}/content" download>Download</a>
          <button class="danger" @click=${() => this.ask(true)}>Delete</button>
        </div>
      </div>
      ${this.problem()} ${this.asked ? this.question(evaluation) : nothing}
      ${
        evaluation.warnings.length
          ? html`<section class="panel"><h2>Warnings</h2>
            ${warningList(evaluation.warnings)}</section>`
          : nothing
      }
      <section class="panel"><h2>Metrics</h2><metric-chart .metrics=${evaluation.metrics}></metric-chart></section>
      <section class="panel"><h2>Map</h2>
        <evaluation-map .evaluation=${evaluation} .images=${images}></evaluation-map></section>
      <section class="panel"><h2>Samples to look at</h2>
        <evaluation-samples .evaluation=${evaluation} .images=${images}></evaluation-samples></section>
      ${
        evaluation.sweep.length > 1
          ? html`<section class="panel"><h2>Sweep over k</h2>
            <evaluation-sweep .sweep=${evaluation.sweep}></evaluation-sweep></section>`
          : nothing
      }
      ${evaluation.per_class.length ? perClass(evaluation) : nothing}
      <div class="columns">
        <section class="panel"><h2>How it was computed</h2>${this.facts(evaluation)}</section>
        <section class="panel"><h2>Files</h2>${files(evaluation)}</section>
      </div>`;
  }

  /** @param {Evaluation} evaluation */
  facts({ id, settings, features, seconds, created_at, provenance }) {
    const link = (/** @type {string} */ dataset) =>
      dataset in this.datasets
        ? html`<a href="#/datasets/${dataset}">${this.datasets[dataset].name}</a>`
        : html`<code>${dataset}</code>, deleted`;
    return html`<dl class="facts">
      <dt>Real</dt><dd>${link(settings.reference_id)}</dd>
      <dt>Generated</dt><dd>${link(settings.generated_id)}</dd>
      <dt>Features</dt><dd>${
        features.model_id
          ? html`<code>${features.tensor}</code> of <a href="#/models/${features.model_id}">${features.model_id}</a>`
          : "uploaded"
      }</dd>
      <dt>Bootstrap</dt><dd>${settings.bootstrap ? `${number(settings.bootstrap)} replicates` : "none"}</dd>
      <dt>Seed</dt><dd>${settings.seed ?? 0}</dd>
      <dt>Run time</dt><dd>${duration(seconds)}</dd>
      <dt>Created</dt><dd>${time(created_at)}</dd>
      <dt>Id</dt><dd><code>${id}</code></dd></dl>
      ${
        provenance
          ? html`<details><summary>Provenance</summary><pre>${JSON.stringify(provenance, null, 2)}</pre></details>`
          : nothing
      }
      <details><summary>The same by the API</summary>${curl(`curl $URL/v1/evaluations/${id}`)}</details>`;
  }

  /** @param {boolean} asked */
  ask(asked) {
    this.asked = asked;
    this.requestUpdate();
  }

  /** @param {Evaluation} evaluation */
  question(evaluation) {
    return html`<div class="notice" role="alert"><p>Delete ${evaluation.name}? Its datasets are kept.</p>
      <div class="row"><button class="danger" @click=${this.delete}>Delete the evaluation</button>
        <button @click=${() => this.ask(false)}>Keep it</button></div></div>`;
  }

  delete() {
    this.asked = false;
    this.attempt(async () => {
      await remove(`/v1/evaluations/${this.key}`);
      go("/evaluations");
    });
  }
}

/** @param {Evaluation} evaluation */
function perClass({ per_class }) {
  const names = [...new Set(per_class.flatMap(({ values }) => Object.keys(values)))];
  return html`<section class="panel"><h2>By class</h2>
    <div class="scroll tall" tabindex="0" role="region" aria-label="Metrics by class"><table>
      <thead><tr><th scope="col">Class</th><th scope="col" class="number">Real</th>
        <th scope="col" class="number">Generated</th>
        ${names.map((name) => html`<th scope="col" class="number">${metricTitle(name)}</th>`)}</tr></thead>
      <tbody>${per_class.map(
        ({ label, reference_samples, generated_samples, values, expected }) => html`<tr><th scope="row">${label}</th>
          <td class="number">${number(reference_samples)}</td><td class="number">${number(generated_samples)}</td>
          ${names.map(
            (name) => html`<td class="number">${number(values[name])}${
              name in expected ? html`<br><span class="small soft">expected ${number(expected[name])}</span>` : nothing
            }</td>`,
          )}</tr>`,
      )}</tbody></table></div>
    <p class="small soft">Expected: if both sets had the same distribution. Classes with too few samples have no
      values.</p></section>`;
}

/** @param {Evaluation} evaluation */
function files({ id, files }) {
  return html`<ul class="notes">${Object.entries(files).map(
    ([name, { bytes: size }]) => html`<li><a href="/v1/evaluations/${id}/files/${name}">${name}</a>,
      ${bytes(size)}</li>`,
  )}</ul>
  <p class="small soft"><b>Download</b> above is an .npz with balls and nearest neighbour of each sample.</p>`;
}

customElements.define("evaluation-page", EvaluationPage);
