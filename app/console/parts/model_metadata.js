/** What was understood of a model, where each part came from, and a form to correct it. */

import { html, nothing } from "../vendor/lit.js";
import { ApiError, file, remove, upload } from "../api.js";
import { Element } from "../element.js";
import { words } from "../format.js";
import { go } from "../router.js";
import { metadataFields, readMetadata } from "./metadata_fields.js";

/** @typedef {import("../types").Model} Model */
/** @typedef {import("../types").Metadata} Metadata */

const SOURCES = { said: "said on upload", file: "from the file", inferred: "from the graph" };

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
    const { metadata } = this.model;
    const preprocessing = metadata.preprocessing;
    const rest = Object.entries(metadata).filter(
      ([name, value]) => value !== null && !["task", "labels", "preprocessing"].includes(name),
    );
    return html`
      <dl class="facts">
        <dt>Task</dt><dd>${words(metadata.task)} ${this.source("task")}</dd>
        <dt>Labels</dt><dd>${metadata.labels ? labels(metadata.labels) : "none"} ${this.source("labels")}</dd>
        <dt>Preprocessing</dt><dd>${
          preprocessing
            ? html`${preprocessing.size.join(" × ")} pixels, ${preprocessing.resize}, ${preprocessing.channel_order},
              scale ${preprocessing.scale.toPrecision(4)}, mean ${preprocessing.mean.join(", ")},
              std ${preprocessing.std.join(", ")}`
            : "none"
        } ${this.source("preprocessing")}</dd>
        ${this.parts().map(
          ([name, from]) => html`<dt>${words(name)}</dt><dd><span class="tag">${SOURCES[from]}</span></dd>`,
        )}
        ${rest.map(
          ([name, value]) => html`<dt>${words(name)}</dt>
            <dd><code>${typeof value === "string" ? value : JSON.stringify(value)}</code> ${this.source(name)}</dd>`,
        )}
      </dl>
      ${
        metadata.preprocessing === null && this.model.inputs.some((spec) => spec.shape.length === 4)
          ? html`<p class="soft">Without preprocessing, the model takes tensors only. Give it to
              try the model on images.</p>`
          : nothing
      }
      ${this.model.derived_from_id ? nothing : html`<button @click=${this.edit}>Correct it</button>`}`;
  }

  /** @param {string} name */
  source(name) {
    const from = this.model.metadata_sources[name];
    return from === undefined ? nothing : html`<span class="tag">${SOURCES[from]}</span>`;
  }

  parts() {
    return Object.entries(this.model.metadata_sources).filter(([name]) => name.includes("."));
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

/** @param {string[]} names */
function labels(names) {
  const first = names.slice(0, 12).join(", ");
  if (names.length <= 12) return first;
  return html`${first} … <details><summary>All ${names.length}</summary>${names.join(", ")}</details>`;
}

customElements.define("model-metadata", ModelMetadata);
