/** One translator: its training, live; trying it; its quality; its files. */

import { html, nothing } from "../vendor/lit.js";
import { get, post, remove } from "../shared/api.js";
import { Element, problemBox, statusTag } from "../shared/element.js";
import { duration, number, time } from "../shared/format.js";
import { followJob } from "../shared/job_events.js";
import { jobProgress } from "../shared/job_progress.js";
import { qualityOfTranslation } from "./translation_quality.js";
import { go } from "../router.js";
import { METHODS_OF_TRANSLATION } from "./translation_methods.js";
import "./contact_sheets.js";
import "./translate_image.js";
import "./translator_losses.js";

/** @typedef {import("../shared/types").Translator} Translator */
/** @typedef {import("../shared/types").Job} Job */
/** @typedef {import("../shared/types").LossPoint} LossPoint */

const EVERY_MS = 3000;
const ENDED_BY = {
  budget: "the budget was used up",
  request: "it was stopped",
  time_limit: "the limit of time for jobs was reached",
  diverged: "a loss was not finite; the last finite state is kept",
};

class TranslatorPage extends Element {
  constructor() {
    super();
    this.key = "";
    /** @type {Translator | null} */
    this.translator = null;
    /** @type {Job | null} The job of its training, while it runs. */
    this.job = null;
    /** @type {LossPoint[]} */
    this.points = [];
    /** @type {{step: number, links: Record<string, string>}[]} */
    this.sheets = [];
    this.lost = false;
    this.asked = false;
    this.timer = 0;
  }

  connectedCallback() {
    super.connectedCallback();
    this.timer = setInterval(() => document.hidden || this.again(), EVERY_MS);
    this.attempt(async () => {
      await this.load();
      if (this.translator?.status !== "ready" && this.translator?.job_id) this.follow(this.translator.job_id);
    });
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.timer);
  }

  again() {
    if (this.inTraining) this.attempt(() => this.load(), true);
  }

  get inTraining() {
    return this.translator?.status === "running" || this.translator?.status === "queued";
  }

  async load() {
    const { signal } = this.leaving;
    const address = `/v1/translators/${this.key}`;
    const translator = /** @type {Translator} */ (await get(address, signal));
    const ready = translator.status === "ready" && translator.training != null;
    if (ready) this.points = (await get(`${address}/curves`, signal)).points;
    if (ready || translator.checkpoint) this.sheets = (await get(`${address}/samples`, signal)).items;
    this.translator = translator;
  }

  /** @param {string} id Of the job */
  follow(id) {
    followJob(id, this.leaving.signal, {
      job: (job) => {
        this.job = job;
        if (job.ended_at !== null) this.attempt(() => this.load());
        this.requestUpdate();
      },
      progress: (progress) => {
        if (this.translator !== null) this.translator = { ...this.translator, progress };
        if (progress.training) this.points = [...this.points, progress.training];
        this.requestUpdate();
      },
      connection: (lost) => {
        this.lost = lost;
        this.requestUpdate();
      },
    });
  }

  render() {
    const { translator } = this;
    const crumb = html`<p class="crumb"><a href="#/translators">Translators</a></p>`;
    if (translator === null) return html`${crumb} ${this.problem()}`;
    const ready = translator.status === "ready";
    const method = translator.settings && METHODS_OF_TRANSLATION[translator.settings.method].title;
    return html`
      <div class="head"><div>${crumb}<h1>${translator.name} ${ready ? nothing : statusTag(translator.status)}</h1>
          <p class="soft">${method ?? "Uploaded generators"}, ${time(translator.created_at)}</p></div>
        <div class="row">${ready ? this.downloads(translator) : this.controls()}</div></div>
      ${this.problem()} ${this.asked ? this.question(translator) : nothing}
      ${translator.error ? problemBox(translator.error) : nothing}
      ${
        this.lost && this.inTraining
          ? html`<div class="notice" role="status"><p>The connection was lost. The browser connects again.</p></div>`
          : nothing
      }
      ${
        this.inTraining
          ? html`<section class="panel"><h2>Progress</h2>${jobProgress(translator.progress ?? null)}</section>`
          : nothing
      }
      ${ready ? trial(translator) : nothing} ${this.training()}
      ${!ready && translator.checkpoint ? trial(translator) : nothing}
      ${
        ready
          ? html`${qualityOfTranslation(translator)}
            ${translator.warnings?.length ? warnings(translator.warnings) : nothing} ${facts(translator)}`
          : nothing
      }`;
  }

  training() {
    const { sheets, points, translator } = this;
    return html`
      ${
        sheets.length || this.inTraining
          ? html`<section class="panel"><h2>Contact sheets</h2>${
              sheets.length
                ? html`<contact-sheets .sheets=${sheets}></contact-sheets>`
                : html`<p>The first one comes with the first checkpoint, about a minute after the start of the
                  training.</p>`
            }</section>`
          : nothing
      }
      ${points.length ? html`<translator-losses .points=${points}></translator-losses>` : nothing}
      ${
        translator !== null && ["failed", "canceled"].includes(translator.status)
          ? html`<p>The training ended without a translator. <a href="#/jobs/${translator.job_id}">Its job</a> can be
            run again.</p>`
          : nothing
      }`;
  }

  controls() {
    if (!this.inTraining) return nothing;
    const ending = this.job?.ending ?? false;
    return html`<button ?disabled=${ending || this.translator?.status !== "running"}
        @click=${() => this.act("finish")}>${ending ? "Stopping" : "Stop and keep"}</button>
      <button class="danger" @click=${() => this.act("cancel")}>Cancel</button>`;
  }

  /** @param {"finish" | "cancel"} action */
  act(action) {
    this.attempt(async () => {
      this.job = await post(`/v1/jobs/${this.translator?.job_id}/${action}`);
    });
  }

  /** @param {Translator} translator */
  downloads({ id, training }) {
    return html`
      ${training ? html`<a class="button" href="#/translators/new?resume=${id}">Train further</a>` : nothing}
      <button class="danger" @click=${() => this.ask(true)}>Delete</button>`;
  }

  /** @param {boolean} asked */
  ask(asked) {
    this.asked = asked;
    this.requestUpdate();
  }

  /** @param {Translator} translator */
  question({ name }) {
    return html`<div class="notice" role="alert"><p>Delete ${name}? Its generators are kept as models; its checkpoint,
        contact sheets and curves are deleted.</p>
      <div class="row"><button class="danger" @click=${this.delete}>Delete the translator</button>
        <button @click=${() => this.ask(false)}>Keep it</button></div></div>`;
  }

  delete() {
    this.asked = false;
    this.attempt(async () => {
      await remove(`/v1/translators/${this.key}`);
      go("/translators");
    });
  }
}

