/** Calls of the public API. */

/** @typedef {import("./types").Problem} Problem */

/** An answer other than success, with its problem document. */
export class ApiError extends Error {
  /** @param {Problem} problem */
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/**
 * Return the JSON of a GET.
 * @template T
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export async function get(path, signal) {
  return (await answer(path, { headers: { Accept: "application/json" }, signal })).json();
}

/**
 * Return the JSON of a POST.
 * @template T
 * @param {string} path
 * @param {object | FormData | null} [body] JSON, or a form; nothing if null
 * @returns {Promise<T>}
 */
export async function post(path, body = null) {
  const isForm = body instanceof FormData;
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (body !== null && !isForm) headers["Content-Type"] = "application/json";
  const sent = body === null ? undefined : isForm ? body : JSON.stringify(body);
  return (await answer(path, { method: "POST", headers, body: sent })).json();
}

/**
 * Post JSON that is answered without a body.
 * @param {string} path
 * @param {object} body
 */
export async function send(path, body) {
  const headers = { Accept: "application/json", "Content-Type": "application/json" };
  await answer(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** @param {string} path */
export async function remove(path) {
  await answer(path, { method: "DELETE" });
}

/**
 * Return a file as the body of the answer.
 * @param {string} path
 * @param {FormData | null} [form] Posted, if it is given
 * @returns {Promise<Blob>}
 */
export async function file(path, form = null) {
  return (await answer(path, form === null ? {} : { method: "POST", body: form })).blob();
}

/**
 * Return the text of a GET; also of an answer with another status if `anyStatus`.
 * @param {string} path
 * @param {boolean} [anyStatus]
 */
export async function text(path, anyStatus = false) {
  return (await answer(path, {}, anyStatus)).text();
}

/**
 * Post a form and tell how much of it was sent, which `fetch` cannot.
 * @template T
 * @param {string} path
 * @param {FormData} form
 * @param {(fraction: number) => void} onProgress
 * @returns {Promise<T>}
 */
export function upload(path, form, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    });
    request.addEventListener("load", () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(failure(request.responseText, request.status));
    });
    request.addEventListener("error", () => reject(new ApiError(unreachable(path))));
    request.send(form);
  });
}

/**
 * Return a path with those parameters that have a value.
 * @param {string} path
 * @param {Record<string, string | number | null | undefined>} parameters
 */
export function withQuery(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  return query.size ? `${path}?${query}` : path;
}

/**
 * @param {string} path
 * @param {RequestInit} options
 * @param {boolean} [anyStatus]
 */
async function answer(path, options, anyStatus = false) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(unreachable(path));
  }
  if (!response.ok && !anyStatus) throw failure(await response.text(), response.status);
  return response;
}

/**
 * Return the error of an answer; where a key is missing, the window is told, which then asks for one.
 * @param {string} body
 * @param {number} status
 */
function failure(body, status) {
  if (status === 401) window.dispatchEvent(new Event("key-needed"));
  return new ApiError(problemOf(body, status));
}

/**
 * @param {string} body
 * @param {number} status
 * @returns {Problem}
 */
function problemOf(body, status) {
  try {
    const problem = JSON.parse(body);
    if (typeof problem.detail === "string") return problem;
  } catch {
    // Not from the service itself, such as the page of a proxy.
  }
  const detail = `${body.slice(0, 300) || "The answer is empty."} Look at the log of the service.`;
  return { type: "about:blank", title: `The answer has status ${status}`, status, detail };
}

/**
 * @param {string} path
 * @returns {Problem}
 */
function unreachable(path) {
  const detail = `${path} gave no answer. Check that the service is running, then try again.`;
  return { type: "about:blank", title: "The service cannot be reached", status: 0, detail };
}
