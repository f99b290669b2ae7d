// Geometry of the pose editor: where points, handles and people go. A unit picture unless a test says otherwise.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as figures from "../../extensions/pose/figures.js";

const { BODY, FACE, LEFT_HAND, RIGHT_HAND } = figures;
const SIZE = [1000, 500];
const LIMBS = [[1, 2], [2, 3], [3, 4], [1, 8], [8, 9], [9, 10]]; // neck, right arm, right leg
const SWAPPED = [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16];
const PLACES = {
  0: [0.5, 0.1], 1: [0.5, 0.2], 2: [0.4, 0.2], 3: [0.35, 0.35], 4: [0.3, 0.5], 5: [0.6, 0.2], 6: [0.65, 0.35], 7: [0.7, 0.5],
  8: [0.45, 0.5], 9: [0.45, 0.7], 10: [0.45, 0.9],
};
const REST = Array.from({ length: 18 }, (_, point) => PLACES[point] ?? [0.5, 0.5]).map(([x, y]) => [x - 0.5, y + 0.1]);

/** A figure with these points; all others are missing. */
function figure(places = PLACES, extra = {}) {
  const body = new Array(54).fill(0);
  for (const [point, [x, y]] of Object.entries(places)) body.splice(3 * point, 3, x, y, 1);
  return { [BODY]: body, ...extra };
}

const place = (person, point) => person[BODY].slice(3 * point, 3 * point + 2);
const part = (...places) => places.flatMap(([x, y]) => [x, y, 1]);

function close(found, expected, tolerance = 1e-4, message = undefined) {
  assert.equal(found.length, expected.length, message);
  found.forEach((value, index) =>
    assert.ok(Math.abs(value - expected[index]) <= tolerance, `${message ?? ""} ${JSON.stringify(found)}, not ${JSON.stringify(expected)}`),
  );
}

test("no function changes the figure that it is given", () => {
  const person = figure(PLACES, { [LEFT_HAND]: part([0.7, 0.5]), [FACE]: part([0.5, 0.1]) });
  const before = structuredClone(person);
  figures.moved(person, 0.1, 0.1);
  figures.grown(person, 2);
  figures.mirrored(person, 0.5, SWAPPED);
  figures.withPoint(person, 7, 0.9, 0.9);
  figures.withoutPoint(person, 7);
  figures.dragged(person, "size", 0.1, 0.1, SIZE);
  figures.fitted([person], SIZE);
  figures.posed(person, REST, SIZE, REST, LIMBS);
  assert.deepEqual(person, before);
});

test("points are rounded to five places, within what OpenPose JSON can hold as fractions", () => {
  assert.equal(figures.tidy(0.123456789), 0.12346);
  assert.equal(figures.tidy(7), 1.95);
  assert.equal(figures.tidy(-7), -1.95);
  assert.ok(Object.is(figures.tidy(-0.000001), 0), "no negative zero");
});

test("a hand goes with its wrist and a face with its nose, and nothing else does", () => {
  const parts = { [LEFT_HAND]: part([0.7, 0.5], [0.72, 0.55]), [RIGHT_HAND]: part([0.3, 0.5]), [FACE]: part([0.5, 0.1]) };
  const person = figure(PLACES, parts);
  const wrist = figures.withPoint(person, 7, 0.6, 0.55);
  close(place(wrist, 7), [0.6, 0.55]);
  close(wrist[LEFT_HAND], [0.6, 0.55, 1, 0.62, 0.6, 1]);
  assert.equal(wrist[RIGHT_HAND], person[RIGHT_HAND]);
  assert.equal(wrist[FACE], person[FACE]);
  close(figures.withPoint(person, 4, 0.2, 0.5)[RIGHT_HAND], [0.2, 0.5, 1]);
  close(figures.withPoint(person, 0, 0.5, 0.2)[FACE], [0.5, 0.2, 1]);
  assert.equal(figures.withPoint(person, 3, 0, 0)[RIGHT_HAND], person[RIGHT_HAND], "an elbow carries nothing");
});

