/** A chart of uPlot in the colours of the page; a click gives the nearest index on x by the event `point`. */

import uPlot from "../vendor/uplot.js";
import { Element } from "./element.js";
import { html } from "../vendor/lit.js";

/**
 * @typedef {object} Line
 * @property {string} label
 * @property {(number | null)[]} values
 * @property {boolean} [points] Whether its points are drawn, too
 * @property {boolean} [dots] Whether its points are not joined
 * @property {number} [size] Of its points, pixels
 * @property {"right"} [axis]
 */

const COLOURS = ["--accent", "--second", "--good", "--bad", "--soft"];
const DASHES = [[], [6, 4], [2, 3], [10, 4, 2, 4], [4, 2]];

class LineChart extends Element {
  static properties = {
    x: { attribute: false },
    lines: { attribute: false },
    label: { attribute: false },
    axis: { attribute: false },
    left: { attribute: false },
    log: { attribute: false },
  };

  constructor() {
    super();
    /** @type {number[]} */
    this.x = [];
    /** @type {Line[]} */
    this.lines = [];
    /** What the chart shows, for those who do not see it. */
    this.label = "";
    /** What the horizontal axis counts. */
    this.axis = "";
    /** What the left axis measures; without a title if empty. */
    this.left = "";
    /** Whether the left axis is logarithmic. */
    this.log = false;
    /** @type {uPlot | null} */
    this.plot = null;
    this.names = "";
    this.observer = new ResizeObserver(() => this.resize());
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
  }

  connectedCallback() {
    super.connectedCallback();
    this.scheme.addEventListener("change", () => this.renew(), { signal: this.leaving.signal });
    this.observer.observe(this);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.observer.disconnect();
    this.plot?.destroy();
  }

  render() {
    return html`<div class="chart" role="img" aria-label=${this.label}></div>`;
  }

  updated() {
    const names = JSON.stringify([this.axis, this.log, this.lines.map(({ label }) => label)]);
    if (this.plot === null || names !== this.names) this.renew();
    else this.plot.setData(this.data());
    this.names = names;
  }

  renew() {
    const box = /** @type {HTMLElement | null} */ (this.querySelector(".chart"));
    if (box === null) return;
    this.plot?.destroy();
    const plot = new uPlot(this.options(box.clientWidth), this.data(), box);
    plot.over.addEventListener("click", () =>
      this.dispatchEvent(new CustomEvent("point", { detail: plot.cursor.idx })),
    );
    this.plot = plot;
  }

  resize() {
    const box = /** @type {HTMLElement | null} */ (this.querySelector(".chart"));
    if (box !== null && this.plot !== null && box.clientWidth > 0 && box.clientWidth !== this.plot.width) {
      this.plot.setSize({ width: box.clientWidth, height: 220 });
    }
  }

  /** @returns {uPlot.AlignedData} */
  data() {
    return [this.x, ...this.lines.map(({ values }) => values)];
  }

  /**
   * @param {number} width
   * @returns {uPlot.Options}
   */
  options(width) {
    const style = getComputedStyle(this);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--soft"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { stroke: colour("--line") },
    };
    /** @type {uPlot.Axis[]} */
    const axes = [
      { ...axis, label: this.axis, labelSize: 20 },
      { ...axis, size: 60, ...(this.left ? { label: this.left, labelSize: 20 } : {}) },
    ];
    const right = this.lines.find((line) => line.axis === "right");
    if (right !== undefined) {
      axes.push({
        ...axis,
        side: 1,
        scale: "right",
        grid: { show: false },
        size: 40,
        label: right.label,
        labelSize: 20,
      });
    }
    return {
      width,
      height: 220,
      axes,
      cursor: { drag: { x: false, y: false } },
      scales: { x: { time: false }, y: this.log ? { distr: 3 } : {} },
      series: [
        { label: this.axis },
        ...this.lines.map((line, index) => ({
          label: line.label,
          scale: line.axis === "right" ? "right" : "y",
          stroke: colour(COLOURS[index % COLOURS.length]),
          width: 2,
          dash: DASHES[index % DASHES.length],
          points: {
            show: line.dots || (line.points ?? false),
            ...(line.size ? { size: line.size, fill: colour(COLOURS[index % COLOURS.length]) } : {}),
          },
          ...(line.dots ? { paths: () => null } : {}),
          spanGaps: true,
          value: (/** @type {unknown} */ _, /** @type {number | null} */ value) =>
            value === null ? "–" : value.toPrecision(4),
        })),
      ],
    };
  }
}

customElements.define("line-chart", LineChart);
