// @ts-check
// Where everything stands: lines of cells, each with its pictures side by side. Numbers only, so that a thousand cells
// cost nothing until they come into view.

const GAP = 9;
const INNER_GAP = 4;
const TALLEST = 1.6; // of a picture's place, height to width
const FOOT = 24; // the rating beneath a picture
const LINE = 17; // a line of a label
const [SMALLEST, LARGEST] = [72, 400];

let ruler = null;
function textWidth(text) {
  ruler ??= document.createElement("canvas").getContext("2d");
  ruler.font = "600 12px system-ui, sans-serif";
  return ruler.measureText(text).width;
}

// What a plan says about its cells, whatever the size of the page.
class Shape {
  constructor(plan) {
    this.plan = plan;
    const count = (role) => Math.max(1, plan[role]?.length ?? 0);
    this.rows = count("rows");
    this.columns = count("columns");
    this.pages = count("pages");
    this.inner = count("inner");
    this.count = this.rows * this.columns * this.pages * this.inner;
    this.wall = !plan.rows?.length && plan.columns?.length > 0; // only columns: they flow in lines
  }

  index({ page, row, column, inner }) {
    return ((page * this.rows + row) * this.columns + column) * this.inner + inner;
  }

  place(index) {
    const inner = index % this.inner;
    const column = Math.floor(index / this.inner) % this.columns;
    const row = Math.floor(index / (this.inner * this.columns)) % this.rows;
    return { page: Math.floor(index / (this.inner * this.columns * this.rows)), row, column, inner };
  }

  aspect(index) {
    const { shapes } = this.plan;
    return Math.min(TALLEST, (shapes.length === 1 ? shapes[0] : shapes[index]) ?? 1);
  }

  label(index) {
    const place = this.place(index);
    return [["rows", place.row], ["columns", place.column], ["pages", place.page], ["inner", place.inner]]
      .filter(([role]) => this.plan[role].length)
      .map(([role, number]) => this.plan[role][number])
      .join(", ");
  }

  // The axes' values of a cell.
  values(index) {
    const { page, row, column, inner } = this.place(index);
    const { lines } = this.plan;
    return { ...lines.rows[row], ...lines.columns[column], ...lines.pages[page], ...lines.inner[inner] };
  }

  // The cells to the left and above in the plan; null at the edge.
  left(index) {
    const place = this.place(index);
    if (place.inner > 0) return index - 1;
    return place.column > 0 ? this.index({ ...place, column: place.column - 1 }) : null;
  }

  above(index) {
    const place = this.place(index);
    return place.row > 0 ? this.index({ ...place, row: place.row - 1 }) : null;
  }
}

// The places of one page of cells. `width` is that of the view, `wanted` of a picture (0: as it fits), both in pixels;
// `measure` gives the width of a label's text.
class Layout {
  constructor(shape, page, width, wanted, measure = textWidth) {
    this.shape = shape;
    this.page = page;
    const linesOf = (text, room, most) => Math.min(most, Math.max(1, Math.ceil((measure(text) * 1.12) / Math.max(40, room))));
    const { plan } = shape;
    this.left = plan.rows.length ? Math.round(Math.min(200, Math.max(84, width * 0.16))) : 0;
    const room = width - this.left;
    const across = shape.wall ? Math.max(1, Math.min(shape.columns, Math.round(room / 190))) : shape.columns;
    const fits = ((room - GAP) / across - GAP - INNER_GAP * (shape.inner - 1)) / shape.inner;
    this.unit = Math.round(wanted || Math.min(240, Math.max(shape.inner > 1 ? 96 : 120, Math.floor(fits))));
    this.unit = Math.max(48, Math.min(this.unit, room - 2 * GAP));
    this.cell = this.unit * shape.inner + INNER_GAP * (shape.inner - 1);
    this.pitch = this.cell + GAP;
    this.across = shape.wall ? Math.max(1, Math.min(shape.columns, Math.floor((room - GAP) / this.pitch))) : shape.columns;
    this.top = shape.wall || !plan.columns.length ? 0
      : Math.max(this.left ? 40 : 0, 12 + LINE * Math.max(...plan.columns.map((label) => linesOf(label, this.cell - 30, 4))));
    this.foot = FOOT + (shape.inner > 1 ? LINE : 0);
    this.under = shape.wall ? 8 + LINE * Math.max(...plan.columns.map((label) => linesOf(label, this.cell - 30, 3))) : 0;
    this.place();
  }

