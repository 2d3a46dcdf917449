/** The list of models, and the upload of one. */

import { html, nothing } from "../vendor/lit.js";
import { get, withQuery } from "../shared/api.js";
import { Element, curl } from "../shared/element.js";
import { bytes, number, time, words } from "../shared/format.js";
import { place, setQuery } from "../router.js";
import "./upload_model.js";

/** @typedef {import("../shared/types").Page<import("../shared/types").ModelSummary>} ModelPage */

const LIMIT = 20;

class Models extends Element {
  constructor() {
    super();
    /** @type {ModelPage | null} */
    this.page = null;
    this.cursor = "";
    this.name = "";
    this.kind = "";
  }

  connectedCallback() {
    super.connectedCallback();
    window.addEventListener("hashchange", () => this.load(), { signal: this.leaving.signal });
    this.load();
  }

  load() {
    const { parts, query } = place();
    if (parts[0] !== "models" || parts.length > 1) return;
    this.cursor = query.get("cursor") ?? "";
    this.name = query.get("name") ?? "";
    this.kind = query.get("quantized") ?? "";
    const path = withQuery("/v1/models", {
      limit: LIMIT,
      cursor: this.cursor,
      name: this.name,
      quantized: this.kind,
    });
    this.attempt(async () => {
      this.page = await get(path, this.leaving.signal);
    });
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
    if (this.page !== null && this.page.items.length === 0 && !this.name && !this.kind && !this.cursor) return nothing;
    return html`<div class="fields">
      <div class="field"><label for="filter-name">Name contains</label>
        <input id="filter-name" type="search" .value=${this.name}
          @change=${(/** @type {any} */ event) => setQuery({ name: event.target.value, cursor: null })}></div>
      <div class="field"><label for="filter-kind">Kind</label>
        <select id="filter-kind"
          @change=${(/** @type {any} */ event) => setQuery({ quantized: event.target.value, cursor: null })}>
          <option value="" ?selected=${this.kind === ""}>All models</option>
          <option value="false" ?selected=${this.kind === "false"}>Uploaded models</option>
          <option value="true" ?selected=${this.kind === "true"}>Quantized models</option>
        </select></div>
    </div>`;
  }

  /** @param {ModelPage} page */
  list(page) {
    if (page.items.length === 0)
      return this.name || this.kind || this.cursor ? html`<p>No model matches.</p>` : empty();
    return html`
      <div class="scroll" tabindex="0" role="region" aria-label="Models"><table>
        <thead><tr><th scope="col">Name</th><th scope="col">Task</th><th scope="col" class="number">Size</th>
          <th scope="col" class="number wide">Parameters</th><th scope="col" class="wide">Created</th></tr></thead>
        <tbody>${page.items.map(row)}</tbody>
      </table></div>
      <div class="row">
        ${this.cursor ? html`<button @click=${() => setQuery({ cursor: null })}>First page</button>` : nothing}
        ${
          page.next_cursor
            ? html`<button @click=${() => setQuery({ cursor: page.next_cursor })}>Next page</button>`
            : nothing
        }
      </div>`;
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
