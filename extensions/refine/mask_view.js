// @ts-check
// What of the picture is seen, and what a key means: zoom, places, brush sizes, commands.

import { clamp } from "./mask_pixels.js";

/** The part of the picture that is seen: 1 / zoom of it from x, y on, in fractions.
 * @typedef {{ zoom: number, x: number, y: number }} View */

export const LARGEST_ZOOM = 16;
export const LONGEST = 2048; // pixels of the longer side of a mask; the stage scales it to the picture

/** @type {View} */
export const FITTED = { zoom: 1, x: 0, y: 0 };

/** A view within the picture. @param {View} view @returns {View} */
function held({ zoom, x, y }) {
  const near = clamp(zoom, 1, LARGEST_ZOOM);
  const room = 1 - 1 / near;
  return { zoom: near, x: clamp(x, 0, room), y: clamp(y, 0, room) };
}

/** Nearer or farther, where what is at (u, v) of the window stays there. @param {View} view @param {number} factor */
export function zoomed(view, factor, u = 0.5, v = 0.5) {
  const zoom = clamp(view.zoom * factor, 1, LARGEST_ZOOM);
  const [x, y] = placeAt(view, u, v);
  return held({ zoom, x: x - u / zoom, y: y - v / zoom });
}

/** @param {View} view @param {number} du @param {number} dv how far the picture goes, in fractions of the window */
export const panned = (view, du, dv) => held({ ...view, x: view.x - du / view.zoom, y: view.y - dv / view.zoom });

/** The place in the picture, in fractions, at (u, v) of the window. @param {View} view @param {number} u @param {number} v
 * @returns {[number, number]} */
export const placeAt = (view, u, v) => [view.x + u / view.zoom, view.y + v / view.zoom];

/** Where in the window a place of the picture is. @param {View} view @param {[number, number]} place @returns {[number, number]} */
export const windowAt = (view, [x, y]) => [(x - view.x) * view.zoom, (y - view.y) * view.zoom];

/** A view moved so far that a place is seen. @param {View} view @param {[number, number]} place */
export function showing(view, [x, y]) {
  const room = 1 / view.zoom;
  return held({ ...view, x: clamp(view.x, x - room, x), y: clamp(view.y, y - room, y) });
}

/** The size of a picture's mask. `shown`: that of its backdrop, if there is one, whose shape it has.
 * @param {[number, number]} size @param {[number, number] | null} shown @returns {[number, number]} */
export function maskSize(size, shown) {
  const alike = !shown || Math.abs(Math.log((size[0] * shown[1]) / (size[1] * shown[0]))) < 0.01;
  const [width, height] = alike || !shown ? size : shown;
  const factor = Math.min(1, LONGEST / Math.max(width, height));
  return [Math.max(1, Math.round(width * factor)), Math.max(1, Math.round(height * factor))];
}

/** The brush at a slider's place, 0 to 100, as a share of the shorter side: small ones lie as far apart as large ones. */
export const brushAt = (/** @type {number} */ place) => 0.004 * (0.5 / 0.004) ** (place / 100);

/** The slider's place of a brush. @param {number} brush */
export const placeOf = (brush) => clamp((100 * Math.log(brush / 0.004)) / Math.log(0.5 / 0.004), 0, 100);

// without a prototype, since a key may be named like a method of every object
/** @type {Record<string, [number, number]>} */
const ARROWS = { __proto__: null, ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
/** @type {Record<string, string>} */
const TOOLS = Object.assign(Object.create(null), { b: "brush", e: "eraser", r: "rectangle", l: "lasso", f: "fill" });
/** @type {Record<string, string>} */
const OTHERS = Object.assign(Object.create(null), {
  0: "fit", i: "invert", " ": "press", enter: "finish", delete: "clear", backspace: "clear", escape: "leave",
});
const NEAR = 0.01, FAR = 0.06; // of the picture

/** [command, …] for a key on the picture, null for none.
 * @param {{ key: string, shiftKey: boolean }} event @returns {[string, ...any[]] | null} */
export function keyCommand({ key, shiftKey }) {
  if (ARROWS[key]) return ["move", ...ARROWS[key].map((way) => way * (shiftKey ? FAR : NEAR))];
  const letter = key.toLowerCase();
  if (TOOLS[letter]) return ["tool", TOOLS[letter]];
  if (key === "[" || key === "]") return ["size", key === "]" ? 6 : -6];
  if (key === "+" || key === "=") return ["zoom", 1.5];
  if (key === "-" || key === "_") return ["zoom", 1 / 1.5];
  return OTHERS[letter] ? [OTHERS[letter]] : null;
}

/** "undo", "redo" or null for a key anywhere in the painter.
 * @param {{ key: string, ctrlKey: boolean, metaKey: boolean, altKey: boolean, shiftKey: boolean }} event */
export function chordCommand({ key, ctrlKey, metaKey, altKey, shiftKey }) {
  const letter = key.toLowerCase();
  if (!(ctrlKey || metaKey) || altKey || (letter !== "z" && letter !== "y")) return null;
  return letter === "y" || shiftKey ? "redo" : "undo";
}

/** Whether the notebook must not hear a key: its single-key commands delete cells. @param {string} key */
export const keptFromNotebook = (key) => key !== "Tab" && key !== "Escape" && !/^F\d/.test(key);
