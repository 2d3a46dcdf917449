/** The options of an explanation, each with what it means. */

import { html, nothing } from "../vendor/lit.js";

/** @typedef {import("./explanation_options.js").ExplanationValues} ExplanationValues */

const OPERATORS = {
  or: "OR: either is true",
  and: "AND: both are true",
  and_not: "AND NOT: the first is true, the second is not",
  neighbors: "NEIGHBORS: a word or its five nearest words; needs vectors of words",
};

/**
 * @param {ExplanationValues} values
 * @param {"images" | "signals" | "text"} samples
 */
export function firingFields(values, samples) {
  const usual = samples === "text" ? "above 0; with a tokenizer the top 5 %" : "the top 0.5 % of its activations";
  const ways = { default: `the usual: ${usual}`, quantile: "a share of its activations", threshold: "a fixed value" };
  return html`<fieldset><legend>A unit fires above</legend>${Object.entries(ways).map(
    ([name, title]) => html`<p class="tick"><input type="radio" id="firing-${name}" name="firing" value=${name}
      .checked=${values.firing === name}> <label for="firing-${name}">${title}</label></p>`,
  )}
    ${
      values.firing === "quantile"
        ? entry("quantile", "Share of the activations, %", values.quantile, "Small images need more: try 5.", "0.001")
        : nothing
    }
    ${
      values.firing === "threshold"
        ? entry(
            "threshold",
            "Activation threshold",
            values.threshold,
            "A unit fires where its activation is above this.",
          )
        : nothing
    }</fieldset>`;
}

/**
 * @param {ExplanationValues} values
 * @param {"images" | "signals" | "text"} samples
 */
export function formulaFields(values, samples) {
  return html`
    <div class="fields top">
      ${entry("length", "Most concepts in a formula", values.length, "1 is Network Dissection; 10 at most.", "1", "1")}
      <div class="field"><label for="search">Search</label>
        <select id="search" name="search" aria-describedby="search-about">
          <option value="beam" ?selected=${values.search === "beam"}>beam</option>
          <option value="optimal" ?selected=${values.search === "optimal"}>optimal</option></select>
        <span class="soft" id="search-about">${
          values.search === "beam"
            ? "Fast: extends the best few formulas."
            : "Also proves whether a better formula exists; slower."
        }</span></div></div>
    ${
      samples === "text"
        ? nothing
        : html`<fieldset><legend>Concepts without labels</legend>
          ${samples === "images" ? check("derived", "color", "colours of pixels, eleven", values.derived) : nothing}
          ${check(
            "derived",
            "position",
            samples === "images"
              ? "position: top, middle, bottom, left, center, right"
              : "position: start, middle, end",
            values.derived,
          )}</fieldset>`
    }`;
}

/**
 * @param {ExplanationValues} values
 * @param {"images" | "signals" | "text"} samples
 */
export function furtherFields(values, samples) {
  const operators = Object.entries(OPERATORS).filter(([name]) => name !== "neighbors" || samples === "text");
  return html`<details><summary>More options</summary>
    <fieldset><legend>Operators of formulas</legend>${operators.map(([name, title]) =>
      check("operators", name, title, values.operators),
    )}</fieldset>
    <div class="fields top">
      ${entry("units", "Units", values.units, "Such as 0-31, 40. Empty: all.", null)}
      ${entry("firings", "Least firings", values.firings, "Units that fire at fewer places get no formula.", "1", "1")}
      ${
        values.search === "beam"
          ? entry("beam", "Beam size", values.beam, "Formulas kept at each length.", "1", "1")
          : nothing
      }
      ${entry("penalty", "Complexity penalty", values.penalty, "Below 1 favours short formulas.", "any", "0.01")}
      ${
        samples === "images"
          ? html`${entry("height", "Height of masks", values.height, "Pixels; 112 if empty.", "1", "1")}
            ${entry("width", "Width of masks", values.width, "Pixels; 112 if empty.", "1", "1")}`
          : nothing
      }
      ${entry("seed", "Random seed", values.seed, "Equal seeds give equal results.", "1", "0")}
      ${entry("name", "Name", values.name, "Made of model and dataset if empty.", null)}
    </div>
    ${
      samples === "text"
        ? html`<p class="row"><input type="checkbox" id="cut" name="cut" .checked=${values.cut}>
          <label for="cut">Cut sentences that are longer than the model takes</label></p>`
        : nothing
    }</details>`;
}

/**
 * @param {string} name
 * @param {string} label
 * @param {string} value
 * @param {string} about
 * @param {string | null} [step] Of a number; null for text
 * @param {string} [least]
 */
function entry(name, label, value, about, step = "any", least) {
  return html`<div class="field"><label for=${name}>${label}</label>
    <input id=${name} name=${name} type=${step === null ? "text" : "number"}
      step=${step ?? nothing} min=${least ?? nothing} autocomplete="off"
      aria-describedby="${name}-about" .value=${value}>
    <span class="soft" id="${name}-about">${about}</span></div>`;
}

/**
 * @param {string} name
 * @param {string} value
 * @param {string} title
 * @param {string[]} chosen
 */
function check(name, value, title, chosen) {
  return html`<p class="tick"><input type="checkbox" id="${name}-${value}" name=${name} value=${value}
    .checked=${chosen.includes(value)}> <label for="${name}-${value}">${title}</label></p>`;
}
