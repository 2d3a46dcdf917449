/** The form of a model's metadata: its fields, and reading them. */

import { html, nothing } from "../vendor/lit.js";
import { ApiError } from "../shared/api.js";
import { words } from "../shared/format.js";

/** @typedef {import("../shared/types").ModelDescription} ModelDescription */
/** @typedef {import("../shared/types").Metadata} Metadata */

const TASKS = [
  "image_classification",
  "object_detection",
  "image_translation",
  "text_classification",
  "text_pair_classification",
  "text_embedding",
  "signal_classification",
  "text_recognition",
  "other",
];
const PRESETS = ["imagenet-torchvision", "imagenet-timm", "imagenet-tf", "yolo-letterbox", "paddle"];
const RESIZE = ["stretch", "crop", "pad"];
const ORDERS = ["rgb", "bgr", "gray"];
const INTERPOLATIONS = ["nearest", "bilinear", "bicubic", "lanczos", "area"];
const IN_FIELDS = ["task", "labels", "preprocessing", "output"];

/** @param {ModelDescription} model */
export function metadataFields(model) {
  const { metadata } = model;
  const values = metadata.preprocessing;
  const outputs = ["", ...model.outputs.map((spec) => spec.name)];
  const size = values?.size ?? imageSize(model);
  return html`
    <div class="fields">
      ${choice("task", "Task", TASKS, metadata.task)}
      ${choice("output", "Output with the scores", outputs, metadata.output ?? "")}
    </div>
    <div class="field"><label for="meta-labels">Labels, one a line, in the order of the output</label>
      <textarea id="meta-labels" name="labels" rows="4" .value=${(metadata.labels ?? []).join("\n")}></textarea></div>
    <fieldset><legend>Preprocessing of images</legend>
      <p class="row"><input id="meta-images" type="checkbox" name="images" ?checked=${values !== null}>
        <label for="meta-images">The model takes images</label></p>
      <div class="fields">
        ${choice("preset", "Preset: values for all that is empty", ["", ...PRESETS], values?.preset ?? "")}
        ${entry("height", "Height, pixels", size?.[0])} ${entry("width", "Width, pixels", size?.[1])}
        ${choice("resize", "Resize", ["", ...RESIZE], values?.resize ?? "")}
        ${choice("channel_order", "Order of channels", ["", ...ORDERS], values?.channel_order ?? "")}
        ${choice("interpolation", "Interpolation", ["", ...INTERPOLATIONS], values?.interpolation ?? "")}
        ${entry("scale", "Scale, such as 1/255", values?.scale)}
        ${entry("mean", "Mean, one or one per channel", values?.mean.join(", "))}
        ${entry("std", "Standard deviation", values?.std.join(", "))}
      </div>
    </fieldset>
    <div class="field"><label for="meta-rest">All else, as JSON: <code>detection</code>, <code>text</code>,
        <code>input_shapes</code>, <code>constant_inputs</code>, <code>serving</code></label>
      <textarea id="meta-rest" class="code" name="rest" rows="5" .value=${JSON.stringify(rest(metadata), null, 2)}>
      </textarea></div>`;
}

/**
 * Return the metadata to send. What the form does not show of the preprocessing is sent as it is.
 * @param {FormData} form
 * @param {ModelDescription} model
 * @returns {Partial<Metadata>}
 */
export function readMetadata(form, model) {
  const text = (/** @type {string} */ name) => String(form.get(name) ?? "").trim();
  /** @type {Record<string, unknown>} */
  const metadata = parsed(text("rest"), "rest");
  metadata.task = text("task");
  if (text("output")) metadata.output = text("output");
  const labels = text("labels")
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  if (labels.length) metadata.labels = labels;
  if (form.get("images") === null) return metadata;
  /** @type {Record<string, unknown>} */
  const preprocessing = { ...model.metadata.preprocessing };
  for (const name of ["preset", "resize", "channel_order", "interpolation"])
    put(preprocessing, name, text(name) || null);
  if (text("height") || text("width")) preprocessing.size = [Number(text("height")), Number(text("width"))];
  put(preprocessing, "scale", text("scale") ? quotient(text("scale")) : null);
  for (const name of ["mean", "std"])
    put(
      preprocessing,
      name,
      text(name)
        ? text(name)
            .split(/[\s,]+/)
            .map(Number)
        : null,
    );
  metadata.preprocessing = preprocessing;
  return metadata;
}

/**
 * @param {Record<string, unknown>} fields
 * @param {string} name
 * @param {unknown} value
 */
function put(fields, name, value) {
  if (value === null) delete fields[name];
  else fields[name] = value;
}

/** @param {string} text A number, or one by another */
function quotient(text) {
  const [above, below] = text.split("/").map(Number);
  return below === undefined ? above : above / below;
}

/** @param {Metadata} metadata */
function rest(metadata) {
  return Object.fromEntries(
    Object.entries(metadata).filter(([name, value]) => value !== null && !IN_FIELDS.includes(name)),
  );
}

/**
 * @param {string} text
 * @param {string} field
 */
function parsed(text, field) {
  try {
    const value = JSON.parse(text || "{}");
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // The same problem as any other text that is no object.
  }
  const detail = "This field must be a JSON object in braces, such as {}. Correct it, then try again.";
  throw new ApiError({
    type: "about:blank",
    title: "Not JSON",
    status: 0,
    detail,
    errors: [{ field, message: detail }],
  });
}

/** @param {ModelDescription} model */
function imageSize(model) {
  const spec = model.inputs.find((input) => input.shape.length === 4);
  const [height, width] = spec?.shape[3] === 3 ? spec.shape.slice(1, 3) : (spec?.shape.slice(2) ?? []);
  return typeof height === "number" && typeof width === "number" ? [height, width] : null;
}

/**
 * @param {string} name
 * @param {string} label
 * @param {string[]} options
 * @param {string} value
 */
function choice(name, label, options, value) {
  return html`<div class="field"><label for="meta-${name}">${label}</label>
    <select id="meta-${name}" name=${name}>${options.map(
      (option) =>
        html`<option value=${option} ?selected=${option === value}>${option ? words(option) : "default"}</option>`,
    )}</select></div>`;
}

/**
 * @param {string} name
 * @param {string} label
 * @param {unknown} value
 */
function entry(name, label, value) {
  return html`<div class="field"><label for="meta-${name}">${label}</label>
    <input id="meta-${name}" name=${name} autocomplete="off"
      value=${value === undefined ? nothing : String(value)}></div>`;
}
