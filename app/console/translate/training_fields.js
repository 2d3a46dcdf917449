/** Fields of the form of a training: size, budget, and the rest of the settings. */

import { html, nothing } from "../vendor/lit.js";
import { SIZES, hasUnet } from "./translation_methods.js";

/** @param {Record<string, string>} values */
export function trainingFields(values) {
  const sizes = { ...SIZES, own: { title: "My own values", about: "Time and memory grow with pixels and channels." } };
  const unet = hasUnet(values);
  const multiple = unet ? 32 : 4;
  return html`<section class="panel"><h2>Size and budget</h2>
      <div class="field"><label for="size">Settings</label>
        <select id="size" name="size" aria-describedby="about-size">${Object.entries(sizes).map(
          ([name, { title }]) => html`<option value=${name} .selected=${name === values.size}>${title}</option>`,
        )}</select>
        <span class="soft" id="about-size">${sizes[/** @type {"own"} */ (values.size)]?.about}</span></div>
      <div class="fields tops" data-sizes>
        ${entry(values, "image_size", "Image size, pixels", {
          min: unet ? 32 : 16,
          max: 1024,
          step: multiple,
          about: `Side of the square training crops, a multiple of ${multiple}. Any size can be translated later.`,
        })}
        ${entry(values, "base_channels", "Channels", {
          min: 1,
          max: 256,
          about: "Of the first layer. Time and memory grow with its square.",
        })}
        <div class="field"><label for="budget">Budget</label>
          <select id="budget" name="budget">
            <option value="max_minutes" .selected=${values.budget === "max_minutes"}>minutes</option>
            <option value="epochs" .selected=${values.budget === "epochs"}>passes over the images</option>
          </select>
          <span class="soft">You can stop earlier and keep the result.</span></div>
        ${entry(values, "amount", values.budget === "epochs" ? "Passes" : "Minutes", {
          step: values.budget === "epochs" ? 1 : "any",
          min: values.budget === "epochs" ? 1 : 0,
          required: true,
          about: values.budget === "epochs" ? "Over the larger domain." : "Evaluation and export come on top.",
        })}
      </div>
    </section>
    <section class="panel"><h2>Name <span class="soft small">(optional)</span></h2>
      <div class="fields"><div class="field"><label for="name">Name of the translator</label>
        <input id="name" name="name" maxlength="200" autocomplete="off" .value=${values.name ?? ""}></div></div>
      <details><summary>More settings</summary><div class="fields tops">${moreFields(values, unet)}</div></details>
    </section>`;
}

/**
 * @param {Record<string, string>} values
 * @param {boolean} unet
 */
function moreFields(values, unet) {
  return html`
    <div class="field"><label for="generator">Architecture of the generators</label>
      <select id="generator" name="generator">
        ${["", "resnet", "unet"].map(
          (name) => html`<option value=${name} .selected=${name === (values.generator ?? "")}>
            ${name || "default of the method"}</option>`,
        )}</select>
      <span class="soft">resnet for CycleGAN, unet for pix2pix.</span></div>
    ${
      unet
        ? nothing
        : entry(values, "residual_blocks", "Residual blocks", {
            min: 1,
            max: 32,
            about: "9 from 256 pixels on, else 6, if empty.",
          })
    }
    ${
      values.method === "pix2pix"
        ? entry(values, "l1_weight", "Weight of the L1 loss", {
            step: "any",
            hint: "100",
            about: "Nearness to the target.",
          })
        : html`${entry(values, "cycle_weight", "Weight of the cycle loss", {
            step: "any",
            hint: "10",
            about: "Likeness of an image and its round trip.",
          })}
          ${entry(values, "identity", "Weight of the identity loss", {
            step: "any",
            hint: "0.5",
            about: "Keeps colours. 0 saves a quarter of the time.",
          })}`
    }
    ${entry(values, "batch_size", "Images per step", { min: 1, max: 64, hint: "1" })}
    ${entry(values, "learning_rate", "Learning rate", {
      step: "any",
      hint: "0.0002",
      about: "Constant for half of the training, then falling to 0.",
    })}
    ${entry(values, "seed", "Seed", { hint: "0", about: "Equal seeds and passes give equal translators." })}
    <div class="field"><label for="serving_precision">Precision of serving</label>
      <select id="serving_precision" name="serving_precision">
        ${["exact", "fast"].map(
          (name) => html`<option value=${name} .selected=${name === (values.serving_precision ?? "exact")}>${name}
          </option>`,
        )}</select>
      <span class="soft">fast allows bfloat16: pixels differ by a few values.</span></div>`;
}

/**
 * @param {Record<string, string>} values
 * @param {string} name
 * @param {string} label
 * @param {{min?: number, max?: number, step?: number | "any", hint?: string, required?: boolean, about?: string}} field
 */
function entry(values, name, label, { min = 0, max, step = 1, hint, required = false, about }) {
  return html`<div class="field"><label for=${name}>${label}</label>
    <input id=${name} name=${name} type="number" min=${min} max=${max ?? nothing} step=${step}
      placeholder=${hint ?? nothing} ?required=${required} .value=${values[name] ?? ""}
      aria-describedby=${about ? `about-${name}` : nothing}>
    ${about ? html`<span class="soft" id="about-${name}">${about}</span>` : nothing}</div>`;
}
