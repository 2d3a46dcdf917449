/** The form to grade generated samples against real ones. */

import { html, nothing } from "../vendor/lit.js";
import { get, post } from "../shared/api.js";
import { forget, keep, kept } from "../shared/draft.js";
import { Element, curlPost } from "../shared/element.js";
import { number, shape } from "../shared/format.js";
import {
  GRADED_KINDS,
  GRADE_DEFAULTS,
  featureTensors,
  gradeRequest,
  gradeValues,
  offered,
  usualTensor,
} from "./grade_request.js";
import { METRIC_GROUPS } from "./metrics.js";
import { go, place, setQuery } from "../router.js";
import "../datasets/upload_dataset.js";

/** @typedef {import("../shared/types").DatasetSummary} DatasetSummary */
/** @typedef {import("../shared/types").Graph} Graph */
/** @typedef {import("../shared/types").ModelSummary} ModelSummary */

const DRAFT = "grade";

class GradePage extends Element {
  constructor() {
    super();
    this.values = kept(DRAFT, GRADE_DEFAULTS);
    /** @type {DatasetSummary[]} */
    this.datasets = [];
    /** @type {ModelSummary[]} */
    this.models = [];
    /** @type {Graph | null} Of the chosen model. */
    this.graph = null;
    this.loaded = false;
    this.sending = false;
  }

  connectedCallback() {
    super.connectedCallback();
    this.attempt(async () => {
      const { query } = place();
      const like = query.get("like");
      if (like !== null) this.values = gradeValues((await get(`/v1/evaluations/${like}`)).settings);
      this.values.reference = query.get("reference") ?? this.values.reference;
      this.values.generated = query.get("generated") ?? this.values.generated;
      await this.loadDatasets();
      keep(DRAFT, this.values);
      setQuery({ like: null, reference: null, generated: null });
      this.models = (await get("/v1/models?limit=200", this.leaving.signal)).items;
      const chosen = this.models.some(({ id }) => id === this.values.model);
      if (!chosen) this.values.model = this.models[0]?.id ?? "";
      await this.loadGraph(!chosen || this.values.tensor === "");
      this.loaded = true;
    });
  }

  async loadDatasets() {
    const all = /** @type {DatasetSummary[]} */ ((await get("/v1/datasets?limit=500", this.leaving.signal)).items);
    this.datasets = all.filter(({ kind }) => GRADED_KINDS.includes(kind));
    const has = (/** @type {string} */ id) => this.datasets.some((dataset) => dataset.id === id);
    if (!has(this.values.reference)) this.values.reference = "";
    if (!has(this.values.generated)) this.values.generated = "";
  }

  /** @param {boolean} choose Whether to choose its usual tensor */
  async loadGraph(choose) {
    const model = this.values.model;
    const graph = model ? await get(`/v1/models/${model}/graph`, this.leaving.signal) : null;
    if (model !== this.values.model) return;
    this.graph = graph;
    if (choose && graph !== null) this.values.tensor = usualTensor(graph);
  }

  get kind() {
    return this.datasets.find(({ id }) => id === this.values.reference)?.kind ?? "";
  }

  render() {
    const crumb = html`<p class="crumb"><a href="#/evaluations">Evaluations</a></p>`;
    const head = html`<div class="head"><div>${crumb}<h1>Grade generated samples</h1></div></div>`;
    if (!this.loaded) return html`${head} ${this.problem()}`;
    const hasFeatures = this.kind === "features";
    const { reference, generated, model, tensor } = this.values;
    const ready = reference && generated && (hasFeatures || (model && tensor));
    return html`${head}
      ${this.datasets.length < 2 ? this.missing() : nothing}
      <form @submit=${this.submit} @input=${this.read}>
        ${this.problem()}
        <div class="columns">
          <section class="panel"><h2>Samples</h2>${this.sampleFields()}</section>
          <section class="panel"><h2>Feature space</h2>${
            hasFeatures ? html`<p>The datasets are features. They are compared as they are.</p>` : this.featureFields()
          }</section>
        </div>
        <section class="panel"><h2>Metrics</h2>${this.metricFields(hasFeatures)}</section>
        <section class="panel"><h2>Options</h2>${this.optionFields()}</section>
        <section class="panel">
          <div class="row"><button class="primary" ?disabled=${!ready || this.sending}>Start the job</button>
            <span aria-live="polite">${
              this.sending ? "Sending" : ready ? "" : "Choose both datasets, and a model with a tensor."
            }</span></div>
          <details><summary>The same by the API</summary>
            ${curlPost("/v1/evaluations", gradeRequest(this.values, hasFeatures))}</details>
        </section>
      </form>`;
  }

  missing() {
    return html`<section class="panel"><h2>Upload both sets first</h2>
      <p>Grading needs two datasets of one kind: real samples and generated ones.
        ${this.datasets.length === 1 ? "One is here, the other is missing." : ""}</p>
      <upload-dataset .kinds=${GRADED_KINDS} @stored=${this.stored}></upload-dataset></section>`;
  }

  /** @param {CustomEvent} event */
  stored({ detail }) {
    const empty = this.values.reference ? "generated" : "reference";
    this.values[empty] = detail.id;
    keep(DRAFT, this.values);
    this.attempt(() => this.loadDatasets());
  }

  sampleFields() {
    const { reference, generated } = this.values;
    const same = this.kind ? this.datasets.filter(({ kind }) => kind === this.kind) : this.datasets;
    return html`${datasetField("reference", "Real samples", this.datasets, reference)}
      ${datasetField("generated", "Generated samples, of the same kind", same, generated)}
      <p class="soft small">Use equally many of both, better 10,000 or more. <a href="#/datasets">Upload a dataset</a>.
      </p>`;
  }

