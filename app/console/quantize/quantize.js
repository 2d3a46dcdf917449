/** The form to quantize a model. */

import { html, nothing } from "../vendor/lit.js";
import { get, post } from "../shared/api.js";
import { forget, keep, kept } from "../shared/draft.js";
import { Element, curl, curlPost } from "../shared/element.js";
import { bytes } from "../shared/format.js";
import { METHODS, obstacle } from "./methods.js";
import { go, place } from "../router.js";

/** @typedef {import("../shared/types").Model} Model */
/** @typedef {import("../shared/types").Graph} Graph */
/** @typedef {import("../shared/types").DatasetSummary} DatasetSummary */

const MAX_BITS = 8;

class QuantizePage extends Element {
  constructor() {
    super();
    this.key = "";
    /** @type {Model | null} */
    this.model = null;
    /** @type {Graph | null} */
    this.graph = null;
    /** @type {DatasetSummary[]} */
    this.datasets = [];
    this.method = "auto";
    this.weightBits = 8;
    this.activationBits = 8;
    this.goal = "bits";
    this.drop = "1";
    this.kilobytes = "";
    this.budget = "default";
    this.amount = "6";
    this.calibration = "";
    this.evaluation = "";
    this.sending = false;
  }

  connectedCallback() {
    super.connectedCallback();
    Object.assign(this, kept(this.draft, {}));
    const most = place().query.get("max_bytes");
    if (most !== null) Object.assign(this, { goal: "bytes", kilobytes: String(Number(most) / 1000) });
    this.attempt(async () => {
      const address = `/v1/models/${this.key}`;
      this.model = await get(address, this.leaving.signal);
      this.graph = await get(`${address}/graph`, this.leaving.signal);
      this.datasets = (await get("/v1/datasets?limit=100", this.leaving.signal)).items;
      if (!this.datasets.some(({ id }) => id === this.calibration)) this.calibration = "";
      if (!this.datasets.some(({ id }) => id === this.evaluation)) this.evaluation = "";
    });
  }

  render() {
    const { model, graph } = this;
    const crumb = html`<p class="crumb"><a href="#/models">Models</a> / <a href="#/models/${this.key}">${
      model?.name ?? this.key
    }</a></p>`;
    if (model === null || graph === null) return html`${crumb} ${this.problem()}`;
    const method = this.chosen;
    const hindrance = obstacle(method, graph, this.calibration !== "");
    return html`<div class="head"><div>${crumb}<h1>Quantize</h1></div></div>
      <form @submit=${this.submit} @input=${this.read} @change=${this.read}>
        ${this.problem()}
        <div class="columns">
          <section class="panel"><h2>Method</h2>
            <div class="field"><label for="method">Method</label>
              <select id="method" name="method" aria-describedby="method-about">${METHODS.map(
                ({ name }) => html`<option value=${name} ?selected=${name === this.method}>${name}</option>`,
              )}</select>
              <span class="soft" id="method-about">${method.about}</span></div>
            ${hindrance ? html`<div class="notice"><p>${hindrance}</p></div>` : nothing}
            ${method.tunes ? this.budgetFields() : nothing}
          </section>
          <section class="panel"><h2>Bits</h2>${this.goalFields(method.tunes)} ${this.estimate(model)}</section>
        </div>
        <section class="panel"><h2>Data <span class="soft small">(optional)</span></h2>
          <div class="fields">
            ${this.datasetField("calibration", "Calibration dataset: sets the ranges of activations", this.calibration)}
            ${this.datasetField("evaluation", "Evaluation dataset: measures accuracy", this.evaluation)}
          </div>
          ${
            this.datasets.length
              ? nothing
              : html`<p class="soft small">There is no dataset. None is needed. To measure accuracy,
                upload labelled images:</p>
                ${curl("curl $URL/v1/datasets -F kind=images -F file=@test.zip")}`
          }
        </section>
        <section class="panel">
          <div class="row"><button class="primary" ?disabled=${this.sending || hindrance !== ""}>Start the job</button>
            <span aria-live="polite">${this.sending ? "Sending" : ""}</span></div>
          <details><summary>The same by the API</summary>
            ${curlPost(`/v1/models/${model.id}/quantizations`, this.request)}</details>
        </section>
      </form>`;
  }

  budgetFields() {
    return html`<div class="fields">
      <div class="field"><label for="budget">Budget</label>
        <select id="budget" name="budget">
          <option value="default" ?selected=${this.budget === "default"}>default for these bits</option>
          <option value="max_minutes" ?selected=${this.budget === "max_minutes"}>minutes</option>
          <option value="max_steps" ?selected=${this.budget === "max_steps"}>steps</option>
        </select></div>
      ${
        this.budget === "default"
          ? nothing
          : html`<div class="field"><label for="amount">${this.budget === "max_minutes" ? "Minutes" : "Steps"}</label>
            <input id="amount" name="amount" type="number" min="0" step="any" required .value=${this.amount}></div>`
      }
    </div>
    <p class="soft small">When the budget is used up, the best model so far is kept.</p>`;
  }

