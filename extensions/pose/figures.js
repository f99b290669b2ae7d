// @ts-check
// People of 18 points as values: where their points are, where their handles go, and what a drag makes of them.
//
// A figure is {part: [x, y, confidence, …]} in fractions of the picture, origin top left; `size` is the picture's
// [width, height] in pixels. No function changes a figure that it was given, and none needs a page.

const BODY = "pose_keypoints_2d";
const LEFT_HAND = "hand_left_keypoints_2d";
const RIGHT_HAND = "hand_right_keypoints_2d";
const FACE = "face_keypoints_2d";
const PARTS = [BODY, LEFT_HAND, RIGHT_HAND, FACE];
const ATTACHED = { 0: FACE, 4: RIGHT_HAND, 7: LEFT_HAND }; // parts that move with a point of the body
const NECK = 1;
const ANKLES = [10, 13];

const FARTHEST = 1.95; // beyond twice the picture, OpenPose JSON is read as pixels
const BESIDE = 0.05; // of the shorter side: the margin in which points are still shown and can be dragged
const REACH = { mouse: 13, pen: 16, touch: 24 }; // screen pixels within which the pointer grabs a point
const LIMB_REACH = 9;
const PREFER_PERSON = 0.7; // distances to the selected person, and to their selected point, count for less:
const PREFER_POINT = 0.8; // where figures overlap, the selected one is meant
const PLACES = [0.84, 0.16, 0.67, 0.33, 0.5]; // where an added person may stand, best first

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const clamp = (number, low, high) => Math.min(high, Math.max(low, number));
const tidy = (number) => Math.round(1e5 * clamp(number, -FARTHEST, FARTHEST)) / 1e5 || 0;
const has = (flat, point) => flat[3 * point + 2] > 0;
const at = (flat, point) => [flat[3 * point], flat[3 * point + 1]];
const indices = (flat) => Array.from({ length: (flat?.length ?? 0) / 3 }, (_, point) => point);
const seen = (person) => indices(person[BODY]).filter((point) => has(person[BODY], point));
const replaced = (list, index, item) => list.map((old, place) => (place === index ? item : old));

function mappedPart(flat, move) {
  return indices(flat).flatMap((point) =>
    has(flat, point) ? [...move(...at(flat, point)).map(tidy), flat[3 * point + 2]] : [0, 0, 0],
  );
}

function mapped(person, move) {
  return Object.fromEntries(
    PARTS.filter((part) => person[part]?.length).map((part) => [part, mappedPart(person[part], move)]),
  );
}

const moved = (person, dx, dy) => mapped(person, (x, y) => [x + dx, y + dy]);

function scaled(person, factor, [cx, cy]) {
  return mapped(person, (x, y) => [cx + factor * (x - cx), cy + factor * (y - cy)]);
}

function boxOf(people) {
  const points = people.flatMap((person) => seen(person).map((point) => at(person[BODY], point)));
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  return { left, right, top, bottom, width: right - left, height: bottom - top, middle: (left + right) / 2 };
}

// ---- points ----

function withPoint(person, point, x, y) {
  const flat = person[BODY].slice();
  const [wasX, wasY] = at(flat, point);
  flat.splice(3 * point, 3, tidy(x), tidy(y), flat[3 * point + 2] || 1);
  const part = ATTACHED[point];
  if (!has(person[BODY], point) || !person[part]) return { ...person, [BODY]: flat };
  return {
    ...person,
    [BODY]: flat,
    [part]: mappedPart(person[part], (hx, hy) => [hx + x - wasX, hy + y - wasY]),
  };
}

function withoutPoint(person, point) {
  const flat = person[BODY].slice();
  flat.splice(3 * point, 3, 0, 0, 0);
  return { ...person, [BODY]: flat };
}

