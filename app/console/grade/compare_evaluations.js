/** Evaluations side by side: the first, and each other against it. */

import { html, nothing } from "../vendor/lit.js";
import { get } from "../shared/api.js";
import { Element, curl } from "../shared/element.js";
import { number, words } from "../shared/format.js";
import { ALL_METRICS } from "./metrics.js";
import { place, setQuery } from "../router.js";

/** @typedef {import("./evaluation_types").Evaluation} Evaluation */
/** @typedef {import("./evaluation_types").EvaluationComparison} EvaluationComparison */
/** @typedef {import("./evaluation_types").EvaluationSummary} EvaluationSummary */
/** @typedef {{evaluation: Evaluation, comparison: EvaluationComparison}} Other */

class CompareEvaluations extends Element {
  constructor() {
    super();
    /** @type {EvaluationSummary[]} */
    this.listed = [];
    /** @type {Evaluation | null} */
    this.first = null;
    /** @type {Other[]} */
    this.others = [];
  }

  connectedCallback() {
    super.connectedCallback();
    window.addEventListener("hashchange", () => this.load(), { signal: this.leaving.signal });
    this.load();
  }

  get ids() {
    return (place().query.get("ids") ?? "").split(",").filter(Boolean);
  }

  load() {
    if (place().parts.join("/") !== "evaluations/compare") return;
    const { signal } = this.leaving;
    const [first, ...others] = this.ids;
    this.attempt(async () => {
      this.listed = (await get("/v1/evaluations?limit=200", signal)).items;
      this.first = first ? await get(`/v1/evaluations/${first}`, signal) : null;
      this.others = await Promise.all(
        others.map(async (id) => ({
          evaluation: await get(`/v1/evaluations/${id}`, signal),
          comparison: await get(`/v1/evaluations/${first}/comparison?other_id=${id}`, signal),
        })),
      );
    });
  }

  render() {
    const [first, other] = this.ids;
    return html`<div class="head"><div><p class="crumb"><a href="#/evaluations">Evaluations</a></p>
        <h1>Compare evaluations</h1></div></div>
      <section class="panel" aria-label="Comparison">
        ${this.problem()} ${this.add()}
        ${this.first === null ? (first ? nothing : noneChosen()) : this.table(this.first)}
        ${this.others.map(({ evaluation, comparison }) => differences(evaluation, comparison))}
        <details><summary>The same by the API</summary>${curl(
          `curl '$URL/v1/evaluations/${first ?? "evl_…"}/comparison?other_id=${other ?? "evl_…"}'`,
        )}</details>
      </section>`;
  }

  add() {
    const ids = this.ids;
    const rest = this.listed.filter(({ id }) => !ids.includes(id));
    if (rest.length === 0) return nothing;
    return html`<div class="fields"><div class="field"><label for="compare-add">Add an evaluation</label>
      <select id="compare-add" @change=${(/** @type {any} */ event) => {
        const id = event.target.value;
        event.target.value = "";
        setQuery({ ids: [...ids, id].join(",") });
      }}><option value="">choose</option>${rest.map(({ id, name }) => html`<option value=${id}>${name}</option>`)}
      </select></div></div>`;
  }

  /** @param {Evaluation} first */
  table(first) {
    const all = [first, ...this.others.map(({ evaluation }) => evaluation)];
    const metrics = ALL_METRICS.filter(({ name }) => all.some(({ metrics }) => name in metrics));
    return html`<div class="scroll" tabindex="0" role="region" aria-label="Comparison of evaluations"><table>
      <thead><tr><th scope="col">Metric</th>${all.map(
        ({ id, name }) => html`<th scope="col" class="number"><a href="#/evaluations/${id}">${name}</a>
          <button class="remove" aria-label="Leave out ${name}" title="Leave out"
            @click=${() => setQuery({ ids: this.ids.filter((one) => one !== id).join(",") })}>×</button></th>`,
      )}</tr></thead>
      <tbody>
        ${metrics.map(
          ({ name, title, smallerIsBetter }) => html`<tr><th scope="row">${title}
              <span class="small soft">${smallerIsBetter ? "0 is best" : ""}</span></th>
            <td class="number">${value(first, name)}</td>
            ${this.others.map(
              ({ evaluation, comparison }) => html`<td class="number">${verdict(comparison, name)}
              ${value(evaluation, name)}</td>`,
            )}</tr>`,
        )}
        <tr><th scope="row">Samples, real and generated</th>${all.map(
          (one) => html`<td class="number">${number(one.reference_samples)} / ${number(one.generated_samples)}</td>`,
        )}</tr>
        <tr><th scope="row">k</th>${all.map(({ k }) => html`<td class="number">${k}</td>`)}</tr>
      </tbody></table></div>
      <p class="small soft">Each is compared with the first. Where intervals overlap, or densities are above 1, it is
        undecided which is better.</p>`;
  }
}

function noneChosen() {
  return html`<p>Choose evaluations above to see their metrics side by side. There must be
    <a href="#/evaluations">some</a> first.</p>`;
}

/**
 * @param {Evaluation} evaluation
 * @param {string} name
 */
function value({ metrics }, name) {
  const result = metrics[name];
  if (result === undefined) return "–";
  const { interval } = result;
  return html`${number(result.value)}${
    interval
      ? html`<br><span class="small soft">${number(interval[0])} to ${number(interval[1])}</span>`
      : nothing
  }`;
}

/**
 * Return how an evaluation is, by one metric, beside the first.
 * @param {EvaluationComparison} comparison
 * @param {string} name
 */
function verdict({ metrics }, name) {
  const compared = metrics[name];
  if (compared === undefined) return nothing;
  if (compared.better === null) return html`<span class="tag">undecided</span>`;
  return compared.better ? html`<span class="tag bad">worse</span>` : html`<span class="tag good">better</span>`;
}

/**
 * @param {Evaluation} evaluation
 * @param {EvaluationComparison} comparison
 */
function differences({ name }, comparison) {
  if (comparison.comparable) return nothing;
  return html`<div class="notice"><p><b>${name}</b> cannot be compared with the first. These differ:</p>
    <ul class="notes">${Object.entries(comparison.differences).map(
      ([field, [ours, theirs]]) => html`<li>${words(field)}: ${shown(ours)} and ${shown(theirs)}</li>`,
    )}</ul></div>`;
}

/** @param {unknown} side */
function shown(side) {
  const text = typeof side === "string" ? side : JSON.stringify(side);
  return text.replace(/[0-9a-f]{64}/g, (sum) => `${sum.slice(0, 8)}…`);
}

customElements.define("compare-evaluations", CompareEvaluations);
