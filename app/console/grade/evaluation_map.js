/** Both sets in the plane, with the sample behind the point that is pointed at. */

import { html, nothing } from "../vendor/lit.js";
import { get } from "../shared/api.js";
import { Element } from "../shared/element.js";
import { number } from "../shared/format.js";
import { place, setQuery } from "../router.js";
import { sampleImage } from "../shared/sample_image.js";
import { Scatter } from "./scatter.js";

/** @typedef {import("./evaluation_types").Evaluation} Evaluation */
/** @typedef {import("./evaluation_types").Plots} Plots */
/** @typedef {import("./scatter.js").Point} Point */

/** @type {Record<string, [number, number]>} */
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const NAMES = { reference: "Real sample", generated: "Generated sample" };

class EvaluationMap extends Element {
  static properties = { evaluation: { attribute: false }, images: { attribute: false } };

  constructor() {
    super();
    this.evaluation = /** @type {Evaluation} */ (/** @type {unknown} */ (null));
    /** Whether the datasets are there, and of images. */
    this.images = false;
    /** @type {Plots["map"] | null} */
    this.map = null;
    /** @type {Point[]} */
    this.points = [];
    /** @type {Point | null} */
    this.chosen = null;
    this.shown = { reference: true, generated: true, notable: false };
    /** @type {Scatter | null} */
    this.scatter = null;
    this.observer = new ResizeObserver(() => this.requestUpdate());
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
  }

  connectedCallback() {
    super.connectedCallback();
    this.observer.observe(this);
    this.scheme.addEventListener("change", () => this.requestUpdate(), { signal: this.leaving.signal });
    this.attempt(async () => {
      const path = `/v1/evaluations/${this.evaluation.id}/files/plots.json`;
      this.map = /** @type {Plots} */ (await get(path, this.leaving.signal)).map;
      this.points = [...points("reference", this.map), ...points("generated", this.map)];
      const [set, index] = (place().query.get("point") ?? "").split("-");
      this.chosen = this.points.find((point) => point.set === set && this.index(point) === Number(index)) ?? null;
    });
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.observer.disconnect();
  }

  render() {
    if (this.map === null) return this.problem();
    const about =
      "Map of both sets. Arrow keys go from point to point; the sample behind a point is shown beside the map.";
    return html`<div class="row map-options">
        ${this.option("reference", html`<span class="dot real"></span> real`)}
        ${this.option("generated", html`<span class="dot generated"></span> generated`)}
        ${this.option("notable", "only those outside or uncovered")}</div>
      <div class="map">
        <div class="map-plot" role="application" aria-label=${about} tabindex="0" @keydown=${this.step}
          @focus=${this.start} @pointermove=${this.point} @pointerdown=${this.point} @pointerup=${this.keepPoint}>
          <canvas></canvas></div>
        <div class="map-sample" aria-live="polite">${
          this.chosen === null
            ? html`<p class="soft">Point at the map, or move through it with the arrow keys, to see the sample behind a
                point.</p>`
            : this.sample(this.chosen)
        }</div>
      </div>
      <p class="soft small">Features of both sets on the first two principal components of the real ones, which hold
        ${number(100 * sum(this.map.explained))} % of their variance. Points that are near here may be far apart in
        the feature space. Drawn in full colour: generated samples in no real ball, and real ones that are
        uncovered.</p>`;
  }

  /**
   * @param {"reference" | "generated" | "notable"} name
   * @param {unknown} label
   */
  option(name, label) {
    return html`<span><input type="checkbox" id="map-${name}" ?checked=${this.shown[name]}
      @change=${(/** @type {any} */ event) => {
        this.shown[name] = event.target.checked;
        this.requestUpdate();
      }}> <label for="map-${name}">${label}</label></span>`;
  }

