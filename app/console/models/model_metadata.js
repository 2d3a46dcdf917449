/** What was understood of a stored model, and a form to correct it. */

import { html, nothing } from "../vendor/lit.js";
import { ApiError, file, remove, upload } from "../shared/api.js";
import { Element } from "../shared/element.js";
import { go } from "../router.js";
import { metadataFacts } from "./metadata_facts.js";
import { metadataFields, readMetadata } from "./metadata_fields.js";

/** @typedef {import("../shared/types").Model} Model */
/** @typedef {import("../shared/types").Metadata} Metadata */

class ModelMetadata extends Element {
  static properties = { model: { attribute: false } };

  constructor() {
    super();
    this.model = /** @type {Model} */ (/** @type {unknown} */ (null));
    this.editing = false;
    /** @type {string} */
    this.state = "";
  }

  render() {
    return this.editing ? this.form() : this.facts();
  }

  facts() {
    return html`${metadataFacts(this.model)}
      ${this.model.derived_from_id ? nothing : html`<button @click=${this.edit}>Correct it</button>`}`;
  }

  edit() {
    this.failure = null;
    this.editing = true;
    this.requestUpdate();
    this.updateComplete.then(() => this.querySelector("select")?.focus());
  }

  form() {
    return html`<form @submit=${this.save}>
      ${this.problem()} ${metadataFields(this.model)}
      <p class="soft small">The API has no change of a stored model: the file is stored again with these values, under a
        new id, and then this model is deleted.</p>
      <div class="row"><button class="primary" ?disabled=${this.state !== ""}>Keep these values</button>
        <button type="button" @click=${() => {
          this.editing = false;
          this.requestUpdate();
        }}>Back</button>
        <span aria-live="polite">${this.state}</span></div>
    </form>`;
  }

  /** @param {SubmitEvent} event */
  save(event) {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    this.attempt(async () => {
      const metadata = readMetadata(new FormData(form), this.model);
      try {
        this.state = "Sending the file again";
        this.requestUpdate();
        const made = await this.again(metadata);
        try {
          await remove(`/v1/models/${this.model.id}`);
          go(`/models/${made.id}`);
        } catch (error) {
          if (!(error instanceof ApiError)) throw error;
          go(`/models/${made.id}?kept=${encodeURIComponent(error.problem.detail)}`);
        }
      } finally {
        this.state = "";
      }
    });
  }

  /**
   * Store the file again with other metadata.
   * @param {Partial<Metadata>} metadata
   * @returns {Promise<{id: string}>}
   */
  async again(metadata) {
    const address = `/v1/models/${this.model.id}`;
    const body = new FormData();
    body.set("name", this.model.name);
    body.set("metadata", JSON.stringify(metadata));
    body.set("file", await file(`${address}/content`), `${this.model.name}.onnx`);
    if ("tokenizer.json" in this.model.files) {
      body.set("tokenizer", await file(`${address}/files/tokenizer.json`), "tokenizer.json");
    }
    return upload("/v1/models", body, () => {});
  }
}

customElements.define("model-metadata", ModelMetadata);
