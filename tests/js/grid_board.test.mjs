// Layout of a grid's board: where cells stand, which are in view, where keys lead, and what differs between two.

import assert from "node:assert/strict";
import { test } from "node:test";

import { GAP, INNER_GAP, Layout, Shape, cardPlace, menuPlace, placeFor } from "../../zimage_kit/studio/grid_view/grid_layout.js";
import { differences, valueOf } from "../../zimage_kit/studio/grid_view/grid_recipe.js";

const numbered = (name, count) => Array.from({ length: count }, (_, number) => `${name} ${number}`);

/** A plan of so many rows, columns, pages and pictures side by side; 0 for a dimension that the grid does not have. */
function plan({ rows = 0, columns = 0, pages = 0, inner = 0, shapes = [1] }) {
  const labels = { rows: numbered("row", rows), columns: numbered("column", columns), pages: numbered("page", pages), inner: numbered("inner", inner) };
  const lines = Object.fromEntries(Object.entries(labels).map(([role, all]) => [role, all.map((label) => ({ [role]: label }))]));
  return { ...labels, lines, shapes };
}

const measure = (text) => 7 * text.length;
const layout = (dimensions, { page = 0, width = 1000, wanted = 0 } = {}) =>
  new Layout(new Shape(plan(dimensions)), page, width, wanted, measure);
const cell = (index) => ({ at: "cell", index });

// ---- the plan ----

test("a cell's number and its place are one and the same", () => {
  const shape = new Shape(plan({ rows: 3, columns: 4, pages: 2, inner: 2 }));
  assert.equal(shape.count, 48);
  for (let index = 0; index < shape.count; index += 1) assert.equal(shape.index(shape.place(index)), index);
  assert.deepEqual(shape.place(0), { page: 0, row: 0, column: 0, inner: 0 });
  assert.deepEqual(shape.place(1), { page: 0, row: 0, column: 0, inner: 1 });
  assert.deepEqual(shape.place(47), { page: 1, row: 2, column: 3, inner: 1 });
});

test("a cell is called by its labels, of the dimensions that there are", () => {
  const shape = new Shape(plan({ rows: 2, columns: 2, pages: 2, inner: 2 }));
  assert.equal(shape.label(1), "row 0, column 0, page 0, inner 1");
  assert.equal(new Shape(plan({ columns: 3 })).label(2), "column 2");
  assert.deepEqual(shape.values(15), { rows: "row 1", columns: "column 1", pages: "page 1", inner: "inner 1" });
});

test("the neighbour at the left is the picture before it in the cell, or in the column before", () => {
  const shape = new Shape(plan({ rows: 2, columns: 2, inner: 2 }));
  assert.equal(shape.left(1), 0);
  assert.equal(shape.left(2), 0, "the same side of the cell before");
  assert.equal(shape.left(3), 2);
  assert.equal(shape.left(0), null);
  assert.equal(shape.above(5), 1);
  assert.equal(shape.above(1), null);
});

test("only columns are a wall", () => {
  assert.ok(new Shape(plan({ columns: 5 })).wall);
  assert.ok(!new Shape(plan({ rows: 2, columns: 5 })).wall);
  assert.ok(!new Shape(plan({ rows: 5 })).wall);
});

// ---- sizes ----

test("pictures of a table fit the width, from 120 to 240 pixels, unless the user chose a width", () => {
  assert.equal(layout({ rows: 2, columns: 2 }).unit, 240);
  assert.equal(layout({ rows: 2, columns: 30 }).unit, 120, "then it scrolls");
  const some = layout({ rows: 2, columns: 5 });
  assert.ok(some.unit > 120 && some.unit < 240 && some.width <= 1000, `${some.unit} of ${some.width}`);
  assert.equal(layout({ rows: 2, columns: 5 }, { wanted: 333 }).unit, 333);
  assert.ok(layout({ rows: 2, columns: 2 }, { width: 260, wanted: 400 }).unit < 200, "never wider than the view");
  assert.equal(layout({ rows: 2, columns: 30, inner: 2 }).unit, 96);
});

test("a wall has as many columns as fit, and its last line is what is left", () => {
  const wall = layout({ columns: 7 }, { width: 800 });
  assert.equal(wall.across, 4);
  assert.deepEqual(wall.lines.map((line) => [line.first, line.cells]), [[0, 4], [4, 3]]);
  assert.equal(wall.left, 0);
  assert.equal(wall.top, 0, "labels stand beneath the pictures");
  assert.ok(wall.under > 0);
  assert.equal(layout({ columns: 7 }, { width: 300 }).across, 2);
  assert.equal(layout({ columns: 2 }).across, 2, "no column without a cell");
});

