// The mask painter's pixels, places and keys.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as pixels from "../../extensions/refine/mask_pixels.js";
import * as views from "../../extensions/refine/mask_view.js";

const { empty, fill, share, stroke } = pixels;
const at = (mask, x, y) => mask.data[y * mask.width + x];
const near = (one, other, gap = 1e-9) => assert.ok(Math.abs(one - other) <= gap, `${one} is not ${other}`);

test("a stroke is as wide as its brush, smooth at its rim, and erased the same way", () => {
  const mask = empty(40, 20);
  const rect = stroke(mask, [10, 10], [30, 10], 4, false);
  assert.deepEqual(rect, { left: 5, top: 5, right: 35, bottom: 15 });
  assert.equal(at(mask, 20, 10), 255);
  assert.equal(at(mask, 20, 4), 0);
  assert.equal(at(mask, 3, 10), 0);
  near(255 * share(mask) * 800 / 255, 2 * 4 * 20 + Math.PI * 16, 2);
  const rim = mask.data.filter((level) => level > 0 && level < 255);
  assert.ok(rim.length > 5, "a rim");
  const before = mask.data.slice();
  stroke(mask, [20, 10], [20, 10], 2, true);
  assert.equal(at(mask, 20, 10), 0);
  stroke(mask, [20, 10], [20, 10], 3, false);
  assert.ok(mask.data.every((level, index) => level >= before[index] - 1));
  stroke(mask, [-50, -50], [90, 90], 200, true);
  assert.equal(share(mask), 0, "beyond the edges too");
});

test("rectangles and lassos cover what is inside", () => {
  const mask = empty(20, 20);
  pixels.rectangle(mask, [15, 4], [5, 9], false);
  assert.equal(share(mask) * 400, 50);
  pixels.rectangle(mask, [-9, -9], [90, 90], true);
  pixels.polygon(mask, [[2, 2], [18, 2], [2, 18]], false);
  near(share(mask) * 400, 128, 10);
  assert.deepEqual([at(mask, 3, 3), at(mask, 17, 17)], [255, 0]);
  pixels.polygon(mask, [[2, 2], [18, 2], [2, 18]], true);
  assert.equal(share(mask), 0);
  pixels.polygon(mask, [[3, 3]], false);
  assert.equal(share(mask), 0);
});

test("fill stops at a closed line, goes through a gap, and takes a painted area away", () => {
  const ring = (end) => {
    const mask = empty(60, 60);
    for (let turn = 0; turn < end; turn += 0.1) {
      const [a, b] = [turn, Math.min(end, turn + 0.1)].map((t) => [30 + 20 * Math.cos(t), 30 + 20 * Math.sin(t)]);
      stroke(mask, a, b, 2, false);
    }
    return mask;
  };
  const closed = ring(2 * Math.PI);
  assert.equal(fill(closed, [30, 30]), true);
  near(share(closed) * 3600, Math.PI * 22 ** 2, 40);
  assert.ok(closed.data.subarray(60 * 30 + 12, 60 * 30 + 48).every((level) => level === 255), "no thin line is left");
  const open = ring(5.5);
  fill(open, [30, 30]);
  near(share(open), 1, 0.01);
  assert.equal(fill(closed, [30, 30]), false);
  assert.equal(share(closed), 0);
  fill(closed, [999, -5]);
  assert.equal(share(closed), 1);
});

test("what is packed comes out as it was, also runs that are longer than one word holds", () => {
  const mask = empty(4100, 4100);
  stroke(mask, [100, 100], [700, 300], 30, false);
  const there = pixels.unpacked(pixels.packed(mask));
  assert.deepEqual([there.width, there.height], [4100, 4100]);
  assert.ok(Buffer.from(there.data).equals(Buffer.from(mask.data)));
  assert.ok(pixels.packed(mask).byteLength < 60_000);
  assert.deepEqual([...new Uint32Array(pixels.packed({ width: 2, height: 1, data: Uint8Array.of(255, 7) }))], [
    2, 1, 255 * 2 ** 24 + 1, 7 * 2 ** 24 + 1,
  ]);
});

test("inverted twice, and scaled, a mask is what it was", () => {
  const mask = empty(32, 16);
  pixels.rectangle(mask, [8, 4], [24, 12], false);
  const before = mask.data.slice();
  pixels.invert(mask);
  near(share(mask), 0.75);
  pixels.invert(mask);
  assert.deepEqual(mask.data, before);
  const large = pixels.resized(mask, 128, 64);
  near(share(large), 0.25, 0.01);
  assert.equal(at(large, 64, 32), 255);
  assert.equal(pixels.resized(mask, 32, 16), mask);
});

