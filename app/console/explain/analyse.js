/** The form to analyse an explanation. */

import { html } from "../vendor/lit.js";
import { get, post } from "../shared/api.js";
import { ANALYSES } from "./analysis_kinds.js";
import { ANALYSIS_DEFAULTS, analysisRequest } from "./analysis_options.js";
import { forget, keep, kept } from "../shared/draft.js";
import { Element, curlPost } from "../shared/element.js";
import { analysisFields } from "./analysis_fields.js";
import { go, place, setQuery } from "../router.js";

/** @typedef {import("./analysis_options.js").AnalysisValues} AnalysisValues */
/** @typedef {import("./explanation_types").AnalysisKind} AnalysisKind */
/** @typedef {import("./explanation_types").Explanation} Explanation */
/** @typedef {import("./analysis_fields.js").Choices} Choices */
/** @typedef {import("../shared/types").DatasetSummary} DatasetSummary */
/** @typedef {import("../shared/types").ModelSummary} ModelSummary */

class AnalysePage extends Element {
  constructor() {
    super();
    this.key = "";
    /** @type {Choices | null} */
    this.choices = null;
    this.values = ANALYSIS_DEFAULTS;
    this.sending = false;
  }

  connectedCallback() {
    super.connectedCallback();
    this.values = kept(this.draft, ANALYSIS_DEFAULTS);
    window.addEventListener("hashchange", () => this.requestUpdate(), { signal: this.leaving.signal });
    this.attempt(async () => {
      const explanation = /** @type {Explanation} */ (await get(`/v1/explanations/${this.key}`, this.leaving.signal));
      const model = await get(`/v1/models/${explanation.model_id}`, this.leaving.signal);
      const kinds = await Promise.all(
        ["images", "detection"].map((kind) => get(`/v1/datasets?kind=${kind}&limit=100`, this.leaving.signal)),
      );
      const labelled = kinds
        .flatMap(({ items }) => items)
        .filter((/** @type {DatasetSummary} */ one) => one.class_count);
      const quantized = (await get(`/v1/models/${model.id}/quantizations?limit=100`, this.leaving.signal)).items;
      const all = /** @type {ModelSummary[]} */ ((await get("/v1/models?limit=100", this.leaving.signal)).items);
      const origin = all.filter(
        ({ id, derived_from_id }) =>
          model.derived_from_id !== null && id !== model.id && [id, derived_from_id].includes(model.derived_from_id),
      );
      this.choices = { explanation, model, labelled, relatives: [...quantized, ...origin] };
      if (!this.values.dataset) this.values.dataset = labelled[0]?.id ?? "";
    });
  }

  get draft() {
    return `analyse/${this.key}`;
  }

  /** @returns {AnalysisKind} */
  get kind() {
    const kind = place().query.get("kind") ?? "";
    return kind in ANALYSES ? /** @type {AnalysisKind} */ (kind) : "abstractions";
  }

  get request() {
    const about = this.choices?.explanation.about;
    const values = about === "images" ? this.values : { ...this.values, dataset: "" };
    return analysisRequest(this.kind, values);
  }

  render() {
    const { choices, kind } = this;
    const crumb = html`<p class="crumb"><a href="#/explanations">Explanations</a> /
      <a href="#/explanations/${this.key}">${choices?.explanation.name ?? this.key}</a></p>`;
    if (choices === null) return html`${crumb} ${this.problem()}`;
    const missing = this.missing(choices);
    return html`<div class="head"><div>${crumb}<h1>Analyse</h1></div></div>
      <form @submit=${this.submit} @input=${this.read} @change=${this.read}>
        ${this.problem()}
        <div class="columns">
          <section class="panel"><h2>Question</h2>
            <fieldset><legend>Kind of the analysis</legend>${Object.entries(ANALYSES).map(
              ([name, { title, question }]) => html`<p class="choice">
              <input type="radio" id="kind-${name}" name="kind" value=${name} .checked=${name === kind}
                aria-describedby="about-${name}">
              <label for="kind-${name}">${title}</label>
              <span class="soft small" id="about-${name}">${question}</span></p>`,
            )}</fieldset></section>
          <section class="panel"><h2>${ANALYSES[kind].title}</h2><p class="soft">${ANALYSES[kind].about}</p>
            ${analysisFields(kind, this.values, choices)}</section>
        </div>
        <section class="panel">
          <div class="row"><button class="primary" ?disabled=${this.sending || missing !== ""}>Start the job</button>
            <span aria-live="polite">${this.sending ? "Sending" : missing}</span></div>
          <details><summary>The same by the API</summary>
            ${curlPost(`/v1/explanations/${this.key}/analyses`, this.request)}</details>
        </section></form>`;
  }

  /** @param {Choices} choices */
  missing({ explanation, model, labelled, relatives }) {
    if (this.kind === "interpretability" && explanation.about === "images" && labelled.length === 0)
      return "A labelled dataset is needed.";
    if (this.kind === "copy_paste" && explanation.about === "signals") return "Signals cannot be edited so.";
    if (this.kind === "copy_paste" && !model.metadata.labels?.length) return "The model has no labels.";
    if (this.kind === "drift" && relatives.length === 0) return "There is no model to compare with.";
    if (this.kind === "drift" && this.values.models.length === 0) return "Check at least one model.";
    return "";
  }

  /** @param {Event} event */
  read(event) {
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    const texts = [...form].filter(([name]) => name in ANALYSIS_DEFAULTS);
    const models = this.kind === "drift" ? form.getAll("models") : this.values.models;
    this.values = /** @type {AnalysisValues} */ ({ ...this.values, ...Object.fromEntries(texts), models });
    keep(this.draft, this.values);
    const kind = String(form.get("kind"));
    if (kind !== this.kind) setQuery({ kind });
    this.requestUpdate();
  }

  /** @param {SubmitEvent} event */
  submit(event) {
    event.preventDefault();
    this.sending = true;
    this.attempt(async () => {
      try {
        const job = await post(`/v1/explanations/${this.key}/analyses`, this.request);
        forget(this.draft);
        go(`/jobs/${/** @type {{id: string}} */ (job).id}`);
      } finally {
        this.sending = false;
      }
    });
  }
}

customElements.define("analyse-page", AnalysePage);
