/** The layers of a graph as boxes to check. */

import { html, nothing } from "../vendor/lit.js";
import { number } from "./format.js";
import { namedLayers } from "./layers.js";

/** @typedef {import("./types").Graph} Graph */

/**
 * @param {Graph} graph
 * @param {string[]} chosen Tensors
 * @param {boolean} all Whether layers other than activation functions are listed
 */
export function layerChoice(graph, chosen, all) {
  const activations = namedLayers(graph, false).length;
  const listed = namedLayers(graph, all || activations === 0).reverse();
  return html`<fieldset><legend>Layers to explain</legend>
    <div class="layers" tabindex="0" role="group" aria-label="Layers, last to first">${listed.map(
      ({ operator, outputs, parameters }) => html`<p class="tick">
        <input type="checkbox" id="layer-${outputs[0]}" name="layers" value=${outputs[0]}
          .checked=${chosen.includes(outputs[0])}>
        <label for="layer-${outputs[0]}"><code>${outputs[0]}</code></label>
        <span class="soft small">${operator}${parameters ? `, ${number(parameters)} parameters` : nothing}</span></p>`,
    )}</div>
    ${
      activations
        ? html`<p class="tick"><input type="checkbox" id="layers-all" name="all" .checked=${all}>
          <label for="layers-all">List all layers, not only activation functions</label></p>`
        : nothing
    }
    <p class="soft small">A unit is one channel. The last layer comes first: it detects the
      largest things, and has weights to the classes.</p></fieldset>`;
}
