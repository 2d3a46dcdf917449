/** Metrics by k, the neighbour whose distance is the radius of a ball. */

import { html, nothing } from "../vendor/lit.js";
import { Element } from "../shared/element.js";
import { number } from "../shared/format.js";
import { METRIC_GROUPS, metricTitle } from "./metrics.js";
import "../shared/chart.js";

/** @typedef {import("./evaluation_types").SweepPoint} SweepPoint */

class EvaluationSweep extends Element {
  static properties = { sweep: { attribute: false } };

  constructor() {
    super();
    /** @type {SweepPoint[]} */
    this.sweep = [];
  }

  render() {
    const points = [...this.sweep].sort((one, other) => one.k - other.k);
    const names = METRIC_GROUPS.map(({ title, metrics }) => ({
      title,
      names: metrics.map(({ name }) => name).filter((name) => points.some(({ values }) => name in values)),
    })).filter((group) => group.names.length);
    return html`<div class="columns">${names.map(
        (group) => html`<div><h3>${group.title}</h3>
          <line-chart .x=${points.map(({ k }) => k)} .lines=${lines(points, group.names)} .axis=${"k"}
            .left=${"value"} .label=${`${group.title} by k; the table has the values`}></line-chart></div>`,
      )}</div>
      <details><summary>Table</summary>${table(
        points,
        names.flatMap((group) => group.names),
      )}</details>`;
  }
}

/**
 * @param {SweepPoint[]} points
 * @param {string[]} names
 */
function lines(points, names) {
  return names.flatMap((name) => {
    const line = { label: metricTitle(name), values: points.map(({ values }) => values[name] ?? null), points: true };
    if (!points.some(({ expected }) => name in expected)) return [line];
    const label = `${metricTitle(name)}, expected`;
    return [line, { label, values: points.map(({ expected }) => expected[name] ?? null), points: true }];
  });
}

/**
 * @param {SweepPoint[]} points
 * @param {string[]} names
 */
function table(points, names) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Metrics by k"><table>
    <thead><tr><th scope="col" class="number">k</th>${names.map(
      (name) => html`<th scope="col" class="number">${metricTitle(name)}</th>`,
    )}</tr></thead>
    <tbody>${points.map(
      ({ k, values, expected }) => html`<tr><th scope="row" class="number">${k}</th>${names.map(
        (name) => html`<td class="number">${number(values[name])}${
          name in expected ? html`<br><span class="small soft">expected ${number(expected[name])}</span>` : nothing
        }</td>`,
      )}</tr>`,
    )}</tbody></table></div>`;
}

customElements.define("evaluation-sweep", EvaluationSweep);
