/** Points of two sets on a canvas, with axes; and which of them is near. */

import { roundTicks } from "./metrics.js";

/**
 * @typedef {object} Point
 * @property {"reference" | "generated"} set
 * @property {number} row Position in its set
 * @property {number} x
 * @property {number} y
 * @property {boolean} notable In no ball, or with none in its ball: drawn in full colour
 */

const MARGIN = { left: 52, right: 12, top: 12, bottom: 44 };
const NEAR_PIXELS = 24;
const FAINT = 0.35;
const RADIUS = 4;
const ROOM = 0.04;

export class Scatter {
  /**
   * @param {HTMLCanvasElement} canvas Drawn in its size on the page
   * @param {Point[]} points
   * @param {[string, string]} titles Of the axes
   */
  constructor(canvas, points, titles) {
    this.canvas = canvas;
    this.points = points;
    this.titles = titles;
    this.width = canvas.clientWidth;
    this.height = canvas.clientHeight;
    this.x = range(points.map(({ x }) => x));
    this.y = range(points.map(({ y }) => y));
  }

  /** @param {Point} point */
  position({ x, y }) {
    const { left, right, top, bottom } = MARGIN;
    return {
      left: left + ((x - this.x[0]) / (this.x[1] - this.x[0])) * (this.width - left - right),
      top: this.height - bottom - ((y - this.y[0]) / (this.y[1] - this.y[0])) * (this.height - top - bottom),
    };
  }

  /** Return the nearest point at a place in pixels; null if none is near. @param {number} left @param {number} top */
  near(left, top) {
    return this.#least((at) => {
      const distance = Math.hypot(at.left - left, at.top - top);
      return distance <= NEAR_PIXELS ? distance : null;
    });
  }

  /**
   * Return the next point from one in a direction, such as [1, 0] for right; the point itself if there is none.
   * @param {Point} from
   * @param {[number, number]} direction
   */
  next(from, [right, down]) {
    const start = this.position(from);
    return (
      this.#least((at) => {
        const along = (at.left - start.left) * right + (at.top - start.top) * down;
        const across = Math.abs((at.left - start.left) * down) + Math.abs((at.top - start.top) * right);
        return along > 0.5 && across <= 2 * along ? along + 2 * across : null;
      }) ?? from
    );
  }

  /** Return the point nearest to the middle. */
  middle() {
    return this.#least((at) => Math.hypot(at.left - this.width / 2, at.top - this.height / 2));
  }

  /** @param {(at: {left: number, top: number}) => number | null} cost Null for points that are out of the question */
  #least(cost) {
    let best = null;
    let least = Infinity;
    for (const point of this.points) {
      const value = cost(this.position(point));
      if (value !== null && value < least) [best, least] = [point, value];
    }
    return best;
  }

  /** @param {Point | null} chosen */
  draw(chosen) {
    const context = this.canvas.getContext("2d");
    if (context === null) return;
    const density = window.devicePixelRatio || 1;
    this.canvas.width = this.width * density;
    this.canvas.height = this.height * density;
    context.scale(density, density);
    const style = getComputedStyle(this.canvas);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    this.#axes(context, colour("--line"), colour("--soft"));
    const colours = { reference: colour("--accent"), generated: colour("--second") };
    for (const notable of [false, true]) {
      context.globalAlpha = notable ? 1 : FAINT;
      for (const point of this.points) if (point.notable === notable) this.#mark(context, point, colours[point.set]);
    }
    context.globalAlpha = 1;
    if (chosen === null) return;
    const { left, top } = this.position(chosen);
    this.#mark(context, chosen, colours[chosen.set]);
    context.strokeStyle = colour("--text");
    context.lineWidth = 2;
    context.beginPath();
    context.arc(left, top, 2.5 * RADIUS, 0, 2 * Math.PI);
    context.stroke();
  }

  /**
   * Real samples are circles, generated ones triangles.
   * @param {CanvasRenderingContext2D} context
   * @param {Point} point
   * @param {string} colour
   */
  #mark(context, point, colour) {
    const { left, top } = this.position(point);
    context.fillStyle = colour;
    context.beginPath();
    if (point.set === "reference") context.arc(left, top, RADIUS, 0, 2 * Math.PI);
    else {
      context.moveTo(left, top - 1.3 * RADIUS);
      context.lineTo(left + 1.2 * RADIUS, top + RADIUS);
      context.lineTo(left - 1.2 * RADIUS, top + RADIUS);
      context.closePath();
    }
    context.fill();
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {string} line
   * @param {string} text
   */
  #axes(context, line, text) {
    const { left, right, top, bottom } = MARGIN;
    context.strokeStyle = line;
    context.fillStyle = text;
    context.lineWidth = 1;
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "center";
    for (const x of ticksIn(this.x)) {
      const at = Math.round(this.position({ ...ORIGIN, x }).left) + 0.5;
      stroke(context, at, top, at, this.height - bottom);
      context.fillText(String(x), at, this.height - bottom + 16);
    }
    context.fillText(this.titles[0], left + (this.width - left - right) / 2, this.height - 8);
    context.textAlign = "right";
    for (const y of ticksIn(this.y)) {
      const at = Math.round(this.position({ ...ORIGIN, y }).top) + 0.5;
      stroke(context, left, at, this.width - right, at);
      context.fillText(String(y), left - 6, at + 4);
    }
    context.save();
    context.translate(14, top + (this.height - top - bottom) / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.fillText(this.titles[1], 0, 0);
    context.restore();
  }
}

/** @type {Point} */
const ORIGIN = { set: "reference", row: 0, x: 0, y: 0, notable: false };

/**
 * Return the ends of an axis, with some room around the values.
 * @param {number[]} values
 */
function range(values) {
  if (values.length === 0) return [0, 1];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = ROOM * (high - low) || 1;
  return [low - room, high + room];
}

/** @param {number[]} range */
function ticksIn([low, high]) {
  return roundTicks(low, high, 8).filter((tick) => tick >= low && tick <= high);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} x
 * @param {number} y
 * @param {number} toX
 * @param {number} toY
 */
function stroke(context, x, y, toX, toY) {
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(toX, toY);
  context.stroke();
}
