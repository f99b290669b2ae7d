// @ts-check
// A mask's pixels, a byte each: 255 is drawn again, 0 stays. Nothing here knows of a page.

/** @typedef {{ width: number, height: number, data: Uint8Array }} Mask */
/** @typedef {[number, number]} Point a place in pixels of the mask */
/** @typedef {{ left: number, top: number, right: number, bottom: number }} Rect right and bottom are outside */

/** @param {number} width @param {number} height @returns {Mask} */
export const empty = (width, height) => ({ width, height, data: new Uint8Array(width * height) });

/** @param {Mask} mask @returns {Rect} */
export const whole = (mask) => ({ left: 0, top: 0, right: mask.width, bottom: mask.height });

/** @param {Mask} mask @param {number} left @param {number} top @param {number} right @param {number} bottom @returns {Rect} */
function within(mask, left, top, right, bottom) {
  return {
    left: Math.max(0, Math.floor(left)),
    top: Math.max(0, Math.floor(top)),
    right: Math.min(mask.width, Math.ceil(right)),
    bottom: Math.min(mask.height, Math.ceil(bottom)),
  };
}

/** Paint or erase a stroke's piece with a round brush, its rim smooth; returns what may have changed.
 * @param {Mask} mask @param {Point} from @param {Point} to @param {number} radius @param {boolean} erase @returns {Rect} */
export function stroke(mask, [x0, y0], [x1, y1], radius, erase) {
  const reach = radius + 1;
  const rect = within(mask, Math.min(x0, x1) - reach, Math.min(y0, y1) - reach, Math.max(x0, x1) + reach, Math.max(y0, y1) + reach);
  const [dx, dy] = [x1 - x0, y1 - y0];
  const long = dx * dx + dy * dy;
  for (let y = rect.top; y < rect.bottom; y++)
    for (let x = rect.left; x < rect.right; x++) {
      const [px, py] = [x + 0.5 - x0, y + 0.5 - y0];
      const along = long ? Math.min(1, Math.max(0, (px * dx + py * dy) / long)) : 0;
      const far = Math.hypot(px - along * dx, py - along * dy);
      const covered = Math.round(255 * Math.min(1, Math.max(0, radius + 0.5 - far)));
      if (covered) put(mask, y * mask.width + x, covered, erase);
    }
  return rect;
}

/** @param {Mask} mask @param {number} at @param {number} covered @param {boolean} erase */
function put(mask, at, covered, erase) {
  mask.data[at] = erase ? Math.min(mask.data[at], 255 - covered) : Math.max(mask.data[at], covered);
}

/** @param {Mask} mask @param {Point} a @param {Point} b @param {boolean} erase @returns {Rect} */
export function rectangle(mask, a, b, erase) {
  const rect = within(
    mask, Math.round(Math.min(a[0], b[0])), Math.round(Math.min(a[1], b[1])),
    Math.round(Math.max(a[0], b[0])), Math.round(Math.max(a[1], b[1])),
  );
  for (let y = rect.top; y < rect.bottom; y++) mask.data.fill(erase ? 0 : 255, y * mask.width + rect.left, y * mask.width + Math.max(rect.left, rect.right));
  return rect;
}

/** What is inside of a closed line, by the even-odd rule. @param {Mask} mask @param {Point[]} points @param {boolean} erase */
export function polygon(mask, points, erase) {
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const rect = within(mask, Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys));
  for (let y = rect.top; y < rect.bottom; y++) {
    /** @type {number[]} */
    const crossed = [];
    points.forEach(([x0, y0], index) => {
      const [x1, y1] = points[(index + 1) % points.length];
      const at = y + 0.5;
      if (y0 <= at !== y1 <= at) crossed.push(x0 + ((at - y0) / (y1 - y0)) * (x1 - x0));
    });
    crossed.sort((one, other) => one - other);
    for (let pair = 0; pair + 1 < crossed.length; pair += 2) {
      const from = Math.max(rect.left, Math.round(crossed[pair]));
      const to = Math.min(rect.right, Math.round(crossed[pair + 1]));
      if (to > from) mask.data.fill(erase ? 0 : 255, y * mask.width + from, y * mask.width + to);
    }
  }
  return rect;
}

const PAINTED = 128;

/** Fill the gap around a place up to what is painted, or take away the painted area around it. False: it was painted.
 * @param {Mask} mask @param {Point} place */
export function fill(mask, [px, py]) {
  const { width, height, data } = mask;
  const [x0, y0] = [clamp(Math.floor(px), 0, width - 1), clamp(Math.floor(py), 0, height - 1)];
  const erase = data[y0 * width + x0] >= PAINTED;
  const inside = (/** @type {number} */ at) => (data[at] >= PAINTED) === erase && !seen[at];
  const seen = new Uint8Array(width * height);
  const waiting = [y0 * width + x0];
  while (waiting.length) {
    const start = /** @type {number} */ (waiting.pop());
    if (!inside(start)) continue;
    const row = start - (start % width);
    let left = start;
    while (left > row && inside(left - 1)) left--;
    for (let at = left; at < row + width && inside(at); at++) {
      seen[at] = 1;
      if (at >= width && inside(at - width)) waiting.push(at - width);
      if (at < width * (height - 1) && inside(at + width)) waiting.push(at + width);
    }
  }
  const now = erase ? 0 : 255;
  for (let at = 0; at < seen.length; at++) {
    if (!seen[at]) continue;
    data[at] = now;
    const x = at % width;
    for (const [other, there] of [[at - 1, x > 0], [at + 1, x < width - 1], [at - width, at >= width], [at + width, at < width * (height - 1)]])
      if (there && !seen[/** @type {number} */ (other)]) soft(data, /** @type {number} */ (other), now); // the smooth rim of the outline
  }
  return !erase;
}