  featureFields() {
    const { model, tensor } = this.values;
    if (this.models.length === 0) {
      return html`<p>There is no model. <a href="#/models">Upload one</a> that was trained on such data, or upload
        features of your own as datasets.</p>`;
    }
    const tensors = this.graph === null ? [] : featureTensors(this.graph);
    return html`<div class="field"><label for="grade-model">Model</label>
        <select id="grade-model" name="model">${this.models.map(
          ({ id, name, quantization }) => html`<option value=${id} .selected=${id === model}>${name}${
            quantization ? `, ${quantization.method} W${quantization.weight_bits}` : ""
          }</option>`,
        )}</select>
        <span class="soft">Trained on similar data: else its features respond to what does not matter.</span></div>
      <div class="field"><label for="grade-tensor">Tensor</label>
        <select id="grade-tensor" name="tensor">${tensors.map(
          (spec) => html`<option value=${spec.name} .selected=${spec.name === tensor}>
            ${spec.name} ${shape(spec.shape ?? [])}</option>`,
        )}</select>
        <span class="soft">Usually the last one before the classes. Axes after the second are averaged.</span></div>`;
  }

  /** @param {boolean} hasFeatures */
  metricFields(hasFeatures) {
    const { classifier, without } = this.values;
    const allowed = offered(hasFeatures ? { classifier: "" } : this.values);
    return html`<div class="metric-choice">${METRIC_GROUPS.map(
      ({ title, metrics }) => html`<fieldset><legend>${title}</legend>${metrics.map(
        ({ name, title: label }) => html`<p><input type="checkbox" id="metric-${name}" name="metric" value=${name}
          ?disabled=${!allowed.includes(name)} .checked=${allowed.includes(name) && !without.includes(name)}>
          <label for="metric-${name}">${label}</label></p>`,
      )}</fieldset>`,
    )}</div>
    ${
      hasFeatures
        ? nothing
        : html`<div class="field"><label for="grade-classifier">Classifier, for the inception score only</label>
          <select id="grade-classifier" name="classifier"><option value="">none</option>${this.models
            .filter(({ task }) => task.endsWith("classification"))
            .map(
              ({ id, name }) => html`<option value=${id} .selected=${id === classifier}>${name}</option>`,
            )}</select></div>`
    }`;
  }

  optionFields() {
    const { k, bootstrap, subsample, seed, perClass, name } = this.values;
    return html`<div class="fields">
        <div class="field"><label for="grade-k">k, several for a sweep</label>
          <input id="grade-k" name="k" required pattern="\\s*\\d+([\\s,]+\\d+)*\\s*" autocomplete="off" .value=${k}>
          <span class="soft">Such as 5, 3, 10: the first counts.</span></div>
        <div class="field"><label for="grade-bootstrap">Bootstrap replicates</label>
          <input id="grade-bootstrap" name="bootstrap" type="number" min="0" max="10000" .value=${bootstrap}>
          <span class="soft">For the 95 % intervals; 0 for none.</span></div>
        <div class="field"><label for="grade-subsample">Most samples of each set</label>
          <input id="grade-subsample" name="subsample" type="number" min="1" .value=${subsample}>
          <span class="soft">Drawn at random; all if empty.</span></div>
        <div class="field"><label for="grade-seed">Seed</label>
          <input id="grade-seed" name="seed" type="number" min="0" max="4294967295" .value=${seed}>
          <span class="soft">Of all random draws.</span></div>
      </div>
      <p class="row"><input type="checkbox" id="grade-classes" name="perClass" .checked=${perClass}>
        <label for="grade-classes">Grade each class on its own too</label></p>
      <div class="field"><label for="grade-name">Name <span class="soft">(optional)</span></label>
        <input id="grade-name" name="name" maxlength="200" autocomplete="off" .value=${name}></div>`;
  }

  /** @param {Event} event */
  read(event) {
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    const before = this.values;
    const fields = Object.fromEntries([...form].filter(([field]) => field in before && field !== "metric"));
    const checked = form.getAll("metric");
    const allowed = offered(before);
    this.values = {
      ...before,
      ...fields,
      perClass: form.get("perClass") !== null,
      without: [
        ...allowed.filter((name) => !checked.includes(name)),
        ...before.without.filter((name) => !allowed.includes(name)),
      ],
    };
    const kinds = new Map(this.datasets.map(({ id, kind }) => [id, kind]));
    if (kinds.get(this.values.generated) !== this.kind) this.values.generated = "";
    keep(DRAFT, this.values);
    this.requestUpdate();
    if (this.values.model === before.model) return;
    this.attempt(async () => {
      await this.loadGraph(true);
      keep(DRAFT, this.values);
    });
  }

  /** @param {SubmitEvent} event */
  submit(event) {
    event.preventDefault();
    this.sending = true;
    this.attempt(async () => {
      try {
        const job = await post("/v1/evaluations", gradeRequest(this.values, this.kind === "features"));
        forget(DRAFT);
        go(`/jobs/${/** @type {{id: string}} */ (job).id}`);
      } finally {
        this.sending = false;
      }
    });
  }
}

/**
 * @param {"reference" | "generated"} name
 * @param {string} label
 * @param {DatasetSummary[]} datasets
 * @param {string} value
 */
function datasetField(name, label, datasets, value) {
  return html`<div class="field"><label for="grade-${name}">${label}</label>
    <select id="grade-${name}" name=${name} required><option value="">choose</option>${datasets.map(
      (dataset) => html`<option value=${dataset.id} .selected=${dataset.id === value}>
        ${dataset.name} (${dataset.kind}, ${number(dataset.samples)} samples)</option>`,
    )}</select></div>`;
}

customElements.define("grade-page", GradePage);
