/** One model: what was understood of it, its graph, trying it, what was made of it. */

import { html, nothing } from "../vendor/lit.js";
import { get, remove } from "../shared/api.js";
import { Element, curlPost, warningList } from "../shared/element.js";
import { bytes, number, shape, time } from "../shared/format.js";
import { go, place } from "../router.js";
import "../explain/model_explanations.js";
import "./model_graph.js";
import "./model_metadata.js";
import "./try_model.js";

/** @typedef {import("../shared/types").Model} Model */
/** @typedef {import("../shared/types").ModelSummary} ModelSummary */

class ModelPage extends Element {
  constructor() {
    super();
    this.key = "";
    /** @type {Model | null} */
    this.model = null;
    /** @type {ModelSummary[]} */
    this.made = [];
    this.asked = false;
  }

  connectedCallback() {
    super.connectedCallback();
    this.attempt(async () => {
      this.model = await get(`/v1/models/${this.key}`, this.leaving.signal);
      this.requestUpdate();
      const path = `/v1/models/${this.key}/quantizations?limit=20`;
      this.made = (await get(path, this.leaving.signal)).items;
    });
  }

  render() {
    const model = this.model;
    if (model === null) return html`<p class="crumb"><a href="#/models">Models</a></p>${this.problem()}`;
    return html`
      <div class="head">
        <div><p class="crumb"><a href="#/models">Models</a></p><h1>${model.name}</h1></div>
        <div class="row">
          ${
            model.quantization
              ? html`<a class="button primary" href="#/quantizations/${model.id}">Report</a>`
              : html`<a class="button primary" href="#/models/${model.id}/quantize">Quantize</a>`
          }
          <a class="button" href="#/models/${model.id}/explain">Explain</a>
          <a class="button" href="/v1/models/${model.id}/content" download>Download</a>
          <button class="danger" @click=${this.ask}>Delete</button>
        </div>
      </div>
      ${this.problem()} ${this.asked ? this.question(model) : nothing}
      ${
        place().query.has("kept")
          ? html`<div class="notice" role="status"><p>The model with the earlier values is kept.
            ${place().query.get("kept")}</p></div>`
          : nothing
      }
      ${
        model.warnings.length
          ? html`<section class="panel"><h2>Warnings</h2>
            ${warningList(model.warnings)}</section>`
          : nothing
      }
      <section class="panel"><h2>What was understood</h2><model-metadata .model=${model}></model-metadata></section>
      <section class="panel"><h2>Try it</h2><try-model .models=${[model]}></try-model></section>
      <div class="columns">
        <section class="panel"><h2>File</h2>${facts(model)}</section>
        <section class="panel"><h2>Graph</h2><model-graph .key=${model.id}></model-graph></section>
      </div>
      ${model.quantization ? nothing : this.quantized(model)}
      <section class="panel"><h2>Explanations</h2><model-explanations .key=${model.id}></model-explanations></section>`;
  }

  /** @param {Model} model */
  quantized(model) {
    if (this.made.length === 0) {
      return html`<section class="panel"><h2>Quantized models</h2>
        <p>None was made of this model yet. <a href="#/models/${model.id}/quantize">Quantize it</a>, or by the API:</p>
        ${curlPost(`/v1/models/${model.id}/quantizations`, { method: "dfq", weight_bits: 8 })}</section>`;
    }
    return html`<section class="panel"><h2>Quantized models</h2>
      <ul class="notes">${this.made.map(
        (item) => html`<li><a href="#/quantizations/${item.id}">${item.name}</a>, ${item.quantization?.method},
          W${item.quantization?.weight_bits}A${item.quantization?.activation_bits}, ${bytes(item.bytes)}</li>`,
      )}</ul></section>`;
  }

  ask() {
    this.asked = true;
    this.requestUpdate();
  }

  /** @param {Model} model */
  question(model) {
    return html`<div class="notice" role="alert"><p>Delete ${model.name}? Models made from it are kept.</p>
      <div class="row"><button class="danger" @click=${this.delete}>Delete the model</button>
        <button @click=${() => {
          this.asked = false;
          this.requestUpdate();
        }}>Keep it</button></div></div>`;
  }

  delete() {
    this.asked = false;
    this.attempt(async () => {
      await remove(`/v1/models/${this.key}`);
      go("/models");
    });
  }
}

/** @param {Model} model */
function facts(model) {
  return html`<dl class="facts">
    <dt>Id</dt><dd><code>${model.id}</code></dd>
    <dt>Created</dt><dd>${time(model.created_at)}</dd>
    <dt>Size</dt><dd>${bytes(model.bytes)}</dd>
    <dt>Parameters</dt><dd>${number(model.parameters)}</dd>
    <dt>Opset</dt><dd>${model.opset}</dd>
    ${model.inputs.map(
      (spec) => html`<dt>Input</dt>
      <dd><code>${spec.name}</code> ${spec.dtype} ${shape(spec.shape)}</dd>`,
    )}
    ${model.outputs.map(
      (spec) => html`<dt>Output</dt><dd><code>${spec.name}</code> ${spec.dtype} ${shape(spec.shape)}</dd>`,
    )}
    ${
      model.derived_from_id
        ? html`<dt>Made from</dt><dd><a href="#/models/${model.derived_from_id}">${model.derived_from_id}</a></dd>`
        : nothing
    }
  </dl>`;
}

customElements.define("model-page", ModelPage);