/** @param {Uint8Array} data @param {number} at @param {number} now */
function soft(data, at, now) {
  if (data[at] > 0 && data[at] < 255) data[at] = now;
}

/** @param {Mask} mask */
export function invert(mask) {
  for (let at = 0; at < mask.data.length; at++) mask.data[at] = 255 - mask.data[at];
}

/** The share that is painted, 0 to 1. @param {Mask} mask */
export function share(mask) {
  let sum = 0;
  for (const level of mask.data) sum += level;
  return sum / (255 * mask.data.length);
}

/** The mask at another size, between neighbours. @param {Mask} mask @param {number} width @param {number} height @returns {Mask} */
export function resized(mask, width, height) {
  if (mask.width === width && mask.height === height) return mask;
  const found = empty(width, height);
  const at = (/** @type {number} */ x, /** @type {number} */ y) => mask.data[clamp(y, 0, mask.height - 1) * mask.width + clamp(x, 0, mask.width - 1)];
  for (let y = 0; y < height; y++) {
    const v = ((y + 0.5) * mask.height) / height - 0.5;
    const [top, down] = [Math.floor(v), v - Math.floor(v)];
    for (let x = 0; x < width; x++) {
      const u = ((x + 0.5) * mask.width) / width - 0.5;
      const [left, right] = [Math.floor(u), u - Math.floor(u)];
      const above = at(left, top) * (1 - right) + at(left + 1, top) * right;
      const below = at(left, top + 1) * (1 - right) + at(left + 1, top + 1) * right;
      found.data[y * width + x] = Math.round(above * (1 - down) + below * down);
    }
  }
  return found;
}

/** Bytes for Python: width, height, then runs, each `level << 24 | length`; all unsigned, 32 bits, little-endian.
 * @param {Mask} mask */
export function packed(mask) {
  const words = [mask.width, mask.height];
  const { data } = mask;
  for (let at = 0; at < data.length; ) {
    let end = at + 1;
    while (end < data.length && data[end] === data[at] && end - at < 0xffffff) end++;
    words.push(data[at] * 0x1000000 + (end - at));
    at = end;
  }
  const bytes = new DataView(new ArrayBuffer(4 * words.length));
  words.forEach((word, index) => bytes.setUint32(4 * index, word, true));
  return bytes.buffer;
}

/** What `packed` made. @param {ArrayBuffer | DataView} given @returns {Mask} */
export function unpacked(given) {
  const bytes = given instanceof DataView ? given : new DataView(given);
  const mask = empty(bytes.getUint32(0, true), bytes.getUint32(4, true));
  for (let index = 8, at = 0; index < bytes.byteLength; index += 4) {
    const word = bytes.getUint32(index, true);
    mask.data.fill(word >>> 24, at, (at += word & 0xffffff));
  }
  return mask;
}

/** How much of what is drawn will count, as the stage blends it within the mask's edge: blurred, and what is above a half.
 * @param {Mask} mask @param {number} feather @returns {Mask} */
export function feathered(mask, feather) {
  if (!feather) return mask;
  const radius = Math.max(1, Math.round(feather / 2)); // three boxes are nearly a Gaussian of this deviation
  let levels = Float32Array.from(mask.data);
  for (let pass = 0; pass < 3; pass++) {
    levels = blurred(levels, mask.height, mask.width, mask.width, 1, radius);
    levels = blurred(levels, mask.width, mask.height, 1, mask.width, radius);
  }
  const data = mask.data.map((level, at) => Math.min(level, Math.max(0, 2 * levels[at] - 255)));
  return { ...mask, data };
}

/** Means along lines; beyond the ends the last value goes on.
 * @param {Float32Array} levels @param {number} lines @param {number} length @param {number} line @param {number} next @param {number} radius */
function blurred(levels, lines, length, line, next, radius) {
  const found = new Float32Array(levels.length);
  for (let number = 0; number < lines; number++) {
    const get = (/** @type {number} */ index) => levels[number * line + clamp(index, 0, length - 1) * next];
    let sum = 0;
    for (let index = -radius; index <= radius; index++) sum += get(index);
    for (let index = 0; index < length; index++) {
      found[number * line + index * next] = sum / (2 * radius + 1);
      sum += get(index + radius + 1) - get(index - radius);
    }
  }
  return found;
}

/** @param {number} value @param {number} least @param {number} most */
export const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

/** States to go back to, packed: at most so many, and so many bytes. */
export class History {
  constructor(most = 100, bytes = 64 << 20) {
    this.most = most;
    this.bytes = bytes;
    /** @type {ArrayBuffer[]} */
    this.past = [];
    /** @type {ArrayBuffer[]} */
    this.future = [];
  }

  /** Before a change. @param {ArrayBuffer} state */
  step(state) {
    this.past.push(state);
    this.future = [];
    const size = () => this.past.reduce((sum, each) => sum + each.byteLength, 0);
    while (this.past.length > this.most || (this.past.length > 1 && size() > this.bytes)) this.past.shift();
  }

  /** @param {ArrayBuffer} now @returns {ArrayBuffer | undefined} */
  undo(now) {
    return travel(this.past, this.future, now);
  }

  /** @param {ArrayBuffer} now @returns {ArrayBuffer | undefined} */
  redo(now) {
    return travel(this.future, this.past, now);
  }
}

/** @param {ArrayBuffer[]} from @param {ArrayBuffer[]} to @param {ArrayBuffer} now */
function travel(from, to, now) {
  const found = from.pop();
  if (found) to.push(now);
  return found;
}
