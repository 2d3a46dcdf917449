/** The best formula of each length, up to the ceiling. */

import { html } from "../vendor/lit.js";
import { decimals } from "../shared/format.js";
import { formulaText } from "./formula.js";
import { shareBar } from "../shared/bars.js";

/** @param {import("./explanation_types").Unit} unit With a formula */
export function scoresByLength(unit) {
  const largest = unit.ceiling || 1;
  const row = (/** @type {unknown} */ name, /** @type {unknown} */ formula, /** @type {number} */ score) =>
    html`<tr><th scope="row" class="number">${name}</th><td>${formula} ${shareBar(score / largest)}</td>
      <td class="number">${decimals(score)}</td></tr>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="IoU by length"><table class="bars">
    <thead><tr><th scope="col" class="number">Concepts</th><th scope="col">Formula</th>
      <th scope="col" class="number">IoU</th></tr></thead>
    <tbody>${unit.scores.map((score, index) => row(index + 1, formulaText(unit.formulas[index]), score))}
      ${row("any", html`<span class="soft">ceiling: no formula over these concepts has more</span>`, unit.ceiling)}
    </tbody></table></div>`;
}