test("a line is as high as its tallest picture, up to a limit", () => {
  const table = layout({ rows: 2, columns: 2, shapes: [1, 0.5, 1.5, 9] });
  assert.deepEqual(table.lines.map((line) => line.picture), [240, 384]);
  assert.equal(table.lines[1].y, table.lines[0].y + table.lines[0].height + GAP);
  assert.equal(table.height, table.top + table.lines[1].y + table.lines[1].height + GAP);
});

test("long labels of columns make the header higher, up to four lines", () => {
  const long = (text) => new Layout(new Shape({ ...plan({ rows: 1, columns: 1 }), columns: [text] }), 0, 1000, 0, measure);
  assert.equal(long("short").top, 40);
  assert.equal(long("x".repeat(80)).top, 12 + 17 * 3);
  assert.equal(long("x".repeat(999)).top, 12 + 17 * 4);
});

test("pictures of one cell stand closer together than cells", () => {
  const table = layout({ rows: 1, columns: 3, inner: 2 });
  assert.equal(table.x(1) - table.x(0), table.unit + INNER_GAP);
  assert.equal(table.x(2) - table.x(1), table.unit + GAP);
});

test("line and slot of a cell lead back to it", () => {
  for (const dimensions of [{ columns: 7 }, { rows: 3, columns: 4, inner: 2, pages: 2 }, { rows: 5 }, { columns: 9, inner: 2 }]) {
    const one = layout(dimensions);
    for (let index = 0; index < one.shape.count; index += 1) {
      if (one.shape.place(index).page) continue;
      const { line, slot } = one.where(index);
      assert.equal(one.at(line, slot), index);
      assert.ok(slot < one.slots(line));
    }
  }
});

// ---- what is in view ----

test("the line at a height is found, and the first and last beyond the ends", () => {
  const table = layout({ rows: 100, columns: 2 });
  for (const line of [0, 1, 50, 99]) {
    assert.equal(table.lineAt(table.lines[line].y), line);
    assert.equal(table.lineAt(table.lines[line].y + table.lines[line].height), line);
  }
  assert.equal(table.lineAt(-100), 0);
  assert.equal(table.lineAt(1e9), 99);
});

test("of a thousand cells few are in view, wherever it is scrolled to", () => {
  const table = layout({ rows: 40, columns: 25 });
  const view = { clientWidth: 1000, clientHeight: 700 };
  for (const [scrollLeft, scrollTop] of [[0, 0], [table.width - 1000, table.height - 700], [1500, 2000]]) {
    const { first, last, from, to } = table.inView({ ...view, scrollLeft, scrollTop }, 160);
    assert.ok((last - first + 1) * (to - from + 1) < 150);
    assert.ok((first === 0 || table.lines[first].y <= scrollTop) && table.lines[last].y + table.lines[last].height + GAP >= Math.min(scrollTop + 700, table.height - table.top));
    assert.ok(from >= 0 && to <= 24 && from <= to);
  }
  assert.deepEqual([0, 24], [table.inView({ ...view, scrollLeft: -9, scrollTop: 0 }, 160).from, table.inView({ ...view, scrollLeft: 1e6, scrollTop: 0 }, 0).to]);
});

test("the view scrolls to a cell only as far as it takes, and not under the headers", () => {
  const table = layout({ rows: 40, columns: 25 });
  const view = { scrollTop: 500, scrollLeft: 800, clientWidth: 1000, clientHeight: 700 };
  const inside = table.at(table.lineAt(750), 9);
  assert.deepEqual(table.scrolledTo(cell(inside), view), { scrollTop: 500, scrollLeft: 800 });
  const { scrollTop, scrollLeft } = table.scrolledTo(cell(999), view);
  const [line, x] = [table.lines[39], table.x(24)];
  assert.equal(scrollTop + 700, table.top + line.y + line.height + GAP);
  assert.equal(scrollLeft + 1000, x + table.unit + GAP);
  const back = table.scrolledTo(cell(0), view);
  assert.deepEqual(back, { scrollTop: 0, scrollLeft: 0 });
  const covered = { ...view, scrollLeft: table.x(9) - table.left / 2 };
  assert.equal(table.scrolledTo(cell(inside), covered).scrollLeft, table.x(9) - table.left - GAP, "it was under the row's header");
  assert.deepEqual(table.scrolledTo({ at: "rows", number: 0 }, view), { scrollTop: 0, scrollLeft: 800 }, "only down or up");
  assert.deepEqual(table.scrolledTo({ at: "columns", number: 0 }, view), { scrollTop: 500, scrollLeft: 0 }, "only sideways");
});

