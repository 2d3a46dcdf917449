/** How far a job is: phase, share, remaining time, speed. */

import { html, nothing } from "../vendor/lit.js";
import { duration, percent } from "./format.js";

/** @param {import("./types").Progress | null} progress Null if no worker has it yet */
export function jobProgress(progress) {
  if (progress === null) return html`<p>The job waits for a worker.</p>`;
  const { training } = progress;
  return html`
    <div class="between"><span aria-live="polite">${progress.step}</span>
      <span>${percent(progress.fraction)}</span></div>
    <progress aria-label="Progress" max="1" value=${progress.fraction}></progress>
    <dl class="facts"><dt>Remaining</dt><dd>${duration(progress.eta_seconds)}</dd>
      ${
        training
          ? html`<dt>Phase</dt><dd>${training.phase}, step ${training.step}${
              training.steps_per_second ? `, ${training.steps_per_second.toFixed(2)} steps/s` : ""
            }</dd>
            ${measured("Agreement", training.agreement)} ${measured("Accuracy", training.accuracy)}`
          : nothing
      }</dl>`;
}

/**
 * @param {string} name
 * @param {number | null} value
 */
function measured(name, value) {
  return value === null ? nothing : html`<dt>${name}</dt><dd>${percent(value)}</dd>`;
}
