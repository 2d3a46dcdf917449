/** What the images of units show. */

import { html } from "../vendor/lit.js";

/** @param {"images" | "signals"} about */
export function unitLegend(about) {
  const [fires, holds] =
    about === "images"
      ? ["left: the unit fires", "right: the formula holds"]
      : ["shaded: the unit fires", "strip below: the formula holds"];
  return html`<p class="small unit-key"><span><i class=${`fires ${about}`}></i>${fires}</span>
    <span><i class="holds"></i>${holds}</span></p>`;
}
