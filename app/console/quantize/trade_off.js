/** The Pareto frontier of size and quality: its chosen point, and each other with its bits. */

import { html, nothing } from "../vendor/lit.js";
import { Element } from "../shared/element.js";
import { bytes, number } from "../shared/format.js";
import { place, setQuery } from "../router.js";
import "../shared/chart.js";

/** @typedef {NonNullable<import("../shared/types").QuantizationReport["trade_off"]>} TradeOffValues */

class TradeOff extends Element {
  static properties = { tradeOff: { attribute: false }, original: { attribute: false } };

  constructor() {
    super();
    this.tradeOff = /** @type {TradeOffValues} */ (/** @type {unknown} */ (null));
    /** @type {string | null} Id of the original; null if it was deleted */
    this.original = null;
  }

  get index() {
    const { points, chosen } = this.tradeOff;
    const asked = Number(place().query.get("point") ?? chosen);
    return Number.isInteger(asked) && asked >= 0 && asked < points.length ? asked : chosen;
  }

  render() {
    const { points, chosen, measure, met, original } = this.tradeOff;
    const { index } = this;
    const quality = points.map(({ measured, predicted }) => measured ?? predicted);
    const lines = [
      { label: "predicted agreement", values: points.map(({ predicted }) => predicted) },
      { label: `measured ${measure}`, values: points.map(({ measured }) => measured), points: true },
      {
        label: "this point",
        values: quality.map((value, other) => (other === index ? value : null)),
        dots: true,
        size: 13,
      },
    ];
    const point = points[chosen];
    return html`<p>The target is ${met ? "met" : html`<strong>not met</strong>`}. The chosen point has
        ${bytes(point.weight_bytes)} of weights and ${measure} ${number(point.measured)} of ${number(original)}.</p>
      <line-chart .x=${points.map(({ weight_bytes }) => weight_bytes / 1000)} .lines=${lines} .left=${"quality"}
        .axis=${"weights, kB"} .label=${"Quality by size of the weights"}
        @point=${(/** @type {CustomEvent<number | null>} */ { detail }) => detail !== null && this.show(detail)}>
      </line-chart>
      ${this.details(index)}`;
  }

  /** @param {number} index */
  details(index) {
    const { points, chosen, measure } = this.tradeOff;
    const { weight_bytes, measured, predicted, tuned, bits } = points[index];
    const layers = Object.entries(bits);
    return html`<div class="field"><div class="between"><label for="point">Point of the curve</label>
        <output for="point">${index + 1} of ${points.length}${index === chosen ? ", the chosen one" : ""}
        </output></div>
        <input id="point" aria-describedby="about-point" type="range" min="0" max=${points.length - 1} step="1"
          .value=${String(index)}
          aria-valuetext="point ${index + 1}, ${bytes(weight_bytes)}"
          @input=${(/** @type {any} */ event) => this.show(Number(event.target.value))}>
        <span class="soft" id="about-point">Or click on the curve.</span></div>
      <dl class="facts"><dt>Weights</dt><dd>${bytes(weight_bytes)}</dd>
        <dt>Predicted agreement</dt><dd>${number(predicted)}</dd>
        <dt>Measured ${measure}</dt><dd>${measured === null ? "not measured" : number(measured)}${
          measured !== null ? (tuned ? ", after tuning" : ", after rounding alone") : ""
        }</dd></dl>
      <div class="row">${
        this.original === null || index === chosen
          ? nothing
          : html`<a class="button" href="#/models/${this.original}/quantize?max_bytes=${weight_bytes}">
            Quantize to this size</a>`
      }</div>
      <details><summary>Bits of its weights (${layers.length})</summary>
        <div class="scroll tall" tabindex="0" role="region" aria-label="Bits of the weights at this point"><table>
          <thead><tr><th scope="col">Weight</th><th scope="col" class="number">Bits</th></tr></thead>
          <tbody>${layers.map(
            ([name, count]) => html`<tr><td><code>${name}</code></td><td class="number">${count}</td></tr>`,
          )}</tbody></table></div></details>`;
  }

  /** @param {number} index */
  show(index) {
    setQuery({ point: index === this.tradeOff.chosen ? null : String(index) });
    this.requestUpdate();
  }
}

customElements.define("trade-off", TradeOff);