  /** @param {boolean} tunes */
  goalFields(tunes) {
    const goals = { bits: "these bits", drop: "a largest drop", bytes: "a size of the weights" };
    return html`
      ${
        tunes
          ? html`<fieldset><legend>Give</legend><div class="row">${Object.entries(goals).map(
              ([name, title]) => html`<span><input type="radio" id="goal-${name}" name="goal" value=${name}
              ?checked=${this.goal === name}> <label for="goal-${name}">${title}</label></span>`,
            )}</div></fieldset>`
          : nothing
      }
      ${
        this.target === "bits"
          ? html`${slider("weightBits", "Bits of weights", this.weightBits)}
            ${slider("activationBits", "Bits of activations", this.activationBits)}`
          : nothing
      }
      ${
        this.target === "drop"
          ? html`<div class="field"><label for="drop">Largest drop, percentage points</label>
            <input id="drop" name="drop" type="number" min="0" max="100" step="any" required .value=${this.drop}>
            <span class="soft">Of accuracy on the evaluation dataset, or without one of agreement with
              the original.</span></div>`
          : nothing
      }
      ${
        this.target === "bytes"
          ? html`<div class="field"><label for="kilobytes">Size of all weights, kB</label>
            <input id="kilobytes" name="kilobytes" type="number" min="0.001" step="any" required
              .value=${this.kilobytes}></div>`
          : nothing
      }`;
  }

  /** @param {Model} model */
  estimate(model) {
    const before = model.parameters * 4;
    if (this.target !== "bits") {
      return html`<p class="soft small">Bits are chosen for each layer. The weights have
        ${bytes(before)} in float32.</p>`;
    }
    const after = (model.parameters * this.weightBits) / 8;
    return html`<p aria-live="polite">Weights: about <strong>${bytes(after)}</strong> of ${bytes(before)}.</p>
      <p class="soft small">An estimate: parameters × bits / 8, without scales and what stays float.</p>`;
  }

  /**
   * @param {string} name
   * @param {string} label
   * @param {string} value
   */
  datasetField(name, label, value) {
    return html`<div class="field"><label for=${name}>${label}</label><select id=${name} name=${name}>
      <option value="">none</option>
      ${this.datasets.map(
        (dataset) => html`<option value=${dataset.id} ?selected=${dataset.id === value}>
        ${dataset.name} (${dataset.kind}, ${dataset.samples} samples)</option>`,
      )}</select></div>`;
  }

  /** @param {Event} event */
  read(event) {
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    /** @type {Record<string, unknown>} */
    const values = Object.fromEntries(new FormData(form));
    for (const name of ["weightBits", "activationBits"]) if (name in values) values[name] = Number(values[name]);
    Object.assign(this, values);
    keep(this.draft, { ...kept(this.draft, {}), ...values });
    this.requestUpdate();
  }

  get draft() {
    return `quantize/${this.key}`;
  }

  get chosen() {
    return METHODS.find(({ name }) => name === this.method) ?? METHODS[0];
  }

  /** The goal that is asked for: a target needs a method with tuning. */
  get target() {
    return this.chosen.tunes ? this.goal : "bits";
  }

  get request() {
    /** @type {Record<string, unknown>} */
    const request = { method: this.method };
    if (this.target === "bits") {
      request.weight_bits = this.weightBits;
      request.activation_bits = this.activationBits;
    }
    if (this.target === "drop") request.target = { max_drop: Number(this.drop) };
    if (this.target === "bytes") request.target = { max_bytes: Math.round(Number(this.kilobytes) * 1000) };
    if (this.chosen.tunes && this.budget !== "default") request[this.budget] = Number(this.amount);
    if (this.calibration) request.calibration_dataset_id = this.calibration;
    if (this.evaluation) request.evaluation_dataset_id = this.evaluation;
    return request;
  }

  /** @param {SubmitEvent} event */
  submit(event) {
    event.preventDefault();
    this.sending = true;
    this.attempt(async () => {
      try {
        const job = await post(`/v1/models/${this.key}/quantizations`, this.request);
        forget(this.draft);
        go(`/jobs/${/** @type {{id: string}} */ (job).id}`);
      } finally {
        this.sending = false;
      }
    });
  }
}

/**
 * @param {string} name
 * @param {string} label
 * @param {number} value
 */
function slider(name, label, value) {
  return html`<div class="field"><div class="between"><label for=${name}>${label}</label>
      <output for=${name}>${value}</output></div>
    <input id=${name} name=${name} type="range" min="2" max=${MAX_BITS} step="1" .value=${String(value)}></div>`;
}

customElements.define("quantize-page", QuantizePage);
