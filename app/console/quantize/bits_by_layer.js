/** Bits and signal-to-noise of every quantized weight and activation, as a chart and a table. */

import { html, nothing } from "../vendor/lit.js";
import { Element } from "../shared/element.js";
import "../shared/chart.js";

/** @typedef {import("../shared/types").QuantizationReport} Report */
/** @typedef {import("../shared/types").QuantizedTensor} QuantizedTensor */

class BitsByLayer extends Element {
  static properties = { report: { attribute: false } };

  constructor() {
    super();
    this.report = /** @type {Report} */ (/** @type {unknown} */ (null));
    this.shown = "weight";
  }

  render() {
    const tensors = this.report.tensors.filter(({ role }) => role === this.shown);
    const lines = [
      { label: "signal-to-noise, dB", values: tensors.map((tensor) => tensor.signal_to_noise_db), points: true },
      { label: "bits", values: tensors.map(({ bits }) => bits), points: true, axis: "right" },
    ];
    const layers = this.report.float_layers;
    return html`
      <div class="field"><label for="role">Tensors</label>
        <select id="role" @change=${(/** @type {any} */ event) => {
          this.shown = event.target.value;
          this.requestUpdate();
        }}>
          <option value="weight">weights</option><option value="activation">activations</option></select></div>
      ${
        tensors.length
          ? html`<line-chart .x=${tensors.map((_, index) => index + 1)} .lines=${lines} .axis=${"number of the layer"}
            .left=${"signal-to-noise, dB"}
            .label=${"Signal-to-noise and bits by layer; the table has the values"}></line-chart>`
          : html`<p>None is quantized.</p>`
      }
      <details><summary>Table (${tensors.length})</summary>
        <div class="scroll tall" tabindex="0" role="region" aria-label="Bits by layer"><table>
          <thead><tr><th scope="col" class="number">No.</th><th scope="col">Tensor</th>
            <th scope="col" class="number">Bits</th><th scope="col" class="number">Signal-to-noise</th></tr></thead>
          <tbody>${tensors.map(row)}</tbody></table></div></details>
      ${layers.length ? html`<p class="small">Still in float: ${layers.join(", ")}.</p>` : nothing}`;
  }
}

/**
 * @param {QuantizedTensor} tensor
 * @param {number} index
 */
function row(tensor, index) {
  const bits = tensor.channel_bits
    ? `${Math.min(...tensor.channel_bits)}–${Math.max(...tensor.channel_bits)}`
    : tensor.bits;
  const noise = tensor.signal_to_noise_db;
  return html`<tr><td class="number">${index + 1}</td><td><code>${tensor.tensor}</code></td>
    <td class="number">${bits}</td><td class="number">${noise === null ? "–" : `${noise.toFixed(1)} dB`}</td></tr>`;
}

customElements.define("bits-by-layer", BitsByLayer);
