/** A job, followed by its events. */

/** @typedef {import("./types").Job} Job */
/** @typedef {import("./types").Progress} Progress */

/**
 * Follow a job until it ends. Past events come first, so that nothing is lost on reload.
 * @param {string} id
 * @param {AbortSignal} signal Ends it earlier
 * @param {object} on
 * @param {(job: Job) => void} on.job Its status changed, or it ended
 * @param {(progress: Progress) => void} on.progress
 * @param {(lost: boolean) => void} on.connection Whether the connection was lost; the browser connects again
 */
export function followJob(id, signal, on) {
  const events = new EventSource(`/v1/jobs/${id}/events`);
  signal.addEventListener("abort", () => events.close());
  events.addEventListener("status", (event) => on.job(JSON.parse(event.data)));
  events.addEventListener("progress", (event) => on.progress(JSON.parse(event.data)));
  events.addEventListener("end", (event) => {
    events.close();
    on.job(JSON.parse(event.data));
  });
  events.addEventListener("error", () => on.connection(events.readyState !== EventSource.OPEN));
  events.addEventListener("open", () => on.connection(false));
}
