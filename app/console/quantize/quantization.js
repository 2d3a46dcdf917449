/** The report of a quantized model beside its original. */

import { html, nothing } from "../vendor/lit.js";
import { ApiError, get } from "../shared/api.js";
import { Element, warningList } from "../shared/element.js";
import { bytes, duration, number, percent, ratio } from "../shared/format.js";
import "./bits_by_layer.js";
import "./synthetic_inputs.js";
import "./trade_off.js";
import "./tuning_curves.js";
import "../models/try_model.js";

/** @typedef {import("../shared/types").Model} Model */
/** @typedef {import("../shared/types").QuantizationReport} Report */

class QuantizationPage extends Element {
  constructor() {
    super();
    this.key = "";
    /** @type {Model | null} */
    this.model = null;
    /** @type {Model | null} The original; null if it was deleted. */
    this.original = null;
  }

  connectedCallback() {
    super.connectedCallback();
    this.attempt(async () => {
      const model = /** @type {Model} */ (await get(`/v1/models/${this.key}`, this.leaving.signal));
      if (model.derived_from_id !== null) {
        this.original = await get(`/v1/models/${model.derived_from_id}`, this.leaving.signal).catch(absent);
      }
      this.model = model;
    });
  }

  render() {
    const model = this.model;
    if (model === null) return html`<p class="crumb"><a href="#/models">Models</a></p>${this.problem()}`;
    const report = model.quantization;
    if (report === null) return html`<p>This model is not quantized. <a href="#/models/${model.id}">Its page</a></p>`;
    const original = this.original;
    return html`
      <div class="head">
        <div><p class="crumb"><a href="#/models">Models</a>${
          original ? html` / <a href="#/models/${original.id}">${original.name}</a>` : nothing
        }</p>
          <h1>${model.name} <span class="tag">${report.settings.method}
            W${report.settings.weight_bits}A${report.settings.activation_bits}</span></h1></div>
        <div class="row"><a class="button primary" href="/v1/models/${model.id}/content" download>Download</a>
          <a class="button" href="#/models/${model.id}">Model</a></div>
      </div>
      ${figures(report)}
      <section class="panel"><h2>Beside the original</h2>${comparison(report)}</section>
      ${
        report.warnings.length
          ? html`<section class="panel"><h2>Warnings</h2>
            ${warningList(report.warnings)}</section>`
          : nothing
      }
      ${
        report.trade_off
          ? html`<section class="panel"><h2>Trade-off</h2>
            <trade-off .tradeOff=${report.trade_off} .original=${original?.id ?? null}></trade-off></section>`
          : nothing
      }
      <section class="panel"><h2>Try both on one input</h2>
        <try-model .models=${original ? [original, model] : [model]}></try-model>
        ${
          original ? nothing : html`<p class="soft small">The original was deleted; only this model runs.</p>`
        }</section>
      <section class="panel"><h2>Layers</h2><bits-by-layer .report=${report}></bits-by-layer></section>
      ${
        "curves.json" in model.files
          ? html`<section class="panel"><h2>Tuning</h2>${tuning(report)}
            <tuning-curves .key=${model.id}></tuning-curves>
            ${
              report.tuning?.synthetic_dataset_id
                ? html`<synthetic-inputs .key=${report.tuning.synthetic_dataset_id}></synthetic-inputs>`
                : nothing
            }</section>`
          : nothing
      }`;
  }
}

/**
 * Return null for what was deleted; throw any other error.
 * @param {unknown} error
 */
function absent(error) {
  if (error instanceof ApiError && error.problem.status === 404) return null;
  throw error;
}

/** @param {Report} report */
function figures(report) {
  const one = report.latency.find(({ batch }) => batch === 1) ?? report.latency[0];
  const quality = report.quality[0];
  return html`<div class="figures">
    <div class="figure"><span class="soft small">File</span>
      <b>${ratio(report.size.before, report.size.packed)} smaller</b>
      <span class="small">${bytes(report.size.before)} → ${bytes(report.size.packed)}</span></div>
    ${
      one
        ? html`<div class="figure"><span class="soft small">Latency, batch ${one.batch}</span>
          <b>${ratio(one.before_ms, one.after_ms)} as fast</b>
          <span class="small">${number(one.before_ms)} → ${number(one.after_ms)} ms</span></div>`
        : nothing
    }
    ${
      quality
        ? html`<div class="figure"><span class="soft small">${metric(quality.metric)}</span>
          <b>${percent(quality.after)}</b>
          <span class="small">of ${percent(quality.before)}, on ${number(quality.samples)} samples</span></div>`
        : html`<div class="figure"><span class="soft small">${agreement(report)[0]}</span><b>${agreement(report)[1]}</b>
          <span class="small">on ${number(report.agreement.samples)} ${inputs(report.agreement.source)}</span></div>`
    }
  </div>`;
}

/** @param {string} source */
function inputs(source) {
  return source === "noise" ? "inputs of noise" : `${source} inputs`;
}

/** @param {string} name */
function metric(name) {
  return { top1: "Top-1 accuracy", map_50: "mAP at IoU 0.5", map_50_95: "mAP at IoU 0.5 to 0.95" }[name] ?? name;
}

/**
 * @param {Report} report
 * @returns {[string, string]} What is measured, and its value
 */
function agreement({ agreement }) {
  if (agreement.top1 !== null) return ["Same first class", percent(agreement.top1)];
  if (agreement.boxes !== null) return ["F1 of boxes against the original", percent(agreement.boxes)];
  if (agreement.cosine !== null) return ["Cosine of embeddings", number(agreement.cosine)];
  return ["Relative error of the output", percent(agreement.relative_error)];
}

/** @param {Report} report */
function comparison(report) {
  const { size } = report;
  const row = (/** @type {string[]} */ [name, before, after, change]) => html`<tr><th scope="row">${name}</th>
    <td class="number">${before}</td><td class="number">${after}</td><td class="number">${change}</td></tr>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Comparison with the original"><table>
    <thead><tr><th scope="col">Measure</th><th scope="col" class="number">Original</th>
      <th scope="col" class="number">Quantized</th><th scope="col" class="number">Change</th></tr></thead>
    <tbody>
      ${report.quality.map(({ metric: name, before, after }) =>
        row([
          metric(name),
          percent(before),
          percent(after),
          `${(100 * (after - before)).toFixed(2).replace("-", "−")} points`,
        ]),
      )}
      ${row([agreement(report)[0], "", agreement(report)[1], ""])}
      ${row(["File", bytes(size.before), bytes(size.packed), ratio(size.before, size.packed)])}
      ${row([
        "Weights",
        bytes(size.weights_before),
        bytes(size.weights_packed),
        ratio(size.weights_before, size.weights_packed),
      ])}
      ${report.latency.map(({ batch, before_ms, after_ms }) =>
        row([
          `Latency, batch ${batch}`,
          `${number(before_ms)} ms`,
          `${number(after_ms)} ms`,
          ratio(before_ms, after_ms),
        ]),
      )}
    </tbody></table></div>
    <p class="soft small">Agreement was measured on ${number(report.agreement.samples)}
      ${inputs(report.agreement.source)}.
      Latency was measured on the host of the worker, both models in one run.</p>`;
}

/** @param {Report} report */
function tuning({ tuning }) {
  if (tuning === null) return nothing;
  return html`<p>${tuning.steps} steps in ${duration(tuning.seconds)}; the model of step ${tuning.kept_step} was kept.
    Inputs: ${tuning.path}.</p>`;
}

customElements.define("quantization-page", QuantizationPage);
