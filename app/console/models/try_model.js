/** Run one or several models on the same image, text or tensors, and show the answers side by side. */

import { html, nothing } from "../vendor/lit.js";
import { ApiError, post } from "../shared/api.js";
import { Element, curl } from "../shared/element.js";
import "../shared/image_input.js";
import "./prediction_view.js";

/** @typedef {import("../shared/types").Model} Model */
/** @typedef {import("../shared/types").Prediction} Prediction */

class TryModel extends Element {
  static properties = { models: { attribute: false } };

  constructor() {
    super();
    /** @type {Model[]} */
    this.models = [];
    /** @type {ImageBitmap | null} */
    this.image = null;
    /** @type {Prediction[]} */
    this.predictions = [];
    this.running = false;
  }

  render() {
    const { metadata } = this.models[0];
    return html`${this.problem()}
      ${metadata.preprocessing ? this.imageInput() : metadata.text ? this.textInput() : this.tensorInput()}
      <div aria-live="polite">${this.running ? html`<p class="soft">Running …</p>` : nothing}</div>
      <div class="columns">${this.predictions.map(
        (prediction, index) => html`<div>
          ${this.models.length > 1 ? html`<h3>${this.models[index].name}</h3>` : nothing}
          <prediction-view .prediction=${prediction} .image=${this.image}></prediction-view></div>`,
      )}</div>`;
  }

  imageInput() {
    return html`<image-input .name=${"try-image"} @image=${this.sendImage}></image-input>
      ${
        this.predictions.length || this.failure
          ? nothing
          : html`<p class="soft small">By the API:</p>
            ${curl(`curl $URL/v1/models/${this.models[0].id}/predict -F file=@image.jpg`)}`
      }`;
  }

  textInput() {
    const pairs = this.models[0].metadata.task === "text_pair_classification";
    return html`<form @submit=${this.sendTexts}>
      <div class="field"><label for="try-text">${pairs ? "First text" : "Text"}</label>
        <textarea id="try-text" name="first" rows="3" required></textarea></div>
      ${
        pairs
          ? html`<div class="field"><label for="try-second">Second text</label>
            <textarea id="try-second" name="second" rows="3" required></textarea></div>`
          : nothing
      }
      <button class="primary">Run</button></form>`;
  }

  tensorInput() {
    return html`<form @submit=${this.sendTensors}>
      <div class="field"><label for="try-tensors">Inputs as JSON, the axis of the batch first</label>
        <textarea id="try-tensors" class="code" name="inputs" rows="6" .value=${zeros(this.models[0])}></textarea></div>
      <button class="primary">Run</button></form>`;
  }

  /** @param {CustomEvent<File>} event */
  sendImage({ detail: file }) {
    this.run(async (model) => {
      const form = new FormData();
      form.set("file", file);
      return post(`/v1/models/${model.id}/predict`, form);
    }, file);
  }

  /** @param {SubmitEvent} event */
  sendTexts(event) {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
    const [first, second] = [form.get("first"), form.get("second")];
    const body = second === null ? { texts: [first] } : { text_pairs: [[first, second]] };
    this.run((model) => post(`/v1/models/${model.id}/predict`, body));
  }

  /** @param {SubmitEvent} event */
  sendTensors(event) {
    event.preventDefault();
    const text = String(new FormData(/** @type {HTMLFormElement} */ (event.target)).get("inputs"));
    this.run((model) => {
      let inputs;
      try {
        inputs = JSON.parse(text);
      } catch {
        const detail = 'The inputs are not JSON. Give an object such as {"x": [[0.5, 1]]}.';
        throw new ApiError({ type: "about:blank", title: "Not JSON", status: 0, detail });
      }
      return post(`/v1/models/${model.id}/predict`, { inputs });
    });
  }

  /**
   * @param {(model: Model) => Promise<Prediction>} predict
   * @param {File} [file] The image, to be shown
   */
  run(predict, file) {
    this.running = true;
    this.predictions = [];
    this.attempt(async () => {
      try {
        /** @type {Prediction[]} */
        const predictions = [];
        for (const model of this.models) predictions.push(await predict(model));
        this.image = file === undefined ? null : await createImageBitmap(file).catch(() => null);
        this.predictions = predictions;
      } finally {
        this.running = false;
      }
    });
  }
}

/** @param {Model} model */
function zeros(model) {
  /** @type {(shape: (number | string | null)[]) => unknown} */
  const fill = ([size, ...rest]) =>
    size === undefined ? 0 : Array.from({ length: typeof size === "number" ? size : 1 }, () => fill(rest));
  const inputs = model.inputs.map(({ name, shape }) => {
    const count = shape.reduce((/** @type {number} */ all, size) => all * (typeof size === "number" ? size : 1), 1);
    return [name, count > 4096 ? [] : fill(shape)];
  });
  return JSON.stringify(Object.fromEntries(inputs));
}

customElements.define("try-model", TryModel);
