/** The form to explain units of a model. */

import { html, nothing } from "../vendor/lit.js";
import { get, post } from "../shared/api.js";
import { forget, keep, kept } from "../shared/draft.js";
import { Element, curlPost } from "../shared/element.js";
import { EXPLANATION_DEFAULTS, PROBE_KINDS, explanationRequest, probeKinds } from "./explanation_options.js";
import { number } from "../shared/format.js";
import { usualLayer } from "../shared/layers.js";
import { firingFields, formulaFields, furtherFields } from "./explanation_fields.js";
import { layerChoice } from "../shared/layer_choice.js";
import "../datasets/upload_dataset.js";
import { go } from "../router.js";

/** @typedef {import("./explanation_options.js").ExplanationValues} ExplanationValues */
/** @typedef {import("../shared/types").DatasetSummary} DatasetSummary */
/** @typedef {import("../shared/types").Graph} Graph */
/** @typedef {import("../shared/types").Model} Model */

const LISTS = /** @type {const} */ (["layers", "operators", "derived"]);

class ExplainPage extends Element {
  constructor() {
    super();
    this.key = "";
    /** @type {Model | null} */
    this.model = null;
    /** @type {Graph | null} */
    this.graph = null;
    /** @type {DatasetSummary[]} */
    this.datasets = [];
    /** @type {ExplanationValues} */
    this.values = EXPLANATION_DEFAULTS;
    this.all = false;
    this.sending = false;
  }

  connectedCallback() {
    super.connectedCallback();
    this.values = kept(this.draft, EXPLANATION_DEFAULTS);
    this.load();
  }

  load() {
    this.attempt(async () => {
      const model = /** @type {Model} */ (await get(`/v1/models/${this.key}`, this.leaving.signal));
      const graph = /** @type {Graph} */ (await get(`/v1/models/${this.key}/graph`, this.leaving.signal));
      const pages = await Promise.all(
        probeKinds(model).map((kind) => get(`/v1/datasets?kind=${kind}&limit=100`, this.leaving.signal)),
      );
      this.datasets = pages.flatMap(({ items }) => items);
      this.values.layers ??= [usualLayer(graph)];
      if (!this.datasets.some(({ id }) => id === this.values.dataset)) this.values.dataset = this.datasets[0]?.id ?? "";
      this.model = model;
      this.graph = graph;
    });
  }

  get draft() {
    return `explain/${this.key}`;
  }

  get samples() {
    const kind = this.datasets.find(({ id }) => id === this.values.dataset)?.kind ?? "concepts";
    return PROBE_KINDS[kind].samples;
  }

  render() {
    const { model, graph, values } = this;
    const crumb = html`<p class="crumb"><a href="#/models">Models</a> / <a href="#/models/${this.key}">${
      model?.name ?? this.key
    }</a></p>`;
    if (model === null || graph === null) return html`${crumb} ${this.problem()}`;
    const head = html`<div class="head"><div>${crumb}<h1>Explain units</h1></div></div>`;
    if (this.datasets.length === 0) return html`${head} ${this.problem()} ${this.needsProbe(model)}`;
    const layers = values.layers ?? [];
    return html`${head}
      <form @submit=${this.submit} @input=${this.read} @change=${this.read}>
        ${this.problem()}
        <div class="columns">
          <section class="panel"><h2>What is explained</h2>
            ${this.datasetField()} ${layerChoice(graph, layers, this.all)}</section>
          <section class="panel"><h2>How</h2>
            ${firingFields(values, this.samples)} ${formulaFields(values, this.samples)}
            ${furtherFields(values, this.samples)}</section>
        </div>
        <section class="panel">
          <div class="row"><button class="primary" ?disabled=${this.sending || layers.length === 0}>
              Start the job</button>
            <span aria-live="polite">${
              this.sending ? "Sending" : layers.length ? nothing : "Check at least one layer."
            }</span></div>
          <details><summary>The same by the API</summary>
            ${curlPost(`/v1/models/${model.id}/explanations`, explanationRequest(values, this.samples))}</details>
        </section></form>`;
  }

  /** @param {Model} model */
  needsProbe(model) {
    const kinds = probeKinds(model);
    return html`<section class="panel empty"><h2>A dataset with concepts is needed</h2>
      <p>Formulas are made of the concepts of a dataset: for this model ${kinds.map(
        (kind, index) => html`${index ? " or " : ""}<b>${PROBE_KINDS[kind].about}</b>`,
      )}. There is none yet.</p>
      <upload-dataset .kinds=${kinds} @stored=${this.load}></upload-dataset></section>`;
  }

  datasetField() {
    return html`<div class="field"><label for="dataset">Dataset with labelled concepts</label>
      <select id="dataset" name="dataset" aria-describedby="dataset-about">${this.datasets.map(
        ({ id, name, kind, samples }) => html`<option value=${id} ?selected=${id === this.values.dataset}>
          ${name} (${number(samples)} ${PROBE_KINDS[kind].samples})</option>`,
      )}</select>
      <span class="soft" id="dataset-about">Formulas are made of its concepts.
        Another one: <a href="#/datasets">upload it</a>.</span></div>`;
  }

  /** @param {Event} event */
  read(event) {
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    const texts = [...form].filter(([name]) => name in EXPLANATION_DEFAULTS);
    /** @type {Record<string, unknown>} */
    const values = { ...this.values, ...Object.fromEntries(texts), cut: form.has("cut") };
    for (const name of LISTS) values[name] = form.getAll(name);
    const shown = new Set([.../** @type {HTMLFormElement} */ (event.currentTarget).elements].map((field) => field.id));
    for (const layer of this.values.layers ?? [])
      if (!shown.has(`layer-${layer}`)) /** @type {string[]} */ (values.layers).push(layer);
    this.all = form.has("all");
    this.values = /** @type {ExplanationValues} */ (values);
    keep(this.draft, values);
    this.requestUpdate();
  }

  /** @param {SubmitEvent} event */
  submit(event) {
    event.preventDefault();
    this.sending = true;
    this.attempt(async () => {
      try {
        const job = await post(`/v1/models/${this.key}/explanations`, explanationRequest(this.values, this.samples));
        forget(this.draft);
        go(`/jobs/${/** @type {{id: string}} */ (job).id}`);
      } finally {
        this.sending = false;
      }
    });
  }
}

customElements.define("explain-page", ExplainPage);
