/** A page with a list of the API: its filters are in the address, it is read page by page. */

import { html, nothing } from "../vendor/lit.js";
import { get, withQuery } from "./api.js";
import { Element } from "./element.js";
import { place, setQuery } from "../router.js";

const LIMIT = 20;

export class ListPage extends Element {
  /**
   * @param {string} section Of the address and of the API: `models`
   * @param {string[]} filters Names of the parameters
   * @param {number} [everyMs] Read it again so often
   */
  constructor(section, filters, everyMs = 0) {
    super();
    this.resource = section;
    this.parameters = [...filters, "cursor"];
    this.everyMs = everyMs;
    /** @type {import("./types").Page<any> | null} */
    this.page = null;
  }

  connectedCallback() {
    super.connectedCallback();
    const { signal } = this.leaving;
    window.addEventListener("hashchange", () => this.load(), { signal });
    if (this.everyMs) {
      const timer = setInterval(() => document.hidden || this.load(true), this.everyMs);
      signal.addEventListener("abort", () => clearInterval(timer));
    }
    this.load();
  }

  /** @returns {Record<string, string>} */
  get query() {
    const { query } = place();
    return Object.fromEntries(this.parameters.map((name) => [name, query.get(name) ?? ""]));
  }

  get isFiltered() {
    return Object.values(this.query).some(Boolean);
  }

  /** Whether there is nothing at all, so that filters are of no use. */
  get isEmpty() {
    return this.page !== null && this.page.items.length === 0 && !this.isFiltered;
  }

  /** @param {boolean} [again] */
  load(again = false) {
    if (place().parts.join("/") !== this.resource) return;
    this.attempt(() => this.read(this.leaving.signal), again);
  }

  /** @param {AbortSignal} signal */
  async read(signal) {
    this.page = await get(withQuery(`/v1/${this.resource}`, { limit: LIMIT, ...this.query }), signal);
    this.requestUpdate();
  }

  /**
   * Return a field that filters by a text.
   * @param {string} name
   * @param {string} label
   */
  search(name, label) {
    return html`<div class="field"><label for="filter-${name}">${label}</label>
      <input id="filter-${name}" type="search" .value=${this.query[name]}
        @change=${(/** @type {any} */ event) => setQuery({ [name]: event.target.value, cursor: null })}></div>`;
  }

  /**
   * Return a field that filters by one of some values.
   * @param {string} name
   * @param {string} label
   * @param {[string, string][]} options Values with what they are called
   */
  choice(name, label, options) {
    return html`<div class="field"><label for="filter-${name}">${label}</label>
      <select id="filter-${name}"
        @change=${(/** @type {any} */ event) => setQuery({ [name]: event.target.value, cursor: null })}>
        ${options.map(
          ([value, text]) => html`<option value=${value} ?selected=${value === this.query[name]}>${text}</option>`,
        )}
      </select></div>`;
  }

  /** Return buttons for the first and the next page. */
  pager() {
    const next = this.page?.next_cursor ?? null;
    return html`<div class="row">
      ${this.query.cursor ? html`<button @click=${() => setQuery({ cursor: null })}>First page</button>` : nothing}
      ${next === null ? nothing : html`<button @click=${() => setQuery({ cursor: next })}>Next page</button>`}
    </div>`;
  }
}
