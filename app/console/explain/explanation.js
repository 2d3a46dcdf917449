/** One explanation: its units as a gallery, its layers, its analyses. */

import { html, nothing } from "../vendor/lit.js";
import { get, remove } from "../shared/api.js";
import { Element, curlPost, warningList } from "../shared/element.js";
import { decimals, duration, number, shape, time, words } from "../shared/format.js";
import { go, setQuery } from "../router.js";
import { analysesTable, analysisQuestions } from "./analyses_list.js";
import { shareBar } from "../shared/bars.js";
import "./unit_gallery.js";

/** @typedef {import("./explanation_types").AnalysisSummary} AnalysisSummary */
/** @typedef {import("./explanation_types").Explanation} Explanation */
/** @typedef {import("./explanation_types").LayerSummary} LayerSummary */

const SHOWN_CONCEPTS = 10;

class ExplanationPage extends Element {
  constructor() {
    super();
    this.key = "";
    /** @type {Explanation | null} */
    this.explanation = null;
    /** @type {AnalysisSummary[]} */
    this.analyses = [];
    this.asked = false;
  }

  connectedCallback() {
    super.connectedCallback();
    this.attempt(async () => {
      this.explanation = await get(`/v1/explanations/${this.key}`, this.leaving.signal);
      this.requestUpdate();
      this.analyses = (await get(`/v1/explanations/${this.key}/analyses?limit=50`, this.leaving.signal)).items;
    });
  }

  render() {
    const explanation = this.explanation;
    const crumb = html`<p class="crumb"><a href="#/explanations">Explanations</a></p>`;
    if (explanation === null) return html`${crumb} ${this.problem()}`;
    return html`
      <div class="head"><div>${crumb}<h1>${explanation.name}</h1></div>
        <div class="row"><a class="button primary" href="#/explanations/${explanation.id}/analyse">Analyse</a>
          <a class="button" href="/v1/explanations/${explanation.id}/content" download>All units as JSON</a>
          <button class="danger" @click=${() => this.ask(true)}>Delete</button></div></div>
      ${this.problem()} ${this.asked ? this.question() : nothing}
      ${explanationFigures(explanation)}
      ${
        explanation.warnings.length
          ? html`<section class="panel"><h2>Warnings</h2>
            ${warningList(explanation.warnings)}</section>`
          : nothing
      }
      <section class="panel"><h2>Units</h2><unit-gallery .explanation=${explanation}></unit-gallery></section>
      <section class="panel"><h2>Analyses</h2>
        ${
          this.analyses.length
            ? html`${analysesTable(this.analyses)}<h3>Ask</h3>`
            : html`<p>None was made yet. Each answers a question:</p>`
        }
        ${analysisQuestions(explanation.id)}
        <details><summary>The same by the API</summary>
          ${curlPost(`/v1/explanations/${explanation.id}/analyses`, { kind: "abstractions" })}</details></section>
      <div class="columns">
        <section class="panel"><h2>Concepts used most</h2>${explanation.layers.map(
          (layer) => html`${explanation.layers.length > 1 ? html`<h3>${layer.layer}</h3>` : nothing}
            ${mostUsed(layer)}`,
        )}</section>
        <section class="panel"><h2>How it was made</h2>${settingsOf(explanation)}</section>
      </div>
      <section class="panel"><h2>Layers</h2>${layersTable(explanation.layers)}
        <details><summary>Plot of all layers</summary>
          <img class="plot" src="/v1/explanations/${explanation.id}/files/layers.png" loading="lazy"
            alt="For each layer: histogram of the IoU, IoU by ceiling, concepts used most; the tables have the values">
        </details></section>`;
  }

  /** @param {boolean} asked */
  ask(asked) {
    this.asked = asked;
    this.requestUpdate();
  }

  question() {
    return html`<div class="notice" role="alert"><p>Delete this explanation? Its model, its dataset and its analyses are
      kept.</p><div class="row"><button class="danger" @click=${this.delete}>Delete the explanation</button>
        <button @click=${() => this.ask(false)}>Keep it</button></div></div>`;
  }

  delete() {
    this.asked = false;
    this.attempt(async () => {
      await remove(`/v1/explanations/${this.key}`);
      go("/explanations");
    });
  }
}

