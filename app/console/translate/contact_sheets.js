/** The contact sheets of a training on a time line. */

import { html } from "../vendor/lit.js";
import { Element } from "../shared/element.js";
import { number } from "../shared/format.js";
import { place, setQuery } from "../router.js";

/** @typedef {{step: number, links: Record<string, string>}} Sheet */

const FRAME_MS = 700;

class ContactSheets extends Element {
  static properties = { sheets: { attribute: false } };

  constructor() {
    super();
    /** @type {Sheet[]} In order of steps, at least one. */
    this.sheets = [];
    /** @type {number | null} The shown step; null for the latest, also of those to come */
    this.step = Number(place().query.get("step")) || null;
    this.timer = 0;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.timer);
  }

  get index() {
    const last = this.sheets.length - 1;
    if (this.step === null) return last;
    const { step } = this;
    const index = this.sheets.findIndex((sheet) => sheet.step >= step);
    return index < 0 ? last : index;
  }

  render() {
    const { sheets, index } = this;
    const last = sheets.length - 1;
    const { step, links } = sheets[index];
    return html`
      <img class="sheet" src=${links.image}
        alt="Contact sheet at step ${step}: images, their translations, and these translated back or their targets">
      ${
        last > 0
          ? html`<div class="field timeline">
            <div class="between"><label for="sheet-step">Step</label>
              <output for="sheet-step">${number(step)}</output></div>
            <input id="sheet-step" type="range" min="0" max=${last} step="1" .value=${String(index)}
              aria-valuetext="step ${step}" @input=${this.move} @change=${this.settle}>
            <div class="between soft small"><span>${number(sheets[0].step)}</span>
              <span>${number(sheets[last].step)}</span></div></div>
            <div class="row"><button @click=${this.play}>${this.timer ? "Pause" : "Play"}</button>
              <span class="soft small">${sheets.length} contact sheets, one for each checkpoint.</span></div>`
          : html`<p class="soft small">Step ${number(step)}</p>`
      }`;
  }

  /** @param {number} index */
  show(index) {
    this.step = index === this.sheets.length - 1 ? null : this.sheets[index].step;
    this.requestUpdate();
  }

  /** @param {Event} event */
  move(event) {
    this.stop();
    this.show(Number(/** @type {HTMLInputElement} */ (event.target).value));
  }

  settle() {
    setQuery({ step: this.step === null ? null : String(this.step) });
  }

  play() {
    if (this.timer) {
      this.stop();
      this.settle();
      return;
    }
    if (this.step === null) this.show(0);
    this.timer = setInterval(() => {
      this.show(this.index + 1);
      if (this.step === null) this.stop();
    }, FRAME_MS);
    this.requestUpdate();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
    this.requestUpdate();
  }
}

customElements.define("contact-sheets", ContactSheets);
