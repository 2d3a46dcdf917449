/** Choose a dataset: its files, its kind and name; it is sent with its progress, then `stored` is fired. */

import { html, nothing } from "../vendor/lit.js";
import { ApiError, upload } from "../shared/api.js";
import { ACCEPTED, DATASET_KINDS, datasetKind, likelyKind } from "./dataset_kinds.js";
import { forget, keep, kept } from "../shared/draft.js";
import { DropArea } from "../shared/drop_area.js";
import { curl } from "../shared/element.js";
import { bytes, number } from "../shared/format.js";
import { chosenFiles, droppedFiles } from "./folder.js";
import { fitsZip, namesInside, zipped } from "./zip.js";

/** @typedef {import("./dataset_types").Dataset} Dataset */
/** @typedef {import("./folder.js").PlacedFile} PlacedFile */

const DRAFT = "upload-dataset";
const ARCHIVE = /\.(zip|npz)$/i;

class UploadDataset extends DropArea {
  static properties = { kinds: { attribute: false } };

  constructor() {
    super();
    /** @type {string[]} Names of the kinds to offer; all if empty. The event `stored` has the new dataset. */
    this.kinds = [];
    this.values = kept(DRAFT, { kind: "images", name: "", paired: false });
    /** @type {PlacedFile[]} */
    this.files = [];
    this.found = "";
    /** @type {{step: string, fraction: number} | null} */
    this.sending = null;
  }

  get kind() {
    const offered = this.offered;
    return offered.find(({ name }) => name === this.values.kind) ?? offered[0];
  }

  get offered() {
    return this.kinds.length ? this.kinds.map(datasetKind) : DATASET_KINDS;
  }

  render() {
    const kind = this.kind;
    return html`<form @submit=${this.submit} @input=${this.read}>
      ${this.problem()}
      <div class="columns">
        <div>
          <div class="field"><label for="dataset-kind">Kind</label>
            <select id="dataset-kind" name="kind" aria-describedby="dataset-contains">${this.offered.map(
              ({ name, title }) =>
                html`<option value=${name} .selected=${name === kind.name}>${title} (${name})</option>`,
            )}</select></div>
          <div id="dataset-contains"><p class="small">${kind.use}</p><p class="small soft">${kind.contains}</p></div>
          <pre class="small">${kind.example}</pre>
        </div>
        <div>
          ${this.dropzone(kind)}
          <div class="field"><label for="dataset-name">Name <span class="soft">(optional)</span></label>
            <input id="dataset-name" name="name" maxlength="200" autocomplete="off" .value=${this.values.name}></div>
          ${
            kind.name === "domains"
              ? html`<p class="row"><input id="dataset-paired" type="checkbox" name="paired"
                  ?checked=${this.values.paired}>
                <label for="dataset-paired">Images of equal names are pairs</label></p>`
              : nothing
          }
          <div class="row"><button class="primary" ?disabled=${this.files.length === 0 || this.sending !== null}>
            Upload</button> <span class="small" aria-live="polite">${this.chosen()}</span></div>
        </div>
      </div>
      <details><summary>The same by the API</summary>
        ${kind.file === "zip" ? html`<p class="small">Zip a folder first:</p>` : nothing}
        ${curl(this.command(kind))}</details></form>`;
  }

  /** @param {import("./dataset_kinds.js").DatasetKind} kind */
  dropzone(kind) {
    const file = kind.file === "zip" ? "zip" : kind.file === "npz" ? ".npz" : "text file";
    const sending = this.sending;
    return html`<div class="drop ${this.over ? "over" : ""}" @dragover=${this.drag} @dragleave=${this.leave}
        @drop=${this.drop}>
      <p><label for="dataset-file">Drop a ${file}${kind.file === "zip" ? " or a folder" : ""} here, or choose
        a file</label></p>
      <input id="dataset-file" type="file" accept=${`${ACCEPTED[kind.file]},.zip,.npz`}
        ?disabled=${sending !== null} @change=${this.choose}>
      ${
        kind.file === "zip"
          ? html`<p class="choose-folder"><label for="dataset-folder">Or choose a folder, which is zipped here</label>
              <input id="dataset-folder" type="file" webkitdirectory ?disabled=${sending !== null}
                @change=${this.choose}></p>`
          : nothing
      }
      <div aria-live="polite">${
        sending === null
          ? nothing
          : html`<p>${sending.step}</p>
            <progress aria-label=${sending.step} max="1" .value=${sending.fraction}></progress>`
      }</div></div>`;
  }

