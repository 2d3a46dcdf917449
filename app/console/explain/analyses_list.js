/** Analyses: what was found about an explanation, and what else can be asked. */

import { html, nothing } from "../vendor/lit.js";
import { ANALYSES } from "./analysis_kinds.js";
import { time } from "../shared/format.js";

/** @typedef {import("./explanation_types").AnalysisSummary} AnalysisSummary */

/**
 * @param {AnalysisSummary[]} analyses
 * @param {Map<string, string> | null} [names] Of the explanations, if these are of several
 */
export function analysesTable(analyses, names = null) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Analyses"><table>
    <thead><tr><th scope="col">Analysis</th><th scope="col" class=${names ? "" : "wide"}>${
      names ? "Explanation" : "Question"
    }</th><th scope="col">Created</th></tr></thead>
    <tbody>${analyses.map(
      ({ id, kind, created_at, warnings, explanation_id }) => html`<tr>
        <th scope="row"><a href="#/analyses/${id}">${ANALYSES[kind].title}</a>
          ${warnings.length ? html`<span class="tag warn">warning</span>` : nothing}</th>
        ${
          names
            ? html`<td><a href="#/explanations/${explanation_id}">${
                names.get(explanation_id) ?? explanation_id
              }</a></td>`
            : html`<td class="wide">${ANALYSES[kind].question}</td>`
        }
        <td>${time(created_at)}</td></tr>`,
    )}</tbody></table></div>`;
}

/** @param {string} explanation Its id */
export function analysisQuestions(explanation) {
  return html`<ul class="questions">${Object.entries(ANALYSES).map(
    ([kind, { title, question }]) => html`<li><a href="#/explanations/${explanation}/analyse?kind=${kind}">${title}</a>
      <span class="soft">${question}</span></li>`,
  )}</ul>`;
}