  updated() {
    const canvas = this.querySelector("canvas");
    if (canvas === null || this.map === null) return;
    const shown = this.points.filter(({ set, notable }) => this.shown[set] && (notable || !this.shown.notable));
    const [first, second] = this.map.explained.map((share) => `${(100 * share).toFixed(0)} % of the variance`);
    this.scatter = new Scatter(canvas, shown, [`1st component, ${first}`, `2nd component, ${second}`]);
    this.scatter.draw(this.chosen);
  }

  /** @param {PointerEvent} event */
  point(event) {
    const box = this.querySelector("canvas")?.getBoundingClientRect();
    if (box === undefined) return;
    const found = this.scatter?.near(event.clientX - box.left, event.clientY - box.top) ?? null;
    if (found !== null && found !== this.chosen) this.choose(found);
  }

  /** Start in the middle, so that the first key has somewhere to go from. */
  start() {
    if (this.chosen === null) this.choose(this.scatter?.middle() ?? null);
  }

  /** @param {KeyboardEvent} event */
  step(event) {
    const direction = DIRECTIONS[event.key];
    if (direction === undefined || this.chosen === null || this.scatter === null) return;
    event.preventDefault();
    this.choose(this.scatter.next(this.chosen, direction));
    this.keepPoint();
  }

  /** @param {Point | null} point */
  choose(point) {
    this.chosen = point;
    this.requestUpdate();
  }

  /** The address holds the point, so that a reload shows it again. */
  keepPoint() {
    if (this.chosen !== null) setQuery({ point: `${this.chosen.set}-${this.index(this.chosen)}` });
  }

  /** Return its position in the dataset. @param {Point} point */
  index({ set, row }) {
    return /** @type {Plots["map"]} */ (this.map)[set].index[row];
  }

  /** @param {Point} point */
  sample(point) {
    const { set, row } = point;
    const columns = /** @type {Plots["map"]} */ (this.map)[set];
    const { reference_id, generated_id } = this.evaluation.settings;
    const [own, other] = set === "reference" ? [reference_id, generated_id] : [generated_id, reference_id];
    const index = this.index(point);
    const label = columns.label?.[row];
    const nearest = columns.nearest_index?.[row];
    return html`<h3>${NAMES[set]} ${index}</h3>
      ${
        this.images
          ? html`<div class="pair"><figure>${sampleImage(own, index, `${NAMES[set]} ${index}`)}
              <figcaption class="small">${set === "reference" ? "real" : "generated"}</figcaption></figure>
            ${
              nearest === undefined
                ? nothing
                : html`<figure>${sampleImage(other, nearest, `Nearest of the other set, ${nearest}`)}
                  <figcaption class="small">nearest ${set === "reference" ? "generated" : "real"}</figcaption></figure>`
            }</div>`
          : nothing
      }
      <dl class="facts">
        ${label ? html`<dt>Class</dt><dd>${label}</dd>` : nothing}
        ${columns.balls ? html`<dt>${set === "reference" ? "In its ball" : "Balls it is in"}</dt>
          <dd>${ballsText(set, columns.balls[row])}</dd>` : nothing}
        ${columns.distance ? html`<dt>Distance to the nearest</dt><dd>${number(columns.distance[row])}</dd>` : nothing}
        ${nearest === undefined ? nothing : html`<dt>Nearest</dt><dd>sample ${nearest} of the other set</dd>`}
      </dl>`;
  }
}

/**
 * @param {"reference" | "generated"} set
 * @param {number} balls
 */
function ballsText(set, balls) {
  if (set === "generated") return balls === 0 ? "none: it is outside" : `${number(balls)} of real samples`;
  return balls === 0 ? "none: it is uncovered" : `${number(balls)} generated`;
}

/**
 * @param {"reference" | "generated"} set
 * @param {Plots["map"]} map
 * @returns {Point[]}
 */
function points(set, map) {
  const { place, balls } = map[set];
  return place.map(([x, y], row) => ({ set, row, x, y, notable: balls?.[row] === 0 }));
}

/** @param {number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

customElements.define("evaluation-map", EvaluationMap);
