/** State of the service: what `/readyz`, `/v2` and `/metrics` say. */

import { html, nothing } from "../vendor/lit.js";
import { get, text } from "../api.js";
import { Element, curl } from "../element.js";
import { bytes, duration, number } from "../format.js";

/** @typedef {import("../types").Readiness} Readiness */

const EVERY_MS = 5000;
const COMPONENTS = { redis: "Redis", blobs: "Store of files", workers: "Workers" };

/** @type {[string, string, (value: number) => string][]} */
const FIGURES = [
  ["faceter_workers", "Live workers", number],
  ["faceter_jobs_running", "Running jobs", number],
  ["faceter_queue_depth", "Jobs waiting", number],
  ["faceter_queue_age_seconds", "Waiting time of the next job", duration],
  ["faceter_predictions_running", "Predictions running", number],
  ["faceter_predictions_waiting", "Predictions waiting", number],
  ["faceter_sessions", "Loaded models", number],
  ["faceter_sessions_bytes", "Memory of the loaded models, estimated", bytes],
  ["faceter_sessions_limit_bytes", "Limit of that memory", bytes],
];

class System extends Element {
  constructor() {
    super();
    /** @type {Readiness | null} */
    this.readiness = null;
    this.version = "";
    /** @type {Map<string, number>} */
    this.metrics = new Map();
    this.timer = 0;
  }

  connectedCallback() {
    super.connectedCallback();
    this.timer = setInterval(() => document.hidden || this.load(true), EVERY_MS);
    this.load();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.timer);
  }

  /** @param {boolean} [again] */
  load(again = false) {
    this.attempt(async () => {
      this.readiness = JSON.parse(await text("/readyz", true));
      this.version = (await get("/v2", this.leaving.signal)).version;
      this.metrics = parsed(await text("/metrics"));
    }, again);
  }

  render() {
    const readiness = this.readiness;
    return html`<div class="head"><div><h1>System</h1></div></div>
      ${this.problem()}
      ${
        readiness === null
          ? nothing
          : html`<div class="columns">
        <section class="panel"><h2>Components</h2>
          <dl class="facts">
            <dt>Faceter</dt><dd>${this.version}</dd>
            ${Object.entries(COMPONENTS).map(([name, title]) => component(title, readiness[name]))}
          </dl>
          ${
            readiness.workers.ready
              ? nothing
              : html`<p class="soft">Models still predict without a worker; jobs wait for one:</p>
            <pre>faceter worker</pre>`
          }
        </section>
        <section class="panel"><h2>Figures</h2>
          <dl class="facts">${FIGURES.filter(([name]) => this.metrics.has(name)).map(
            ([name, title, format]) => html`<dt>${title}</dt><dd>${format(this.metrics.get(name) ?? 0)}</dd>`,
          )}</dl>
          <p class="soft small">Of the API and its queue. <a href="/metrics">All metrics</a>, for Prometheus.</p>
        </section></div>
        <section class="panel"><h2>By the API</h2>${curl("curl $URL/readyz\ncurl $URL/metrics")}
          <p><a href="/docs">Every call of the API</a></p></section>`
      }`;
  }
}

/**
 * @param {string} title
 * @param {unknown} state
 */
function component(title, state) {
  const { ready, detail } = /** @type {{ready: boolean, detail: string}} */ (state);
  return html`<dt>${title}</dt><dd><span class="tag ${ready ? "good" : "bad"}">${ready ? "ready" : "not ready"}</span>
    ${detail}</dd>`;
}

/** @param {string} lines Prometheus text */
function parsed(lines) {
  const values = new Map();
  for (const line of lines.split("\n")) {
    const match = /^([a-z_]+) (\S+)$/.exec(line);
    if (match !== null) values.set(match[1], Number(match[2]));
  }
  return values;
}

customElements.define("system-page", System);
