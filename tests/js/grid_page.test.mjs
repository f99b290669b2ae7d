// What a grid's web page works out of its cells.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as page from "../../zimage_kit/grid/page/cells.js";

const cell = (request, more = {}) => ({ request, label: "", place: [0, 0, 0, 0], values: [], rating: 0, winner: false, ...more });

test("a recipe is told in its order, without what it leaves open", () => {
  const request = {
    prompt: "a boat", negative_prompt: "", model: "nano", width: 64, height: 96, steps: 8, guidance: 0, seed: null,
    loras: [{ path: "ink", weight: 0.5 }],
    stages: [{ kind: "upscale", factor: 2, tile: null, fast: false }, { kind: "pose", people: [{ x: 1 }] }, { kind: "plain" }],
  };
  assert.deepEqual(page.facts(cell(request)), [
    ["prompt", "a boat"], ["model", "nano"], ["size", "64 × 96"], ["steps", "8"], ["guidance", "0"], ["lora", "ink 0.5"],
    ["1. upscale", "factor 2"], ["2. pose", 'people [{"x":1}]'], ["3. plain", "·"],
  ]);
  assert.deepEqual(page.facts(cell({ prompt: "a boat", width: 64 })), [["prompt", "a boat"]], "half a size is none");
});

test("two texts are told apart by their words", () => {
  assert.deepEqual(page.parted("a red balloon", "a blue balloon"), ["…red…", "…blue…"]);
  assert.deepEqual(page.parted("a boat", "a boat at sea"), ["…", "…at sea"]);
  assert.deepEqual(page.parted("0", "1"), ["0", "1"]);
  assert.deepEqual(page.parted("10", "100"), ["10", "100"], "numbers are not cut");
  assert.deepEqual(page.parted("redder", "reddish"), ["redder", "reddish"], "nor are words");
  assert.deepEqual(page.parted("", "new"), ["", "new"]);
  assert.deepEqual(page.parted("the same", "the same"), ["…", "…"]);
});

test("Chinese prompts are told apart by characters", () => {
  assert.deepEqual(page.parted("海上的红色热气球", "海上的蓝色热气球"), ["…红…", "…蓝…"]);
  assert.deepEqual(page.parted("海上的red热气球", "海上的blue热气球"), ["…red…", "…blue…"]);
});

test("no emoji is cut in half, and no character beyond the first plane", () => {
  assert.deepEqual(page.parted("a 👩‍🚀 at sea", "a 👩‍🎤 at sea"), ["…👩‍🚀…", "…👩‍🎤…"]);
  assert.deepEqual(page.parted("🎈", "🎉"), ["🎈", "🎉"], "which share their first half");
  assert.deepEqual(page.parted("𠮷", "𠮶"), ["𠮷", "𠮶"]);
});

test("a repeated end does not overlap with the beginning", () => {
  assert.deepEqual(page.parted("海海", "海海海"), ["…", "…海"]);
});

test("what differs is named, and what one of the two lacks is said to be lacking", () => {
  const one = cell({ prompt: "a red boat", seed: 1, model: "nano" });
  const other = cell({ prompt: "a blue boat", seed: 1, steps: 4, model: "nano" });
  assert.deepEqual(page.differing(one, other, "none"), [["prompt", "…red…", "…blue…"], ["steps", "none", "4"]]);
  assert.deepEqual(page.differing(other, one, "none").at(-1), ["steps", "4", "none"]);
  assert.deepEqual(page.differing(one, one, "none"), []);
});

test("neighbours are the cell above and, to the left, the picture before", () => {
  const cells = [];
  for (const row of [0, 1]) for (const column of [0, 1]) for (const inner of [0, 1]) cells.push(cell({}, { place: [0, row, column, inner] }));
  const places = page.byPlace(cells);
  assert.equal(page.neighbour(places, cells[7], "left"), cells[6]);
  assert.equal(page.neighbour(places, cells[6], "left"), cells[4], "the same side of the column before");
  assert.equal(page.neighbour(places, cells[7], "above"), cells[3]);
  assert.equal(page.neighbour(places, cells[0], "left"), undefined);
  assert.equal(page.neighbour(places, cells[3], "above"), undefined);
});

test("stars are five, or none where nothing was rated", () => {
  assert.equal(page.starsOf(4), "★★★★☆");
  assert.equal(page.starsOf(5), "★★★★★");
  assert.equal(page.starsOf(0), "");
});

// ---- the filter ----

