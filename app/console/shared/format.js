/** Numbers, times and names as text. */

const DECIMALS = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const WHOLE = new Intl.NumberFormat("en");
const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** @param {number | null | undefined} value */
export function number(value) {
  if (value === null || value === undefined) return "–";
  return Number.isInteger(value) ? WHOLE.format(value) : DECIMALS.format(value);
}

/** @param {number | null | undefined} value Of which three decimals tell enough, such as an IoU */
export function decimals(value) {
  if (value === null || value === undefined) return "–";
  const text = value.toFixed(3);
  return Number(text) === 0 ? "0.000" : text.replace("-", "−");
}

/** @param {number} count */
export function bytes(count) {
  if (count < 1000) return `${WHOLE.format(Math.round(count))} B`;
  const units = ["kB", "MB", "GB"];
  let value = count / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${units[unit]}`;
}

/** @param {number | null | undefined} share */
export function percent(share) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(2)} %`;
}

/** @param {string | null} time */
export function time(time) {
  return time === null ? "–" : TIME.format(new Date(time));
}

/** @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "unknown";
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

/** @param {(number | string | null)[]} shape */
export function shape(shape) {
  return `[${shape.map((size) => size ?? "?").join(", ")}]`;
}

/** @param {string} name A name of the API, such as `image_classification` */
export function words(name) {
  return name.replaceAll("_", " ");
}

/**
 * @param {number} before
 * @param {number} after
 */
export function ratio(before, after) {
  return after > 0 ? `${(before / after).toFixed(2)} ×` : "–";
}