test("points that a hand or face lacks stay missing", () => {
  const hand = [0.7, 0.5, 1, 0, 0, 0];
  const after = figures.withPoint(figure(PLACES, { [LEFT_HAND]: hand }), 7, 0.8, 0.5);
  close(after[LEFT_HAND], [0.8, 0.5, 1, 0, 0, 0]);
});

test("everything of a figure moves together", () => {
  const person = figure(PLACES, { [LEFT_HAND]: part([0.7, 0.5]), [FACE]: part([0.5, 0.1]) });
  const after = figures.moved(person, 0.05, -0.02);
  for (const name of [BODY, LEFT_HAND, FACE])
    for (let index = 0; index < person[name].length; index += 3)
      if (person[name][index + 2]) close(after[name].slice(index, index + 2), [person[name][index] + 0.05, person[name][index + 1] - 0.02], 1e-4, name);
  assert.equal(after[BODY][3 * 17 + 2], 0, "a missing point stays missing");
});

test("a point restored into an emptied place has full confidence and moves no hand", () => {
  const without = figures.withoutPoint(figure(PLACES, { [LEFT_HAND]: part([0.7, 0.5]) }), 7);
  assert.deepEqual(without[BODY].slice(21, 24), [0, 0, 0]);
  const back = figures.withPoint(without, 7, 0.6, 0.6);
  assert.deepEqual(back[BODY].slice(21, 24), [0.6, 0.6, 1]);
  assert.deepEqual(back[LEFT_HAND], part([0.7, 0.5]));
});

test("a point dragged keeps its confidence", () => {
  const person = figure();
  person[BODY][3 * 4 + 2] = 0.4;
  assert.equal(figures.withPoint(person, 4, 0.1, 0.1)[BODY][3 * 4 + 2], 0.4);
});

test("mirrored is left for right, hands included, about a vertical line; twice is as before", () => {
  const person = figure(PLACES, { [LEFT_HAND]: part([0.7, 0.5]), [FACE]: part([0.45, 0.1]) });
  const turned = figures.mirrored(person, 0.6, SWAPPED);
  close(place(turned, 4), [1.2 - 0.7, 0.5]);
  close(place(turned, 7), [1.2 - 0.3, 0.5]);
  assert.equal(turned[LEFT_HAND], undefined, "the left hand is the right one now");
  close(turned[RIGHT_HAND], [0.5, 0.5, 1]);
  close(turned[FACE], [0.75, 0.1, 1]);
  assert.equal(turned[BODY][3 * 11 + 2], 1, "the leg that was the right one");
  assert.equal(turned[BODY][3 * 8 + 2], 0);
  assert.deepEqual(figures.mirrored(turned, 0.6, SWAPPED), person);
});

test("the box of people reaches over all of their visible points", () => {
  const box = figures.boxOf([figure(), figure({ 0: [0.9, 0.95] })]);
  assert.deepEqual([box.left, box.right, box.top, box.bottom], [0.3, 0.9, 0.1, 0.95]);
  assert.equal(box.middle, 0.6);
});

test("a figure grows about its feet and never beyond sense", () => {
  const larger = figures.grown(figure(), 1.05);
  const [before, after] = [figures.boxOf([figure()]), figures.boxOf([larger])];
  close([after.height / before.height, after.width / before.width], [1.05, 1.05], 1e-3);
  close([after.bottom, after.middle], [before.bottom, before.middle]);
  close([figures.boxOf([figures.grown(figure(), 1000)]).height], [1.8], 1e-3);
  close([figures.boxOf([figures.grown(figure(), 0)]).height], [0.05], 1e-3);
});

