/** One image of the user: dropped, chosen, or taken by the camera; given on by the event `image`. */

import { html } from "../vendor/lit.js";
import { DropArea } from "./drop_area.js";

/** @typedef {import("./types").Problem} Problem */

class ImageInput extends DropArea {
  static properties = { name: { attribute: false } };

  constructor() {
    super();
    /** The id of the field. */
    this.name = "image";
    /** @type {MediaStream | null} */
    this.camera = null;
    /** Whether the camera has sent an image. */
    this.sees = false;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.closeCamera();
  }

  updated() {
    const video = this.querySelector("video");
    if (video !== null && video.srcObject !== this.camera) video.srcObject = this.camera;
  }

  render() {
    return html`${this.problem()}
      <div class="drop ${this.over ? "over" : ""}" @dragover=${this.drag} @dragleave=${this.leave} @drop=${this.drop}>
        ${
          this.camera === null
            ? html`<p><label for=${this.name}>Drop an image here, or choose one</label></p>
              <input id=${this.name} type="file" accept="image/*" @change=${this.choose}>
              <p class="by-camera"><button type="button" @click=${this.openCamera}>Use the camera</button></p>`
            : html`<video class="camera" aria-label="What the camera sees" autoplay muted playsinline
                @loadeddata=${this.see}></video>
              <div class="row centred">
                <button type="button" class="primary" ?disabled=${!this.sees} @click=${this.take}>
                  Take the image</button>
                <button type="button" @click=${this.closeCamera}>Close the camera</button></div>`
        }
      </div>`;
  }

  /** @param {DataTransfer} transfer */
  dropped(transfer) {
    this.give(transfer.files[0]);
  }

  /** @param {Event} event */
  choose(event) {
    this.give(/** @type {HTMLInputElement} */ (event.target).files?.[0]);
  }

  /** @param {File | undefined} file */
  give(file) {
    if (file !== undefined) this.dispatchEvent(new CustomEvent("image", { detail: file }));
  }

  async openCamera() {
    this.failure = null;
    try {
      if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
      this.camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      if (this.leaving.signal.aborted) this.closeCamera();
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      this.failure = noCamera(error);
    }
    this.requestUpdate();
  }

  see() {
    this.sees = true;
    this.requestUpdate();
  }

  closeCamera() {
    for (const track of this.camera?.getTracks() ?? []) track.stop();
    this.camera = null;
    this.sees = false;
    this.requestUpdate();
  }

  async take() {
    const video = this.querySelector("video");
    if (video === null) return;
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d")?.drawImage(video, 0, 0);
    this.closeCamera();
    canvas.toBlob((blob) => blob && this.give(new File([blob], "camera.png", { type: "image/png" })));
  }
}

/**
 * @param {DOMException} error
 * @returns {Problem}
 */
function noCamera(error) {
  const details = {
    SecurityError:
      "Browsers open a camera only for pages by https, or of this machine, at localhost or 127.0.0.1. " +
      "Open the console at such an address, or choose a file.",
    NotAllowedError: "The browser was not allowed to use it. Allow the camera for this page in the browser's settings.",
    NotFoundError: "The browser found none. Connect a camera, or choose a file.",
  };
  const detail =
    details[/** @type {"NotFoundError"} */ (error.name)] ??
    `It does not start: ${error.message || error.name}. Close other programs that use it, then try again.`;
  return { type: "about:blank", title: "There is no camera", status: 0, detail };
}

customElements.define("image-input", ImageInput);
