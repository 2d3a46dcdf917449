/** Accuracy where units fire, against the IoU of their formulas. */

import { html, nothing } from "../vendor/lit.js";
import { decimals, number, percent } from "../shared/format.js";
import { unitPage } from "./unit_addresses.js";
import "../shared/chart.js";

/** @typedef {import("./explanation_types").Analysis} Analysis */
/** @typedef {import("./explanation_types").InterpretabilityResult} InterpretabilityResult */

/**
 * @param {InterpretabilityResult} result
 * @param {Analysis} analysis
 */
export function interpretabilityResult(result, analysis) {
  const units = [...result.units].sort((one, other) => one.score - other.score);
  const measure = result.of === "recall" ? "Recall" : "Accuracy";
  const last = result.correlations.at(-1);
  const dots = [{ label: `${result.of} where the unit fires`, values: units.map((unit) => unit.accuracy), dots: true }];
  return html`<div class="figures">
      <div class="figure"><span class="soft small">Correlation, Pearson’s r</span><b>${decimals(last?.r)}</b>
        <span class="small">p-value ${decimals(last?.p)}</span></div>
      <div class="figure"><span class="soft small">${measure} over all</span><b>${percent(result.overall)}</b>
        <span class="small">of the samples</span></div>
      <div class="figure"><span class="soft small">Units counted</span><b>${number(units.length)}</b>
        <span class="small">that fire often enough</span></div></div>
    <section class="panel"><h2>${measure} by IoU</h2>
      ${
        units.length
          ? html`<line-chart .x=${units.map((unit) => unit.score)} .lines=${dots} .axis=${"IoU of the formula"}
            .left=${result.of} .label=${`${measure} where each unit fires, by the IoU of its formula`}></line-chart>`
          : html`<p>No unit fires often enough.</p>`
      }
      <h3>Correlation by length</h3>
      <div class="scroll" tabindex="0" role="region" aria-label="Correlations"><table>
        <thead><tr><th scope="col">Most concepts</th><th scope="col" class="number">Units</th>
          <th scope="col" class="number">r</th><th scope="col" class="number">p-value</th></tr></thead>
        <tbody>${result.correlations.map(
          ({ length, units: counted, r, p }) => html`<tr><th scope="row">${length}</th>
            <td class="number">${number(counted)}</td><td class="number">${decimals(r)}</td>
            <td class="number">${decimals(p)}</td></tr>`,
        )}</tbody></table></div>
      ${
        "interpretability.png" in analysis.files
          ? html`<details><summary>Plot for each length</summary>
            <img class="plot" src="/v1/analyses/${analysis.id}/files/interpretability.png" loading="lazy"
              alt="${measure} by IoU, a panel for each length; the tables have the values"></details>`
          : nothing
      }</section>
    <section class="panel"><h2>Units that mislead</h2>
      <p class="soft small">Where these fire, the model is right least often.</p>
      <div class="scroll tall" tabindex="0" role="region" aria-label="Units by ${result.of}"><table>
        <thead><tr><th scope="col">Unit</th><th scope="col" class="number">Samples</th>
          <th scope="col" class="number">${measure}</th><th scope="col" class="number">IoU</th></tr></thead>
        <tbody>${[...units]
          .sort((one, other) => one.accuracy - other.accuracy)
          .map(
            (unit) => html`<tr><th scope="row"><a href=${unitPage(analysis.explanation_id, unit)}>${unit.unit}</a>
              <span class="soft small">${unit.layer}</span></th><td class="number">${number(unit.samples)}</td>
            <td class="number">${percent(unit.accuracy)}</td><td class="number">${decimals(unit.score)}</td></tr>`,
          )}</tbody></table></div></section>`;
}