test("feet below the picture count as at its edge when a figure grows", () => {
  const low = figures.moved(figure(), 0, 0.3);
  assert.ok(figures.boxOf([figures.grown(low, 0.5)]).bottom < figures.boxOf([low]).bottom, "it comes back into sight");
});

test("a figure moves as far as its middle stays in the picture", () => {
  const middleOf = (person) => {
    const { middle, top, bottom } = figures.boxOf([person]);
    return [middle, (top + bottom) / 2];
  };
  close(middleOf(figures.shifted(figure(), 5, 5)), [1, 1]);
  close(middleOf(figures.shifted(figure(), -5, -5)), [0, 0]);
  close(middleOf(figures.shifted(figure(), 0.1, -0.1)), [0.6, 0.4]);
});

test("a figure that is outside already can come back but go no further", () => {
  const outside = figures.moved(figure(), 0.8, 0);
  assert.deepEqual(figures.shifted(outside, 0.1, 0), figures.moved(outside, 0, 0));
  close(place(figures.shifted(outside, -0.2, 0), 1), [1.1, 0.2]);
});

test("all people are fitted into the picture together, in proportion", () => {
  const people = figures.fitted([figure(), figures.moved(figure(), 0.9, 0.4)], SIZE);
  const box = figures.boxOf(people);
  close([box.middle, (box.top + box.bottom) / 2], [0.5, 0.5]);
  assert.ok(box.width <= 0.9 + 1e-4 && box.height <= 0.86 + 1e-4);
  assert.ok(box.width > 0.9 - 1e-3 || box.height > 0.86 - 1e-3, "one side is filled");
  const [one, other] = people.map((person) => figures.boxOf([person]));
  close([one.width, one.height], [other.width, other.height]);
});

test("a person alone is fitted by whichever side is the tighter one", () => {
  const [tall] = figures.fitted([figure()], SIZE);
  close([figures.boxOf([tall]).height], [0.86]);
  const [wide] = figures.fitted([figure({ 4: [0.1, 0.5], 7: [0.8, 0.55] })], SIZE);
  close([figures.boxOf([wide]).width], [0.9]);
});

test("stature is read off the limbs that are visible, whatever the pose", () => {
  const standing = figures.figureOf(figures.laidOut(REST, 300, SIZE), 0.5, 0.9);
  close([figures.stature(standing, SIZE, REST, LIMBS)], [300], 0.1);
  close([figures.stature(figures.withoutPoint(standing, 10), SIZE, REST, LIMBS)], [300], 0.1);
  const raised = figures.withPoint(standing, 4, ...place(standing, 3).map((value, axis) => 2 * value - place(standing, 4)[axis]));
  close([figures.stature(raised, SIZE, REST, LIMBS)], [300], 0.1, "an arm turned over is as long");
  assert.equal(figures.stature(figure({ 0: [0.5, 0.5] }), SIZE, REST, LIMBS), 0.78 * 500, "without any limb");
});

test("another pose keeps place and stature: on the ground where there are ankles, else at the neck", () => {
  const person = figures.figureOf(figures.laidOut(REST, 300, SIZE), 0.3, 0.9);
  const low = REST.map(([x, y], point) => (point > 7 ? [x, y - 0.2] : [x, y]));
  const after = figures.posed(person, low, SIZE, REST, LIMBS);
  const [was, is] = [figures.boxOf([person]), figures.boxOf([after])];
  close([is.middle, is.bottom], [was.middle, was.bottom]);
  let footless = person;
  for (const point of [10, 13]) footless = figures.withoutPoint(footless, point);
  close([place(figures.posed(footless, REST, SIZE, REST, LIMBS), 1)[1]], [place(footless, 1)[1]]);
  let neckless = footless;
  neckless = figures.withoutPoint(neckless, 1);
  assert.ok(figures.posed(neckless, REST, SIZE, REST, LIMBS)[BODY].every(Number.isFinite));
});