/** Where a missing point would be if this person stood: relative to a neighbour that is there, or else to all points. */
function placeOf(person, point, size, rest, limbs) {
  const [width, height] = size;
  const tall = stature(person, size, rest, limbs);
  const beside = limbs.filter((limb) => limb.includes(point)).flat().filter((other) => has(person[BODY], other));
  const known = beside.length ? beside.slice(0, 1) : seen(person);
  const mean = (axis, side) =>
    known.reduce((sum, other) => sum + at(person[BODY], other)[axis] + ((rest[point][axis] - rest[other][axis]) * tall) / side, 0) /
    known.length;
  return [clamp(mean(0, width), 0, 1), clamp(mean(1, height), 0, 1)];
}

// ---- whole people ----

/** Left and right swapped about the vertical line at `middle`. `swapped` is each point's counterpart. */
function mirrored(person, middle, swapped) {
  const turned = mapped(person, (x, y) => [2 * middle - x, y]);
  const parts = {
    [BODY]: swapped.flatMap((point) => turned[BODY].slice(3 * point, 3 * point + 3)),
    [LEFT_HAND]: turned[RIGHT_HAND],
    [RIGHT_HAND]: turned[LEFT_HAND],
    [FACE]: turned[FACE],
  };
  return Object.fromEntries(Object.entries(parts).filter(([, flat]) => flat?.length));
}

/** A factor that keeps the longer side of the person's box between 0.05 and 1.8 of the picture. */
function bounded(person, factor) {
  const { width, height } = boxOf([person]);
  return clamp(factor, 0.05 / Math.max(width, height, 1e-6), 1.8 / Math.max(width, height, 1e-6));
}

/** The person larger by `factor`, with their feet where they were. */
function grown(person, factor) {
  const box = boxOf([person]);
  return scaled(person, bounded(person, factor), [box.middle, Math.min(box.bottom, 1)]);
}

/** Everything of a person moved, but only so far that the middle of their box stays in the picture. */
function shifted(person, dx, dy) {
  const { middle, top, bottom } = boxOf([person]);
  const centre = (top + bottom) / 2;
  return moved(person, clamp(dx, Math.min(0, -middle), Math.max(0, 1 - middle)), clamp(dy, Math.min(0, -centre), Math.max(0, 1 - centre)));
}

/** All people, enlarged or reduced together until they fill the picture. */
function fitted(people, [width, height]) {
  const box = boxOf(people);
  const factor = Math.min((0.9 * width) / Math.max(box.width * width, 1e-6), (0.86 * height) / Math.max(box.height * height, 1e-6));
  return people.map((one) =>
    mapped(one, (x, y) => [0.5 + factor * (x - box.middle), 0.5 + factor * (y - (box.top + box.bottom) / 2)]),
  );
}

/** How tall the person would be standing, in pixels: from the lengths of their visible limbs and those of `rest`. */
function stature(person, [width, height], rest, limbs) {
  let [mine, theirs] = [0, 0];
  for (const [one, other] of limbs) {
    if (!has(person[BODY], one) || !has(person[BODY], other)) continue;
    const [[x1, y1], [x2, y2]] = [at(person[BODY], one), at(person[BODY], other)];
    mine += Math.hypot((x2 - x1) * width, (y2 - y1) * height);
    theirs += Math.hypot(rest[other][0] - rest[one][0], rest[other][1] - rest[one][1]);
  }
  return theirs > 0 && mine > 0 ? mine / theirs : 0.78 * height;
}

/** The points of a named pose, `tall` pixels high, in fractions of the picture; the origin is mid-ground. */
function laidOut(pose, tall, [width, height]) {
  return pose.map(([x, y]) => [(x * tall) / width, ((y - 1) * tall) / height]);
}

const figureOf = (points, x, y) => ({ [BODY]: points.flatMap(([px, py]) => [tidy(px + x), tidy(py + y), 1]) });

