// @ts-check
// What the page works out of its cells: the recipe in words, what differs, which pass the filter, where the keys lead.
// A cell is what `_WebPage._data` gives; places and boxes are in pixels of the window. No function touches the page.

import { graphemes } from "../../studio/js/words.js";

// [name, value] of everything that a cell's request says, in texts.
function facts({ request }) {
  const found = [];
  const add = (name, value) => { if (value !== null && value !== undefined && value !== "") found.push([name, String(value)]); };
  add("prompt", request.prompt);
  add("negative_prompt", request.negative_prompt);
  add("model", request.model);
  add("size", request.width && request.height ? `${request.width} × ${request.height}` : null);
  for (const name of ["steps", "guidance", "seed"]) add(name, request[name]);
  for (const lora of request.loras || []) add("lora", `${lora.path} ${lora.weight}`);
  (request.stages || []).forEach((stage, index) => {
    const { kind, ...fields } = stage;
    const shown = Object.entries(fields).filter(([, value]) => value !== null && value !== "" && value !== false);
    const text = ([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`;
    add(`${index + 1}. ${kind}`, shown.map(text).join(", ") || "·");
  });
  return found;
}

// Two texts without what they have in common at both ends, cut between words, or in Chinese between characters.
function parted(before, after) {
  const [one, other] = [graphemes(before), graphemes(after)];
  const word = letter => letter !== undefined && /[\p{Script=Latin}\d]/u.test(letter);
  const boundary = (letters, at) => !word(letters[at - 1]) || !word(letters[at]);
  const most = Math.min(one.length, other.length);
  let head = 0, tail = 0;
  while (head < most && one[head] === other[head]) head++;
  while (head > 0 && !(boundary(one, head) && boundary(other, head))) head--;
  while (tail < most - head && one.at(-1 - tail) === other.at(-1 - tail)) tail++;
  while (tail > 0 && !(boundary(one, one.length - tail) && boundary(other, other.length - tail))) tail--;
  const middle = letters => (head ? "…" : "") + letters.slice(head, letters.length - tail).join("").trim() + (tail ? "…" : "");
  return [middle(one), middle(other)];
}

// [name, was, is] of what differs between another cell and this one; `none` stands for what one of them lacks.
function differing(other, cell, none) {
  const theirs = new Map(facts(other)), mine = new Map(facts(cell)), found = [];
  for (const name of new Set([...theirs.keys(), ...mine.keys()])) {
    const before = theirs.get(name) ?? none, after = mine.get(name) ?? none;
    if (before !== after) found.push([name, ...parted(before, after)]);
  }
  return found;
}

// Cells by their places, for `neighbour`.
const byPlace = cells => new Map(cells.map(cell => [cell.place.join(), cell]));

// The cell above, or to the left: the previous picture side by side with this one, or else one column before.
function neighbour(places, cell, side) {
  const [page, row, column, inner] = cell.place;
  if (side === "above") return places.get([page, row - 1, column, inner].join());
  return places.get((inner ? [page, row, column, inner - 1] : [page, row, column - 1, inner]).join());
}

const starsOf = rating => rating ? "★".repeat(rating) + "☆".repeat(5 - rating) : "";

// What a search looks through.
const haystack = cell => `${cell.label}\n${facts(cell).map(fact => fact[1]).join("\n")}`.toLowerCase();

const words = text => text.toLowerCase().split(/\s+/).filter(Boolean);

// Whether a cell passes the filter: has every word, at least the rating, is a winner where only those are wanted, and
// has the values chosen, {number of an axis: number of a value}.
function passes(cell, text, { find, rating, winners, values }) {
  return find.every(word => text.includes(word)) && cell.rating >= rating && (cell.winner || !winners)
    && Object.entries(values).every(([axis, value]) => cell.values[axis] === value);
}

// The number of the box that an arrow key leads to from the one with this number, null for none: the nearest in that
// direction, where a box out of line counts as farther away. Boxes are {x, y, height} around their middles.
function toward(boxes, from, key) {
  const { x, y, height } = boxes[from];
  const across = key === "ArrowLeft" || key === "ArrowRight", sign = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
  let best = null, least = Infinity;
  boxes.forEach((box, number) => {
    if (number === from) return;
    const along = sign * (across ? box.x - x : box.y - y), aside = Math.abs(across ? box.y - y : box.x - x);
    if (along <= 1 || (across && aside > height / 2)) return;
    const distance = along + 4 * aside;
    if (distance < least) [least, best] = [distance, number];
  });
  return best;
}

// The same, but left and right go on in reading order at the end of a line.
function step(boxes, from, key) {
  const there = toward(boxes, from, key);
  if (there !== null || key === "ArrowUp" || key === "ArrowDown") return there;
  const next = from + (key === "ArrowLeft" ? -1 : 1);
  return next in boxes ? next : null;
}

// Where a card of this size opens beside a box: at its right, else at its left, and within the window.
function cardPlace(at, [width, height], [windowWidth, windowHeight]) {
  const gap = 10;
  const right = at.right + gap + width <= windowWidth;
  return [Math.max(gap, right ? at.right + gap : at.left - gap - width), Math.max(gap, Math.min(at.top, windowHeight - height - gap))];
}

// The size of pictures at which a table's row fits the window's width, in steps of 8 pixels: `most` at the most, and 96
// at the least, even if the row does not fit then.
function fitting(most, windowWidth, headerWidth, columns, pictures) {
  const room = windowWidth - 64 - headerWidth - 10 * columns - 3 * pictures;
  return Math.max(Math.min(most, 96), Math.min(most, 8 * Math.floor(room / pictures / 8)));
}

export { byPlace, cardPlace, differing, facts, fitting, haystack, neighbour, parted, passes, starsOf, step, toward, words };
