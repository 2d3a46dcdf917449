/** Translate one's own image, in each direction and there and back, and compare by a slider. */

import { html, nothing } from "../vendor/lit.js";
import { file, withQuery } from "../shared/api.js";
import { Element, curl } from "../shared/element.js";
import { number } from "../shared/format.js";
import "../shared/before_after.js";
import "../shared/image_input.js";

/** @typedef {import("../shared/types").Translator} Translator */

/** @type {Record<string, string[]>} */
const NAMES = { a2b: ["A", "B"], b2a: ["B", "A"] };

/**
 * @typedef {object} Translation
 * @property {(ImageBitmap | null)[]} images The image, its translation and, of a round trip, the translation back; null
 *   for an image whose format the browser does not know
 * @property {Blob} result The file, with all of them for a round trip
 * @property {string} url Of the file
 * @property {string} direction
 */

class TranslateImage extends Element {
  static properties = { translator: { attribute: false } };

  constructor() {
    super();
    this.translator = /** @type {Translator} */ (/** @type {unknown} */ (null));
    /** @type {File | null} */
    this.image = null;
    this.direction = "";
    this.cycle = false;
    this.scale = "";
    this.compared = 1;
    /** @type {Translation | null} */
    this.translation = null;
    this.running = false;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.forgetTranslation();
  }

  get directions() {
    const { model_ids, settings } = this.translator;
    if (model_ids !== undefined) return Object.keys(model_ids).sort();
    return settings?.method === "pix2pix" ? [settings.direction] : ["a2b", "b2a"];
  }

  get path() {
    return withQuery(`/v1/translators/${this.translator.id}/translate`, {
      direction: this.direction || this.directions[0],
      cycle: this.cycle ? "true" : null,
      scale: this.scale,
      checkpoint: this.translator.status === "ready" ? null : "latest",
    });
  }

  render() {
    return html`${this.problem()}
      ${
        this.translator.status === "ready"
          ? nothing
          : html`<p class="soft">It translates by the last checkpoint of the training.</p>`
      }
      <image-input .name=${"own-image"} @image=${this.take}></image-input>
      <form class="fields" @change=${this.choose} @submit=${this.submit}>
        <fieldset><legend>Direction</legend><div class="row">${this.directions.map(
          (direction, index) => html`<span><input type="radio" id="to-${direction}" name="direction" value=${direction}
            .checked=${this.direction ? direction === this.direction : index === 0}>
            <label for="to-${direction}">${NAMES[direction].join(" to ")}</label></span>`,
        )}
        ${
          this.directions.length > 1
            ? html`<span><input type="checkbox" id="cycle" name="cycle" .checked=${this.cycle}>
                <label for="cycle">and back</label></span>`
            : nothing
        }</div></fieldset>
        <div class="field"><label for="scale">Longest side while translating, pixels</label>
          <input id="scale" name="scale" type="number" min="8" step="1" placeholder="that of the image"
            .value=${this.scale}>
        </div>
      </form>
      <div aria-live="polite">${this.running ? html`<p class="soft">Translating …</p>` : nothing}</div>
      ${this.translation === null ? this.byApi() : this.result(this.translation)}`;
  }

  byApi() {
    const image = this.image?.name ?? "image.jpg";
    return html`<p class="soft small">By the API:</p>
      ${curl(`curl '$URL${this.path}' \\\n  -F file=@${image} -o translated.png`)}`;
  }

  /** @param {Translation} translation */
  result({ images, url, direction }) {
    const [from, to] = NAMES[direction];
    const names = [`image of ${from}`, `as ${to}`, `back as ${from}`];
    const compared = Math.min(this.compared, images.length - 1);
    const { width, height } = /** @type {ImageBitmap} */ (images[1]);
    return html`
      ${
        images.length > 2
          ? html`<div class="field"><label for="compared">Compare the image with</label>
              <select id="compared" @change=${(/** @type {any} */ event) => {
                this.compared = Number(event.target.value);
                this.requestUpdate();
              }}>
                <option value="1" .selected=${compared === 1}>its translation</option>
                <option value="2" .selected=${compared === 2}>the translation back</option></select></div>`
          : nothing
      }
      <before-after .first=${images[0]} .second=${images[compared]}
        .names=${[names[0], names[compared]]}></before-after>
      <div class="row"><a class="button primary" href=${url}
          download="${this.stem}-${direction}${images.length > 2 ? "-and-back" : ""}.png">Download the result</a>
        ${
          this.directions.length > 1 && images.length === 2
            ? html`<button type="button" @click=${this.swap}>Translate the result ${to} to ${from}</button>`
            : nothing
        }
        <span class="soft small">${number(width)} × ${number(height)} pixels</span></div>
      ${this.byApi()}`;
  }

  get stem() {
    return this.image?.name.replace(/\.[^.]*$/, "") ?? "image";
  }

  /** @param {CustomEvent<File>} event */
  take(event) {
    this.image = event.detail;
    this.run();
  }

  /** @param {SubmitEvent} event */
  submit(event) {
    event.preventDefault();
    this.run();
  }

  /** @param {Event} event */
  choose(event) {
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    this.direction = String(form.get("direction"));
    this.cycle = form.get("cycle") !== null;
    this.scale = String(form.get("scale"));
    this.run();
  }

  /** Take the result as the image, and the other direction. */
  swap() {
    if (this.translation === null) return;
    const { result, direction } = this.translation;
    this.image = new File([result], `${this.stem}-${direction}.png`, { type: result.type });
    this.direction = this.directions.find((other) => other !== direction) ?? direction;
    this.cycle = false;
    this.run();
  }

  run() {
    const { image, path, cycle } = this;
    this.requestUpdate();
    if (image === null) return;
    const direction = this.direction || this.directions[0];
    this.running = true;
    this.attempt(async () => {
      try {
        const form = new FormData();
        form.set("file", image);
        const result = await file(path, form);
        const images = cycle ? await thirds(result) : [await shown(image), await createImageBitmap(result)];
        if (path !== this.path || image !== this.image) return;
        this.forgetTranslation();
        this.translation = { images, result, url: URL.createObjectURL(result), direction };
      } finally {
        this.running = false;
      }
    });
  }

  forgetTranslation() {
    if (this.translation !== null) URL.revokeObjectURL(this.translation.url);
    this.translation = null;
  }
}

/**
 * Return an image; null if the browser does not know its format.
 * @param {File} image
 */
function shown(image) {
  return createImageBitmap(image).catch(() => null);
}

/**
 * Return the parts of an answer with `cycle`: image, translation, translation back, side by side.
 * @param {Blob} sheet
 */
async function thirds(sheet) {
  const { width, height } = await createImageBitmap(sheet);
  const part = width / 3;
  return Promise.all([0, 1, 2].map((index) => createImageBitmap(sheet, index * part, 0, part, height)));
}

customElements.define("translate-image", TranslateImage);
