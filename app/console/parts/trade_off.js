/** The Pareto frontier of size and quality, and the chosen point. */

import { html } from "../vendor/lit.js";
import { Element } from "../element.js";
import { bytes, number } from "../format.js";
import "./chart.js";

/** @typedef {NonNullable<import("../types").QuantizationReport["trade_off"]>} TradeOffValues */

class TradeOff extends Element {
  static properties = { tradeOff: { attribute: false } };

  constructor() {
    super();
    this.tradeOff = /** @type {TradeOffValues} */ (/** @type {unknown} */ (null));
  }

  render() {
    const { points, chosen, measure, met, original } = this.tradeOff;
    const lines = [
      { label: "predicted agreement", values: points.map(({ predicted }) => predicted) },
      { label: `measured ${measure}`, values: points.map(({ measured }) => measured), points: true },
    ];
    const point = points[chosen];
    return html`<p>The target is ${met ? "met" : html`<strong>not met</strong>`}. The chosen point has
        ${bytes(point.weight_bytes)} of weights and ${measure} ${number(point.measured)} of ${number(original)}.</p>
      <line-chart .x=${points.map(({ weight_bytes }) => weight_bytes / 1000)} .lines=${lines}
        .axis=${"weights, kB"} .label=${"Quality by size of the weights"}></line-chart>`;
  }
}

customElements.define("trade-off", TradeOff);
