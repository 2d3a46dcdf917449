/** The last lines that the worker logged about a job; read again while it runs. */

import { html, nothing } from "../vendor/lit.js";
import { get } from "../shared/api.js";
import { Element, curl } from "../shared/element.js";

/** @typedef {{at: string, level: string, attempt: number, message: string}} LogLine */

const LINES = 200;
const EVERY_MS = 2000;

class JobLog extends Element {
  static properties = { key: { attribute: false }, ended: { attribute: false } };

  constructor() {
    super();
    this.key = "";
    this.ended = false;
    /** @type {LogLine[] | null} */
    this.lines = null;
    this.complete = true;
  }

  connectedCallback() {
    super.connectedCallback();
    this.read();
    const timer = setInterval(() => {
      if (!this.ended) this.read();
    }, EVERY_MS);
    this.leaving.signal.addEventListener("abort", () => clearInterval(timer));
  }

  /** @param {Map<string, unknown>} changed */
  updated(changed) {
    if (changed.get("ended") === false) this.read();
  }

  read() {
    this.attempt(async () => {
      const log = await get(`/v1/jobs/${this.key}/log?last=${LINES}`, this.leaving.signal);
      this.lines = log.items;
      this.complete = log.complete;
    }, true);
  }

  /** What lines begin with, which is known here. */
  get beginning() {
    return new RegExp(`^job ${this.key}:? `);
  }

  render() {
    const lines = this.lines;
    if (lines === null) return this.problem();
    const attempts = new Set(lines.map((line) => line.attempt)).size;
    return html`${this.problem()}
      ${this.complete ? nothing : html`<p class="soft small">The last ${LINES} lines.</p>`}
      ${
        lines.length === 0
          ? html`<p class="soft">No line yet: no worker has begun the job.</p>`
          : html`<div class="scroll log" tabindex="0" role="log" aria-label="Log"><table>
              <thead><tr><th scope="col">Time</th>${attempts > 1 ? html`<th scope="col">Attempt</th>` : nothing}
                <th scope="col">Line</th></tr></thead>
              <tbody>${lines.map(
                (line) => html`<tr><td>${new Date(line.at).toLocaleTimeString()}</td>
                  ${attempts > 1 ? html`<td>${line.attempt}</td>` : nothing}
                  <td>${line.level === "info" ? nothing : levelTag(line.level)}
                    ${line.message.replace(this.beginning, "")}</td></tr>`,
              )}</tbody></table></div>`
      }
      ${curl(`curl $URL/v1/jobs/${this.key}/log?last=${LINES}`)}`;
  }
}

/** @type {Record<string, string>} */
const TAGS = { warning: "warn", error: "bad", critical: "bad" };

/** @param {string} level */
function levelTag(level) {
  return html`<span class="tag ${TAGS[level] ?? ""}">${level}</span>`;
}

customElements.define("job-log", JobLog);
