/** The list of models, and the upload of one. */

import { html, nothing } from "../vendor/lit.js";
import { curl } from "../shared/element.js";
import { bytes, number, time, words } from "../shared/format.js";
import { ListPage } from "../shared/list_page.js";
import "./upload_model.js";

/** @typedef {import("../shared/types").Page<import("../shared/types").ModelSummary>} ModelPage */

/** @type {[string, string][]} */
const KINDS = [
  ["", "All models"],
  ["false", "Uploaded models"],
  ["true", "Quantized models"],
];

class Models extends ListPage {
  constructor() {
    super("models", ["name", "quantized"]);
  }

  render() {
    return html`
      <div class="head"><div><h1>Models</h1></div></div>
      <section class="panel" aria-labelledby="upload-title">
        <h2 id="upload-title">Upload a model</h2>
        <upload-model></upload-model>
      </section>
      <section class="panel" aria-labelledby="list-title">
        <h2 id="list-title">Models of this service</h2>
        ${this.problem()} ${this.filters()} ${this.page === null ? nothing : this.list(this.page)}
      </section>`;
  }

  filters() {
    if (this.isEmpty) return nothing;
    return html`<div class="fields">
      ${this.search("name", "Name contains")}
      ${this.choice("quantized", "Kind", KINDS)}
    </div>`;
  }

  /** @param {ModelPage} page */
  list(page) {
    if (page.items.length === 0)
      return this.isFiltered ? html`<p>No model matches.</p>` : empty();
    return html`
      <div class="scroll" tabindex="0" role="region" aria-label="Models"><table>
        <thead><tr><th scope="col">Name</th><th scope="col">Task</th><th scope="col" class="number">Size</th>
          <th scope="col" class="number wide">Parameters</th><th scope="col" class="wide">Created</th></tr></thead>
        <tbody>${page.items.map(row)}</tbody>
      </table></div>
      ${this.pager()}`;
  }
}

/** @param {import("../shared/types").ModelSummary} model */
function row(model) {
  const quantization = model.quantization;
  const bits = quantization && `W${quantization.weight_bits}A${quantization.activation_bits}`;
  const tag = quantization && `${quantization.method} ${quantization.mixed ? "mixed" : bits}`;
  const address = quantization && model.derived_from_id ? `#/quantizations/${model.id}` : `#/models/${model.id}`;
  return html`<tr>
    <th scope="row"><a href=${address}>${model.name}</a>
      ${tag === null ? nothing : html`<span class="tag">${tag}</span>`}
    </th>
    <td>${words(model.task)}</td>
    <td class="number">${bytes(model.bytes)}</td>
    <td class="number wide">${number(model.parameters)}</td>
    <td class="wide">${time(model.created_at)}</td>
  </tr>`;
}

function empty() {
  return html`<div class="empty">
    <p>There is no model yet. Choose an ONNX file above, or send one by the API:</p>
    ${curl("curl $URL/v1/models -F file=@model.onnx")}
    <p class="soft">From torch: <code>faceter export-torch package.module:model --input-shape 1,3,224,224 --output
      model.onnx</code>. It keeps BatchNorm, which methods without data need.</p>
  </div>`;
}

customElements.define("models-page", Models);
