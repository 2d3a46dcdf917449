/** The kept curves of tuning: agreement by step. */

import { html, nothing } from "../vendor/lit.js";
import { get } from "../shared/api.js";
import { Element } from "../shared/element.js";
import "../shared/chart.js";

/** @typedef {{step: number, losses: Record<string, number>, agreement: number | null}} Point */

class TuningCurves extends Element {
  constructor() {
    super();
    this.key = "";
    /** @type {Point[]} */
    this.points = [];
  }

  connectedCallback() {
    super.connectedCallback();
    this.attempt(async () => {
      this.points = await get(`/v1/models/${this.key}/files/curves.json`, this.leaving.signal);
    });
  }

  render() {
    const points = this.points;
    if (points.length === 0) return this.problem();
    const x = points.map(({ step }) => step);
    const names = [...new Set(points.flatMap(({ losses }) => Object.keys(losses)))];
    const losses = names.map((label) => ({
      label,
      values: points.map((point) => (point.losses[label] > 0 ? point.losses[label] : null)),
    }));
    const agreement = { label: "agreement", values: points.map((point) => point.agreement), points: true };
    return html`<div class="columns">
      <div><h3>Losses</h3><line-chart .x=${x} .lines=${losses} .log=${true} .axis=${"step"} .left=${"loss"}
        .label=${`Losses by step: ${names.join(", ")}`}></line-chart></div>
      ${
        agreement.values.some((value) => value !== null)
          ? html`<div><h3>Agreement on held-out inputs</h3><line-chart .x=${x} .lines=${[agreement]} .axis=${"step"}
            .left=${"agreement"}
            .label=${"Agreement with the original by step"}></line-chart></div>`
          : nothing
      }</div>`;
  }
}

customElements.define("tuning-curves", TuningCurves);
