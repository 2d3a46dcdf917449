/** An element that files are dropped on. */

import { Element } from "./element.js";

export class DropArea extends Element {
  constructor() {
    super();
    /** Whether something is held over it. */
    this.over = false;
  }

  /** @param {DragEvent} event */
  drag(event) {
    event.preventDefault();
    this.over = true;
    this.requestUpdate();
  }

  leave() {
    this.over = false;
    this.requestUpdate();
  }

  /** @param {DragEvent} event */
  drop(event) {
    event.preventDefault();
    this.leave();
    if (event.dataTransfer !== null) this.dropped(event.dataTransfer);
  }

  /**
   * Take what was dropped.
   * @param {DataTransfer} transfer
   */
  dropped(transfer) {
    void transfer;
  }
}