/** The person in a named pose, in the same place and of the same stature. */
function posed(person, pose, size, rest, limbs) {
  const points = laidOut(pose, stature(person, size, rest, limbs), size);
  const box = boxOf([person]);
  const xs = points.map(([x]) => x);
  const x = box.middle - (Math.min(...xs) + Math.max(...xs)) / 2;
  const stands = ANKLES.some((point) => has(person[BODY], point));
  const y = stands
    ? box.bottom - Math.max(...points.map(([, py]) => py))
    : (has(person[BODY], NECK) ? at(person[BODY], NECK)[1] : box.top) - points[NECK][1];
  return figureOf(points, x, y);
}

/** One more person, standing on the same ground where there is most room, as tall as most of the others. */
function newcomer(people, size, rest, limbs) {
  const tall = people.map((one) => stature(one, size, rest, limbs)).sort((a, b) => a - b)[people.length >> 1];
  const points = laidOut(rest, tall, size);
  const middles = people.map((one) => boxOf([one]).middle);
  const free = (x) => Math.min(...middles.map((middle) => Math.abs(middle - x)));
  const x = PLACES.reduce((best, next) => (free(next) > free(best) + 0.01 ? next : best));
  const ground = Math.max(...points.map(([, y]) => y));
  return figureOf(points, x, boxOf(people).bottom - ground);
}

// ---- handles: each visible point, "move" and "size" ----

const handlesOf = (person) => ["move", "size", ...seen(person)];

/** The handle that is `by` further on, round and round. */
function nextHandle(person, handle, by) {
  const order = handlesOf(person);
  return order[(order.indexOf(handle) + by + order.length) % order.length];
}

/** The handle to select once a point is gone: the next one, or the one before the last. */
function handleAfter(person, point) {
  const order = handlesOf(person);
  return order[order.indexOf(point) + 1] ?? order[order.indexOf(point) - 1];
}

/** The margin around the picture in which points are shown, in fractions of its sides. */
function around([width, height]) {
  const room = BESIDE * Math.min(width, height);
  return [room / width, room / height];
}

function handlePlace(person, handle, size) {
  if (typeof handle === "number") return at(person[BODY], handle);
  // at the corners of the box, so that they cover no point, and always in sight
  const box = boxOf([person]);
  const [dx, dy] = around(size);
  const [air, below] = [0.5 * dx, 0.5 * dy];
  return handle === "size"
    ? [clamp(box.right + air, air, 1 + air), clamp(box.bottom + below, below, 1 + below)]
    : [clamp(box.left - air, -air, 1 - air), clamp(box.top - below, -below, 1 - below)];
}

function pointTo(person, point, x, y, size) {
  const [dx, dy] = around(size);
  return withPoint(person, point, clamp(x, -dx, 1 + dx), clamp(y, -dy, 1 + dy));
}

/** The person once one of their handles has been dragged by (dx, dy), fractions of the picture. */
function dragged(person, handle, dx, dy, size) {
  if (handle === "move") return shifted(person, dx, dy);
  const [x, y] = handlePlace(person, handle, size);
  if (handle !== "size") return pointTo(person, handle, x + dx, y + dy, size);
  const [width, height] = size;
  const box = boxOf([person]);
  const [across, down] = [(x - box.left) * width, (y - box.top) * height];
  const along = (dx * width * across + dy * height * down) / (across ** 2 + down ** 2 || 1);
  return scaled(person, bounded(person, 1 + along), [box.left, box.top]);
}

function distanceToLimb([px, py], [ax, ay], [bx, by]) {
  const along = clamp(((px - ax) * (bx - ax) + (py - ay) * (by - ay)) / (Math.hypot(bx - ax, by - ay) ** 2 || 1), 0, 1);
  return Math.hypot(px - ax - along * (bx - ax), py - ay - along * (by - ay));
}

/**
 * What a pointer at [x, y], pixels of the picture, grabs: {index, handle} of the nearest handle in reach, else "move" of
 * the person whose limb is nearest; null for nothing. `px` is one screen pixel in the picture's, `pointer` its type.
 * "move" and "size" are offered for the selected person only: {person, handle} of `selected`.
 */
