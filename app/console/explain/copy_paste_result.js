/** Edits that formulas propose, against random ones; examples side by side. */

import { html, nothing } from "../vendor/lit.js";
import { decimals, number, percent } from "../shared/format.js";
import { formulaText } from "./formula.js";
import { unitPage } from "./unit_addresses.js";
import { shareBar } from "../shared/bars.js";

/** @typedef {import("./explanation_types").Analysis} Analysis */
/** @typedef {import("./explanation_types").CopyPasteResult} CopyPasteResult */
/** @typedef {import("./explanation_types").Edit} Edit */
/** @typedef {import("./explanation_types").SuccessRate} SuccessRate */

const SIDES = ["Premise", "Hypothesis"];

/**
 * @param {CopyPasteResult} result
 * @param {Analysis} analysis
 */
export function copyPasteResult(result, analysis) {
  const rate = (/** @type {string} */ name, /** @type {SuccessRate} */ one) => html`<tr><th scope="row">${name}</th>
    <td>${shareBar(one.rate)}</td><td class="number">${percent(one.rate)}</td>
    <td class="number wide">${percent(one.interval[0])} to ${percent(one.interval[1])}</td>
    <td class="number">${number(one.successes)} of ${number(one.tries)}</td>
    <td class="number wide">${decimals(one.probability_gain)}</td></tr>`;
  return html`<section class="panel"><h2>Edits that become “${result.label}”</h2>
      <div class="scroll" tabindex="0" role="region" aria-label="Success rates"><table class="bars">
        <thead><tr><th scope="col">Edits</th><th scope="col"><span class="unseen">Bar of the rate</span></th>
          <th scope="col" class="number">Success rate</th><th scope="col" class="number wide">95 % interval</th>
          <th scope="col" class="number">Inputs</th>
          <th scope="col" class="number wide">Gain in probability</th></tr></thead>
        <tbody>${rate("by formulas", result.proposed)} ${rate("at random (control)", result.control)}</tbody>
      </table></div>
      <details><summary>What was tried (${result.changes.length})</summary>
        <ul class="notes">${result.changes.map((change) => html`<li>${change}</li>`)}</ul></details></section>
    <section class="panel"><h2>Examples</h2>
      ${
        result.examples.length
          ? html`<p class="soft small">Those that changed the prediction most.</p>
            <ol class="edits">${result.examples.map((edit) => example(edit, result, analysis))}</ol>`
          : html`<p>No edit brought the prediction to “${result.label}”.</p>`
      }
      ${
        "examples.png" in analysis.files
          ? html`<details><summary>Contact sheet of the examples</summary>
            <img class="plot" src="/v1/analyses/${analysis.id}/files/examples.png" loading="lazy"
              alt="The examples before and after the edit, with the probability of ${result.label}"></details>`
          : nothing
      }</section>`;
}

/**
 * @param {Edit} edit
 * @param {CopyPasteResult} result
 * @param {Analysis} analysis
 */
function example(edit, result, analysis) {
  const { layer, unit, change, donor } = edit;
  return html`<li>
    <p><b>${donor ? change.replace(` of ${donor}`, "") : change}</b> <span class="soft small">as
      ${
        layer ? html`<a href=${unitPage(analysis.explanation_id, { layer, unit })}>unit ${unit}</a>` : `unit ${unit}`
      } proposes: ${formulaText(edit.formula)}</span></p>
    ${edit.images?.length ? triple(edit, analysis) : sentences(edit)}
    <p class="outcome"><span class="tag">${edit.predicted_before}</span> <span aria-hidden="true">→</span>
      <span class="unseen">becomes</span> <span class="tag good">${edit.predicted_after}</span>
      <span class="small">probability of ${result.label}: ${decimals(edit.probability_before)} →
        <b>${decimals(edit.probability_after)}</b></span></p></li>`;
}

/**
 * @param {Edit} edit
 * @param {Analysis} analysis
 */
function triple(edit, analysis) {
  const titles = [`Original, ${fileName(edit.before[0])}`, `Donor, ${fileName(edit.donor ?? "")}`, "Result"];
  return html`<div class="triple">${edit.images?.map(
    (name, index) => html`<figure><img src="/v1/analyses/${analysis.id}/files/${name}" loading="lazy"
        alt=${titles[index]}><figcaption class="small">${titles[index]}</figcaption></figure>`,
  )}</div>`;
}

/** @param {string} path Of an image in its archive */
function fileName(path) {
  return path.split("/").pop();
}

/** @param {Edit} edit Of a sentence pair */
function sentences(edit) {
  const before = edit.before.map((text) => text.split(" "));
  const after = edit.after.map((text) => text.split(" "));
  return html`<div class="columns">
    <div><h3>Original</h3>${pair(before, after, "removed")}</div>
    <div><h3>Result</h3>${pair(after, before, "inserted")}</div></div>`;
}

/**
 * @param {string[][]} texts
 * @param {string[][]} others
 * @param {"removed" | "inserted"} kind What words are that the others do not have
 */
function pair(texts, others, kind) {
  return html`<dl class="texts">${texts.map((tokens, side) => {
    const kept = common(tokens, others[side] ?? []);
    return html`<dt class="small soft">${SIDES[side] ?? "Text"}</dt><dd>${tokens.map((token, index) =>
      kept.has(index) ? `${token} ` : kind === "removed" ? html`<del>${token}</del> ` : html`<ins>${token}</ins> `,
    )}</dd>`;
  })}</dl>`;
}

/**
 * Return the positions of tokens that are part of the longest common subsequence.
 * @param {string[]} tokens
 * @param {string[]} others
 */
function common(tokens, others) {
  const lengths = Array.from({ length: tokens.length + 1 }, () => new Array(others.length + 1).fill(0));
  for (let i = tokens.length - 1; i >= 0; i -= 1)
    for (let j = others.length - 1; j >= 0; j -= 1)
      lengths[i][j] =
        tokens[i] === others[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
  /** @type {Set<number>} */
  const kept = new Set();
  for (let i = 0, j = 0; i < tokens.length && j < others.length; ) {
    if (tokens[i] === others[j]) {
      kept.add(i);
      i += 1;
      j += 1;
    } else if (lengths[i + 1][j] >= lengths[i][j + 1]) i += 1;
    else j += 1;
  }
  return kept;
}
