/** The list of translators: in training, and ready. */

import { html, nothing } from "../vendor/lit.js";
import { get, withQuery } from "../shared/api.js";
import { Element, curl, curlPost, statusTag } from "../shared/element.js";
import { duration, time } from "../shared/format.js";
import { place, setQuery } from "../router.js";
import { METHODS_OF_TRANSLATION } from "./translation_methods.js";
import "./own_generators.js";

/** @typedef {import("../shared/types").TranslatorSummary} TranslatorSummary */
/** @typedef {import("../shared/types").Job} Job */

const EVERY_MS = 3000;
const ACTIVE = ["running", "queued"];

class Translators extends Element {
  constructor() {
    super();
    /** @type {import("../shared/types").Page<TranslatorSummary> | null} */
    this.page = null;
    /** @type {Job[]} Training now, or waiting. */
    this.training = [];
    this.timer = 0;
  }

  connectedCallback() {
    super.connectedCallback();
    window.addEventListener("hashchange", () => this.load(), { signal: this.leaving.signal });
    this.timer = setInterval(() => document.hidden || this.load(true), EVERY_MS);
    this.load();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.timer);
  }

  get query() {
    const { query } = place();
    return {
      name: query.get("name") ?? "",
      method: query.get("method") ?? "",
      cursor: query.get("cursor") ?? "",
    };
  }

  /** @param {boolean} [again] */
  load(again = false) {
    if (place().parts.join("/") !== "translators") return;
    this.attempt(async () => {
      const { signal } = this.leaving;
      this.page = await get(withQuery("/v1/translators", { limit: 20, ...this.query }), signal);
      const lists = await Promise.all(
        ACTIVE.map((status) => get(withQuery("/v1/jobs", { kind: "translation", status, limit: 20 }), signal)),
      );
      const ids = lists.flatMap(({ items }) => items.map((/** @type {Job} */ job) => job.id));
      this.training = await Promise.all(ids.map((id) => get(`/v1/jobs/${id}`, signal)));
    }, again);
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
    const { name, method, cursor } = this.query;
    if (page.items.length === 0 && !name && !method && !cursor) return this.training.length ? soon() : empty();
    return html`<div class="fields">
        <div class="field"><label for="filter-name">Name contains</label>
          <input id="filter-name" type="search" .value=${name}
            @change=${(/** @type {any} */ event) => setQuery({ name: event.target.value, cursor: null })}></div>
        <div class="field"><label for="filter-method">Method</label>
          <select id="filter-method"
            @change=${(/** @type {any} */ event) => setQuery({ method: event.target.value, cursor: null })}>
            <option value="">all</option>
            ${Object.entries(METHODS_OF_TRANSLATION).map(
              ([value, { title }]) => html`<option value=${value} ?selected=${value === method}>${title}</option>`,
            )}
          </select></div></div>
      ${
        page.items.length
          ? html`<div class="scroll" tabindex="0" role="region" aria-label="Translators"><table>
              <thead><tr><th scope="col">Name</th><th scope="col">Method</th><th scope="col">Directions</th>
                <th scope="col" class="wide">Created</th></tr></thead>
              <tbody>${page.items.map(row)}</tbody></table></div>`
          : html`<p>No translator matches.</p>`
      }
      <div class="row">
        ${cursor ? html`<button @click=${() => setQuery({ cursor: null })}>First page</button>` : nothing}
        ${
          page.next_cursor
            ? html`<button @click=${() => setQuery({ cursor: page.next_cursor })}>Next page</button>`
            : nothing
        }</div>`;
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