function grabbed(people, [x, y], size, px, limbs, pointer, selected) {
  const [width, height] = size;
  const reach = (REACH[pointer] ?? REACH.mouse) * px;
  let [best, found] = [reach, null];
  people.forEach((one, index) => {
    const chosen = index === selected.person;
    for (const handle of chosen ? handlesOf(one) : seen(one)) {
      const [hx, hy] = handlePlace(one, handle, size);
      const distance = Math.hypot(x - hx * width, y - hy * height);
      const weighed = distance * (chosen ? PREFER_PERSON : 1) * (chosen && handle === selected.handle ? PREFER_POINT : 1);
      if (distance <= reach && weighed < best) [best, found] = [weighed, { index, handle }];
    }
  });
  if (found) return found;
  best = LIMB_REACH * px;
  people.forEach((one, index) => {
    for (const limb of limbs) {
      if (!limb.every((point) => has(one[BODY], point))) continue;
      const [a, b] = limb.map((point) => at(one[BODY], point)).map(([fx, fy]) => [fx * width, fy * height]);
      const distance = distanceToLimb([x, y], a, b) * (index === selected.person ? PREFER_PERSON : 1);
      if (distance < best) [best, found] = [distance, { index, handle: "move" }];
    }
  });
  return found;
}

/** Where the name of a point at (x, y) stands: above it, where no finger covers it, and inside at the edges.
 * @param {number[]} place */
function namePlace([x, y], [width, height], px) {
  return {
    x: x * width,
    y: y * height + (y < 0.05 ? 30 : -17) * px,
    "text-anchor": x < 0.2 ? "start" : x > 0.8 ? "end" : "middle",
  };
}

/** A limb as `skeleton.draw` draws it, an ellipse between its two points: middle, half length, degrees. In pixels.
 * @param {number[]} from @param {number[]} to */
function limbEllipse([x1, y1], [x2, y2]) {
  return {
    cx: (x1 + x2) / 2,
    cy: (y1 + y2) / 2,
    rx: Math.hypot(x2 - x1, y2 - y1) / 2,
    degrees: (Math.atan2(y2 - y1, x2 - x1) * 180) / Math.PI,
  };
}

/** An RGB colour for CSS, darkened to `share`; rounded down, as NumPy's uint8 does in `skeleton.draw`. */
const rgb = (channels, share = 1) => `rgb(${channels.map((channel) => Math.trunc(share * channel)).join(" ")})`;

// ---- values: poses by name are {preset, size, body, mirror}, edited ones {people, canvas} ----

const named = (value) => !value.people?.length;
const names = (value) => (value.preset?.length ? value.preset : ["standing"]);
const kept = (value) =>
  Object.fromEntries(["size", "body", "mirror"].filter((name) => value[name]).map((name) => [name, value[name]]));

/** A value of named poses with others in their place. */
const renamed = (value, preset) => ({ preset, ...kept(value) });

/** A value of named poses with another body or height; one that is undefined goes back to its default. */
function withLook(value, changes) {
  const { body: _, size: __, ...others } = kept(value);
  const all = { ...kept(value), ...changes };
  const found = { preset: names(value), ...others };
  for (const name of ["size", "body"]) if (all[name]) found[name] = all[name];
  return found;
}

/** A value of named poses, mirrored or no longer so. */
function withMirror(value) {
  const { mirror: was, ...others } = kept(value);
  return { preset: names(value), ...others, ...(was ? {} : { mirror: true }) };
}

export {
  BODY, FACE, LEFT_HAND, RIGHT_HAND, BESIDE, at, boxOf, bounded, clamp, distanceToLimb, dragged, figureOf, fitted, grabbed,
  grown, handleAfter, handlePlace, handlesOf, has, indices, laidOut, limbEllipse, mirrored, moved, named, namePlace, names, newcomer, nextHandle,
  placeOf, pointTo, posed, renamed, replaced, rgb, same, scaled, seen, shifted, stature, tidy, withLook, withMirror, withoutPoint,
  withPoint,
};
