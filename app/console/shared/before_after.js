/** Two images of one size over each other, and a slider that divides them. */

import { html } from "../vendor/lit.js";
import { Element } from "./element.js";

class BeforeAfter extends Element {
  static properties = { first: { attribute: false }, second: { attribute: false }, names: { attribute: false } };

  constructor() {
    super();
    /** @type {ImageBitmap | null} */
    this.first = null;
    /** @type {ImageBitmap | null} */
    this.second = null;
    /** What the two images are. */
    this.names = ["before", "after"];
    this.share = 50;
  }

  /** @param {Map<string, unknown>} changed */
  updated(changed) {
    const [below, above] = this.querySelectorAll("canvas");
    if (changed.has("second")) paint(below, this.second);
    if (changed.has("first")) paint(above, this.first);
    const box = /** @type {HTMLElement} */ (this.querySelector(".compare"));
    box.style.setProperty("--cut", `${this.share}%`);
  }

  render() {
    const [before, after] = this.names;
    return html`<div class="compare">
        <canvas role="img" aria-label=${after}></canvas><canvas class="above" role="img" aria-label=${before}></canvas>
        <span class="divider"></span>
        <input type="range" min="0" max="100" step="1" .value=${String(this.share)}
          aria-label="Divide ${before} and ${after}" aria-valuetext="${this.share} % ${before}, the rest ${after}"
          @input=${this.move}>
      </div>
      <div class="between small"><span>${before}</span><span>${after}</span></div>`;
  }

  /** @param {Event} event */
  move(event) {
    this.share = Number(/** @type {HTMLInputElement} */ (event.target).value);
    this.requestUpdate();
  }
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {ImageBitmap | null} image
 */
function paint(canvas, image) {
  if (image === null) return;
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d")?.drawImage(image, 0, 0);
}

customElements.define("before-after", BeforeAfter);
