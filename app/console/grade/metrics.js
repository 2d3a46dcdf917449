/** Metrics of generated samples: their names, what they are about, and the scale on which they are drawn. */

/**
 * @typedef {object} MetricKind
 * @property {string} name
 * @property {string} title
 * @property {"share" | "open"} scale A share of samples, 0 to 1; or open above 0
 * @property {boolean} [smallerIsBetter]
 */

/** @type {{title: string, about: string, metrics: MetricKind[]}[]} */
export const METRIC_GROUPS = [
  {
    title: "Fidelity",
    about: "How good each generated sample is. More is better, up to what is expected.",
    metrics: [
      { name: "density", title: "Density", scale: "share" },
      { name: "clipped_density", title: "Clipped density", scale: "share" },
      { name: "precision", title: "Precision", scale: "share" },
      { name: "p_precision", title: "Probabilistic precision", scale: "share" },
    ],
  },
  {
    title: "Diversity",
    about: "How much of the real variety is covered. More is better, up to what is expected.",
    metrics: [
      { name: "coverage", title: "Coverage", scale: "share" },
      { name: "clipped_coverage", title: "Clipped coverage", scale: "share" },
      { name: "recall", title: "Recall", scale: "share" },
      { name: "p_recall", title: "Probabilistic recall", scale: "share" },
    ],
  },
  {
    title: "Copies",
    about: "Share of generated samples that are no copies of real ones. All other metrics reward copies.",
    metrics: [{ name: "authenticity", title: "Authenticity", scale: "share" }],
  },
  {
    title: "Both in one number",
    about: "Distances between the two sets: 0 is best. The inception score: more is better.",
    metrics: [
      { name: "fid", title: "FID", scale: "open", smallerIsBetter: true },
      { name: "kid", title: "KID", scale: "open", smallerIsBetter: true },
      { name: "inception_score", title: "Inception score", scale: "open" },
    ],
  },
];

export const ALL_METRICS = METRIC_GROUPS.flatMap(({ metrics }) => metrics);

/** @param {string} name */
export function metricTitle(name) {
  return ALL_METRICS.find((metric) => metric.name === name)?.title ?? name.replaceAll("_", " ");
}

/**
 * Return round numbers that span a range, first to last.
 * @param {number} low
 * @param {number} high
 * @param {number} [most] Most steps within the range
 */
export function roundTicks(low, high, most = 4) {
  const rough = (high - low || 1) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.999) ?? 10) * power;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}
