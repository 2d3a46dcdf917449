/** Images with detected boxes and instance masks on a canvas. */

import { maskPixels } from "../models/masks.js";

/** @typedef {import("./types").Detection} Detection */

const COLOURS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#800000"];
const MASK_OPACITY = 115;

/**
 * Draw an image, and over it masks and boxes, in its own pixels.
 * @param {HTMLCanvasElement} canvas
 * @param {ImageBitmap} image
 * @param {Detection[]} detections
 */
export function draw(canvas, image, detections) {
  // Small images are enlarged, so that one sees their pixels and a box has room for its label.
  const scale = Math.max(1, Math.min(16, Math.floor(320 / Math.max(image.width, image.height))));
  canvas.width = image.width * scale;
  canvas.height = image.height * scale;
  const context = canvas.getContext("2d");
  if (context === null) return;
  context.imageSmoothingEnabled = false;
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  for (const { mask, index } of [...detections].reverse()) {
    if (mask) context.drawImage(coloured(mask, index), 0, 0, canvas.width, canvas.height);
  }
  const unit = Math.max(2, Math.round(canvas.width / 250));
  context.lineWidth = unit;
  context.font = `600 ${6 * unit}px system-ui, sans-serif`;
  context.textBaseline = "top";
  for (const detection of [...detections].reverse()) box(context, detection, scale, unit);
}

/**
 * Return a canvas of the size of a mask, with its pixels half transparent in the colour of its class.
 * @param {import("./types").InstanceMask} mask
 * @param {number} index
 */
function coloured(mask, index) {
  const [height, width] = mask.size;
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const colour = Number.parseInt(COLOURS[index % COLOURS.length].slice(1), 16);
  const image = new ImageData(width, height);
  maskPixels(mask).forEach((inside, pixel) => {
    if (inside) image.data.set([colour >> 16, (colour >> 8) & 255, colour & 255, MASK_OPACITY], 4 * pixel);
  });
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  return canvas;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Detection} detection
 * @param {number} scale
 * @param {number} unit
 */
function box(context, detection, scale, unit) {
  const [left, top, right, bottom] = detection.box.map((value) => value * scale);
  const text = `${detection.label} ${detection.score.toFixed(2)}`;
  const colour = COLOURS[detection.index % COLOURS.length];
  context.strokeStyle = colour;
  context.strokeRect(left, top, right - left, bottom - top);
  context.fillStyle = colour;
  const height = 8 * unit;
  const above = Math.max(0, top - height);
  context.fillRect(left, above, context.measureText(text).width + 2 * unit, height);
  context.fillStyle = "#ffffff";
  context.fillText(text, left + unit, above + unit);
  context.fillStyle = colour;
  for (const [x, y] of detection.keypoints ?? []) {
    context.beginPath();
    context.arc(x * scale, y * scale, 1.5 * unit, 0, 2 * Math.PI);
    context.fill();
  }
}
