/** How good the translations of a translator are, by direction. */

import { html, nothing } from "../vendor/lit.js";
import { number, percent, words } from "../shared/format.js";

/** @typedef {import("../shared/types").Translator} Translator */
/** @typedef {import("../shared/types").DirectionEvaluation} DirectionEvaluation */

const DIRECTIONS = { a2b: "A to B", b2a: "B to A" };

/** @param {Translator} translator */
export function qualityOfTranslation({ evaluation = {} }) {
  const directions = Object.entries(evaluation);
  if (directions.length === 0) return nothing;
  const [, first] = directions[0];
  /** @type {[string, (quality: DirectionEvaluation) => string][]} */
  const rows = [
    ["Images", ({ images, held_out }) => `${images}${held_out ? ", held out" : " of the training"}`],
    ["Error of the round trip", ({ reconstruction_error }) => percent(reconstruction_error)],
    ["Error against the targets", ({ pixel_error }) => percent(pixel_error)],
    ["The same of the mean target", ({ mean_image_error }) => percent(mean_image_error)],
    ["Brightness of the images", ({ brightness }) => percent(brightness.source)],
    ["Brightness of the translations", ({ brightness }) => percent(brightness.translated)],
    ["Brightness of the target domain", ({ brightness }) => percent(brightness.target)],
    ...Object.keys(first.metrics).map(
      (name) =>
        /** @type {[string, (quality: DirectionEvaluation) => string]} */ ([
          words(name),
          ({ metrics, untranslated }) => `${number(metrics[name])}, before ${number(untranslated[name])}`,
        ]),
    ),
  ];
  const shown = rows.filter(([, value]) => directions.some(([, quality]) => value(quality) !== "–"));
  return html`<section class="panel"><h2>Quality of the translations</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Quality of the translations"><table>
      <thead><tr><th scope="col">Measure</th>${directions.map(
        ([direction]) => html`<th scope="col" class="number">${DIRECTIONS[/** @type {"a2b"} */ (direction)]}</th>`,
      )}</tr></thead>
      <tbody>${shown.map(
        ([name, value]) =>
          html`<tr><th scope="row">${name}</th>${directions.map(
            ([, quality]) => html`<td class="number">${value(quality)}</td>`,
          )}</tr>`,
      )}</tbody></table></div>
    <p class="soft small">Errors are mean absolute differences, as a share of the range of values.</p></section>`;
}
