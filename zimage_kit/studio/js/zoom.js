// @ts-check
// The lightbox's arithmetic: where an enlarged picture lies, and what keys, pinches and swipes mean. Numbers only.

/** @typedef {{x: number, y: number}} Point of the frame, in its pixels from its top left corner */
/** @typedef {{width: number, height: number}} Size */
/** @typedef {{scale: number, x: number, y: number}} View pixels of the frame for one of the picture; its top left corner */

const [LEAST, MOST] = [0.1, 8]; // scales, where the whole picture does not ask for less or more
const SWIPE = 48; // pixels a finger moves sideways to turn

/** @param {number} low @param {number} value @param {number} high */
const clamp = (low, value, high) => Math.min(high, Math.max(low, value));

/** The scale at which the picture just fits. @param {Size} picture @param {Size} frame */
export const fitting = (picture, frame) => Math.min(frame.width / picture.width, frame.height / picture.height);

/** The whole picture in the middle. @param {Size} picture @param {Size} frame @returns {View} */
export const whole = (picture, frame) => held({ scale: fitting(picture, frame), x: 0, y: 0 }, picture, frame);

/** The nearest view without a gap at one side only. @param {View} view @param {Size} picture @param {Size} frame */
export function held({ scale, x, y }, picture, frame) {
  /** @param {number} at @param {number} side @param {number} room */
  const along = (at, side, room) => (side * scale <= room ? (room - side * scale) / 2 : clamp(room - side * scale, at, 0));
  return { scale, x: along(x, picture.width, frame.width), y: along(y, picture.height, frame.height) };
}

/** Enlarged by a factor; what is at a point of the frame stays there where it can.
 * @param {View} view @param {number} factor @param {Point} at @param {Size} picture @param {Size} frame */
export function zoomed(view, factor, at, picture, frame) {
  const fit = fitting(picture, frame);
  const scale = clamp(Math.min(fit, LEAST), view.scale * factor, Math.max(fit, MOST));
  const by = scale / view.scale;
  return held({ scale, x: at.x - (at.x - view.x) * by, y: at.y - (at.y - view.y) * by }, picture, frame);
}

/** Two fingers went from two points to two others: the picture follows them.
 * @param {View} view @param {Point[]} from @param {Point[]} to @param {Size} picture @param {Size} frame */
export function pinched(view, from, to, picture, frame) {
  /** @param {Point[]} points */
  const apart = ([one, other]) => Math.max(1, Math.hypot(one.x - other.x, one.y - other.y));
  /** @param {Point[]} points */
  const middle = ([one, other]) => ({ x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 });
  const [was, is] = [middle(from), middle(to)];
  const moved = { ...view, x: view.x + is.x - was.x, y: view.y + is.y - was.y };
  return zoomed(moved, apart(to) / apart(from), is, picture, frame);
}

/** Which way a finger that went so far turns: 1 to the next picture, -1 to the previous, 0 for neither.
 * @param {number} dx @param {number} dy */
export const swiped = (dx, dy) => (Math.abs(dx) < SWIPE || Math.abs(dx) < 2 * Math.abs(dy) ? 0 : dx < 0 ? 1 : -1);

/** The factor of a wheel's turn; browsers tell a pinch on a touchpad as a wheel with Ctrl.
 * @param {{deltaY: number, deltaMode: number, ctrlKey: boolean}} event */
export const wheeled = ({ deltaY, deltaMode, ctrlKey }) =>
  clamp(0.5, Math.exp(-deltaY * (deltaMode ? 0.05 : ctrlKey ? 0.01 : 0.0015)), 2);

/** What a key does: ["turn", key], ["move", dx, dy], ["by", factor], ["fit"], ["own"] (1:1), ["before"], ["info"],
 * ["keys"], ["close"] or null. @param {{key: string, shiftKey?: boolean, ctrlKey?: boolean, metaKey?: boolean, altKey?: boolean}} event
 * @returns {[string, ...any[]] | null} */
export function command({ key, shiftKey, ctrlKey, metaKey, altKey }) {
  if (ctrlKey || metaKey || altKey) return null;
  const [dx, dy] = { __proto__: null, ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[key] ?? [0, 0];
  if (dx || dy) return shiftKey ? ["move", dx, dy] : ["turn", key];
  switch (key.length === 1 ? key.toLowerCase() : key) {
    case "+": case "=": return ["by", 1.25];
    case "-": case "_": return ["by", 0.8];
    case "0": case "f": return ["fit"];
    case "1": case "z": return ["own"];
    case "b": return ["before"];
    case "i": return ["info"];
    case "?": return ["keys"];
    case "Escape": return ["close"];
    default: return null;
  }
}