// ---- keys ----

test("arrows go to the cell beside, and at the edge nowhere", () => {
  const table = layout({ rows: 3, columns: 4 });
  assert.equal(table.neighbour(5, "ArrowRight"), 6);
  assert.equal(table.neighbour(5, "ArrowLeft"), 4);
  assert.equal(table.neighbour(5, "ArrowUp"), 1);
  assert.equal(table.neighbour(5, "ArrowDown"), 9);
  for (const [index, key] of [[3, "ArrowRight"], [4, "ArrowLeft"], [0, "ArrowUp"], [11, "ArrowDown"]])
    assert.equal(table.neighbour(index, key), null, `${index} ${key}`);
  assert.equal(layout({ rows: 2, columns: 2, pages: 2 }).neighbour(4, "ArrowRight"), null, "another page's cell");
});

test("in a wall arrows go on to the next line, and down into a shorter line to its end", () => {
  const wall = layout({ columns: 7 }, { width: 800 });
  assert.equal(wall.neighbour(3, "ArrowRight"), 4);
  assert.equal(wall.neighbour(4, "ArrowLeft"), 3);
  assert.equal(wall.neighbour(0, "ArrowLeft"), null);
  assert.equal(wall.neighbour(6, "ArrowRight"), null);
  assert.equal(wall.neighbour(1, "ArrowDown"), 5);
  assert.equal(wall.neighbour(3, "ArrowDown"), 6);
});

test("a walk with all the keys of a table", () => {
  const table = layout({ rows: 3, columns: 4 });
  const height = table.lines[0].height * 2 + 3 * GAP; // so that a page is one line
  let active = cell(0);
  const walk = [
    ["ArrowRight", 1], ["ArrowDown", 5], ["End", 7], ["Home", 4], ["Ctrl+End", 11], ["PageUp", 7], ["PageUp", 3], ["PageUp", 3],
    ["Ctrl+Home", 0], ["PageDown", 4], ["PageDown", 8], ["PageDown", 8],
  ];
  for (const [key, index] of walk) {
    active = table.target(active, key.replace("Ctrl+", ""), key.startsWith("Ctrl+"), height);
    assert.deepEqual(active, cell(index), key);
  }
  assert.deepEqual(table.target(cell(1), "PageDown", false, 10 * height), cell(9), "a page is what is in view");
});

test("left of the first cell is the row's header, above it the column's, and back", () => {
  const table = layout({ rows: 3, columns: 4 });
  const from = (active, key) => table.target(active, key, false, 500);
  assert.deepEqual(from(cell(8), "ArrowLeft"), { at: "rows", number: 2 });
  assert.deepEqual(from({ at: "rows", number: 2 }, "ArrowRight"), cell(8));
  assert.deepEqual(from({ at: "rows", number: 2 }, "ArrowUp"), { at: "rows", number: 1 });
  assert.equal(from({ at: "rows", number: 2 }, "ArrowDown"), null);
  assert.equal(from({ at: "rows", number: 2 }, "ArrowLeft"), null);
  assert.deepEqual(from(cell(2), "ArrowUp"), { at: "columns", number: 2 });
  assert.deepEqual(from({ at: "columns", number: 2 }, "ArrowDown"), cell(2));
  assert.deepEqual(from({ at: "columns", number: 2 }, "ArrowRight"), { at: "columns", number: 3 });
  assert.equal(from({ at: "columns", number: 3 }, "ArrowRight"), null);
  assert.equal(from({ at: "columns", number: 0 }, "ArrowLeft"), null);
});

test("without headers there is nothing beyond the first cell", () => {
  const wall = layout({ columns: 7 }, { width: 800 });
  assert.equal(wall.target(cell(0), "ArrowLeft", false, 500), null);
  assert.equal(wall.target(cell(0), "ArrowUp", false, 500), null);
  assert.equal(layout({ rows: 3 }).target(cell(0), "ArrowUp", false, 500), null, "rows alone have no columns' headers");
});

test("pictures side by side are walked through one by one; their header is the column's", () => {
  const table = layout({ rows: 2, columns: 2, inner: 2 });
  assert.equal(table.neighbour(1, "ArrowRight"), 2);
  assert.equal(table.neighbour(3, "ArrowDown"), 7);
  assert.deepEqual(table.target(cell(3), "ArrowUp", false, 500), { at: "columns", number: 1 });
  assert.deepEqual(table.target({ at: "columns", number: 1 }, "ArrowDown", false, 500), cell(2));
});

