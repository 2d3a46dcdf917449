/** Summary of a graph: operators, layers with the most weights. */

import { html, nothing } from "../vendor/lit.js";
import { get } from "../shared/api.js";
import { Element } from "../shared/element.js";
import { number } from "../shared/format.js";

/** @typedef {import("../shared/types").Graph} Graph */

class ModelGraph extends Element {
  constructor() {
    super();
    this.key = "";
    /** @type {Graph | null} */
    this.graph = null;
  }

  connectedCallback() {
    super.connectedCallback();
    this.attempt(async () => {
      this.graph = await get(`/v1/models/${this.key}/graph`, this.leaving.signal);
    });
  }

  render() {
    const graph = this.graph;
    if (graph === null) return this.problem();
    const weighted = graph.layers.filter((layer) => layer.parameters > 0);
    return html`
      <dl class="facts">
        <dt>Layers</dt><dd>${graph.layers.length}</dd>
        <dt>Operators</dt><dd>${Object.entries(graph.operators)
          .map(([name, count]) => `${name} × ${count}`)
          .join(", ")}</dd>
        <dt>Multiply-adds</dt><dd>${number(graph.macs)} for one input</dd>
        <dt>BatchNorm</dt><dd>${graph.layers.some((layer) => layer.batch_norm) ? "yes" : "none after a layer"}</dd>
        ${graph.producer ? html`<dt>Exporter</dt><dd>${graph.producer}</dd>` : nothing}
        ${
          graph.unsupported_operators.length
            ? html`<dt>Not for jobs</dt><dd>${graph.unsupported_operators.join(", ")}</dd>`
            : nothing
        }
      </dl>
      <details><summary>Layers with weights (${weighted.length})</summary>
        <div class="scroll tall" tabindex="0" role="region" aria-label="Layers with weights"><table>
          <thead><tr><th scope="col">Layer</th><th scope="col">Operator</th>
            <th scope="col" class="number">Parameters</th></tr></thead>
          <tbody>${weighted.map(
            (layer) => html`<tr><td><code>${layer.name}</code></td><td>${layer.operator}</td>
              <td class="number">${number(layer.parameters)}</td></tr>`,
          )}</tbody></table></div></details>`;
  }
}

customElements.define("model-graph", ModelGraph);
