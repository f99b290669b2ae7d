// Where everything stands: lines of cells, each with its pictures side by side. Numbers only, so that a thousand cells
// cost nothing until they are seen.

const GAP = 9;
const INNER_GAP = 4;
const TALLEST = 1.6; // of a picture's place, height to width
const FOOT = 24; // beneath a picture: its rating
const LINE = 17; // of a label
const [SMALLEST, LARGEST] = [72, 400];

let ruler = null;
function textWidth(text) {
  ruler ??= document.createElement("canvas").getContext("2d");
  ruler.font = "600 12px system-ui, sans-serif";
  return ruler.measureText(text).width;
}

const linesOf = (text, width, most) =>
  Math.min(most, Math.max(1, Math.ceil((textWidth(text) * 1.12) / Math.max(40, width))));

// What a plan says about its cells, whatever the size of the page.
class Shape {
  constructor(plan) {
    this.plan = plan;
    const count = (role) => Math.max(1, plan[role]?.length ?? 0);
    [this.rows, this.columns, this.pages, this.inner] = ["rows", "columns", "pages", "inner"].map(count);
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

  // The neighbour at the left and the one above, as they stand in the plan; null at the edge.
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

// The places of one page of cells in a width, with pictures `unit` pixels wide.
class Layout {
  constructor(shape, page, width, wanted) {
    Object.assign(this, { shape, page });
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

  // The number of the line that covers a height.
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
}
