/** One job, live by its events: phase, progress, losses; cancel, finish, run again. */

import { html, nothing } from "../vendor/lit.js";
import { get, post } from "../shared/api.js";
import { Element, curl, problemBox, statusTag } from "../shared/element.js";
import { time } from "../shared/format.js";
import { followJob } from "../shared/job_events.js";
import { go } from "../router.js";
import { jobProgress } from "../shared/job_progress.js";
import "../shared/chart.js";
import "./job_log.js";

/** @typedef {import("../shared/types").Job} Job */
/** @typedef {import("../shared/types").Training} Training */

/** The sections of the results, by kind of job. @type {Record<string, string>} */
const SECTIONS = {
  quantization: "quantizations",
  evaluation: "evaluations",
  translation: "translators",
  explanation: "explanations",
  analysis: "analyses",
};

class JobPage extends Element {
  constructor() {
    super();
    this.key = "";
    /** @type {Job | null} */
    this.job = null;
    /** @type {Training[]} All points of the tuning, so far. */
    this.points = [];
    this.lost = false;
  }

  connectedCallback() {
    super.connectedCallback();
    this.attempt(async () => {
      this.job = await get(`/v1/jobs/${this.key}`, this.leaving.signal);
      this.follow();
    });
  }

  follow() {
    followJob(this.key, this.leaving.signal, {
      job: (job) => {
        this.job = job;
        this.requestUpdate();
      },
      progress: (progress) => {
        if (this.job?.ended_at === null) this.job = { ...this.job, progress };
        if (progress.training) this.points.push(progress.training);
        this.requestUpdate();
      },
      connection: (lost) => {
        this.lost = lost;
        this.requestUpdate();
      },
    });
  }

  render() {
    const job = this.job;
    const crumb = html`<p class="crumb"><a href="#/jobs">Jobs</a></p>`;
    if (job === null) return html`${crumb} ${this.problem()}`;
    const ended = job.ended_at !== null;
    return html`
      <div class="head"><div>${crumb}<h1>${job.kind} ${statusTag(job.status)}</h1></div>
        <div class="row">${ended ? this.afterwards(job) : this.controls(job)}</div></div>
      ${this.problem()} ${job.error ? problemBox(job.error) : nothing}
      ${
        this.lost && !ended
          ? html`<div class="notice" role="status"><p>The connection was lost. The browser connects again.</p></div>`
          : nothing
      }
      ${ended ? nothing : html`<section class="panel"><h2>Progress</h2>${jobProgress(job.progress)}</section>`}
      ${this.points.length ? this.curves() : nothing}
      <section class="panel"><h2>Job</h2>${this.facts(job)}</section>
      <section class="panel"><h2>Log</h2><job-log .key=${job.id} .ended=${ended}></job-log></section>`;
  }

  /** @param {Job} job */
  controls(job) {
    const translator = job.links.translator?.split("/").pop();
    return html`
      ${translator ? html`<a class="button primary" href="#/translators/${translator}">See it train</a>` : nothing}
      ${
        job.kind === "quantization" || job.kind === "translation"
          ? html`<button ?disabled=${job.ending || job.status !== "running"} @click=${() => this.act("finish")}>
            ${job.ending ? "Stopping" : "Stop and keep"}</button>`
          : nothing
      }
      <button class="danger" @click=${() => this.act("cancel")}>Cancel</button>`;
  }

  /** @param {Job} job */
  afterwards(job) {
    const result = job.result;
    const section = SECTIONS[job.kind] ?? null;
    return html`
      ${
        result !== null && section !== null
          ? html`<a class="button primary" href="#/${section}/${result.id}">See the result</a>`
          : nothing
      }
      ${
        result !== null && section === null
          ? html`<a class="button" href=${job.links.result}>Result as JSON</a>`
          : nothing
      }
      <button @click=${() => this.act("rerun")}>Run again</button>`;
  }

  /** @param {"cancel" | "finish" | "rerun"} action */
  act(action) {
    this.attempt(async () => {
      const job = /** @type {Job} */ (await post(`/v1/jobs/${this.key}/${action}`));
      if (action === "rerun") go(`/jobs/${job.id}`);
      else this.job = job;
    });
  }

  curves() {
    const points = this.points;
    const x = points.map(({ step }) => step);
    const names = [...new Set(points.flatMap(({ losses }) => Object.keys(losses)))];
    const losses = names.map((name) => ({ label: name, values: points.map((point) => positive(point.losses[name])) }));
    const agreement = [{ label: "agreement", values: points.map((point) => point.agreement), points: true }];
    if (points.some((point) => point.accuracy !== null)) {
      agreement.push({ label: "accuracy", values: points.map((point) => point.accuracy), points: true });
    }
    const hasAgreement = points.some((point) => point.agreement !== null);
    return html`<div class="columns">
      <section class="panel"><h2>Losses</h2>
        <line-chart .x=${x} .lines=${losses} .log=${true} .axis=${"step"} .left=${"loss"}
          .label=${`Losses by step: ${names.join(", ")}`}></line-chart></section>
      ${
        hasAgreement
          ? html`<section class="panel"><h2>Agreement with the original</h2>
            <line-chart .x=${x} .lines=${agreement} .axis=${"step"} .left=${"agreement"}
              .label=${"Agreement with the original by step"}></line-chart></section>`
          : nothing
      }</div>`;
  }

  /** @param {Job} job */
  facts(job) {
    const model = job.specification?.model_id;
    return html`<dl class="facts">
        <dt>Id</dt><dd><code>${job.id}</code></dd>
        ${model ? html`<dt>Model</dt><dd><a href="#/models/${model}">${model}</a></dd>` : nothing}
        <dt>Created</dt><dd>${time(job.created_at)}</dd>
        <dt>Started</dt><dd>${time(job.started_at)}</dd>
        <dt>Ended</dt><dd>${time(job.ended_at)}</dd>
        <dt>Attempts</dt><dd>${job.attempts}</dd></dl>
      <details><summary>Request</summary>
        <pre>${JSON.stringify(job.specification?.request ?? {}, null, 2)}</pre></details>
      <details><summary>Follow it by the API</summary>${curl(`curl -N $URL/v1/jobs/${job.id}/events`)}</details>`;
  }
}

/** @param {number | undefined} value A loss; a logarithmic axis has no place for 0. */
function positive(value) {
  return value !== undefined && value > 0 ? value : null;
}

customElements.define("job-page", JobPage);