/** @param {Translator} translator */
function trial(translator) {
  return html`<section class="panel"><h2>Translate your own image</h2>
    <translate-image .translator=${translator}></translate-image></section>`;
}

/** @param {string[]} texts */
function warnings(texts) {
  return html`<section class="panel"><h2>Warnings</h2>
    <ul class="notes">${texts.map((text) => html`<li>${text}</li>`)}</ul></section>`;
}

/** @param {Translator} translator */
function facts({ id, training, settings, model_ids, job_id }) {
  return html`<div class="columns">
    <section class="panel"><h2>Files</h2><ul class="notes">
      ${Object.entries(model_ids ?? {}).map(
        ([direction, model]) => html`<li><a href="/v1/models/${model}/content" download>Download ${direction}.onnx</a>,
          the generator from ${direction === "a2b" ? "A to B" : "B to A"}.
          <a href="#/models/${model}">The model ${direction}</a></li>`,
      )}
      <li><a href="/v1/translators/${id}/content" download>Download the archive</a>: generators${
        training ? ", curves, contact sheets and the last checkpoint" : ""
      }, as a zip.</li></ul></section>
    ${
      training && settings
        ? html`<section class="panel"><h2>Training</h2><dl class="facts">
          <dt>Steps</dt><dd>${number(training.steps)} in ${duration(training.seconds)},
            ${number(training.steps_per_second)} steps/s</dd>
          <dt>Passes</dt><dd>${number(training.epochs)} over the larger domain</dd>
          <dt>Ended</dt><dd>${ENDED_BY[/** @type {"budget"} */ (training.ended_by)] ?? training.ended_by}</dd>
          <dt>Precision</dt><dd>${training.precision}</dd>
          <dt>Dataset</dt><dd><a href="#/datasets/${settings.dataset_id}">${settings.dataset_id}</a></dd>
          <dt>Job</dt><dd><a href="#/jobs/${job_id}">${job_id}</a></dd></dl>
          <details><summary>Request</summary><pre>${JSON.stringify(settings, null, 2)}</pre></details></section>`
        : nothing
    }</div>`;
}

customElements.define("translator-page", TranslatorPage);
