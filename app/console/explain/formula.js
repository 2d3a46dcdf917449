/** Formulas over concepts: as text, and the words that they name. */

import { html } from "../vendor/lit.js";

/** @typedef {import("./explanation_types").FormulaNode} FormulaNode */
/** @typedef {{side: number | null, word: string, negated: boolean}} NamedWord */

const OPERATORS = / (AND NOT|AND|OR) /;
const SIDES = ["pre", "hyp"];

/**
 * Return a formula with its operators set apart from its concepts.
 * @param {string | null} formula
 */
export function formulaText(formula) {
  if (formula === null) return html`<span class="soft">no formula</span>`;
  return html`<span class="formula">${formula
    .split(OPERATORS)
    .map((part, index) => (index % 2 ? html` <span class="operator">${part}</span> ` : part))}</span>`;
}

/**
 * Return the words of a formula over texts, such as `hyp:tok:nobody`.
 * @param {FormulaNode | null} node
 * @param {boolean} [negated]
 * @returns {NamedWord[]} With the text of the pair that each is searched in; null for any
 */
export function namedWords(node, negated = false) {
  if (node === null) return [];
  if (node.concept !== null) {
    const match = /^(?:(pre|hyp):)?tok:(.+)$/s.exec(node.concept);
    if (match === null) return [];
    return [{ side: match[1] === undefined ? null : SIDES.indexOf(match[1]), word: match[2], negated }];
  }
  return node.parts.flatMap((part, index) =>
    namedWords(part, negated !== (node.operator === "and_not" && index === 1)),
  );
}

/**
 * Return what a concept of texts means; empty for one of images or signals, whose name says it.
 * @param {string} concept
 */
export function conceptMeaning(concept) {
  const overlap = /^overlap-(\d+)$/.exec(concept);
  if (overlap !== null) return `more than ${overlap[1]} % of the hypothesis is also in the premise`;
  const match = /^(?:(pre|hyp):)?(tok|tag):/.exec(concept);
  if (match === null) return "";
  const where = match[1] === undefined ? "the text" : match[1] === "pre" ? "the premise" : "the hypothesis";
  return `${match[2] === "tok" ? "the word is" : "a word with this tag is"} in ${where}`;
}

/**
 * Return whether a formula counts the words that both sentences of a pair have.
 * @param {FormulaNode | null} node
 * @returns {boolean}
 */
export function countsOverlap(node) {
  if (node === null) return false;
  return (node.concept?.startsWith("overlap-") ?? false) || node.parts.some(countsOverlap);
}
