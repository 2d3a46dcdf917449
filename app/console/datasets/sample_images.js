/** Images of a dataset, a few at a time. */

import { html } from "../vendor/lit.js";
import { Element } from "../shared/element.js";
import { number } from "../shared/format.js";
import { sampleImage } from "../shared/sample_image.js";

/** @typedef {import("./dataset_types").Dataset} Dataset */

const SHOWN = 20;

class SampleImages extends Element {
  static properties = { record: { attribute: false } };

  constructor() {
    super();
    this.record = /** @type {Dataset} */ (/** @type {unknown} */ (null));
    this.start = 0;
  }

  render() {
    const { id, samples } = this.record;
    const end = Math.min(samples, this.start + SHOWN);
    const indices = Array.from({ length: end - this.start }, (_, offset) => this.start + offset);
    return html`<ul class="samples">${indices.map(
        (index) => html`<li>${sampleImage(id, index, `Sample ${index}`)}<span class="small">${index}</span></li>`,
      )}</ul>
      <div class="row">
        <button ?disabled=${this.start === 0} @click=${() => this.move(-SHOWN)}>Previous</button>
        <button ?disabled=${end >= samples} @click=${() => this.move(SHOWN)}>Next</button>
        <span class="small soft" aria-live="polite">${number(this.start)} to ${number(end - 1)}
          of ${number(samples)}, numbered from 0 in the order of their names</span>
      </div>`;
  }

  /** @param {number} by */
  move(by) {
    this.start = Math.max(0, this.start + by);
    this.requestUpdate();
  }
}

customElements.define("sample-images", SampleImages);
