/** State of the service: components, queue, workers with their devices, storage, versions. */

import { html, nothing } from "../vendor/lit.js";
import { get, text } from "../shared/api.js";
import { Element, curl } from "../shared/element.js";
import { bytes, duration, number, time } from "../shared/format.js";

/** @typedef {import("../shared/types").Readiness} Readiness */
/** @typedef {import("../shared/types").SystemState} SystemState */
/** @typedef {import("../shared/types").WorkerState} WorkerState */

const EVERY_MS = 5000;
const COMPONENTS = { redis: "Redis", blobs: "Store of files", workers: "Workers" };

/** @type {[string, string, (value: number) => string][]} */
const FIGURES = [
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
    /** @type {SystemState | null} Null while Redis does not answer. */
    this.state = null;
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
      this.metrics = parsed(await text("/metrics"));
      this.state = await get("/v1/system", this.leaving.signal);
    }, again);
  }

  render() {
    const { readiness, state } = this;
    return html`<div class="head"><div><h1>System</h1></div></div>
      ${this.problem()}
      <div class="columns">${readiness === null ? nothing : components(readiness)}
        ${state === null ? nothing : jobs(state)}</div>
      ${state === null ? nothing : workers(state.workers)}
      <div class="columns">${readiness === null ? nothing : this.predictions()}
        ${state === null ? nothing : storage(state)}</div>
      ${state === null ? nothing : versions(state)}
      <section class="panel"><h2>By the API</h2>${curl("curl $URL/v1/system\ncurl $URL/readyz\ncurl $URL/metrics")}
        <p><a href="/docs">Every call of the API</a></p></section>`;
  }

  predictions() {
    return html`<section class="panel"><h2>Predictions</h2>
      <dl class="facts">${FIGURES.filter(([name]) => this.metrics.has(name)).map(
        ([name, title, format]) => html`<dt>${title}</dt><dd>${format(this.metrics.get(name) ?? 0)}</dd>`,
      )}</dl>
      <p class="soft small"><a href="/metrics">All metrics</a>, for Prometheus.</p></section>`;
  }
}

/** @param {Readiness} readiness */
function components(readiness) {
  return html`<section class="panel"><h2>Components</h2>
    <dl class="facts">${Object.entries(COMPONENTS).map(([name, title]) => component(title, readiness[name]))}</dl>
    ${
      readiness.workers.ready
        ? nothing
        : html`<p class="soft">Models still predict without a worker; jobs wait for one:</p><pre>faceter worker</pre>`
    }</section>`;
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

/** @param {SystemState} state */
function jobs({ queue }) {
  return html`<section class="panel"><h2>Jobs</h2><dl class="facts">
    <dt>Running</dt><dd>${number(queue.running)}</dd>
    <dt>Waiting</dt><dd>${number(queue.waiting)} of at most ${number(queue.limit)}
      <div class="soft small">${Object.entries(queue.waiting_by_queue)
        .map(([name, count]) => `${name} ${number(count)}`)
        .join(" · ")}</div></dd>
    <dt>Waiting time of the next</dt><dd>${duration(queue.oldest_waiting_seconds)}</dd></dl>
    <p class="soft small"><a href="#/jobs">See the queue</a></p></section>`;
}

/** @param {WorkerState[]} all */
function workers(all) {
  if (all.length === 0) return nothing;
  return html`<section class="panel"><h2>Workers</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Workers"><table>
      <thead><tr><th scope="col">Host</th><th scope="col">Device</th><th scope="col">Job</th>
        <th scope="col" class="wide">Process</th><th scope="col" class="wide">Since</th></tr></thead>
      <tbody>${all.map(
        (worker) => html`<tr><th scope="row">${worker.host}</th>
          <td>${worker.device ?? "–"}<div class="soft small">${worker.processor}</div>
            <div class="soft small">takes ${worker.queues.join(", ")}</div></td>
          <td>${worker.job_id ? html`<a href="#/jobs/${worker.job_id}">${worker.job_id}</a>` : "waits"}</td>
          <td class="wide">${worker.process}</td><td class="wide">${time(worker.started_at)}</td></tr>`,
      )}</tbody></table></div></section>`;
}

/** @param {SystemState} state */
function storage({ storage: { records, redis_bytes, free_bytes, total_bytes } }) {
  return html`<section class="panel"><h2>Storage</h2><dl class="facts">
    <dt>Space for files</dt><dd>${
      free_bytes === null || total_bytes === null ? "a bucket" : `${bytes(free_bytes)} free of ${bytes(total_bytes)}`
    }</dd>
    <dt>Memory of Redis</dt><dd>${bytes(redis_bytes)}</dd>
    ${Object.entries(records).map(
      ([name, count]) => html`<dt>${name[0].toUpperCase()}${name.slice(1)}</dt><dd>${number(count)}</dd>`,
    )}</dl></section>`;
}

/** @param {SystemState} state */
function versions({ api, workers: all }) {
  const columns = [{ title: "API", values: api.versions }, ...distinct(all)];
  const names = [...new Set(columns.flatMap(({ values }) => Object.keys(values)))];
  return html`<section class="panel"><h2>Versions</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Versions"><table>
      <thead><tr><th scope="col">Package</th>${columns.map(
        ({ title }) => html`<th scope="col">${title}</th>`,
      )}</tr></thead>
      <tbody>${names.map(
        (name) => html`<tr><th scope="row">${name}</th>
          ${columns.map(({ values }) => html`<td>${values[name] ?? "–"}</td>`)}</tr>`,
      )}</tbody></table></div>
    <p class="soft small">The API runs on ${api.host}: ${api.processor}.</p></section>`;
}

/**
 * Return the different sets of versions of workers, each with the hosts that have it.
 * @param {WorkerState[]} all
 */
function distinct(all) {
  /** @type {Map<string, {hosts: Set<string>, values: Record<string, string>}>} */
  const found = new Map();
  for (const { host, versions: values } of all) {
    const key = JSON.stringify(values);
    const same = found.get(key) ?? { hosts: new Set(), values };
    found.set(key, { ...same, hosts: same.hosts.add(host) });
  }
  return [...found.values()].map(({ hosts, values }) => ({
    title: found.size === 1 ? "Workers" : `Workers on ${[...hosts].join(", ")}`,
    values,
  }));
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