test("keys stay on their page of cells", () => {
  const second = layout({ rows: 2, columns: 2, pages: 2 }, { page: 1 });
  assert.deepEqual(second.target(cell(4), "End", true, 500), cell(7));
  assert.deepEqual(second.target({ at: "rows", number: 0 }, "ArrowRight", false, 500), cell(4));
});

// ---- cards and menus ----

const PAGE = [1000, 800];
const box = (left, top, size = 100) => ({ left, top, right: left + size, bottom: top + size });

test("a card opens at the right of its cell, else at the left, else beneath or above, and within the page", () => {
  assert.deepEqual(cardPlace(box(100, 50), [300, 200], PAGE), { x: 208, y: 50 });
  assert.deepEqual(cardPlace(box(800, 50), [300, 200], PAGE), { x: 492, y: 50 });
  assert.deepEqual(cardPlace(box(100, 50, 850), [300, 200], [1000, 1200]), { x: 100, y: 908 });
  assert.deepEqual(cardPlace(box(100, 300, 850), [300, 200], [1000, 1200]), { x: 100, y: 92 });
  assert.deepEqual(cardPlace(box(100, 750), [300, 200], PAGE), { x: 208, y: 592 });
  assert.deepEqual(cardPlace(box(100, -80), [300, 200], PAGE), { x: 208, y: 8 });
});

test("a menu opens beneath its header, within the page", () => {
  assert.deepEqual(menuPlace(box(100, 50), [200, 150], PAGE), { x: 100, y: 154 });
  assert.deepEqual(menuPlace(box(950, 780), [200, 150], PAGE), { x: 792, y: 642 });
  assert.deepEqual(menuPlace(box(-50, 50), [200, 150], PAGE), { x: 8, y: 154 });
});

// ---- what differs ----

const vary = (values, of) => ({ values, of });

/** Two rows of colour, two columns of seed; the prompt has a slot for the colour. */
function recipes(extra = {}) {
  const lines = { rows: [{ colour: "red" }, { colour: "blue" }], columns: [{ seed: "1" }, { seed: "2" }], pages: [], inner: [] };
  return new Shape({
    ...plan({ rows: 2, columns: 2 }), lines, slots: ["colour"], fields: [["Seed", "seed"], ["colour", "colour"], ["Size", "size"]],
    recipes: {
      labels: { prompt: "Prompt", seed: "Seed", steps: "Steps", width: "Width" }, same: { steps: "8" },
      vary: { prompt: vary(["a red boat", "a blue boat"], [0, 0, 1, 1]), seed: vary(["1", "2"], [0, 1, 0, 1]), ...extra },
    },
  });
}

test("a value is the cell's own, or the one that all have", () => {
  const { recipes: known } = recipes().plan;
  assert.equal(valueOf(known, "seed", 3), "2");
  assert.equal(valueOf(known, "steps", 3), "8");
  assert.equal(valueOf(known, "unheard of", 3), "");
});

test("what differs from a neighbour is told once, by the axis' name and not by what follows from it", () => {
  assert.deepEqual(differences(recipes(), 1, 0), [["Seed", "1", "2"]]);
  assert.deepEqual(differences(recipes(), 2, 0), [["colour", "red", "blue"]], "the prompt's slot, and not the whole prompt");
  assert.deepEqual(differences(recipes(), 3, 0), [["colour", "red", "blue"], ["Seed", "1", "2"]]);
});

test("a field that differs for another reason is told after the axes", () => {
  assert.deepEqual(differences(recipes({ steps: vary(["8", "9"], [0, 1, 0, 0]) }), 1, 0), [["Seed", "1", "2"], ["Steps", "8", "9"]]);
});

test("sizes, LoRAs and fields of stages follow from their axes", () => {
  const of = (axis, field) => {
    const shape = recipes({ [field]: vary(["1", "2"], [0, 1, 0, 1]) });
    shape.plan.lines.columns = [{ [axis]: "a" }, { [axis]: "b" }];
    shape.plan.recipes.vary.seed = vary(["1"], [0, 0, 0, 0]);
    return differences(shape, 1, 0);
  };
  assert.deepEqual(of("size", "width"), [["Size", "a", "b"]]);
  assert.deepEqual(of("lora.weight", "loras"), [["lora.weight", "a", "b"]]);
  assert.deepEqual(of("stages.upscale.factor", "upscale.factor"), [["stages.upscale.factor", "a", "b"]]);
  assert.equal(of("steps", "width").length, 2);
});

test("what comes into view is put between its neighbours, whatever came before it", () => {
  const orders = [-1];
  for (const order of [5, 2, 9, 3]) orders.splice(placeFor(orders, order), 0, order);
  assert.deepEqual(orders, [-1, 2, 3, 5, 9]);
});
