/** The queue: jobs with their progress. */

import { html, nothing } from "../vendor/lit.js";
import { curlPost, statusTag } from "../shared/element.js";
import { duration, time } from "../shared/format.js";
import { ListPage } from "../shared/list_page.js";

/** @typedef {import("../shared/types").Page<import("../shared/types").Job>} JobPage */

const EVERY_MS = 2000;
/** @type {[string, string][]} */
const STATUSES = ["", "queued", "running", "succeeded", "failed", "canceled"].map((status) => [
  status,
  status || "all",
]);

class Jobs extends ListPage {
  constructor() {
    super("jobs", ["status"], EVERY_MS);
  }

  render() {
    const { status } = this.query;
    return html`<div class="head"><div><h1>Jobs</h1></div></div>
      <section class="panel" aria-label="Jobs">
        ${this.problem()}
        <div class="fields">${this.choice("status", "Status", STATUSES)}</div>
        ${this.page === null ? nothing : this.list(this.page, status)}
      </section>`;
  }

  /**
   * @param {JobPage} page
   * @param {string} status
   */
  list(page, status) {
    if (page.items.length === 0) {
      return status
        ? html`<p>No job has the status ${status}.</p>`
        : html`<p>There is no job yet. Open a <a href="#/models">model</a> and quantize it, or by the API:</p>
            ${curlPost("/v1/models/mdl_…/quantizations", { method: "dfq" })}`;
    }
    return html`<div class="scroll" tabindex="0" role="region" aria-label="Jobs"><table>
        <thead><tr><th scope="col">Job</th><th scope="col">Status</th><th scope="col">Progress</th>
          <th scope="col" class="wide">Created</th></tr></thead>
        <tbody>${page.items.map(
          (job) => html`<tr>
            <th scope="row"><a href="#/jobs/${job.id}">${job.kind}</a></th>
            <td>${statusTag(job.status)}</td>
            <td>${progress(job)}</td>
            <td class="wide">${time(job.created_at)}</td></tr>`,
        )}</tbody></table></div>
      ${this.pager()}`;
  }
}

/** @param {import("../shared/types").Job} job */
function progress(job) {
  if (job.status !== "running" || job.progress === null)
    return job.ended_at ? html`ended ${time(job.ended_at)}` : "waits";
  return html`<progress class="share" aria-label="Progress of ${job.id}" max="1"
      value=${job.progress.fraction}></progress>
    <div class="small soft">${job.progress.step}, ETA ${duration(job.progress.eta_seconds)}</div>`;
}

customElements.define("jobs-page", Jobs);
