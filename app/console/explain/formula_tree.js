/** A formula as a tree of operators and concepts. */

import { html } from "../vendor/lit.js";
import { words } from "../shared/format.js";
import { conceptMeaning } from "./formula.js";

/** @typedef {import("./explanation_types").FormulaNode} FormulaNode */

const MEANINGS = {
  or: "true where either is true",
  and: "true where both are true",
  and_not: "true where the first is true and the second is not",
  neighbors: "true at the word and its nearest words",
};

/** @param {FormulaNode} node */
export function formulaTree(node) {
  return html`<ul class="tree">${branch(node)}</ul>`;
}

/**
 * @param {FormulaNode} node
 * @returns {unknown}
 */
function branch(node) {
  if (node.operator === null)
    return html`<li><span class="concept">${node.concept}</span>
    <span class="soft small">${conceptMeaning(node.concept ?? "")}</span></li>`;
  return html`<li><span class="operator">${words(node.operator).toUpperCase()}</span>
    <span class="soft small">${MEANINGS[node.operator]}</span>
    <ul>${node.parts.map(branch)}</ul></li>`;
}
