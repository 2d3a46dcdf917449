/** Samples to look at: outside, uncovered, closest (copies first), densest; beside their nearest ones. */

import { html, nothing } from "../vendor/lit.js";
import { get, withQuery } from "../shared/api.js";
import { Element, curl } from "../shared/element.js";
import { number } from "../shared/format.js";
import { place, setQuery } from "../router.js";
import { sampleImage } from "../shared/sample_image.js";

/** @typedef {import("./evaluation_types").Evaluation} Evaluation */
/** @typedef {import("./evaluation_types").EvaluationSample} EvaluationSample */
/** @typedef {{items: EvaluationSample[], next_cursor: string | null, total: number, which: string}} SamplePage */

const LIMIT = 12;
const SHEETS = [
  {
    which: "outside",
    title: "Outside",
    counted: true,
    about: "Generated samples in no real ball, the farthest first.",
  },
  {
    which: "uncovered",
    title: "Uncovered",
    counted: true,
    about: "Real samples with no generated one in their ball, the farthest first.",
  },
  {
    which: "closest",
    title: "Copies",
    about: "Generated samples beside the nearest real one, the closest first. Copies come first.",
  },
  { which: "densest", title: "Densest", about: "Generated samples in the most real balls." },
];

class EvaluationSamples extends Element {
  static properties = { evaluation: { attribute: false }, images: { attribute: false } };

  constructor() {
    super();
    this.evaluation = /** @type {Evaluation} */ (/** @type {unknown} */ (null));
    /** Whether the datasets are there, and of images. */
    this.images = false;
    /** @type {SamplePage | null} */
    this.page = null;
    /** @type {EvaluationSample[]} */
    this.items = [];
  }

  connectedCallback() {
    super.connectedCallback();
    this.load(null);
  }

  get sheet() {
    const which = place().query.get("which");
    return SHEETS.find((sheet) => sheet.which === which) ?? SHEETS[0];
  }

  get path() {
    return `/v1/evaluations/${this.evaluation.id}/samples`;
  }

  /** @param {string | null} cursor */
  load(cursor) {
    const which = this.sheet.which;
    this.attempt(async () => {
      const page = await get(withQuery(this.path, { which, limit: LIMIT, cursor }), this.leaving.signal);
      if (which !== this.sheet.which) return;
      this.items = cursor === null ? page.items : [...this.items, ...page.items];
      this.page = page;
    });
  }

  /** @param {string} which */
  change(which) {
    setQuery({ which });
    this.items = [];
    this.page = null;
    this.load(null);
  }

  render() {
    const { sheet, page } = this;
    const counts = this.evaluation.shown;
    return html`<fieldset><legend>Show</legend><div class="row">${SHEETS.map(
      ({ which, title, counted }) => html`<span><input type="radio" id="sheet-${which}" name="sheet" value=${which}
          .checked=${which === sheet.which} @change=${() => this.change(which)}>
        <label for="sheet-${which}">${title}
          ${counted ? html`<span class="soft">${number(counts[which])}</span>` : nothing}</label></span>`,
    )}</div></fieldset>
      <p>${sheet.about}</p>
      ${this.problem()}
      ${page === null ? nothing : page.total === 0 ? html`<p>There is none.</p>` : this.content(page)}
      <details><summary>The same by the API</summary>${curl(
        `curl '$URL${this.path}?which=${sheet.which}&limit=5'\ncurl -o ${sheet.which}.png ` +
          `$URL/v1/evaluations/${this.evaluation.id}/files/${sheet.which}.png`,
      )}</details>`;
  }

  /** @param {SamplePage} page */
  content(page) {
    const file = `${page.which}.png`;
    const drawn = file in this.evaluation.files;
    return html`${
      this.images
        ? html`<ul class="samples pairs">${this.items.map((sample) => this.tile(sample))}</ul>`
        : html`${
            drawn
              ? html`<img class="sheet" src="/v1/evaluations/${this.evaluation.id}/files/${file}"
                  alt="The first samples of this selection">`
              : nothing
          } ${table(this.items)}`
    }
    <div class="row">
      ${page.next_cursor ? html`<button @click=${() => this.load(page.next_cursor)}>Show more</button>` : nothing}
      <span class="small soft" aria-live="polite">${number(this.items.length)} of ${number(page.total)}</span></div>`;
  }

  /** @param {EvaluationSample} sample */
  tile(sample) {
    const { reference_id, generated_id } = this.evaluation.settings;
    const isReal = sample.set === "reference";
    const [own, other] = isReal ? [reference_id, generated_id] : [generated_id, reference_id];
    const name = sample.name ?? `sample ${sample.index}`;
    const nearest = sample.nearest_name ?? `sample ${sample.nearest_index}`;
    return html`<li><div class="pair">
        <figure>${sampleImage(own, sample.index, name)}
          <figcaption class="small">${isReal ? "real" : "generated"}</figcaption></figure>
        <figure>${sampleImage(other, sample.nearest_index, nearest)}
          <figcaption class="small">nearest ${isReal ? "generated" : "real"}</figcaption></figure></div>
      ${sample.distance === 0 ? html`<span class="tag bad">equal features</span>` : nothing}
      <span class="small">${name}, distance ${number(sample.distance)}${
        sample.balls ? `, ${isReal ? "in its ball" : "balls"}: ${number(sample.balls)}` : ""
      }</span></li>`;
  }
}

/** @param {EvaluationSample[]} items */
function table(items) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Samples"><table>
    <thead><tr><th scope="col">Sample</th><th scope="col">Class</th><th scope="col" class="number">Balls</th>
      <th scope="col" class="number">Distance</th><th scope="col">Nearest</th></tr></thead>
    <tbody>${items.map(
      (sample) => html`<tr><th scope="row">${sample.name ?? sample.index}</th><td>${sample.label ?? "–"}</td>
        <td class="number">${number(sample.balls)}</td><td class="number">${number(sample.distance)}</td>
        <td>${sample.nearest_name ?? sample.nearest_index}</td></tr>`,
    )}</tbody></table></div>`;
}

customElements.define("evaluation-samples", EvaluationSamples);
