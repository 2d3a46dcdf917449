/** Instance masks in COCO's compressed run lengths. */

/** @typedef {import("../shared/types").InstanceMask} InstanceMask */

/**
 * Return the pixels of a mask, row by row: 1 within the object, 0 elsewhere.
 * @param {InstanceMask} mask
 */
export function maskPixels({ size: [height, width], counts }) {
  const pixels = new Uint8Array(height * width);
  let position = 0;
  let inside = false;
  for (const count of runLengths(counts)) {
    // Runs go down the columns.
    for (const end = position + count; position < end; position++) {
      if (inside) pixels[(position % height) * width + Math.floor(position / height)] = 1;
    }
    inside = !inside;
  }
  return pixels;
}

/**
 * Return the lengths of the runs outside and inside, by turns. A character has five bits of a number, the lowest first,
 * and a bit that says whether more follow; from the third number on, each is the difference to the last but one.
 * @param {string} text
 */
function runLengths(text) {
  /** @type {number[]} */
  const counts = [];
  let value = 0;
  let shift = 0;
  for (const character of text) {
    const bits = character.charCodeAt(0) - 48;
    value |= (bits & 31) << shift;
    shift += 5;
    if (bits & 32) continue;
    if (bits & 16 && shift < 32) value |= -1 << shift;
    counts.push(value + (counts.length > 2 ? counts[counts.length - 2] : 0));
    value = 0;
    shift = 0;
  }
  return counts;
}
