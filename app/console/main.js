/** The shell: navigation, and the page of the address. */

import { html, keyed, nothing } from "./vendor/lit.js";
import { Element } from "./shared/element.js";
import { place } from "./router.js";
import "./models/models.js";
import "./models/model.js";
import "./quantize/quantize.js";
import "./quantize/quantization.js";
import "./datasets/datasets.js";
import "./datasets/dataset.js";
import "./grade/evaluations.js";
import "./grade/evaluation.js";
import "./grade/grade.js";
import "./grade/compare_evaluations.js";
import "./translate/translators.js";
import "./translate/train_translator.js";
import "./translate/translator.js";
import "./explain/explanations.js";
import "./explain/explain.js";
import "./explain/explanation.js";
import "./explain/unit.js";
import "./explain/analyse.js";
import "./explain/analysis.js";
import "./jobs/jobs.js";
import "./jobs/job.js";
import "./system/system.js";
import { signOut } from "./session/sign_in.js";

/** @type {Record<string, string>} */
const SECTIONS = {
  models: "Models",
  datasets: "Datasets",
  explanations: "Explanations",
  evaluations: "Evaluations",
  translators: "Translators",
  jobs: "Jobs",
  system: "System",
};

/** Whether a key was given in this browser; the key itself is in a cookie. */
const SIGNED_IN = "faceter-signed-in";

/** Sections of pages that are in no menu. @type {Record<string, string>} */
const OWNERS = { quantizations: "models", analyses: "explanations" };

class Console extends Element {
  constructor() {
    super();
    this.place = place();
    this.path = "";
    this.keyNeeded = false;
    this.signedIn = localStorage.getItem(SIGNED_IN) !== null;
    /** Counts sign-ins, after which the page is made anew. */
    this.session = 0;
  }

  connectedCallback() {
    super.connectedCallback();
    this.replaceChildren();
    window.addEventListener("hashchange", () => this.move(), { signal: this.leaving.signal });
    window.addEventListener("key-needed", () => this.askForKey(), { signal: this.leaving.signal });
    this.move();
  }

  move() {
    if (location.hash === "" || location.hash === "#/") history.replaceState(null, "", "#/models");
    if (!location.hash.startsWith("#/")) return;
    this.place = place();
    const path = this.place.parts.join("/");
    const moved = this.path !== "" && this.path !== path;
    this.path = path;
    document.title = `${SECTIONS[this.section] ?? "Not found"} · Faceter`;
    this.requestUpdate();
    if (moved) {
      window.scrollTo(0, 0);
      this.updateComplete.then(() => this.querySelector("main")?.focus({ preventScroll: true }));
    }
  }

  askForKey() {
    this.keyNeeded = true;
    this.signedIn = false;
    localStorage.removeItem(SIGNED_IN);
    this.requestUpdate();
  }

  begin() {
    this.keyNeeded = false;
    this.signedIn = true;
    this.session += 1;
    localStorage.setItem(SIGNED_IN, "yes");
    this.requestUpdate();
  }

  async end() {
    await signOut();
    this.askForKey();
  }

  get section() {
    const first = this.place.parts[0];
    return OWNERS[first] ?? first;
  }

  render() {
    return html`
      <a class="skip" href="#content" @click=${this.skip}>Skip to content</a>
      <header class="bar"><div>
        <a class="brand" href="#/models"><img src="/console/icon.svg" alt="" width="24" height="24">Faceter</a>
        <nav aria-label="Main">${Object.entries(SECTIONS).map(
          ([name, title]) =>
            html`<a href="#/${name}" aria-current=${this.section === name ? "page" : nothing}>${title}</a>`,
        )}</nav>
        <a class="docs" href="/docs">API</a>
        ${this.signedIn ? html`<button class="quiet" @click=${this.end}>Sign out</button>` : nothing}
      </div></header>
      <main id="content" tabindex="-1">${
        this.keyNeeded
          ? html`<sign-in-page @signed-in=${this.begin}></sign-in-page>`
          : keyed(`${this.session} ${this.path}`, this.page())
      }</main>`;
  }

  /** @param {Event} event */
  skip(event) {
    event.preventDefault();
    this.querySelector("main")?.focus();
  }

  page() {
    const [section, id, part, more] = this.place.parts;
    if (section === "models" && id === undefined) return html`<models-page></models-page>`;
    if (section === "models" && part === undefined) return html`<model-page .key=${id}></model-page>`;
    if (section === "models" && part === "quantize") return html`<quantize-page .key=${id}></quantize-page>`;
    if (section === "models" && part === "explain") return html`<explain-page .key=${id}></explain-page>`;
    if (section === "quantizations" && id !== undefined)
      return html`<quantization-page .key=${id}></quantization-page>`;
    if (section === "datasets" && id === undefined) return html`<datasets-page></datasets-page>`;
    if (section === "datasets") return html`<dataset-page .key=${id}></dataset-page>`;
    if (section === "evaluations" && id === undefined) return html`<evaluations-page></evaluations-page>`;
    if (section === "evaluations" && id === "new") return html`<grade-page></grade-page>`;
    if (section === "evaluations" && id === "compare") return html`<compare-evaluations></compare-evaluations>`;
    if (section === "evaluations") return html`<evaluation-page .key=${id}></evaluation-page>`;
    if (section === "translators" && id === undefined) return html`<translators-page></translators-page>`;
    if (section === "translators" && id === "new") return html`<train-translator-page></train-translator-page>`;
    if (section === "translators") return html`<translator-page .key=${id}></translator-page>`;
    if (section === "explanations" && id === undefined) return html`<explanations-page></explanations-page>`;
    if (section === "explanations" && part === "units") return html`<unit-page .key=${id} .number=${more}></unit-page>`;
    if (section === "explanations" && part === "analyse") return html`<analyse-page .key=${id}></analyse-page>`;
    if (section === "explanations" && part === undefined) return html`<explanation-page .key=${id}></explanation-page>`;
    if (section === "analyses" && id !== undefined) return html`<analysis-page .key=${id}></analysis-page>`;
    if (section === "jobs" && id === undefined) return html`<jobs-page></jobs-page>`;
    if (section === "jobs") return html`<job-page .key=${id}></job-page>`;
    if (section === "system") return html`<system-page></system-page>`;
    return html`<h1>There is no such page</h1>
      <p>Nothing is at <code>${location.hash}</code>. Go to <a href="#/models">the models</a>.</p>`;
  }
}

customElements.define("faceter-console", Console);
