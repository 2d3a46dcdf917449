/** Drop or choose an ONNX file; it is sent with its progress, then its page opens. */

import { html, nothing } from "../vendor/lit.js";
import { upload } from "../api.js";
import { Element } from "../element.js";
import { bytes } from "../format.js";
import { go } from "../router.js";

class UploadModel extends Element {
  constructor() {
    super();
    this.over = false;
    /** @type {number | null} Fraction that was sent; null if nothing is being sent */
    this.sent = null;
    this.sending = "";
  }

  render() {
    return html`${this.problem()}
      <div class="drop ${this.over ? "over" : ""}" @dragover=${this.drag} @dragleave=${this.leave} @drop=${this.drop}>
        <p><label for="model-file">Drop an ONNX file here, or choose one</label></p>
        <input id="model-file" type="file" accept=".onnx,.json" multiple
          ?disabled=${this.sent !== null} @change=${this.choose}>
        <p class="soft small">A text model: choose its <code>tokenizer.json</code> with it.</p>
        <div aria-live="polite">${
          this.sent === null
            ? nothing
            : html`<p>${this.sent < 1 ? `Sending ${this.sending}` : `Checking ${this.sending}`}</p>
              <progress aria-label="Upload" max="1" .value=${this.sent}></progress>`
        }</div>
      </div>`;
  }

  /** @param {DragEvent} event */
  drag(event) {
    event.preventDefault();
    this.over = true;
    this.requestUpdate();
  }

  leave() {
    this.over = false;
    this.requestUpdate();
  }

  /** @param {DragEvent} event */
  drop(event) {
    event.preventDefault();
    this.leave();
    this.send([...(event.dataTransfer?.files ?? [])]);
  }

  /** @param {Event} event */
  choose(event) {
    const input = /** @type {HTMLInputElement} */ (event.target);
    const files = [...(input.files ?? [])];
    input.value = "";
    this.send(files);
  }

  /** @param {File[]} files */
  send(files) {
    const tokenizer = files.find((file) => file.name.endsWith(".json"));
    const model = files.find((file) => file !== tokenizer);
    if (model === undefined || this.sent !== null) return;
    const form = new FormData();
    form.set("file", model);
    if (tokenizer !== undefined) form.set("tokenizer", tokenizer);
    this.sending = `${model.name} (${bytes(model.size)})`;
    this.sent = 0;
    this.attempt(async () => {
      try {
        const made = await upload("/v1/models", form, (fraction) => {
          this.sent = fraction;
          this.requestUpdate();
        });
        go(`/models/${/** @type {{id: string}} */ (made).id}?new=yes`);
      } finally {
        this.sent = null;
      }
    });
  }
}

customElements.define("upload-model", UploadModel);