  chosen() {
    const { files } = this;
    if (files.length === 0) return "No file is chosen.";
    const size = bytes(files.reduce((total, { file }) => total + file.size, 0));
    const what = files.length === 1 ? files[0].path : `${number(files.length)} files`;
    return `${what}, ${size}.${this.found}`;
  }

  /** @param {import("./dataset_kinds.js").DatasetKind} kind */
  command(kind) {
    const { name, paired } = this.values;
    const file = { zip: "data.zip", npz: "data.npz", text: "data.csv" }[kind.file];
    const fields = [`-F kind=${kind.name}`, `-F file=@${file}`];
    if (name) fields.push(`-F "name=${name}"`);
    if (kind.name === "domains" && paired) fields.push("-F paired=true");
    const zip = kind.file === "zip" ? "(cd folder && zip -qr0 ../data.zip .)\n" : "";
    return `${zip}curl $URL/v1/datasets ${fields.join(" ")}`;
  }

  /** @param {DataTransfer} transfer */
  dropped(transfer) {
    if (this.sending !== null) return;
    droppedFiles(transfer).then((files) => this.take(files));
  }

  /** @param {Event} event */
  choose(event) {
    const input = /** @type {HTMLInputElement} */ (event.target);
    const files = chosenFiles(input.files);
    input.value = "";
    this.take(files);
  }

  /** @param {PlacedFile[]} files */
  async take(files) {
    if (files.length === 0) return;
    this.files = files;
    this.failure = null;
    this.found = "";
    this.requestUpdate();
    const inside = files.length === 1 && ARCHIVE.test(files[0].path);
    const names = inside ? await namesInside(files[0].file) : files.map(({ path }) => path);
    const likely = likelyKind(names) ?? (files.length === 1 && !inside ? "texts" : null);
    if (likely !== null && this.offered.some(({ name }) => name === likely)) {
      this.values.kind = likely;
      this.found = ` It looks like ${datasetKind(likely).title.toLowerCase()}.`;
      keep(DRAFT, this.values);
    }
    this.requestUpdate();
  }

  /** @param {Event} event */
  read(event) {
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    const values = new FormData(form);
    const paired = /** @type {HTMLInputElement | null} */ (form.querySelector("[name=paired]"));
    this.values = {
      kind: String(values.get("kind")),
      name: String(values.get("name")),
      paired: paired?.checked ?? this.values.paired,
    };
    keep(DRAFT, this.values);
    this.requestUpdate();
  }

  /** @param {SubmitEvent} event */
  submit(event) {
    event.preventDefault();
    this.attempt(async () => {
      try {
        const dataset = await this.send(this.kind);
        this.files = [];
        this.values.name = "";
        forget(DRAFT);
        this.dispatchEvent(new CustomEvent("stored", { detail: dataset, bubbles: true }));
      } finally {
        this.sending = null;
      }
    });
  }

  /**
   * @param {import("./dataset_kinds.js").DatasetKind} kind
   * @returns {Promise<Dataset>}
   */
  async send(kind) {
    const form = new FormData();
    const file = await this.file(kind);
    form.set("file", file);
    form.set("kind", kind.name);
    if (this.values.name) form.set("name", this.values.name);
    if (kind.name === "domains") form.set("paired", String(this.values.paired));
    return upload("/v1/datasets", form, (fraction) =>
      this.show(fraction < 1 ? `Sending ${file.name} (${bytes(file.size)})` : `Checking ${file.name}`, fraction),
    );
  }

  /** Return the file to send; several are zipped. @param {import("./dataset_kinds.js").DatasetKind} kind */
  async file(kind) {
    const { files } = this;
    if (files.length === 1 && (kind.file !== "zip" || ARCHIVE.test(files[0].path))) return files[0].file;
    if (!fitsZip(files)) throw new ApiError(tooMuch());
    const folder = files[0].path.split("/")[0];
    const zip = await zipped(files, (fraction) => this.show(`Zipping ${number(files.length)} files`, fraction));
    return new File([zip], `${folder}.zip`);
  }

  /**
   * @param {string} step
   * @param {number} fraction
   */
  show(step, fraction) {
    this.sending = { step, fraction };
    this.requestUpdate();
  }
}

function tooMuch() {
  const detail =
    "The browser zips folders of up to 65,535 files and 4 GB. Zip this one yourself: (cd folder && zip -qr0 " +
    "../data.zip .), then choose data.zip.";
  return { type: "about:blank", title: "The folder is too large to be zipped here", status: 0, detail };
}

customElements.define("upload-dataset", UploadDataset);
