/** What was explained of a model. */

import { html } from "../vendor/lit.js";
import { get } from "../shared/api.js";
import { Element, curlPost } from "../shared/element.js";
import { decimals } from "../shared/format.js";

/** @typedef {import("./explanation_types").ExplanationSummary} ExplanationSummary */

class ModelExplanations extends Element {
  constructor() {
    super();
    this.key = "";
    /** @type {ExplanationSummary[] | null} */
    this.made = null;
  }

  connectedCallback() {
    super.connectedCallback();
    this.attempt(async () => {
      this.made = (await get(`/v1/models/${this.key}/explanations?limit=20`, this.leaving.signal)).items;
    });
  }

  render() {
    if (this.made === null) return this.problem();
    if (this.made.length === 0) {
      return html`<p>None was made of this model yet. <a href="#/models/${this.key}/explain">Explain it</a>:
          what do its units detect? Or by the API:</p>
        ${curlPost(`/v1/models/${this.key}/explanations`, { dataset_id: "dts_…", layer: "relu_12" })}`;
    }
    return html`<ul class="notes">${this.made.map(
      ({ id, name, units, mean_iou }) => html`<li><a href="#/explanations/${id}">${name}</a>, ${units}
        ${units === 1 ? "unit" : "units"}${mean_iou === null ? "" : `, mean IoU ${decimals(mean_iou)}`}</li>`,
    )}</ul>`;
  }
}

customElements.define("model-explanations", ModelExplanations);
