/** The form to make a translator of one or two stored models, without training. */

import { html } from "../vendor/lit.js";
import { get, post } from "../shared/api.js";
import { Element, curlPost } from "../shared/element.js";
import { go } from "../router.js";

/** @typedef {import("../shared/types").ModelSummary} ModelSummary */

const DIRECTIONS = { a2b_id: "From A to B", b2a_id: "From B to A" };

class OwnGenerators extends Element {
  constructor() {
    super();
    /** @type {ModelSummary[]} */
    this.models = [];
    /** @type {Record<string, string>} What is chosen, as the request names it. */
    this.request = {};
  }

  connectedCallback() {
    super.connectedCallback();
    this.attempt(async () => {
      this.models = (await get("/v1/models?quantized=false&limit=100", this.leaving.signal)).items;
    });
  }

  render() {
    return html`<p class="soft">A generator takes and returns one float image [N, 3, H, W]. Upload it as a
        <a href="#/models">model</a> first.</p>
      ${this.problem()}
      <form @submit=${this.submit} @input=${this.read}>
        <div class="fields">${Object.entries(DIRECTIONS).map(([name, title]) => this.field(name, title))}</div>
        <button class="primary" ?disabled=${Object.keys(this.request).length === 0}>Make the translator</button>
        <details><summary>The same by the API</summary>${curlPost("/v1/translators", this.request)}</details>
      </form>`;
  }

  /**
   * @param {string} name
   * @param {string} title
   */
  field(name, title) {
    return html`<div class="field"><label for=${name}>${title}</label><select id=${name} name=${name}>
      <option value="">none</option>
      ${this.models.map(({ id, name: model }) => html`<option value=${id}>${model}</option>`)}</select></div>`;
  }

  /** @param {Event} event */
  read(event) {
    const chosen = [...new FormData(/** @type {HTMLFormElement} */ (event.currentTarget))].filter(([, id]) => id);
    this.request = Object.fromEntries(chosen.map(([name, id]) => [name, String(id)]));
    this.requestUpdate();
  }

  /** @param {SubmitEvent} event */
  submit(event) {
    event.preventDefault();
    this.attempt(async () => {
      const made = await post("/v1/translators", this.request);
      go(`/translators/${/** @type {{id: string}} */ (made).id}`);
    });
  }
}

customElements.define("own-generators", OwnGenerators);
