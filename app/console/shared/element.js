/** Elements of the console: in the light DOM, so that one style sheet and the labels of forms reach into them. */

import { LitElement, html, nothing } from "../vendor/lit.js";
import { ApiError } from "./api.js";

/** @typedef {import("./types").Problem} Problem */

/** An element whose content is in the document itself, with the last error shown by `problem()`. */
export class Element extends LitElement {
  constructor() {
    super();
    /** @type {Problem | null} */
    this.failure = null;
    /** Aborted when the element leaves the document. */
    this.leaving = new AbortController();
  }

  createRenderRoot() {
    return this;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.leaving.abort();
  }

  /**
   * Await work, keep its error to be shown, and render.
   * @param {() => Promise<void>} work
   * @param {boolean} [again] Whether it is repeated by a timer: an error is then shown until it succeeds
   */
  async attempt(work, again = false) {
    if (!again) this.failure = null;
    this.requestUpdate();
    try {
      await work();
      this.failure = null;
    } catch (error) {
      if (this.leaving.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.failure = error.problem;
    } finally {
      this.requestUpdate();
    }
  }

  /** Return the last error, if there is one. */
  problem() {
    return this.failure === null ? nothing : problemBox(this.failure);
  }
}

/**
 * Return a text of the service; what it has in backticks is code.
 * @param {string} text
 */
export function marked(text) {
  return text.split("`").map((part, index) => (index % 2 ? html`<code>${part}</code>` : part));
}

/**
 * Return the warnings of a resource as a list.
 * @param {string[]} warnings
 */
export function warningList(warnings) {
  return html`<ul class="notes" aria-label="Warnings">${warnings.map((text) => html`<li>${marked(text)}</li>`)}</ul>`;
}

/**
 * Return an error with its detail and its invalid fields.
 * @param {Problem} problem
 */
export function problemBox(problem) {
  const errors = (problem.errors ?? []).filter((error) => error.message !== problem.detail);
  const page = problem.type.startsWith("/problems/") ? problem.type : null;
  return html`<div class="problem" role="alert">
    <p><strong>${problem.title}</strong>
      ${problem.status ? html`<span class="small">(${problem.status})</span>` : nothing}</p>
    <p>${marked(problem.detail)}</p>
    ${
      errors.length
        ? html`<ul>${errors.map((error) => html`<li><code>${error.field}</code>: ${marked(error.message)}</li>`)}</ul>`
        : nothing
    }
    ${page === null ? nothing : html`<p class="small"><a href=${page}>About this kind of problem</a></p>`}
  </div>`;
}

/**
 * Return a call as one would type it.
 * @param {string} command
 */
export function curl(command) {
  return html`<pre>${command.replaceAll("$URL", location.origin)}</pre>`;
}

/**
 * Return a POST of JSON as one would type it.
 * @param {string} path
 * @param {object} body
 */
export function curlPost(path, body) {
  return curl(`curl $URL${path} -H Content-Type:application/json \\\n  -d '${JSON.stringify(body)}'`);
}

/** @param {string} status */
export function statusTag(status) {
  const kind = { succeeded: "good", failed: "bad", canceled: "warn", running: "live" }[status] ?? "";
  return html`<span class="tag ${kind}">${status}</span>`;
}
