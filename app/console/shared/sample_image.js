/** One sample of a dataset as an image. */

import { html } from "../vendor/lit.js";

/**
 * @param {string} dataset Its id
 * @param {number} index From 0
 */
export function sampleAddress(dataset, index) {
  return `/v1/datasets/${dataset}/samples/${index}/image`;
}

/**
 * Return a sample as an image that links to itself.
 * @param {string} dataset Its id
 * @param {number} index From 0
 * @param {string} alt
 */
export function sampleImage(dataset, index, alt) {
  const address = sampleAddress(dataset, index);
  return html`<a href=${address} target="_blank"><img src="${address}?max_side=256" alt=${alt} loading="lazy"></a>`;
}