/** @param {Explanation} explanation */
function explanationFigures({ layers, concept_count, samples }) {
  const sum = (/** @type {(layer: LayerSummary) => number} */ value) =>
    layers.reduce((total, layer) => total + value(layer), 0);
  const explained = sum((layer) => layer.explained);
  const mean = (/** @type {(layer: LayerSummary) => number | null | undefined} */ value) =>
    decimals(explained ? sum((layer) => layer.explained * (value(layer) ?? 0)) / explained : null);
  const proven = sum((layer) => layer.proven);
  return html`<div class="figures">
    <div class="figure"><span class="soft small">Units with a formula</span>
      <b>${number(explained)} of ${number(sum((layer) => layer.units))}</b>
      <span class="small">${number(concept_count)} concepts, ${number(samples)} samples</span></div>
    <div class="figure"><span class="soft small">Mean IoU of the formulas</span>
      <b>${mean((layer) => layer.iou?.mean)}</b>
      <span class="small">${mean((layer) => layer.concept_iou?.mean)} with single concepts</span></div>
    <div class="figure"><span class="soft small">Mean ceiling</span><b>${mean((layer) => layer.mean_ceiling)}</b>
      <span class="small">reached by ${number(sum((layer) => layer.at_ceiling))}</span></div>
    <div class="figure"><span class="soft small">Proven to be best</span><b>${number(proven)}</b>
      <span class="small">${proven ? "of that length" : "the search was beam"}</span></div></div>`;
}

/** @param {LayerSummary} layer */
function mostUsed(layer) {
  const used = layer.most_used.slice(0, SHOWN_CONCEPTS);
  if (used.length === 0) return html`<p>No unit has a formula.</p>`;
  return html`<table class="bars"><thead><tr><th scope="col">Concept</th><th scope="col" class="wide">Category</th>
      <th scope="col"><span class="unseen">Share</span></th><th scope="col" class="number">Units</th></tr></thead>
    <tbody>${used.map(
      ({ concept, category, units }) => html`<tr>
        <th scope="row"><button class="link" @click=${() => showUnitsWith(concept)}>${concept}</button></th>
        <td class="wide soft">${category}</td>
        <td>${shareBar(units / layer.explained)}</td><td class="number">${number(units)}</td></tr>`,
    )}</tbody></table>`;
}

/** @param {string} concept */
function showUnitsWith(concept) {
  setQuery({ concept, cursor: null });
  document.querySelector("unit-gallery")?.scrollIntoView();
}

/** @param {LayerSummary[]} layers */
function layersTable(layers) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Layers"><table>
    <thead><tr><th scope="col">Layer</th><th scope="col" class="wide">Shape</th>
      <th scope="col" class="number">Units</th>
      <th scope="col" class="number">IoU, median</th><th scope="col" class="number wide">Quartiles</th>
      <th scope="col" class="number">Gain</th></tr></thead>
    <tbody>${layers.map(
      ({ layer, shape: sizes, units, explained, iou, gain }) => html`<tr><th scope="row"><code>${layer}</code></th>
        <td class="wide">${shape(sizes)}</td><td class="number">${number(explained)} of ${number(units)}</td>
        <td class="number">${decimals(iou?.median)}</td>
        <td class="number wide">${iou ? `${decimals(iou.lower_quartile)} to ${decimals(iou.upper_quartile)}` : "–"}</td>
        <td class="number">${decimals(gain)}</td></tr>`,
    )}</tbody></table></div>
    <p class="soft small">Gain is the mean increase of the IoU from the best single concept to the formula.</p>`;
}

/** @param {Explanation} explanation */
function settingsOf(explanation) {
  const { settings } = explanation;
  return html`<dl class="facts">
    <dt>Id</dt><dd><code>${explanation.id}</code></dd>
    <dt>Model</dt><dd><a href="#/models/${explanation.model_id}">${explanation.model_id}</a></dd>
    <dt>Dataset</dt><dd><a href="#/datasets/${settings.dataset_id}">${settings.dataset_id}</a></dd>
    <dt>Created</dt><dd>${time(explanation.created_at)}, in ${duration(explanation.seconds)}</dd>
    <dt>Search</dt><dd>${settings.search}, at most ${settings.max_length} concepts</dd>
    <dt>Operators</dt><dd>${settings.operators.map((name) => words(name).toUpperCase()).join(", ")}</dd>
    <dt>Fires above</dt><dd>${
      settings.quantile === null
        ? `activation ${number(settings.threshold)}`
        : `the value that ${number(100 * settings.quantile)} % of the activations exceed`
    }</dd></dl>
    <details><summary>All settings</summary><pre>${JSON.stringify(settings, null, 2)}</pre></details>`;
}

customElements.define("explanation-page", ExplanationPage);