test("a missing point comes back beside its neighbour, and within the picture", () => {
  const person = figures.figureOf(figures.laidOut(REST, 300, SIZE), 0.5, 0.9);
  const wrist = place(person, 4);
  close(figures.placeOf(figures.withoutPoint(person, 4), 4, SIZE, REST, LIMBS), wrist, 1e-3);
  const elbow = place(person, 3);
  const bent = figures.withoutPoint(figures.withPoint(person, 4, 0.9, 0.1), 3);
  close(figures.placeOf(bent, 3, SIZE, REST, LIMBS), elbow, 0.05, "beside the shoulder, wherever the wrist is");
  const far = figures.moved(person, -0.45, 0);
  const [x, y] = figures.placeOf(figures.withoutPoint(far, 4), 4, SIZE, REST, LIMBS);
  assert.ok(x >= 0 && x <= 1 && y >= 0 && y <= 1);
  const lone = figure({ 16: [0.5, 0.5] });
  assert.ok(figures.placeOf(lone, 4, SIZE, REST, LIMBS).every(Number.isFinite), "no neighbour is there");
});

test("one more person stands where there is room, on the same ground and as tall", () => {
  const one = figures.figureOf(figures.laidOut(REST, 300, SIZE), 0.5, 0.9);
  const middleOf = (person) => figures.boxOf([person]).middle;
  const added = figures.newcomer([one], SIZE, REST, LIMBS);
  close([figures.boxOf([added]).bottom], [figures.boxOf([one]).bottom]);
  close([figures.stature(added, SIZE, REST, LIMBS)], [300], 0.5);
  const people = [one, added];
  for (let count = 0; count < 3; count += 1) people.push(figures.newcomer(people, SIZE, REST, LIMBS));
  const middles = people.map(middleOf).sort((a, b) => a - b);
  for (let number = 1; number < middles.length; number += 1)
    assert.ok(middles[number] - middles[number - 1] > 0.1, `nobody stands on another: ${middles}`);
});

test("one more person is as tall as most of the others", () => {
  const of = (tall, x) => figures.figureOf(figures.laidOut(REST, tall, SIZE), x, 0.9);
  const added = figures.newcomer([of(100, 0.2), of(300, 0.5), of(310, 0.8)], SIZE, REST, LIMBS);
  close([figures.stature(added, SIZE, REST, LIMBS)], [300], 0.5);
});

test("handles are named in an order that the brackets walk through, round and round", () => {
  const person = figure({ 0: [0.5, 0.1], 3: [0.4, 0.4] });
  assert.deepEqual(figures.handlesOf(person), ["move", "size", 0, 3]);
  assert.equal(figures.nextHandle(person, "move", 1), "size");
  assert.equal(figures.nextHandle(person, 3, 1), "move");
  assert.equal(figures.nextHandle(person, "move", -1), 3);
});

test("after a point is removed the next one is selected, or the one before the last", () => {
  const person = figure({ 0: [0.5, 0.1], 3: [0.4, 0.4], 4: [0.4, 0.5] });
  assert.equal(figures.handleAfter(person, 3), 4);
  assert.equal(figures.handleAfter(person, 4), 3);
});

test("the handles of a whole person are at the corners of their box and always in sight", () => {
  const [dx, dy] = [0.025, 0.05]; // 5 % of the shorter side of 1000 x 500
  const [moveX, moveY] = figures.handlePlace(figure(), "move", SIZE);
  close([moveX, moveY], [0.3 - 0.5 * dx, 0.1 - 0.5 * dy]);
  close(figures.handlePlace(figure(), "size", SIZE), [0.7 + 0.5 * dx, 0.9 + 0.5 * dy]);
  for (const away of [-3, 3]) {
    const person = figures.moved(figure(), away, away);
    for (const handle of ["move", "size"]) {
      const [x, y] = figures.handlePlace(person, handle, SIZE);
      assert.ok(x >= -dx && x <= 1 + dx && y >= -dy && y <= 1 + dy, `${handle} at ${x}, ${y}`);
    }
  }
});

