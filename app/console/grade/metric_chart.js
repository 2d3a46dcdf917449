/** Metrics of an evaluation, each a dot with its interval and expected value on its scale; and their table. */

import { html, nothing } from "../vendor/lit.js";
import { Element } from "../shared/element.js";
import { number } from "../shared/format.js";
import { ALL_METRICS, METRIC_GROUPS, roundTicks } from "./metrics.js";

/** @typedef {import("./evaluation_types").MetricValue} MetricValue */
/** @typedef {import("./metrics.js").MetricKind} MetricKind */
/** @typedef {{metric: MetricKind, result: MetricValue}} Row */

const SHARES = [0, 0.25, 0.5, 0.75, 1];
const HIGHEST_SHARE = 1.02;

class MetricChart extends Element {
  static properties = { metrics: { attribute: false } };

  constructor() {
    super();
    /** @type {Record<string, MetricValue>} */
    this.metrics = {};
  }

  render() {
    const results = Object.values(this.metrics);
    const hasInterval = results.some(({ interval }) => interval !== null);
    const hasExpected = results.some(({ expected }) => expected !== null);
    return html`
      <ul class="key small">
        <li>${key("value")} value</li>
        ${hasInterval ? html`<li>${key("interval")} 95 % confidence interval</li>` : nothing}
        ${hasExpected ? html`<li>${key("expected")} expected if both sets had the same distribution</li>` : nothing}
      </ul>
      ${METRIC_GROUPS.map((group) => this.group(group))}
      <details><summary>Table</summary>${table(this.metrics)}</details>`;
  }

  /** @param {{title: string, about: string, metrics: MetricKind[]}} group */
  group({ title, about, metrics }) {
    const rows = metrics
      .filter(({ name }) => name in this.metrics)
      .map((metric) => ({ metric, result: this.metrics[metric.name] }));
    if (rows.length === 0) return nothing;
    const shares = rows.filter(({ metric }) => metric.scale === "share");
    const highest = Math.max(0, ...shares.map(({ result }) => extent(result)[1]));
    const ticks = highest > HIGHEST_SHARE ? roundTicks(0, highest) : SHARES;
    return html`<section class="metrics" aria-label=${title}><h3>${title}</h3><p class="small soft">${about}</p>
      ${shares.map((row) => metricRow(row, ticks))} ${shares.length ? axis(ticks) : nothing}
      ${rows
        .filter(({ metric }) => metric.scale === "open")
        .map((row) => {
          const [low, high] = extent(row.result);
          const own = roundTicks(Math.min(0, low), high);
          return html`${metricRow(row, own)} ${axis(own)}`;
        })}</section>`;
  }
}

/** Return the least and the greatest number to draw. @param {MetricValue} result */
function extent({ value, expected, interval }) {
  const all = [value, ...(interval ?? []), ...(expected === null ? [] : [expected])];
  return [Math.min(...all), Math.max(...all)];
}

/**
 * @param {Row} row
 * @param {number[]} ticks
 */
function metricRow({ metric, result }, ticks) {
  const at = (/** @type {number} */ value) =>
    `${((100 * (value - ticks[0])) / (ticks[ticks.length - 1] - ticks[0])).toFixed(3)}%`;
  const { value, interval, expected } = result;
  const [low, high] = interval ?? [value, value];
  return html`<div class="metric">
    <div class="metric-name" title=${result.meaning}>${metric.title}</div>
    <div class="metric-plot"><svg role="img" aria-label=${spoken(metric.title, result)} width="100%" height="32">
      ${ticks.map((tick) => html`<svg class="grid" overflow="visible"><line x1=${at(tick)} x2=${at(tick)} y1="0"
        y2="32" /></svg>`)}
      <line class="whole" x1="0" x2="100%" y1="16" y2="16" />
      <line class="interval" x1=${at(low)} x2=${at(high)} y1="16" y2="16" />
      ${
        expected === null
          ? nothing
          : html`<svg class="expected" overflow="visible"><line x1=${at(expected)} x2=${at(expected)} y1="3"
              y2="29" /></svg>`
      }
      <circle class="value" cx=${at(value)} cy="16" r="6" /></svg></div>
    <div class="metric-value"><b>${short(value)}</b>
      ${interval ? html`<span class="small soft">${short(low)} to ${short(high)}</span>` : nothing}
      ${expected === null ? nothing : html`<span class="small soft">expected ${short(expected)}</span>`}</div>
  </div>`;
}

/** @param {number[]} ticks */
function axis(ticks) {
  return html`<div class="metric axis" aria-hidden="true"><div></div>
    <div class="ticks">${ticks.map((tick) => html`<span>${number(tick)}</span>`)}</div><div></div></div>`;
}

/** @param {"value" | "interval" | "expected"} part */
function key(part) {
  const mark = {
    value: html`<svg><circle class="value" cx="12" cy="8" r="6" /></svg>`,
    interval: html`<svg><line class="interval" x1="2" x2="22" y1="8" y2="8" /></svg>`,
    expected: html`<svg class="expected"><line x1="12" x2="12" y1="0" y2="16" /></svg>`,
  };
  return html`<svg class="mark" width="24" height="16" aria-hidden="true">${mark[part]}</svg>`;
}

/** @param {number} value */
function short(value) {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/**
 * @param {string} title
 * @param {MetricValue} result
 */
function spoken(title, { value, interval, expected }) {
  const range = interval ? `, 95 % interval ${short(interval[0])} to ${short(interval[1])}` : "";
  return `${title}: ${short(value)}${range}${expected === null ? "" : `, expected ${short(expected)}`}`;
}

/** @param {Record<string, MetricValue>} metrics */
function table(metrics) {
  const rows = ALL_METRICS.filter(({ name }) => name in metrics);
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table of the metrics"><table>
    <thead><tr><th scope="col">Metric</th><th scope="col" class="number">Value</th>
      <th scope="col" class="number">95 % interval</th><th scope="col" class="number">Expected</th>
      <th scope="col" class="number">Deviation</th><th scope="col" class="wide">Meaning</th></tr></thead>
    <tbody>${rows.map(({ name, title }) => {
      const { value, interval, expected, deviation, meaning } = metrics[name];
      return html`<tr><th scope="row">${title}</th><td class="number">${number(value)}</td>
        <td class="number">${interval ? `${number(interval[0])} to ${number(interval[1])}` : "–"}</td>
        <td class="number">${number(expected)}</td><td class="number">${number(deviation)}</td>
        <td class="small wide">${meaning}</td></tr>`;
    })}</tbody></table></div>
    <p class="small soft">Deviation: standard deviation over subsets (KID) or splits (inception score).</p>`;
}

customElements.define("metric-chart", MetricChart);