const NONE = { find: [], rating: 0, winners: false, values: {} };
const passes = (one, wanted) => page.passes(one, page.haystack(one), { ...NONE, ...wanted });
const blue = cell({ prompt: "a Blue balloon, 海上生明月", seed: 7 }, { label: "blue, seed 7", values: [1, 0], rating: 3 });

test("the filter finds every word, in any order and case, in labels and recipes", () => {
  assert.ok(passes(blue, {}));
  for (const text of ["BLUE seed", "seed blue", "  balloon  ", "生明月", "7"]) assert.ok(passes(blue, { find: page.words(text) }), text);
  for (const text of ["red", "blue red", "nothing like it"]) assert.ok(!passes(blue, { find: page.words(text) }), text);
});

test("the filter takes a least rating, winners only, and values of axes", () => {
  assert.ok(passes(blue, { rating: 3 }) && !passes(blue, { rating: 4 }));
  assert.ok(!passes(blue, { winners: true }) && passes({ ...blue, winner: true }, { winners: true }));
  assert.ok(passes(blue, { values: { 0: 1 } }) && passes(blue, { values: { 0: 1, 1: 0 } }));
  assert.ok(!passes(blue, { values: { 0: 0 } }) && !passes(blue, { values: { 0: 1, 1: 1 } }));
  assert.ok(!passes(blue, { find: page.words("blue"), rating: 4 }), "all of it must hold");
});

// ---- walking ----

/** Boxes of 100 x 80 in lines of three, the last line shorter. */
const BOXES = Array.from({ length: 8 }, (_, number) => ({ x: 110 * (number % 3), y: 100 * Math.floor(number / 3), height: 80 }));

test("arrows lead to the nearest box in their direction", () => {
  assert.equal(page.toward(BOXES, 4, "ArrowRight"), 5);
  assert.equal(page.toward(BOXES, 4, "ArrowLeft"), 3);
  assert.equal(page.toward(BOXES, 4, "ArrowUp"), 1);
  assert.equal(page.toward(BOXES, 4, "ArrowDown"), 7);
  assert.equal(page.toward(BOXES, 2, "ArrowRight"), null);
  assert.equal(page.toward(BOXES, 0, "ArrowUp"), null);
  assert.equal(page.toward(BOXES, 5, "ArrowDown"), 7, "nothing is beneath it, but there is a line");
});

test("left and right stay in the line, past what the filter has hidden", () => {
  const left = BOXES.filter((_, number) => number !== 1);
  assert.equal(page.toward(left, 0, "ArrowRight"), 1);
  assert.equal(left[1].x, 220);
  const alone = [BOXES[0], BOXES[4]];
  assert.equal(page.toward(alone, 0, "ArrowRight"), null);
});

test("a picture enlarged goes on in reading order at the end of a line, and stops at the last", () => {
  assert.equal(page.step(BOXES, 2, "ArrowRight"), 3);
  assert.equal(page.step(BOXES, 3, "ArrowLeft"), 2);
  assert.equal(page.step(BOXES, 7, "ArrowRight"), null);
  assert.equal(page.step(BOXES, 0, "ArrowLeft"), null);
  assert.equal(page.step(BOXES, 0, "ArrowUp"), null);
});

// ---- places and sizes ----

test("a card opens beside its cell, within the window", () => {
  const at = { left: 500, right: 600, top: 50 };
  assert.deepEqual(page.cardPlace(at, [300, 200], [1000, 800]), [610, 50]);
  assert.deepEqual(page.cardPlace({ ...at, left: 800, right: 900 }, [300, 200], [1000, 800]), [490, 50]);
  assert.deepEqual(page.cardPlace({ ...at, top: 700 }, [300, 200], [1000, 800]), [610, 590]);
  assert.deepEqual(page.cardPlace({ ...at, left: 100, right: 900 }, [300, 200], [1000, 800])[0], 10);
});

test("pictures are as large as lets a row be seen whole, unless that is too small", () => {
  assert.equal(page.fitting(256, 1280, 100, 3, 2), 256);
  const eight = page.fitting(256, 1280, 100, 9, 8);
  assert.ok(eight < 256 && eight % 8 === 0 && 100 + 64 + 90 + 24 + 8 * eight <= 1280);
  assert.equal(page.fitting(256, 1280, 100, 41, 40), 96, "then it scrolls");
  assert.equal(page.fitting(64, 1280, 100, 41, 40), 64, "never larger than they are");
});
