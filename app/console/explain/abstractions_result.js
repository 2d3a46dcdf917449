/** Formulas by kind of abstraction. */

import { html, nothing } from "../vendor/lit.js";
import { ABSTRACTIONS } from "./analysis_kinds.js";
import { decimals, percent } from "../shared/format.js";
import { formulaText } from "./formula.js";
import { place, setQuery } from "../router.js";
import { unitPage } from "./unit_addresses.js";
import { shareBar } from "../shared/bars.js";

/** @typedef {import("./explanation_types").AbstractionsResult} AbstractionsResult */

const SOURCES = {
  taxonomy: "the groups of the request",
  embedding: "the vectors of the request",
  vectors: "the vectors of words in the dataset",
  cooccurrence:
    "co-occurrence alone: nothing is known about meaning, so OR of concepts that occur together is coherent",
};

/**
 * @param {AbstractionsResult} result
 * @param {string} explanation Its id
 */
export function abstractionsResult(result, explanation) {
  const kind = place().query.get("kind") ?? "";
  const units = result.units
    .filter((unit) => !kind || unit.kind === kind)
    .sort((one, other) => other.score - one.score);
  return html`<section class="panel"><h2>Kinds of formulas</h2>
      <table class="bars"><thead><tr><th scope="col">Kind</th><th scope="col" class="wide">Meaning</th>
        <th scope="col"><span class="unseen">Bar of the share</span></th>
        <th scope="col" class="number">Share</th></tr></thead>
      <tbody>${Object.entries(ABSTRACTIONS).map(
        ([name, { title, about }]) => html`<tr><th scope="row">${title}</th><td class="wide soft">${about}</td>
          <td>${shareBar(result.shares[name] ?? 0)}</td>
          <td class="number">${percent(result.shares[name] ?? 0)}</td></tr>`,
      )}</tbody></table>
      <p class="soft small">Concepts are related by ${SOURCES[result.by]}.
        ${
          result.unknown.length ? html`Unknown, so related to none: ${result.unknown.join(", ")}.` : nothing
        }</p></section>
    <section class="panel"><h2>Units</h2>
      <div class="field narrow"><label for="abstraction">Kind</label><select id="abstraction"
        @change=${(/** @type {any} */ event) => setQuery({ kind: event.target.value })}><option value="">all</option>
        ${Object.entries(ABSTRACTIONS).map(
          ([name, { title }]) => html`<option value=${name} ?selected=${name === kind}>${title}</option>`,
        )}</select></div>
      ${
        units.length === 0
          ? html`<p>No formula is of this kind.</p>`
          : html`<div class="scroll tall" tabindex="0" role="region" aria-label="Units by kind"><table>
            <thead><tr><th scope="col">Unit</th><th scope="col">Formula</th><th scope="col" class="wide">Kind</th>
              <th scope="col" class="number">IoU</th></tr></thead>
            <tbody>${units.map(
              (unit) => html`<tr><th scope="row"><a href=${unitPage(explanation, unit)}>${unit.unit}</a>
                  <span class="soft small">${unit.layer}</span></th><td>${formulaText(unit.formula)}</td>
                <td class="wide">${ABSTRACTIONS[unit.kind].title}</td>
                <td class="number">${decimals(unit.score)}</td></tr>`,
            )}</tbody></table></div>`
      }</section>`;
}
