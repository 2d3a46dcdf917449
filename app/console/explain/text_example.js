/** A text in which a unit is active, with the words that its formula names. */

import { html, nothing } from "../vendor/lit.js";
import { countsOverlap, namedWords } from "./formula.js";

/** @typedef {import("./explanation_types").Unit} Unit */
/** @typedef {import("./explanation_types").UnitExample} UnitExample */

const PAIR = ["Premise", "Hypothesis"];

/**
 * @param {Unit} unit
 * @param {UnitExample} example
 */
export function textExample(unit, example) {
  const texts = example.texts ?? [];
  return html`<dl class="texts">${texts.map(
    (text, side) => html`
      <dt class=${texts.length > 1 ? "small soft" : "unseen"}>${texts.length > 1 ? PAIR[side] : "Text"}</dt>
      <dd>${markedText(unit, texts, side)}</dd>`,
  )}</dl>`;
}

/** @param {Unit} unit Of texts */
export function textLegend(unit) {
  const named = namedWords(unit.tree);
  const overlap = countsOverlap(unit.tree);
  if (named.length === 0 && !overlap)
    return html`<p class="small soft">The formula names no words, so none is marked. The API
      says which texts have a tag, not which of their words.</p>`;
  return html`<p class="small">
    ${named.some(({ negated }) => !negated) ? html`<mark>word</mark> the formula requires or allows` : nothing}
    ${named.some(({ negated }) => negated) ? html`<mark class="negated">word</mark> the formula excludes` : nothing}
    ${overlap ? html`<mark class="both">word</mark> in both sentences` : nothing}</p>`;
}

/**
 * @param {Unit} unit
 * @param {string[]} texts
 * @param {number} side
 */
function markedText(unit, texts, side) {
  const named = namedWords(unit.tree).filter((one) => one.side === null || one.side === side);
  const other = countsOverlap(unit.tree) && texts.length > 1 ? pieces(texts[1 - side]).map(folded) : [];
  return pieces(texts[side]).map((piece) => {
    const match = named.find(({ word }) => word === folded(piece));
    if (match !== undefined) return html`<mark class=${match.negated ? "negated" : nothing}>${piece}</mark>`;
    return /\w/.test(piece) && other.includes(folded(piece)) ? html`<mark class="both">${piece}</mark>` : piece;
  });
}

/** @param {string} text Its words, and what is between them */
function pieces(text) {
  return text.split(/([^\p{L}\p{N}'’]+)/u).filter(Boolean);
}

/** @param {string} piece */
function folded(piece) {
  return piece.toLowerCase();
}
