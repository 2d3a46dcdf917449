/** Values of forms that were not sent, kept for the tab, so that a reload loses nothing. */

/**
 * Return the values kept under a name, over their defaults.
 * @template {object} T
 * @param {string} name Of the form, and of what it is about: `quantize/mdl_…`
 * @param {T} defaults
 * @returns {T}
 */
export function kept(name, defaults) {
  try {
    const values = JSON.parse(sessionStorage.getItem(`draft/${name}`) ?? "{}");
    return { ...defaults, ...values };
  } catch {
    return { ...defaults };
  }
}

/**
 * Keep the values of a form; files cannot be kept.
 * @param {string} name
 * @param {object} values
 */
export function keep(name, values) {
  try {
    sessionStorage.setItem(`draft/${name}`, JSON.stringify(values));
  } catch {
    // Storage is off or full: the form works without.
  }
}

/**
 * Forget the values of a form that was sent.
 * @param {string} name
 */
export function forget(name) {
  try {
    sessionStorage.removeItem(`draft/${name}`);
  } catch {
    // Storage is off: nothing was kept.
  }
}
