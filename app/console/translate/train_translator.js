/** The form to train a translator. */

import { html, nothing } from "../vendor/lit.js";
import { get, post } from "../shared/api.js";
import { forget, keep, kept } from "../shared/draft.js";
import { Element, curl, curlPost } from "../shared/element.js";
import { trainingFields } from "./training_fields.js";
import { go, place } from "../router.js";
import { METHODS_OF_TRANSLATION, SIZES, trainingRequest } from "./translation_methods.js";

/** @typedef {import("../shared/types").DatasetSummary} DatasetSummary */

const DRAFT = "translators/new";

class TrainTranslator extends Element {
  constructor() {
    super();
    /** @type {DatasetSummary[] | null} Those of two domains. */
    this.datasets = null;
    /** @type {Record<string, string>} */
    this.values = kept(DRAFT, { method: "cyclegan", direction: "a2b", size: "cpu", ...SIZES.cpu.values });
    this.sending = false;
  }

  connectedCallback() {
    super.connectedCallback();
    this.attempt(async () => {
      this.datasets = (await get("/v1/datasets?kind=domains&limit=100", this.leaving.signal)).items;
      const resumed = place().query.get("resume");
      if (resumed) await this.resume(resumed);
    });
  }

  /**
   * Take over the settings of a translator, whose training is to be continued.
   * @param {string} id
   */
  async resume(id) {
    const { settings } = await get(`/v1/translators/${id}`, this.leaving.signal);
    const { max_minutes, epochs, ...rest } = settings;
    const texts = Object.entries(rest).filter(([, value]) => ["string", "number"].includes(typeof value));
    this.values = {
      ...Object.fromEntries(texts.map(([name, value]) => [name, String(value)])),
      size: "own",
      budget: epochs === null ? "max_minutes" : "epochs",
      amount: String(epochs ?? max_minutes ?? 200),
      resume_from_id: id,
    };
  }

  render() {
    return html`<div class="head"><div><p class="crumb"><a href="#/translators">Translators</a></p>
        <h1>Train a translator</h1></div></div>
      ${this.problem()}
      ${this.datasets === null ? nothing : this.datasets.length ? this.form(this.datasets) : needsDataset()}`;
  }

  /** @param {DatasetSummary[]} datasets */
  form(datasets) {
    const { values } = this;
    const fitting = values.method === "pix2pix" ? datasets.filter(({ paired }) => paired) : datasets;
    return html`<form @submit=${this.submit} @input=${this.read}>
      ${
        values.resume_from_id
          ? html`<div class="notice"><p>The training of <a href="#/translators/${values.resume_from_id}">
              ${values.resume_from_id}</a> is continued: its networks, with the settings below.
              <button type="button" @click=${this.startAnew}>Start from new networks</button></p></div>`
          : nothing
      }
      <div class="columns">
        <section class="panel">${this.methodFields()}</section>
        <section class="panel"><h2>Data</h2>
          ${
            fitting.length
              ? html`${this.datasetField("dataset_id", "Images of both domains", fitting, true)}
                ${this.datasetField("evaluation_dataset_id", "Held-out images (optional)", datasets, false)}
                <p class="soft small">Contact sheets and evaluation use the held-out images; without them, those of the
                  training. Another dataset: <a href="#/datasets">upload it</a>.</p>`
              : html`<div class="notice"><p>pix2pix needs pairs, and no dataset has them.
                <a href="#/datasets">Upload one</a> in which each <code>A/NAME</code> belongs to
                <code>B/NAME</code>, or by the API:</p></div>
                ${curl("curl $URL/v1/datasets -F kind=domains -F paired=true -F file=@pairs.zip")}`
          }
        </section>
      </div>
      ${trainingFields(values)}
      <section class="panel">
        <div class="row"><button class="primary" ?disabled=${this.sending || fitting.length === 0}>
            Start training</button>
          <span aria-live="polite">${this.sending ? "Sending" : ""}</span></div>
        <details><summary>The same by the API</summary>
          ${curlPost("/v1/translators", this.request(fitting))}</details>
      </section></form>`;
  }

  methodFields() {
    const { method, direction } = this.values;
    return html`
      <fieldset class="bare"><legend>Method</legend>${Object.entries(METHODS_OF_TRANSLATION).map(
        ([name, { title, about }]) => html`<p class="choice">
          <input type="radio" id="method-${name}" name="method" value=${name} .checked=${name === method}
            aria-describedby="about-${name}">
          <label for="method-${name}">${title}</label>
          <span class="soft small" id="about-${name}">${about}</span></p>`,
      )}</fieldset>
      ${
        method === "pix2pix"
          ? html`<div class="field"><label for="direction">Direction to learn</label>
            <select id="direction" name="direction">
              <option value="a2b" ?selected=${direction === "a2b"}>from A to B</option>
              <option value="b2a" ?selected=${direction === "b2a"}>from B to A</option></select></div>`
          : nothing
      }`;
  }

  /**
   * @param {string} name
   * @param {string} label
   * @param {DatasetSummary[]} datasets
   * @param {boolean} required
   */
  datasetField(name, label, datasets, required) {
    return html`<div class="field"><label for=${name}>${label}</label><select id=${name} name=${name}>
      ${required ? nothing : html`<option value="">none</option>`}
      ${datasets.map(
        ({ id, name: title, samples, paired }) => html`<option value=${id} ?selected=${id === this.values[name]}>
          ${title} (${samples} images${paired ? ", pairs" : ""})</option>`,
      )}</select></div>`;
  }

  startAnew() {
    const { resume_from_id, ...rest } = this.values;
    this.values = rest;
    history.replaceState(null, "", "#/translators/new");
    this.keep();
  }

  /** @param {Event} event */
  read(event) {
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    const read = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value)]));
    const chosen = read.size !== this.values.size ? SIZES[read.size]?.values : undefined;
    const changed = event.target instanceof HTMLInputElement && event.target.closest("[data-sizes]") !== null;
    this.values = { ...this.values, ...read, ...chosen, ...(changed ? { size: "own" } : {}) };
    this.keep();
  }

  keep() {
    keep(DRAFT, this.values);
    this.requestUpdate();
  }

  /** @param {DatasetSummary[]} fitting The datasets that the method can use */
  request(fitting) {
    const dataset = fitting.find(({ id }) => id === this.values.dataset_id) ?? fitting[0];
    return trainingRequest({ ...this.values, dataset_id: dataset?.id ?? "" });
  }

  /** @param {SubmitEvent} event */
  submit(event) {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
    this.sending = true;
    this.attempt(async () => {
      try {
        const request = trainingRequest({ ...this.values, dataset_id: String(form.get("dataset_id")) });
        const made = await post("/v1/translators", request);
        forget(DRAFT);
        go(`/translators/${/** @type {{id: string}} */ (made).id}`);
      } finally {
        this.sending = false;
      }
    });
  }
}

function needsDataset() {
  return html`<section class="panel empty"><h2>First, the images</h2>
    <p>Training needs a dataset of kind <code>domains</code>: a zip with the images of one domain in <code>A/</code> and
      those of the other in <code>B/</code>. If each <code>A/NAME</code> belongs to <code>B/NAME</code>, upload it as
      paired: then pix2pix can learn from the pairs.</p>
    <p><a class="button primary" href="#/datasets">Upload a dataset</a></p>
    <p>By the API:</p>
    ${curl("curl $URL/v1/datasets -F kind=domains -F file=@domains.zip")}</section>`;
}

customElements.define("train-translator-page", TrainTranslator);
