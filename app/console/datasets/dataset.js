/** One dataset: what was understood of it, samples, classes, concepts; what to do with it. */

import { html, nothing } from "../vendor/lit.js";
import { get, remove } from "../shared/api.js";
import { datasetKind } from "./dataset_kinds.js";
import { Element, curl, warningList } from "../shared/element.js";
import { bytes, number, time } from "../shared/format.js";
import { GRADED_KINDS } from "../grade/grade_request.js";
import { go, place } from "../router.js";
import "./sample_images.js";

/** @typedef {import("./dataset_types").Dataset} Dataset */

class DatasetPage extends Element {
  constructor() {
    super();
    this.key = "";
    /** @type {Dataset | null} */
    this.record = null;
    this.asked = false;
  }

  connectedCallback() {
    super.connectedCallback();
    this.attempt(async () => {
      this.record = await get(`/v1/datasets/${this.key}`, this.leaving.signal);
    });
  }

  render() {
    const dataset = this.record;
    const crumb = html`<p class="crumb"><a href="#/datasets">Datasets</a></p>`;
    if (dataset === null) return html`${crumb} ${this.problem()}`;
    const kind = datasetKind(dataset.kind);
    return html`
      <div class="head">
        <div>${crumb}<h1>${dataset.name}</h1></div>
        <div class="row">
          <a class="button" href="/v1/datasets/${dataset.id}/content" download>Download</a>
          <button class="danger" @click=${() => this.ask(true)}>Delete</button>
        </div>
      </div>
      ${this.problem()} ${this.asked ? this.question(dataset) : nothing}
      ${
        place().query.has("new")
          ? html`<div class="notice" role="status"><p>The dataset is stored; every sample was checked. Check below what
              was understood of it.</p></div>`
          : nothing
      }
      ${
        dataset.warnings.length
          ? html`<section class="panel"><h2>Warnings</h2>
            ${warningList(dataset.warnings)}</section>`
          : nothing
      }
      <div class="columns">
        <section class="panel"><h2>What was understood</h2>${facts(dataset)}</section>
        <section class="panel"><h2>What to do with it</h2><p>${kind.use}</p>${uses(dataset)}
          <details><summary>The same by the API</summary>
            ${curl(`curl $URL/v1/datasets/${dataset.id}\ncurl $URL/v1/datasets/${dataset.id}/content -O -J`)}</details>
        </section>
      </div>
      ${
        kind.hasImages
          ? html`<section class="panel"><h2>Samples</h2>
            <sample-images .record=${dataset}></sample-images></section>`
          : nothing
      }
      ${classes(dataset)} ${concepts(dataset)}
      ${Object.keys(dataset.files).length ? files(dataset) : nothing}`;
  }

  /** @param {boolean} asked */
  ask(asked) {
    this.asked = asked;
    this.requestUpdate();
  }

  /** @param {Dataset} dataset */
  question(dataset) {
    return html`<div class="notice" role="alert"><p>Delete ${dataset.name}? Results computed with it are kept.</p>
      <div class="row"><button class="danger" @click=${this.delete}>Delete the dataset</button>
        <button @click=${() => this.ask(false)}>Keep it</button></div></div>`;
  }

  delete() {
    this.asked = false;
    this.attempt(async () => {
      await remove(`/v1/datasets/${this.key}`);
      go("/datasets");
    });
  }
}

/** @param {Dataset} dataset */
function facts(dataset) {
  return html`<dl class="facts">
    <dt>Kind</dt><dd>${datasetKind(dataset.kind).title} <code>${dataset.kind}</code></dd>
    <dt>Samples</dt><dd>${number(dataset.samples)}</dd>
    <dt>Classes</dt><dd>${dataset.classes.length ? number(dataset.classes.length) : "none"}</dd>
    ${
      dataset.paired === null
        ? nothing
        : html`<dt>Pairs</dt><dd>${dataset.paired ? "images of equal names are pairs" : "no"}</dd>`
    }
    <dt>Size</dt><dd>${bytes(dataset.bytes)}</dd>
    <dt>Created</dt><dd>${time(dataset.created_at)}</dd>
    <dt>Id</dt><dd><code>${dataset.id}</code></dd>
    ${
      dataset.derived_from_id
        ? html`<dt>Made from</dt><dd><a href="#/models/${dataset.derived_from_id}">${dataset.derived_from_id}</a></dd>`
        : nothing
    }</dl>`;
}

/** @param {Dataset} dataset */
function uses({ id, kind }) {
  if (kind === "domains") return html`<p><a class="button" href="#/translators/new">Train a translator</a></p>`;
  return html`<p class="row">
    ${
      GRADED_KINDS.includes(kind)
        ? html`<a class="button" href="#/evaluations/new?reference=${id}">Grade against it</a>
          <a class="button" href="#/evaluations/new?generated=${id}">Grade it</a>`
        : nothing
    }
    ${kind === "features" ? nothing : html`<a class="button" href="#/models">Choose a model</a>`}</p>`;
}

/** @param {Dataset} dataset */
function classes(dataset) {
  const counts = Object.entries(dataset.class_counts);
  if (counts.length === 0) return nothing;
  const most = Math.max(...counts.map(([, count]) => count));
  const what = dataset.kind === "detection" ? "Boxes" : dataset.kind === "domains" ? "Images" : "Samples";
  return html`<section class="panel"><h2>${dataset.kind === "domains" ? "Domains" : "Classes"}</h2>
    <div class="scroll tall" tabindex="0" role="region" aria-label="Classes"><table>
      <thead><tr><th scope="col">Name</th><th scope="col">Relative</th>
        <th scope="col" class="number">${what}</th></tr></thead>
      <tbody>${counts.map(
        ([name, count]) => html`<tr><th scope="row">${name}</th>
          <td><progress class="share" aria-label="Share of ${name}" max=${most} value=${count}></progress></td>
          <td class="number">${number(count)}</td></tr>`,
      )}</tbody></table></div></section>`;
}

/** @param {Dataset} dataset */
function concepts(dataset) {
  const categories = Object.entries(dataset.concepts);
  if (categories.length === 0) return nothing;
  return html`<section class="panel"><h2>Concepts</h2><dl class="facts">${categories.map(
    ([category, names]) => html`<dt>${category}</dt><dd>${names.join(", ")}</dd>`,
  )}</dl></section>`;
}

/** @param {Dataset} dataset */
function files(dataset) {
  return html`<section class="panel"><h2>Further files</h2><ul class="notes">${Object.entries(dataset.files).map(
    ([name, { bytes: size }]) =>
      html`<li><a href="/v1/datasets/${dataset.id}/files/${name}">${name}</a>, ${bytes(size)}</li>`,
  )}</ul></section>`;
}

customElements.define("dataset-page", DatasetPage);