  place() {
    const { shape, page } = this;
    this.lines = [];
    let y = GAP;
    const count = shape.wall ? Math.ceil(shape.columns / this.across) : shape.rows;
    for (let number = 0; number < count; number += 1) {
      const row = shape.wall ? 0 : number;
      const first = shape.wall ? number * this.across : 0;
      const cells = Math.min(this.across, shape.columns - first);
      let tallest = 0.3;
      if (shape.plan.shapes.length === 1) tallest = shape.aspect(0);
      else {
        for (let column = first; column < first + cells; column += 1) {
          for (let inner = 0; inner < shape.inner; inner += 1) {
            tallest = Math.max(tallest, shape.aspect(shape.index({ page, row, column, inner })));
          }
        }
      }
      const picture = Math.round(this.unit * tallest);
      const height = picture + this.foot + this.under;
      this.lines.push({ number, row, first, cells, y, picture, height });
      y += height + GAP;
    }
    this.height = this.top + y;
    this.width = this.left + GAP + this.across * this.pitch;
  }

  // The number of the line at a height.
  lineAt(y) {
    let [low, high] = [0, this.lines.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.lines[middle].y <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  x(slot) {
    return this.left + GAP + Math.floor(slot / this.shape.inner) * this.pitch + (slot % this.shape.inner) * (this.unit + INNER_GAP);
  }

  // Line and slot (pictures from the left) of a cell, and back.
  where(index) {
    const { column, inner, row } = this.shape.place(index);
    const line = this.shape.wall ? Math.floor(column / this.across) : row;
    return { line, slot: (column - this.lines[line].first) * this.shape.inner + inner };
  }

  at(line, slot) {
    const { row, first } = this.lines[line];
    const column = first + Math.floor(slot / this.shape.inner);
    return this.shape.index({ page: this.page, row, column, inner: slot % this.shape.inner });
  }

  slots(line) {
    return this.lines[line].cells * this.shape.inner;
  }

  // The lines and columns in view, `beyond` pixels more on every side; all four inclusive.
  inView({ scrollTop, scrollLeft, clientHeight, clientWidth }, beyond) {
    return {
      first: this.lineAt(scrollTop - beyond),
      last: this.lineAt(scrollTop + clientHeight + beyond),
      from: Math.max(0, Math.floor((scrollLeft - beyond) / this.pitch)),
      to: Math.min(this.across - 1, Math.floor((scrollLeft + clientWidth - this.left + beyond) / this.pitch)),
    };
  }

  // Where to scroll, so that a cell or header is in view beside the headers that stay: no further than it takes.
  scrolledTo({ at, index, number }, { scrollTop, scrollLeft, clientHeight, clientWidth }) {
    const { line, slot } = at === "cell" ? this.where(index)
      : { line: at === "rows" ? number : null, slot: at === "columns" ? number * this.shape.inner : null };
    if (line !== null) {
      const { y, height } = this.lines[line];
      const bottom = y + height + this.top;
      if (y - GAP < scrollTop) scrollTop = y - GAP;
      else if (bottom + GAP > scrollTop + clientHeight) scrollTop = bottom + GAP - clientHeight;
    }
    if (slot !== null) {
      const x = this.x(slot);
      if (x - this.left - GAP < scrollLeft) scrollLeft = x - this.left - GAP;
      else if (x + this.unit + GAP > scrollLeft + clientWidth) scrollLeft = x + this.unit + GAP - clientWidth;
    }
    return { scrollTop, scrollLeft };
  }

  // The cell next to another one on the page; null at the edge, and for a cell of another page.
  neighbour(index, key) {
    if (this.shape.place(index).page !== this.page) return null;
    const { line, slot } = this.where(index);
    const [down, right] = { __proto__: null, ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[key] ?? [0, 0];
    let [toLine, toSlot] = [line + down, slot + right];
    if (this.shape.wall && right) { // on to the next line
      if (toSlot < 0) [toLine, toSlot] = [line - 1, Infinity];
      else if (toSlot >= this.slots(line)) [toLine, toSlot] = [line + 1, 0];
    }
    if (!this.lines[toLine]) return null;
    toSlot = Math.min(toSlot, down || toSlot === Infinity ? this.slots(toLine) - 1 : toSlot);
    return toSlot < 0 || toSlot >= this.slots(toLine) ? null : this.at(toLine, toSlot);
  }

  // What a key goes to from `active`, a cell or a header: {at: "cell", index} or {at: "rows" or "columns", number}; null
  // for nothing. `whole` (Ctrl) goes to the ends of the page, not of the line; `height` is that of the view.
  target(active, key, whole, height) {
    if (active.at !== "cell") return this.fromHeader(active, key);
    const { line, slot } = this.where(active.index);
    const last = this.lines.length - 1;
    const page = Math.max(1, Math.floor(height / (this.lines[line].height + GAP)) - 1);
    const at = (toLine, toSlot) => ({ at: "cell", index: this.at(toLine, Math.min(toSlot, this.slots(toLine) - 1)) });
    switch (key) {
      case "Home": return at(whole ? 0 : line, 0);
      case "End": return at(whole ? last : line, Infinity);
      case "PageUp": return at(Math.max(0, line - page), slot);
      case "PageDown": return at(Math.min(last, line + page), slot);
    }
    const next = this.neighbour(active.index, key);
    if (next !== null) return { at: "cell", index: next };
    if (key === "ArrowLeft" && this.shape.plan.rows.length) return { at: "rows", number: line };
    if (key === "ArrowUp" && this.top) return { at: "columns", number: Math.floor(slot / this.shape.inner) };
    return null;
  }

  fromHeader(active, key) {
    const rows = active.at === "rows";
    const last = this.shape[active.at] - 1;
    const step = { __proto__: null, [rows ? "ArrowDown" : "ArrowRight"]: 1, [rows ? "ArrowUp" : "ArrowLeft"]: -1 }[key];
    if (step) return active.number + step < 0 || active.number + step > last ? null : { ...active, number: active.number + step };
    if (key !== (rows ? "ArrowRight" : "ArrowDown")) return null;
    return { at: "cell", index: rows ? this.at(active.number, 0) : this.at(0, active.number * this.shape.inner) };
  }
}

// The number of the place that keeps these orders ascending once another one is put there.
function placeFor(orders, order) {
  const found = orders.findIndex((other) => other > order);
  return found < 0 ? orders.length : found;
}

// Where a card of this size opens beside a cell's box: at its right, else at its left, else beneath it or above. In
// pixels of the page, which it never leaves at the top or the left.
function cardPlace(cell, [width, height], [pageWidth, pageHeight]) {
  let x = cell.right + 8;
  let y = cell.top;
  if (x + width > pageWidth - 8) x = cell.left - width - 8;
  if (x < 8) {
    x = Math.max(8, Math.min(cell.left, pageWidth - width - 8));
    y = cell.bottom + 8 + height > pageHeight ? cell.top - height - 8 : cell.bottom + 8;
  }
  return { x, y: Math.max(8, Math.min(y, pageHeight - height - 8)) };
}

// Where a menu opens beneath what it belongs to, within the page.
function menuPlace(anchor, [width, height], [pageWidth, pageHeight]) {
  return {
    x: Math.max(8, Math.min(anchor.left, pageWidth - width - 8)),
    y: Math.max(8, Math.min(anchor.bottom + 4, pageHeight - height - 8)),
  };
}

export { FOOT, GAP, INNER_GAP, LARGEST, Layout, Shape, SMALLEST, cardPlace, menuPlace, placeFor };
