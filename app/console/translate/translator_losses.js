/** The loss curves of a translator, those of like meaning in one chart. */

import { html, nothing } from "../vendor/lit.js";
import { Element } from "../shared/element.js";
import { lossGroups } from "./translation_methods.js";
import "../shared/chart.js";

/** @typedef {import("../shared/types").LossPoint} LossPoint */

const WINDOWS = 60;

class TranslatorLosses extends Element {
  static properties = { points: { attribute: false } };

  constructor() {
    super();
    /** @type {LossPoint[]} */
    this.points = [];
  }

  render() {
    const steps = this.points.map(({ step }) => step);
    const names = [...new Set(this.points.flatMap(({ losses }) => Object.keys(losses)))];
    const window = Math.max(1, Math.round(this.points.length / WINDOWS));
    const line = (/** @type {string} */ label) => ({
      label,
      values: means(
        this.points.map(({ losses }) => losses[label] ?? null),
        window,
      ),
    });
    return html`<div class="columns">${lossGroups(names).map(
      ({ title, names: lines }) => html`<section class="panel"><h2>${title}</h2>
        <line-chart .x=${steps} .axis=${"step"} .left=${"loss, unweighted"} .lines=${lines.map(line)}
          .label=${`${title} by step: ${lines.join(", ")}`}></line-chart>
        ${window > 1 ? html`<p class="soft small">Means over ${window} points.</p>` : nothing}</section>`,
    )}</div>`;
  }
}

/**
 * Return running means of a line, each over up to `window` points before and at it.
 * @param {(number | null)[]} values
 * @param {number} window
 */
function means(values, window) {
  return values.map((value, index) => {
    if (value === null) return null;
    const near = values.slice(Math.max(0, index + 1 - window), index + 1).filter((other) => other !== null);
    return near.reduce((sum, other) => sum + other, 0) / near.length;
  });
}

customElements.define("translator-losses", TranslatorLosses);
