/** Where one is, held by the address: `#/models/mdl_…`. */

/** @typedef {{parts: string[], query: URLSearchParams}} Place */

/** @returns {Place} */
export function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query ?? "") };
}

/** @param {string} path Such as `/models/mdl_…` */
export function go(path) {
  location.hash = path;
}

/**
 * Change the query of the address without a new entry in the history.
 * @param {Record<string, string | null>} changes
 */
export function setQuery(changes) {
  const { parts, query } = place();
  for (const [name, value] of Object.entries(changes)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const path = `#/${parts.map(encodeURIComponent).join("/")}${query.size ? `?${query}` : ""}`;
  history.replaceState(null, "", path);
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}