test("a point is dragged into the margin around the picture, and no further", () => {
  close(place(figures.dragged(figure(), 4, -0.1, 0.1, SIZE), 4), [0.2, 0.6]);
  close(place(figures.dragged(figure(), 4, -9, 9, SIZE), 4), [-0.025, 1.05]);
  close(place(figures.dragged(figure(), 4, 9, -9, SIZE), 4), [1.025, -0.05]);
});

test("the corner scales a figure in proportion, from the opposite corner", () => {
  const before = figures.boxOf([figure()]);
  for (const [dx, dy] of [[0.1, 0.2], [-0.1, 0], [0, -0.2], [5, 5], [-5, -5]]) {
    const after = figures.boxOf([figures.dragged(figure(), "size", dx, dy, SIZE)]);
    close([after.left, after.top], [before.left, before.top]);
    close([after.width / before.width], [after.height / before.height], 1e-3);
    assert.ok(after.height >= 0.05 - 1e-3 && after.height <= 1.8 + 1e-3);
    if (Math.abs(dx) < 1) assert.equal(after.width > before.width, dx + dy > 0);
  }
});

test("the handle of a whole person moves all of it", () => {
  const after = figures.dragged(figure(), "move", 0.1, 0.05, SIZE);
  assert.deepEqual(after, figures.shifted(figure(), 0.1, 0.05));
});

// ---- what the pointer grabs ----

const at = (person, point) => place(person, point).map((fraction, axis) => fraction * SIZE[axis]);
const beside = ([x, y], dx, dy = 0) => [x + dx, y + dy];
const grab = (people, where, { pointer = "mouse", px = 1, person = 0, handle = "move" } = {}) =>
  figures.grabbed(people, where, SIZE, px, LIMBS, pointer, { person, handle });

test("the nearest point in reach is grabbed: a finger reaches further than a mouse", () => {
  const person = figure();
  assert.deepEqual(grab([person], beside(at(person, 4), 12)), { index: 0, handle: 4 });
  assert.equal(grab([person], beside(at(person, 4), -14)), null);
  assert.deepEqual(grab([person], beside(at(person, 4), -14), { pointer: "pen" }), { index: 0, handle: 4 });
  assert.deepEqual(grab([person], beside(at(person, 4), -23), { pointer: "touch" }), { index: 0, handle: 4 });
  assert.deepEqual(grab([person], beside(at(person, 4), -12), { pointer: "unheard of" }), { index: 0, handle: 4 });
  assert.deepEqual(grab([person], beside(at(person, 4), -26), { px: 2 }), { index: 0, handle: 4 }, "screen pixels");
});

test("a limb grabs the whole person, a place beside it nothing", () => {
  const person = figure();
  const [hip, knee] = [at(person, 8), at(person, 9)];
  const middle = [(hip[0] + knee[0]) / 2, (hip[1] + knee[1]) / 2];
  assert.deepEqual(grab([person], beside(middle, 8)), { index: 0, handle: "move" });
  assert.equal(grab([person], beside(middle, 20)), null);
  assert.equal(grab([figures.withoutPoint(person, 9)], middle), null, "a limb without its end is not drawn");
});

test("of two points the selected one is meant, of two people the selected one", () => {
  const person = figure();
  const twin = figures.moved(person, 0.004, 0);
  const between = beside(at(person, 4), 2);
  assert.equal(grab([person, twin], between).index, 0);
  assert.equal(grab([person, twin], between, { person: 1 }).index, 1);
  const near = figures.withPoint(person, 3, 0.308, 0.5);
  assert.deepEqual(grab([near], beside(at(near, 4), 4.2)), { index: 0, handle: 3 });
  assert.deepEqual(grab([near], beside(at(near, 4), 4.2), { handle: 4 }), { index: 0, handle: 4 });
});

