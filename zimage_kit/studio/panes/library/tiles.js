// @ts-check
// Where the tiles of thousands of pictures stand, which of them are seen, and where the keys lead. No page is needed.

/** @typedef {{columns: number, tile: number, rows: number, height: number}} Layout */

/** Tiles of equal size in rows: as many as fit at `wanted` pixels or more, `gap` between. @returns {Layout} */
export function layout(width, count, wanted = 150, gap = 8) {
  const columns = Math.max(1, Math.floor((width + gap) / (wanted + gap)));
  const tile = Math.max(48, (width - gap * (columns - 1)) / columns);
  const rows = Math.ceil(count / columns);
  return { columns, tile, rows, height: Math.max(0, rows * (tile + gap) - gap) };
}

/** The first tile that is seen and the one after the last, a row more on either side. */
export function seen({ columns, tile }, count, top, height, gap = 8) {
  const row = tile + gap;
  const first = Math.max(0, Math.floor(top / row) - 1) * columns;
  return [Math.min(count, first), Math.min(count, (Math.ceil((top + height) / row) + 1) * columns)];
}

/** Left and top of a tile in pixels. */
export function place({ columns, tile }, index, gap = 8) {
  return [(index % columns) * (tile + gap), Math.floor(index / columns) * (tile + gap)];
}

/** The pages of `size` that are needed for the tiles from `first` to before `end`. */
export function pages(first, end, size) {
  const found = [];
  for (let page = Math.floor(first / size); page * size < end; page += 1) found.push(page);
  return found;
}

/** Where a key leads from a tile; null for a key that leads nowhere. `shown`: rows that are seen at once. */
export function moved(key, index, { columns }, count, shown = 1) {
  const by = {
    __proto__: null, ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns,
    PageUp: -columns * shown, PageDown: columns * shown, Home: -Infinity, End: Infinity,
  }[key];
  if (by === undefined || count === 0) return null;
  const to = index + by;
  if (Number.isFinite(by) && Math.abs(by) === columns && (to < 0 || to >= count)) return index; // there is no such row
  return Math.min(count - 1, Math.max(0, to));
}

/**
 * What is chosen after a click or a key on a tile. `chosen` are names in the order of their choice.
 * A plain one chooses this alone, with Ctrl it is added or taken away, with Shift all from the last to this are chosen.
 */
export function chosenAfter(chosen, name, { toggle = false, range = [] } = {}) {
  if (range.length) return [...new Set([...chosen, ...range])];
  if (!toggle) return [name];
  return chosen.includes(name) ? chosen.filter((each) => each !== name) : [...chosen, name];
}

/** What a key does with what is chosen: ["mark", stars], ["remove"], … or null. */
export function command(event) {
  if (event.isComposing || event.altKey) return null;
  const held = event.ctrlKey || event.metaKey;
  if (held) return { __proto__: null, a: ["all"], z: ["undo"] }[event.key.toLowerCase()] ?? null;
  if (/^[0-5]$/.test(event.key)) return ["mark", Number(event.key)];
  return {
    __proto__: null, Delete: ["remove"], Backspace: ["remove"], Enter: ["enlarge"], " ": ["toggle"], u: ["use"], s: ["strip"],
    c: ["compare"], g: ["grid"], d: ["download"], l: ["like"], t: ["tag"], "?": ["help"], "/": ["find"], Escape: ["none"],
  }[event.key] ?? null;
}
