// Where the library's tiles stand and where the keys lead.

import assert from "node:assert/strict";
import test from "node:test";

import { Names } from "../../zimage_kit/studio/panes/library/names.js";
import { chosenAfter, command, layout, moved, pages, place, seen } from "../../zimage_kit/studio/panes/library/tiles.js";

test("tiles fill the width, and a list of 20,000 has few of them in sight", () => {
  for (const width of [1, 320, 420, 1000, 3840]) {
    const shape = layout(width, 20_000);
    assert.ok(shape.columns >= 1 && shape.tile >= 48);
    if (width >= 320) assert.ok(Math.abs(shape.columns * (shape.tile + 8) - 8 - width) < 0.01);
    const [first, end] = seen(shape, 20_000, shape.height / 2, 600);
    assert.ok(end - first < 8 * shape.columns + 600 / 48 * shape.columns);
    const [, top] = place(shape, 19_999);
    assert.ok(Math.abs(top + shape.tile - shape.height) < 0.01, "the last one ends where the list ends");
  }
  assert.deepEqual(seen(layout(600, 0), 0, 0, 600), [0, 0]);
  assert.equal(layout(600, 0).height, 0);
});

test("every tile in sight is on a page that is asked for", () => {
  const shape = layout(900, 1000);
  for (const top of [0, 777, 5000]) {
    const [first, end] = seen(shape, 1000, top, 500);
    const found = pages(first, end, 60);
    for (let index = first; index < end; index += 1) assert.ok(found.includes(Math.floor(index / 60)));
    assert.equal(new Set(found).size, found.length);
  }
  assert.deepEqual(pages(0, 0, 60), []);
});

test("keys lead to neighbours and never out of the list", () => {
  const shape = { columns: 4 };
  assert.equal(moved("ArrowRight", 9, shape, 10), 9);
  assert.equal(moved("ArrowLeft", 0, shape, 10), 0);
  assert.equal(moved("ArrowDown", 1, shape, 10), 5);
  assert.equal(moved("ArrowDown", 7, shape, 10), 7, "there is no row below");
  assert.equal(moved("ArrowUp", 2, shape, 10), 2);
  assert.equal(moved("PageDown", 1, shape, 10, 2), 9);
  assert.equal(moved("End", 1, shape, 10), 9);
  assert.equal(moved("Home", 7, shape, 10), 0);
  assert.equal(moved("x", 7, shape, 10), null);
  assert.equal(moved("End", 0, shape, 0), null);
});

test("a click chooses one, Ctrl adds and takes away, Shift chooses a range", () => {
  assert.deepEqual(chosenAfter(["a"], "b"), ["b"]);
  assert.deepEqual(chosenAfter(["a"], "b", { toggle: true }), ["a", "b"]);
  assert.deepEqual(chosenAfter(["a", "b"], "a", { toggle: true }), ["b"]);
  assert.deepEqual(chosenAfter(["a"], "c", { range: ["a", "b", "c"] }), ["a", "b", "c"]);
});

test("keys mark, remove and find; those of an input method and of the browser do nothing", () => {
  const key = (name, more = {}) => command({ key: name, ...more });
  assert.deepEqual(key("3"), ["mark", 3]);
  assert.deepEqual(key("Delete"), ["remove"]);
  assert.deepEqual(key("a", { ctrlKey: true }), ["all"]);
  assert.deepEqual(key("z", { metaKey: true }), ["undo"]);
  assert.equal(key("d", { ctrlKey: true }), null);
  assert.equal(key("3", { isComposing: true }), null);
  assert.equal(key("6"), null);
});

test("what needs names that have not come is done in its turn, when they have", () => {
  const asked = [];
  const done = [];
  const names = new Names((from, end) => asked.push([from, end]) > 0);
  const rows = [{ name: "a" }, { name: "b" }];
  names.of(rows, 0, 2, (found) => done.push(found));
  assert.deepEqual([asked, done], [[], [["a", "b"]]], "they are there: at once");
  names.of(rows, 0, 4, (found) => done.push(found));
  names.inTurn(() => done.push("a key"));
  names.inTurn(() => names.of(rows, 3, 4, (found) => done.push(found)));
  names.inTurn(() => done.push("another"));
  assert.deepEqual([asked, done.length], [[[0, 4]], 1], "nothing overtakes it");
  names.askFor(3);
  assert.deepEqual(asked[1], [0, 3], "other pictures came: it is asked for again");
  names.came(["a", "b", "c", "d"]);
  assert.deepEqual(done.slice(1), [["a", "b", "c", "d"], "a key"], "the next that needs names waits for them too");
  names.came(["d"]);
  assert.deepEqual(done.slice(3), [["d"], "another"]);
  names.came(["never asked for"]);
  assert.equal(done.length, 5);
});

test("nobody waits for a kernel that has ended", () => {
  const done = [];
  const names = new Names(() => false);
  names.of([], 0, 1, (found) => done.push(found));
  names.inTurn(() => done.push("a key"));
  assert.deepEqual(done, ["a key"]);
});
