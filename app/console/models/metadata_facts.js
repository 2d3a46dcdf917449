/** What was understood of a model, and where each part came from. */

import { html, nothing } from "../vendor/lit.js";
import { words } from "../shared/format.js";

/** @typedef {import("../shared/types").ModelDescription} ModelDescription */

const SOURCES = { said: "said on upload", file: "from the file", inferred: "from the graph" };
const SHOWN = ["task", "labels", "preprocessing"];

/** @param {ModelDescription} model */
export function metadataFacts(model) {
  const { metadata } = model;
  const preprocessing = metadata.preprocessing;
  const rest = Object.entries(metadata).filter(([name, value]) => value !== null && !SHOWN.includes(name));
  const parts = Object.entries(model.metadata_sources).filter(([name]) => name.includes("."));
  return html`
    <dl class="facts">
      <dt>Task</dt><dd>${words(metadata.task)} ${source(model, "task")}</dd>
      <dt>Labels</dt><dd>${metadata.labels ? labels(metadata.labels) : "none"} ${source(model, "labels")}</dd>
      <dt>Preprocessing</dt><dd>${
        preprocessing
          ? html`${preprocessing.size.join(" × ")} pixels, ${preprocessing.resize}, ${preprocessing.channel_order},
            scale ${preprocessing.scale.toPrecision(4)}, mean ${preprocessing.mean.join(", ")},
            std ${preprocessing.std.join(", ")}`
          : "none"
      } ${source(model, "preprocessing")}</dd>
      ${parts.map(([name, from]) => html`<dt>${words(name)}</dt><dd><span class="tag">${SOURCES[from]}</span></dd>`)}
      ${rest.map(
        ([name, value]) => html`<dt>${words(name)}</dt>
          <dd><code>${typeof value === "string" ? value : JSON.stringify(value)}</code> ${source(model, name)}</dd>`,
      )}
    </dl>
    ${
      metadata.preprocessing === null && model.inputs.some((spec) => spec.shape.length === 4)
        ? html`<p class="soft">Without preprocessing, the model takes tensors only. Give it to try the model on
            images.</p>`
        : nothing
    }`;
}

/**
 * @param {ModelDescription} model
 * @param {string} name
 */
function source(model, name) {
  const from = model.metadata_sources[name];
  return from === undefined ? nothing : html`<span class="tag">${SOURCES[from]}</span>`;
}

/** @param {string[]} names */
function labels(names) {
  const first = names.slice(0, 12).join(", ");
  if (names.length <= 12) return first;
  return html`${first} … <details><summary>All ${names.length}</summary>${names.join(", ")}</details>`;
}
