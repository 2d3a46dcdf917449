/** A unit's association with classes: weights and, for texts, PMI. */

import { html, nothing } from "../vendor/lit.js";
import { decimals } from "../shared/format.js";
import { signedBar } from "../shared/bars.js";

/** @typedef {import("./explanation_types").Unit} Unit */
/** @typedef {Unit["classes"][number]} ClassWeight */

const ENDS = 8;

/** @param {Unit} unit */
export function classWeights(unit) {
  const weighted = unit.classes.some(({ weight }) => weight !== null);
  const paired = unit.classes.some(({ pmi }) => pmi !== null);
  if (!weighted && !paired)
    return html`<p>The unit has no weights to classes: its layer does not feed the last
      linear layer of a classifier.</p>`;
  const value = (/** @type {ClassWeight} */ one) => (weighted ? one.weight : one.pmi) ?? 0;
  const sorted = [...unit.classes].sort((one, other) => value(other) - value(one));
  const largest = Math.max(...sorted.map((one) => Math.abs(value(one))));
  const few = sorted.length <= 2 * ENDS;
  const table = (/** @type {ClassWeight[]} */ classes, /** @type {string} */ title) => html`<div class="scroll"
    tabindex="0" role="region" aria-label=${title}><table class="bars"><thead><tr><th scope="col">Class</th>
      <th scope="col"><span class="unseen">Bar of the ${weighted ? "weight" : "PMI"}</span></th>
      ${weighted ? html`<th scope="col" class="number">Weight</th>` : nothing}
      ${paired ? html`<th scope="col" class="number">PMI, nats</th>` : nothing}</tr></thead>
    <tbody>${classes.map(
      (one) => html`<tr><th scope="row">${one.label}</th><td>${signedBar(value(one), largest)}</td>
        ${weighted ? html`<td class="number">${decimals(one.weight)}</td>` : nothing}
        ${paired ? html`<td class="number">${decimals(one.pmi)}</td>` : nothing}</tr>`,
    )}</tbody></table></div>`;
  return html`
    ${
      few
        ? table(sorted, "Classes")
        : html`<div class="columns"><div><h3>Highest</h3>${table(sorted.slice(0, ENDS), "Highest classes")}</div>
          <div><h3>Lowest</h3>${table(sorted.slice(-ENDS).reverse(), "Lowest classes")}</div></div>`
    }
    <p class="soft small">${
      weighted
        ? "The weight is that from the unit to the logit of the class: where it fires, the class gains it. "
        : nothing
    }${
      paired
        ? `PMI is high where the formula and the predicted class go together, which hints at a shallow heuristic.`
        : nothing
    }</p>`;
}