test("a feathered mask fades within its edge, not at the picture's", () => {
  const mask = empty(100, 40);
  pixels.rectangle(mask, [0, 0], [50, 40], false);
  const soft = pixels.feathered(mask, 10);
  assert.deepEqual([at(soft, 0, 0), at(soft, 30, 20), at(soft, 51, 20)], [255, 255, 0]);
  assert.ok(at(soft, 49, 20) < 60 && at(soft, 45, 20) > at(soft, 49, 20));
  assert.equal(pixels.feathered(mask, 0), mask);
});

test("undo has a limit in steps and in bytes, and redo ends with a new step", () => {
  const history = new pixels.History(2, 100);
  const states = [1, 2, 3, 4].map((number) => new Uint8Array([number]).buffer);
  states.slice(0, 3).forEach((state) => history.step(state));
  assert.equal(history.undo(states[3]), states[2]);
  assert.equal(history.undo(states[2]), states[1]);
  assert.equal(history.undo(states[1]), undefined);
  assert.equal(history.redo(states[1]), states[2]);
  history.step(states[2]);
  assert.equal(history.redo(states[0]), undefined);
  history.step(new ArrayBuffer(300));
  assert.equal(history.past.length, 1, "the last step can always be taken back");
});

test("zoom keeps what is under the pointer, and never leaves the picture", () => {
  const view = views.zoomed(views.FITTED, 4, 0.25, 0.75);
  assert.deepEqual(views.placeAt(view, 0.25, 0.75), [0.25, 0.75]);
  assert.deepEqual(views.windowAt(view, [0.25, 0.75]), [0.25, 0.75]);
  assert.deepEqual(views.zoomed(view, 0.01), views.FITTED);
  assert.equal(views.zoomed(view, 99).zoom, views.LARGEST_ZOOM);
  assert.deepEqual(views.panned(view, 9, 9), { zoom: 4, x: 0, y: 0 });
  assert.deepEqual(views.panned(view, -9, -9), { zoom: 4, x: 0.75, y: 0.75 });
  const [u, v] = views.windowAt(views.showing(view, [0.9, 0.1]), [0.9, 0.1]);
  assert.ok(u >= 0 && u <= 1 && v >= 0 && v <= 1);
});

test("a mask has the picture's size, up to a limit, and its backdrop's shape", () => {
  assert.deepEqual(views.maskSize([1024, 768], null), [1024, 768]);
  assert.deepEqual(views.maskSize([1024, 768], [512, 384]), [1024, 768]);
  assert.deepEqual(views.maskSize([1024, 1024], [600, 400]), [600, 400]);
  assert.deepEqual(views.maskSize([4096, 2048], null), [2048, 1024]);
});

test("the slider's places and brushes belong together", () => {
  for (const place of [0, 30, 100]) near(views.placeOf(views.brushAt(place)), place, 1e-6);
  near(views.brushAt(100), 0.5);
});

test("keys", () => {
  const key = (name, more = {}) => ({ key: name, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...more });
  assert.deepEqual(views.keyCommand(key("ArrowLeft")), ["move", -0.01, 0]);
  assert.deepEqual(views.keyCommand(key("ArrowDown", { shiftKey: true })), ["move", 0, 0.06]);
  assert.deepEqual(views.keyCommand(key("E", { shiftKey: true })), ["tool", "eraser"]);
  assert.deepEqual([views.keyCommand(key("[")), views.keyCommand(key("]"))], [["size", -6], ["size", 6]]);
  const others = { " ": "press", Enter: "finish", Escape: "leave", Delete: "clear", i: "invert", 0: "fit" };
  for (const [name, command] of Object.entries(others)) assert.deepEqual(views.keyCommand(key(name)), [command]);
  for (const name of ["a", "d", "x", "Tab", "Home", "toString"]) assert.equal(views.keyCommand(key(name)), null, name);
  assert.equal(views.chordCommand(key("z", { ctrlKey: true })), "undo");
  assert.equal(views.chordCommand(key("Z", { metaKey: true, shiftKey: true })), "redo");
  assert.equal(views.chordCommand(key("z")), null);
  assert.deepEqual(["d", " ", "Tab", "Escape", "F5"].map(views.keptFromNotebook), [true, true, false, false, false]);
});
