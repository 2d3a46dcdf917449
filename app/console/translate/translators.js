/** The list of translators: in training, and ready. */

import { html, nothing } from "../vendor/lit.js";
import { get, withQuery } from "../shared/api.js";
import { curl, curlPost, statusTag } from "../shared/element.js";
import { duration, time } from "../shared/format.js";
import { ListPage } from "../shared/list_page.js";
import { METHODS_OF_TRANSLATION } from "./translation_methods.js";
import "./own_generators.js";

/** @typedef {import("../shared/types").TranslatorSummary} TranslatorSummary */
/** @typedef {import("../shared/types").Job} Job */

const EVERY_MS = 3000;
const ACTIVE = ["running", "queued"];

/** @type {[string, string][]} */
const METHODS = [
  ["", "all"],
  ...Object.entries(METHODS_OF_TRANSLATION).map(
    ([name, { title }]) => /** @type {[string, string]} */ ([name, title]),
  ),
];

class Translators extends ListPage {
  constructor() {
    super("translators", ["name", "method"], EVERY_MS);
    /** @type {Job[]} Training now, or waiting. */
    this.training = [];
  }

  /** @param {AbortSignal} signal */
  async read(signal) {
    await super.read(signal);
    const lists = await Promise.all(
      ACTIVE.map((status) => get(withQuery("/v1/jobs", { kind: "translation", status, limit: 20 }), signal)),
    );
    const ids = lists.flatMap(({ items }) => items.map((/** @type {Job} */ job) => job.id));
    this.training = await Promise.all(ids.map((id) => get(`/v1/jobs/${id}`, signal)));
  }

  render() {
    return html`<div class="head"><div><h1>Translators</h1></div>
        <div class="row"><a class="button primary" href="#/translators/new">Train a translator</a></div></div>
      ${this.problem()}
      ${
        this.training.length
          ? html`<section class="panel" aria-labelledby="training-title"><h2 id="training-title">In training</h2>
            <ul class="plain">${this.training.map(training)}</ul></section>`
          : nothing
      }
      <section class="panel" aria-labelledby="ready-title"><h2 id="ready-title">Ready</h2>
        ${this.page === null ? nothing : this.list(this.page)}</section>
      <section class="panel"><details><summary>From generators that you have as ONNX files</summary>
        <own-generators></own-generators></details></section>`;
  }

  /** @param {import("../shared/types").Page<TranslatorSummary>} page */
  list(page) {
    if (this.isEmpty) return this.training.length ? soon() : empty();
    return html`<div class="fields">
        ${this.search("name", "Name contains")}
        ${this.choice("method", "Method", METHODS)}</div>
      ${
        page.items.length
          ? html`<div class="scroll" tabindex="0" role="region" aria-label="Translators"><table>
              <thead><tr><th scope="col">Name</th><th scope="col">Method</th><th scope="col">Directions</th>
                <th scope="col" class="wide">Created</th></tr></thead>
              <tbody>${page.items.map(row)}</tbody></table></div>`
          : html`<p>No translator matches.</p>`
      }
      ${this.pager()}`;
  }
}

/** @param {Job} job */
function training(job) {
  const id = job.links.translator.split("/").pop();
  const { progress } = job;
  const name = job.specification?.request?.name ?? id;
  return html`<li><div class="between"><span><a href="#/translators/${id}">${name}</a> ${statusTag(job.status)}</span>
      <span class="soft small">${progress === null ? "waits for a worker" : `${duration(progress.eta_seconds)} left`}
      </span></div>
    <progress aria-label="Progress of ${name}" max="1" value=${progress?.fraction ?? 0}></progress></li>`;
}

/** @param {TranslatorSummary} translator */
function row({ id, name, method, model_ids, created_at }) {
  return html`<tr><th scope="row"><a href="#/translators/${id}">${name}</a></th>
    <td>${method === null ? "uploaded generators" : METHODS_OF_TRANSLATION[method].title}</td>
    <td>${Object.keys(model_ids).join(", ")}</td><td class="wide">${time(created_at)}</td></tr>`;
}

function soon() {
  return html`<p>None is ready yet. The one in training can be tried from its first checkpoint on.</p>`;
}

function empty() {
  return html`<div class="empty">
    <p>There is no translator yet. A translator turns images of one domain into images of another, such as streets at
      dusk into streets by day.</p>
    <ol class="notes">
      <li>Upload a dataset of kind <code>domains</code>: a zip with the images of one domain in <code>A/</code> and
        those of the other in <code>B/</code>. Use <a href="#/datasets">Datasets</a>, or the API:
        ${curl("curl $URL/v1/datasets -F kind=domains -F file=@domains.zip")}</li>
      <li>Train on it. Use <a href="#/translators/new">Train a translator</a>, or the API:
        ${curlPost("/v1/translators", { method: "cyclegan", dataset_id: "dts_…", image_size: 128, max_minutes: 60 })}
      </li>
    </ol></div>`;
}

customElements.define("translators-page", Translators);
