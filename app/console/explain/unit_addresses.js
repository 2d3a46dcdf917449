/** Where units are: their pages, and the images of their samples. */

import { withQuery } from "../shared/api.js";

/** @typedef {{layer: string, unit: number}} UnitPlace */

/**
 * Return the address of a unit's page.
 * @param {string} explanation
 * @param {UnitPlace} place
 */
export function unitPage(explanation, { layer, unit }) {
  return withQuery(`#/explanations/${explanation}/units/${unit}`, { layer });
}

/**
 * Return the address of the image of one of a unit's examples.
 * @param {string} explanation
 * @param {UnitPlace} place
 * @param {number} sample
 */
export function unitSample(explanation, { layer, unit }, sample) {
  return withQuery(`/v1/explanations/${explanation}/units/${unit}/image`, { layer, sample });
}
