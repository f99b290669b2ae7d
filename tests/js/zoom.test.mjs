// The lightbox: where an enlarged picture lies, and what keys, fingers and wheels mean.

import assert from "node:assert/strict";
import { test } from "node:test";

import { command, fitting, held, pinched, swiped, wheeled, whole, zoomed } from "zimage_kit/studio/js/zoom.js";

const PICTURE = { width: 1000, height: 500 };
const FRAME = { width: 500, height: 500 };
const press = (key, more = {}) => command({ key, ...more });

/** The place in the picture that is seen at a point of the frame. */
const under = ({ scale, x, y }, point) => [(point.x - x) / scale, (point.y - y) / scale].map((each) => Math.round(each * 1e6) / 1e6);

test("the whole picture lies in the middle, a small one enlarged", () => {
  assert.equal(fitting(PICTURE, FRAME), 0.5);
  assert.deepEqual(whole(PICTURE, FRAME), { scale: 0.5, x: 0, y: 125 });
  assert.deepEqual(whole({ width: 50, height: 50 }, FRAME), { scale: 10, x: 0, y: 0 });
});

test("what is under the pointer stays there, in and out again", () => {
  const at = { x: 200, y: 240 };
  const close = zoomed(zoomed(whole(PICTURE, FRAME), 4, at, PICTURE, FRAME), 1.25, at, PICTURE, FRAME);
  assert.equal(close.scale, 2.5);
  assert.deepEqual(under(close, at), under(whole(PICTURE, FRAME), at));
  assert.deepEqual(under(zoomed(close, 0.8, at, PICTURE, FRAME), at), under(close, at));
});

test("zoom ends at a tenth and at eight times, or where the whole picture asks for more", () => {
  const at = { x: 0, y: 0 };
  assert.equal(zoomed(whole(PICTURE, FRAME), 100, at, PICTURE, FRAME).scale, 8);
  assert.equal(zoomed(whole(PICTURE, FRAME), 0.001, at, PICTURE, FRAME).scale, 0.1);
  assert.equal(zoomed(whole({ width: 50, height: 50 }, FRAME), 9, at, { width: 50, height: 50 }, FRAME).scale, 10);
  assert.equal(zoomed(whole({ width: 9000, height: 90 }, FRAME), 0.1, at, { width: 9000, height: 90 }, FRAME).scale, 500 / 9000);
});

test("a picture cannot be pushed out of the frame", () => {
  assert.deepEqual(held({ scale: 1, x: 90, y: -400 }, PICTURE, FRAME), { scale: 1, x: 0, y: 0 });
  assert.deepEqual(held({ scale: 1, x: -900, y: 0 }, PICTURE, FRAME), { scale: 1, x: -500, y: 0 });
  assert.deepEqual(held({ scale: 0.1, x: 7, y: 7 }, PICTURE, FRAME), { scale: 0.1, x: 200, y: 225 }, "smaller: in the middle");
});

test("two fingers enlarge by how far they part, and carry the picture with them", () => {
  const from = [{ x: 200, y: 250 }, { x: 300, y: 250 }];
  const start = zoomed(whole(PICTURE, FRAME), 4, { x: 250, y: 250 }, PICTURE, FRAME);
  const apart = pinched(start, from, [{ x: 150, y: 250 }, { x: 350, y: 250 }], PICTURE, FRAME);
  assert.equal(apart.scale, 4);
  assert.deepEqual(under(apart, { x: 250, y: 250 }), under(start, { x: 250, y: 250 }));
  const carried = pinched(start, from, from.map(({ x, y }) => ({ x: x + 30, y: y - 20 })), PICTURE, FRAME);
  assert.deepEqual([carried.scale, carried.x - start.x, carried.y - start.y], [2, 30, -20]);
  assert.ok(Number.isFinite(pinched(start, [from[0], from[0]], from, PICTURE, FRAME).scale), "two fingers at one place");
});

test("a swipe to the left brings the next picture, a short or steep one nothing", () => {
  assert.equal(swiped(-80, 10), 1);
  assert.equal(swiped(80, -10), -1);
  assert.equal(swiped(-40, 0), 0);
  assert.equal(swiped(-80, 60), 0);
});

test("a wheel enlarges upwards, a pinch on a touchpad faster, and never by more than two", () => {
  const turn = (deltaY, more = {}) => wheeled({ deltaY, deltaMode: 0, ctrlKey: false, ...more });
  assert.ok(turn(-100) > 1.1 && turn(-100) < 1.3);
  assert.equal(Math.round(turn(-100) * turn(100) * 1e6), 1e6);
  assert.ok(turn(-10, { ctrlKey: true }) > turn(-10));
  assert.ok(turn(-3, { deltaMode: 1 }) > 1.1, "lines, in Firefox");
  assert.deepEqual([turn(-1e6), turn(1e6)], [2, 0.5]);
});

test("what keys do", () => {
  assert.deepEqual(press("ArrowLeft"), ["turn", "ArrowLeft"]);
  assert.deepEqual(press("ArrowUp"), ["turn", "ArrowUp"]);
  assert.deepEqual(press("ArrowRight", { shiftKey: true }), ["move", -1, 0]);
  for (const key of ["+", "="]) assert.deepEqual(press(key), ["by", 1.25]);
  for (const key of ["-", "_"]) assert.deepEqual(press(key), ["by", 0.8]);
  for (const key of ["0", "f", "F"]) assert.deepEqual(press(key), ["fit"]);
  for (const key of ["1", "z", "Z"]) assert.deepEqual(press(key), ["own"]);
  assert.deepEqual(["b", "i", "?", "Escape"].map((key) => press(key)[0]), ["before", "info", "keys", "close"]);
  for (const key of ["a", "2", "Tab", "Enter", " ", "Home"]) assert.equal(press(key), null, key);
  for (const held of ["ctrlKey", "metaKey", "altKey"]) assert.equal(press("+", { [held]: true }), null, "the browser's own");
});
