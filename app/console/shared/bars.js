/** Small bars beside numbers, in tables; the numbers say the same to those who do not see them. */

import { html } from "../vendor/lit.js";

const WIDTH = 100;

/**
 * Return a share as a bar, with a mark at a second share, such as a ceiling.
 * @param {number} share 0 to 1
 * @param {number | null} [mark] 0 to 1
 */
export function shareBar(share, mark = null) {
  return html`<svg class="bar-of" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
    <rect class="rail" width="100" height="8"></rect>
    <rect class="fill" width=${WIDTH * clamped(share)} height="8"></rect>
    <rect class="mark" x=${mark === null ? -2 : Math.min(WIDTH - 1, WIDTH * clamped(mark))}
      width="1" height="8"></rect></svg>`;
}

/**
 * Return a value as a bar to the left or to the right of a middle line.
 * @param {number} value
 * @param {number} largest Absolute value that fills a half
 */
export function signedBar(value, largest) {
  const length = largest > 0 ? (WIDTH / 2) * clamped(Math.abs(value) / largest) : 0;
  const left = value < 0 ? WIDTH / 2 - length : WIDTH / 2;
  return html`<svg class="bar-of" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
    <rect class="rail" width="100" height="8"></rect>
    <rect class=${value < 0 ? "fill minus" : "fill"} x=${left} width=${length} height="8"></rect>
    <rect class="middle" x="49.7" width="0.6" height="8"></rect></svg>`;
}

/** @param {number} share */
function clamped(share) {
  return Math.max(0, Math.min(1, share));
}
