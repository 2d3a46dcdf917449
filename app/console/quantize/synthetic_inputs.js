/** The inputs that a method made from the network, as a contact sheet. */

import { html, nothing } from "../vendor/lit.js";
import { get } from "../shared/api.js";
import { Element } from "../shared/element.js";
import { number } from "../shared/format.js";

const SHEET = "contact-sheet.png";

class SyntheticInputs extends Element {
  constructor() {
    super();
    /** Id of their dataset. */
    this.key = "";
    /** @type {import("../datasets/dataset_types").Dataset | null} */
    this.record = null;
  }

  connectedCallback() {
    super.connectedCallback();
    this.attempt(async () => {
      this.record = await get(`/v1/datasets/${this.key}`, this.leaving.signal);
    });
  }

  render() {
    const { record: dataset } = this;
    if (dataset === null) return this.problem();
    return html`<h3>Synthetic inputs</h3>
      ${
        SHEET in dataset.files
          ? html`<img class="sheet" src="/v1/datasets/${dataset.id}/files/${SHEET}"
            alt="Contact sheet of synthetic inputs, made from the network alone">`
          : nothing
      }
      <p class="soft small">${number(dataset.samples)} ${dataset.kind} were made from the network alone, and the
        quantized network was tuned on them. <a href="#/datasets/${dataset.id}">Their dataset</a></p>`;
  }
}

customElements.define("synthetic-inputs", SyntheticInputs);