test("of two people's limbs the selected person's is meant", () => {
  const person = figure();
  const twin = figures.moved(person, 0.004, 0);
  const [hip, knee] = [at(person, 8), at(person, 9)];
  const between = beside([hip[0], (hip[1] + knee[1]) / 2], 2);
  assert.equal(grab([person, twin], between).index, 0);
  assert.equal(grab([person, twin], between, { person: 1 }).index, 1);
});

test("the handles of a whole person are grabbed on the selected person only", () => {
  const people = [figure(), figures.moved(figure(), 0.25, 0)];
  const corner = figures.handlePlace(people[1], "size", SIZE).map((fraction, axis) => fraction * SIZE[axis]);
  assert.equal(grab(people, corner), null);
  assert.deepEqual(grab(people, corner, { person: 1 }), { index: 1, handle: "size" });
});

test("the distance to a limb is that to the nearest place on it", () => {
  assert.equal(figures.distanceToLimb([5, 3], [0, 0], [10, 0]), 3);
  assert.equal(figures.distanceToLimb([-3, 4], [0, 0], [10, 0]), 5);
  assert.equal(figures.distanceToLimb([3, 4], [0, 0], [0, 0]), 5, "a limb without length");
});

// ---- drawing ----

test("a name stands above its point, at the upper edge beneath it, and inside at the sides", () => {
  assert.deepEqual(figures.namePlace([0.5, 0.5], SIZE, 2), { x: 500, y: 250 - 34, "text-anchor": "middle" });
  assert.equal(figures.namePlace([0.5, 0.01], SIZE, 2).y, 5 + 60);
  assert.equal(figures.namePlace([0.1, 0.5], SIZE, 2)["text-anchor"], "start");
  assert.equal(figures.namePlace([0.9, 0.5], SIZE, 2)["text-anchor"], "end");
});

test("a limb is an ellipse between its points", () => {
  assert.deepEqual(figures.limbEllipse([0, 0], [0, 10]), { cx: 0, cy: 5, rx: 5, degrees: 90 });
  assert.deepEqual(figures.limbEllipse([4, 2], [0, 2]), { cx: 2, cy: 2, rx: 2, degrees: 180 });
});

test("colours are darkened as NumPy does it, rounded down", () => {
  assert.equal(figures.rgb([255, 85, 0], 0.6), "rgb(153 51 0)");
  assert.equal(figures.rgb([255, 170, 3], 0.6), "rgb(153 102 1)");
  assert.equal(figures.rgb([255, 85, 0]), "rgb(255 85 0)");
});

// ---- values ----

test("a value is of named poses until it has people", () => {
  assert.ok(figures.named({}) && figures.named({ preset: ["waving"] }) && figures.named({ preset: ["waving"], people: [] }));
  assert.ok(!figures.named({ people: [figure()], canvas: [1, 1] }));
  assert.deepEqual(figures.names({}), ["standing"]);
});

test("another pose, person, body or mirror changes only that of a named value", () => {
  const value = { preset: ["waving"], size: 0.5, mirror: true };
  assert.deepEqual(figures.renamed(value, ["waving", "sitting"]), { preset: ["waving", "sitting"], size: 0.5, mirror: true });
  assert.deepEqual(figures.withLook(value, { body: "small" }), { preset: ["waving"], mirror: true, size: 0.5, body: "small" });
  assert.deepEqual(figures.withLook({ ...value, body: "small" }, { body: undefined }), value, "back to the model's own");
  assert.deepEqual(figures.withLook(value, { size: 0.7 }), { preset: ["waving"], mirror: true, size: 0.7 });
  assert.deepEqual(figures.withMirror({ preset: ["waving"], size: 0.5 }), value);
  assert.deepEqual(figures.withMirror(value), { preset: ["waving"], size: 0.5 });
  assert.deepEqual(figures.withMirror({ canvas: null }), { preset: ["standing"], mirror: true });
});
