/** One analysis: its result by kind, its plots, its settings. */

import { html, nothing } from "../vendor/lit.js";
import { ApiError, get, remove } from "../shared/api.js";
import { ANALYSES } from "./analysis_kinds.js";
import { Element, curl, warningList } from "../shared/element.js";
import { duration, time } from "../shared/format.js";
import { go } from "../router.js";
import { abstractionsResult } from "./abstractions_result.js";
import { copyPasteResult } from "./copy_paste_result.js";
import { interpretabilityResult } from "./interpretability_result.js";
import "./drift_result.js";

/** @typedef {import("./explanation_types").Analysis} Analysis */
/** @typedef {import("./explanation_types").Explanation} Explanation */

class AnalysisPage extends Element {
  constructor() {
    super();
    this.key = "";
    /** @type {Analysis | null} */
    this.analysis = null;
    /** @type {Explanation | null} Null if it was deleted. */
    this.explanation = null;
    this.asked = false;
  }

  connectedCallback() {
    super.connectedCallback();
    window.addEventListener("hashchange", () => this.requestUpdate(), { signal: this.leaving.signal });
    this.attempt(async () => {
      const analysis = /** @type {Analysis} */ (await get(`/v1/analyses/${this.key}`, this.leaving.signal));
      this.explanation = await this.findExplanation(analysis.explanation_id);
      this.analysis = analysis;
    });
  }

  /**
   * @param {string} id
   * @returns {Promise<Explanation | null>}
   */
  async findExplanation(id) {
    try {
      return await get(`/v1/explanations/${id}`, this.leaving.signal);
    } catch (error) {
      if (error instanceof ApiError && error.problem.status === 404) return null;
      throw error;
    }
  }

  render() {
    const { analysis, explanation } = this;
    const crumb = html`<p class="crumb"><a href="#/explanations">Explanations</a>${
      explanation ? html` / <a href="#/explanations/${explanation.id}">${explanation.name}</a>` : nothing
    }</p>`;
    if (analysis === null) return html`${crumb} ${this.problem()}`;
    const { title, question } = ANALYSES[analysis.settings.kind];
    return html`
      <div class="head"><div>${crumb}<h1>${title}</h1><p class="soft">${question}</p></div>
        <div class="row"><a class="button" href="/v1/analyses/${analysis.id}/content" download>Result as JSON</a>
          <button class="danger" @click=${() => this.ask(true)}>Delete</button></div></div>
      ${this.problem()} ${this.asked ? this.question() : nothing}
      ${
        explanation === null
          ? html`<div class="notice"><p>The explanation was deleted, so its units have no pages any more.</p></div>`
          : nothing
      }
      ${
        analysis.warnings.length
          ? html`<section class="panel"><h2>Warnings</h2>
            ${warningList(analysis.warnings)}</section>`
          : nothing
      }
      ${this.result(analysis)}
      <section class="panel"><h2>How it was made</h2>
        <dl class="facts"><dt>Id</dt><dd><code>${analysis.id}</code></dd>
          <dt>Created</dt><dd>${time(analysis.created_at)}, in ${duration(analysis.seconds)}</dd></dl>
        <details><summary>All settings</summary><pre>${JSON.stringify(analysis.settings, null, 2)}</pre></details>
        <details><summary>The same by the API</summary>
          ${curl(`curl $URL/v1/analyses/${analysis.id}`)}</details></section>`;
  }

  /** @param {Analysis} analysis */
  result(analysis) {
    const { result } = analysis;
    switch (result.kind) {
      case "abstractions":
        return abstractionsResult(result, analysis.explanation_id);
      case "interpretability":
        return interpretabilityResult(result, analysis);
      case "copy_paste":
        return copyPasteResult(result, analysis);
      case "drift":
        return html`<drift-view .result=${result} .explanation=${this.explanation}></drift-view>`;
    }
  }

  /** @param {boolean} asked */
  ask(asked) {
    this.asked = asked;
    this.requestUpdate();
  }

  question() {
    return html`<div class="notice" role="alert"><p>Delete this analysis? Its explanation is kept.</p>
      <div class="row"><button class="danger" @click=${this.delete}>Delete the analysis</button>
        <button @click=${() => this.ask(false)}>Keep it</button></div></div>`;
  }

  delete() {
    this.asked = false;
    this.attempt(async () => {
      await remove(`/v1/analyses/${this.key}`);
      go(this.explanation ? `/explanations/${this.explanation.id}` : "/explanations");
    });
  }
}

customElements.define("analysis-page", AnalysisPage);
