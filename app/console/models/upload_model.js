/** Drop or choose an ONNX file: it is checked first, what was understood can be corrected, then it is kept. */

import { html, nothing } from "../vendor/lit.js";
import { upload } from "../shared/api.js";
import { DropArea } from "../shared/drop_area.js";
import { warningList } from "../shared/element.js";
import { bytes, number, shape } from "../shared/format.js";
import { go } from "../router.js";
import { metadataFacts } from "./metadata_facts.js";
import { metadataFields, readMetadata } from "./metadata_fields.js";

/** @typedef {import("../shared/types").ModelDescription} ModelDescription */
/** @typedef {import("../shared/types").Metadata} Metadata */

class UploadModel extends DropArea {
  constructor() {
    super();
    /** @type {{model: File, tokenizer: File | undefined} | null} */
    this.files = null;
    /** @type {ModelDescription | null} What the check found */
    this.found = null;
    /** @type {Partial<Metadata> | null} What was entered in the form */
    this.metadata = null;
    this.editing = false;
    /** @type {{step: string, fraction: number} | null} */
    this.sending = null;
  }

  render() {
    const files = this.files;
    if (this.found === null || files === null) return html`${this.problem()} ${this.dropzone()}`;
    return html`<h3>${this.found.name}: what was understood of it</h3>
      ${this.problem()} ${this.editing ? this.form(this.found) : this.facts(this.found, files.model)}`;
  }

  dropzone() {
    return html`<div class="drop ${this.over ? "over" : ""}" @dragover=${this.drag} @dragleave=${this.leave}
        @drop=${this.drop}>
      <p><label for="model-file">Drop an ONNX file here, or choose one</label></p>
      <input id="model-file" type="file" accept=".onnx,.json" multiple
        ?disabled=${this.sending !== null} @change=${this.choose}>
      <p class="soft small">A text model: choose its <code>tokenizer.json</code> with it. The file is checked; then you
        decide whether it is kept.</p>
      ${this.progress()}
    </div>`;
  }

  progress() {
    const sending = this.sending;
    return html`<div aria-live="polite">${
      sending === null
        ? nothing
        : html`<p>${sending.fraction < 1 ? "Sending the file" : sending.step}</p>
          <progress aria-label="Upload" max="1" .value=${sending.fraction}></progress>`
    }</div>`;
  }

  /**
   * @param {ModelDescription} found
   * @param {File} file
   */
  facts(found, file) {
    const busy = this.sending !== null;
    return html`<dl class="facts">
        <dt>File</dt><dd>${file.name}, ${bytes(file.size)}, ${number(found.parameters)} parameters, opset
          ${found.opset}</dd>
        ${found.inputs.map(
          (spec) => html`<dt>Input</dt><dd><code>${spec.name}</code> ${spec.dtype} ${shape(spec.shape)}</dd>`,
        )}
        ${found.outputs.map(
          (spec) => html`<dt>Output</dt><dd><code>${spec.name}</code> ${spec.dtype} ${shape(spec.shape)}</dd>`,
        )}
      </dl>
      ${metadataFacts(found)}
      ${
        found.warnings.length
          ? warningList(found.warnings)
          : nothing
      }
      <div class="row">
        <button class="primary" ?disabled=${busy} @click=${this.keep}>Keep the model</button>
        <button ?disabled=${busy} @click=${this.edit}>Correct it</button>
        <button ?disabled=${busy} @click=${this.discard}>Discard</button>
      </div>
      ${this.progress()}`;
  }

  /** @param {ModelDescription} found */
  form(found) {
    const busy = this.sending !== null;
    return html`<form @submit=${this.checkAgain}>
      ${metadataFields(found)}
      <div class="row"><button class="primary" ?disabled=${busy}>Check these values</button>
        <button type="button" ?disabled=${busy} @click=${() => this.show(false)}>Back</button></div>
      ${this.progress()}
    </form>`;
  }

  /** @param {DataTransfer} transfer */
  dropped(transfer) {
    this.check([...transfer.files]);
  }

  /** @param {Event} event */
  choose(event) {
    const input = /** @type {HTMLInputElement} */ (event.target);
    const files = [...(input.files ?? [])];
    input.value = "";
    this.check(files);
  }

  /** @param {File[]} files */
  check(files) {
    const tokenizer = files.find((file) => file.name.endsWith(".json"));
    const model = files.find((file) => file !== tokenizer);
    if (model === undefined || this.sending !== null) return;
    this.files = { model, tokenizer };
    this.metadata = null;
    this.attempt(async () => {
      this.found = await this.send("/v1/models/check", `Checking ${model.name}`);
      this.show(false);
    });
  }

  /** @param {SubmitEvent} event */
  checkAgain(event) {
    event.preventDefault();
    const entered = new FormData(/** @type {HTMLFormElement} */ (event.target));
    this.attempt(async () => {
      if (this.found === null) return;
      this.metadata = readMetadata(entered, this.found);
      this.found = await this.send("/v1/models/check", "Checking these values");
      this.show(false);
    });
  }

  keep() {
    this.attempt(async () => {
      const made = await this.send("/v1/models", "Storing the model");
      go(`/models/${/** @type {{id: string}} */ (made).id}`);
    });
  }

  edit() {
    this.show(true);
    this.updateComplete.then(() => this.querySelector("select")?.focus());
  }

  /** @param {boolean} editing */
  show(editing) {
    this.failure = null;
    this.editing = editing;
    this.requestUpdate();
    if (!editing) this.updateComplete.then(() => this.querySelector("button")?.focus());
  }

  discard() {
    this.files = this.found = this.metadata = this.failure = null;
    this.requestUpdate();
    this.updateComplete.then(() => this.querySelector("input")?.focus());
  }

  /**
   * Send the file with what was entered.
   * @template T
   * @param {string} path
   * @param {string} step What the service does once it has the file
   * @returns {Promise<T>}
   */
  async send(path, step) {
    const form = new FormData();
    if (this.files !== null) form.set("file", this.files.model);
    if (this.files?.tokenizer !== undefined) form.set("tokenizer", this.files.tokenizer);
    if (this.metadata !== null) form.set("metadata", JSON.stringify(this.metadata));
    try {
      return await upload(path, form, (fraction) => {
        this.sending = { step, fraction };
        this.requestUpdate();
      });
    } finally {
      this.sending = null;
    }
  }
}

customElements.define("upload-model", UploadModel);
