// People of 18 points, drawn as the ControlNet will get them and dragged into place. Everything that a hand does happens
// here, so a busy kernel does not hold it up; the value is sent when a drag ends. Python turns named poses into points,
// reads and writes OpenPose JSON, and answers with `figures`, which say of which value they are.

const SVG = "http://www.w3.org/2000/svg";
const BODY = "pose_keypoints_2d";
const LEFT_HAND = "hand_left_keypoints_2d";
const RIGHT_HAND = "hand_right_keypoints_2d";
const FACE = "face_keypoints_2d";
const PARTS = [BODY, LEFT_HAND, RIGHT_HAND, FACE];
const CARRIED = { 0: FACE, 4: RIGHT_HAND, 7: LEFT_HAND }; // what hangs on a point of the body and goes where it goes
const NECK = 1;
const ANKLES = [10, 13];

const UNDO_STEPS = 200;
const NUDGE = 0.01; // of the picture's width or height
const LONG_NUDGE = 0.05;
const GROWTH = 1.05;
const LONG_GROWTH = 1.2;
const FARTHEST = 1.95; // beyond twice the picture OpenPose JSON is taken for pixels
const BESIDE = 0.05; // of the shorter side: how far around the picture points are seen and may be dragged
const REACH = { mouse: 13, pen: 16, touch: 24 }; // pixels of the screen within which a point is taken hold of
const LIMB_REACH = 9;
const PATIENCE = 700; // milliseconds until it is said that the kernel is busy

// strokes in a square of 24
const ICONS = {
  undo: "M8 4.5 3.5 9 8 13.5M4 9h10a5.25 5.25 0 0 1 0 10.5H8.5",
  redo: "M16 4.5 20.5 9 16 13.5M20 9H10a5.25 5.25 0 0 0 0 10.5h5.5",
  mirror: "M12 3v2.5m0 3V11m0 3v2.5m0 3V21M8.5 7 3 17h5.5zM15.5 7 21 17h-5.5z",
  smaller: "M5.5 12h13",
  larger: "M5.5 12h13M12 5.5v13",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5M12 8v8M9 11h6",
  remove_point: "M5 12a7 7 0 1 0 14 0a7 7 0 1 0-14 0M9.5 9.5l5 5m0-5-5 5",
  remove_person: "M4.5 7h15M9.5 7V4.5h5V7M7 7l.8 13h8.4L17 7",
  reset: "M5 4.5V10h5.5M5.5 9.5a7.5 7.5 0 1 1-.8 4.5",
};

// ---- figures: {part: [x, y, confidence, …]} in fractions of the picture; none of these functions changes one ----

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

function withPoint(person, point, x, y) {
  const flat = person[BODY].slice();
  const [wasX, wasY] = at(flat, point);
  flat.splice(3 * point, 3, tidy(x), tidy(y), flat[3 * point + 2] || 1);
  const carried = CARRIED[point];
  if (!has(person[BODY], point) || !person[carried]) return { ...person, [BODY]: flat };
  return {
    ...person,
    [BODY]: flat,
    [carried]: mappedPart(person[carried], (hx, hy) => [hx + x - wasX, hy + y - wasY]),
  };
}

function withoutPoint(person, point) {
  const flat = person[BODY].slice();
  flat.splice(3 * point, 3, 0, 0, 0);
  return { ...person, [BODY]: flat };
}

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

/** How high the person would stand, in pixels: from the lengths of the limbs that there are, beside a standing body's. */
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

/** The points of a named pose, `tall` pixels high, in fractions, from its middle on the ground. */
function laidOut(pose, tall, [width, height]) {
  return pose.map(([x, y]) => [(x * tall) / width, ((y - 1) * tall) / height]);
}

const figureOf = (points, x, y) => ({ [BODY]: points.flatMap(([px, py]) => [tidy(px + x), tidy(py + y), 1]) });

/** The person in a named pose, where they are and as large as they are. */
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

/** Where a missing point would be on this person if they stood: beside a neighbour that there is, or else beside all. */
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

function distanceToLimb([px, py], [ax, ay], [bx, by]) {
  const along = clamp(((px - ax) * (bx - ax) + (py - ay) * (by - ay)) / (Math.hypot(bx - ax, by - ay) ** 2 || 1), 0, 1);
  return Math.hypot(px - ax - along * (bx - ax), py - ay - along * (by - ay));
}

// ---- elements ----

function element(tag, className, parent, attributes = {}) {
  const node = document.createElement(tag);
  node.className = className;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent?.append(node);
  return node;
}

function shape(tag, parent, attributes = {}) {
  const node = document.createElementNS(SVG, tag);
  parent?.append(node);
  return set(node, attributes);
}

function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function icon(path, parent) {
  const drawing = shape("svg", parent, { viewBox: "0 0 24 24", "aria-hidden": "true", class: "zk-pose-icon" });
  shape("path", drawing, { d: path });
}

const rgb = (channels, share = 1) => `rgb(${channels.map((channel) => Math.trunc(share * channel)).join(" ")})`;

let editors = 0; // ids are the page's

export default {
  render({ model, el }) {
    const abort = new AbortController();
    const { signal } = abort;
    const own = `zk-pose-${++editors}`;
    const anatomy = model.get("anatomy");
    const { limbs, colours, poses } = anatomy;

    // ---- what there is: `settled` is the last step and what undo goes back to, `people` what is seen of a drag ----

    let settled = { value: model.get("value"), people: [], size: [...model.get("size")] };
    let people = [];
    let body = "adult";
    let origin = settled; // what reset goes back to: what came from outside, or the pose last chosen by name
    let past = [];
    let future = [];
    let together = ""; // steps of one kind that follow each other are one: a key held down, a slider
    let person = 0; // the chosen one
    let chosen = "move"; // the handle of theirs that has, or had, the focus: a point, "move" or "size"
    let hovered = null;
    let drag = null;
    let asked = 0;

    const rest = () => poses.standing[body];
    const named = (value) => !value.people?.length;
    const names = (value) => (value.preset?.length ? value.preset : ["standing"]);
    const kept = (value) =>
      Object.fromEntries(["size", "body", "mirror"].filter((name) => value[name]).map((name) => [name, value[name]]));
    const asPeople = (list) => ({ people: list, canvas: [...settled.size] });

    const say = (key, values = {}) =>
      (model.get("texts").editor[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
    const nameOf = (index) => say("person", { number: index + 1 });

    function handleName(index, handle) {
      if (handle === "move" || handle === "size")
        return say(handle === "move" ? "move" : "resize", { person: nameOf(index) });
      return say("point", { point: model.get("texts").points[handle], person: nameOf(index) });
    }

    function send(value) {
      model.set("value", value);
      model.save_changes();
    }

    /** One step: what undo takes back. `kind` joins steps of one kind, which follow each other, into one. */
    function step(value, list, said, kind = "") {
      if (!kind || kind !== together) {
        past.push(settled);
        if (past.length > UNDO_STEPS) past.shift();
      }
      together = kind;
      future = [];
      complain("");
      settle({ value, people: list, size: settled.size }, said);
    }

    function settle(state, said) {
      settled = state;
      people = state.people;
      person = clamp(person, 0, people.length - 1);
      build();
      if (said) tell(said);
      send(state.value);
    }

    const edit = (list, said, kind) => step(asPeople(list), list, said, kind);

    /** A step to poses by name. `list` is a first guess at where the people stand; Python says it exactly. */
    function stepNamed(value, list, said, kind) {
      origin = { value, people: list, size: settled.size };
      step(value, list, said, kind);
    }

    function travel(from, to, said) {
      if (!from.length || drag) return;
      to.push(settled);
      together = "";
      const state = from.pop();
      // of another picture's size: the points come from Python
      settle(same(state.size, settled.size) ? state : { ...state, people, size: settled.size }, said);
    }

    const undo = () => travel(past, future, say("said_undone"));
    const redo = () => travel(future, past, say("said_redone"));

    function fromPython() {
      const found = model.get("figures");
      if (drag || !found.people || !same(found.of, settled.value)) return;
      const shown = [settled.people, settled.size, body];
      settled = { value: settled.value, people: found.people, size: found.size };
      if (same(origin.value, settled.value)) origin = settled;
      body = found.body;
      people = found.people;
      person = clamp(person, 0, people.length - 1);
      // it was so already: what the user is about to take hold of stays the same element
      if (!same(shown, [people, settled.size, body])) build();
    }

    function fromOutside() {
      const value = model.get("value");
      if (same(value, settled.value)) return;
      past = [];
      future = [];
      together = "";
      settled = { ...settled, value };
      origin = settled;
      fromPython();
      if (people.length) panel();
    }

    // ---- what is done ----

    const current = () => people[person];

    function choosePose(name) {
      const said = say("said_pose", { person: nameOf(person), pose: model.get("texts").presets[name] });
      const drawn = replaced(people, person, posed(current(), poses[name][body], settled.size, rest(), limbs));
      if (named(settled.value)) {
        const value = { preset: replaced(names(settled.value), person, name), ...kept(settled.value) };
        stepNamed(value, drawn, said, "pose");
      } else edit(drawn, said, "pose");
    }

    function addPerson() {
      const tall = people.map((one) => stature(one, settled.size, rest(), limbs)).sort((a, b) => a - b)[people.length >> 1];
      const points = laidOut(poses.standing[body], tall, settled.size);
      const middles = people.map((one) => boxOf([one]).middle);
      const free = (x) => Math.min(...middles.map((middle) => Math.abs(middle - x)));
      const x = [0.84, 0.16, 0.67, 0.33, 0.5].reduce((best, next) => (free(next) > free(best) + 0.01 ? next : best));
      const ground = Math.max(...points.map(([, y]) => y));
      const list = [...people, figureOf(points, x, boxOf(people).bottom - ground)];
      person = people.length;
      chosen = "move";
      const said = say("said_added", { person: nameOf(person) });
      if (named(settled.value)) {
        stepNamed({ preset: [...names(settled.value), "standing"], ...kept(settled.value) }, list, said);
      } else edit(list, said);
    }

    function removePerson() {
      if (people.length < 2) return;
      const left = people.filter((_, index) => index !== person);
      const said = say("said_removed", { person: nameOf(person) });
      chosen = "move";
      if (named(settled.value)) {
        const others = names(settled.value).filter((_, index) => index !== person);
        stepNamed({ preset: others, ...kept(settled.value) }, left, said);
      } else edit(left, said);
      chips.children[person]?.focus();
    }

    function removePoint() {
      if (typeof chosen !== "number" || !has(current()[BODY], chosen)) return;
      if (seen(current()).length === 1) return complain(say("said_last"));
      const [point, inside] = [chosen, handles.contains(document.activeElement)];
      const order = handlesOf(current());
      const next = order[order.indexOf(point) + 1] ?? order[order.indexOf(point) - 1];
      const said = say("said_missing", { what: handleName(person, point) });
      chosen = next;
      edit(replaced(people, person, withoutPoint(current(), point)), said);
      if (inside) focusHandle();
    }

    function putBack(point) {
      const [x, y] = placeOf(current(), point, settled.size, rest(), limbs);
      chosen = point;
      edit(
        replaced(people, person, withPoint(current(), point, x, y)),
        say("said_back", { what: handleName(person, point) }),
      );
      focusHandle();
    }

    function mirror() {
      const said = say("said_mirrored", { person: nameOf(person) });
      const turned = mirrored(current(), boxOf([current()]).middle, anatomy.swapped);
      // one person alone stands in the middle, so that the stage's own mirror gives the same and the pose keeps its name
      if (named(settled.value) && people.length === 1) {
        const { mirror: was, ...others } = kept(settled.value);
        step({ preset: names(settled.value), ...others, ...(was ? {} : { mirror: true }) }, [turned], said);
      } else edit(replaced(people, person, turned), said);
    }

    function bounded(factor) {
      const { width, height } = boxOf([current()]);
      return clamp(factor, 0.05 / Math.max(width, height, 1e-6), 1.8 / Math.max(width, height, 1e-6));
    }

    const sizeSaid = (one) =>
      say("said_size", { person: nameOf(person), percent: Math.round(100 * boxOf([one]).height) });

    function grow(factor, kind) {
      const box = boxOf([current()]);
      const grown = scaled(current(), bounded(factor), [box.middle, Math.min(box.bottom, 1)]);
      edit(replaced(people, person, grown), sizeSaid(grown), kind);
    }

    function fitAll() {
      const [width, height] = settled.size;
      const box = boxOf(people);
      const factor = Math.min((0.9 * width) / Math.max(box.width * width, 1e-6), (0.86 * height) / Math.max(box.height * height, 1e-6));
      const list = people.map((one) =>
        mapped(one, (x, y) => [0.5 + factor * (x - box.middle), 0.5 + factor * (y - (box.top + box.bottom) / 2)]),
      );
      edit(list, say("said_fit"));
    }

    /** Moves everything of a figure, as far as its middle stays in the picture. */
    function shifted(one, dx, dy) {
      const { middle, top, bottom } = boxOf([one]);
      const centre = (top + bottom) / 2;
      return moved(one, clamp(dx, Math.min(0, -middle), Math.max(0, 1 - middle)), clamp(dy, Math.min(0, -centre), Math.max(0, 1 - centre)));
    }

    function around() {
      const [width, height] = settled.size;
      const room = BESIDE * Math.min(width, height);
      return [room / width, room / height];
    }

    function pointTo(one, point, x, y) {
      const [dx, dy] = around();
      return withPoint(one, point, clamp(x, -dx, 1 + dx), clamp(y, -dy, 1 + dy));
    }

    function placeSaid(one, handle) {
      const [x, y] = handlePlace(one, handle).map((fraction) => Math.round(100 * fraction));
      return say("at", { what: handleName(person, handle), x, y });
    }

    function nudge(dx, dy, repeated) {
      const kind = repeated ? `nudge ${person} ${chosen}` : "";
      if (chosen === "size") return grow(1 + dx - dy, kind);
      const [x, y] = handlePlace(current(), chosen);
      const one = chosen === "move" ? shifted(current(), dx, dy) : pointTo(current(), chosen, x + dx, y + dy);
      edit(replaced(people, person, one), placeSaid(one, chosen), kind);
      if (!repeated) together = `nudge ${person} ${chosen}`; // a key that is held on belongs to its first step
    }

    function reset() {
      if (same(settled.value, origin.value)) return;
      step(origin.value, same(origin.size, settled.size) ? origin.people : people, say("said_reset"));
    }

    // ---- the frame around the picture ----

    el.classList.add("zk-pose-widget");
    const root = element("div", "zk-pose", el, { role: "group" });
    const main = element("div", "zk-pose-main", root);
    const tools = element("div", "zk-pose-tools", root);
    const words = []; // what to say anew in another language
    const spoken = (task) => (words.push(task), task());

    function button(key, parent, act, title = key) {
      const node = element("button", "zk-pose-button", parent, { type: "button" });
      if (ICONS[key]) icon(ICONS[key], node);
      else node.classList.add("zk-pose-text");
      spoken(() => {
        if (!ICONS[key]) node.textContent = say(key);
        else node.setAttribute("aria-label", say(title));
        if (ICONS[key]) node.title = say(title);
      });
      node.addEventListener("click", act, { signal });
      return node;
    }

    function row(key, parent, role = "group") {
      const node = element("div", `zk-pose-row zk-pose-${key}`, parent, { role });
      const label = element("span", "zk-pose-label", node, { id: `${own}-${key}` });
      node.setAttribute("aria-labelledby", label.id);
      spoken(() => (label.textContent = say(key)));
      return node;
    }

    /** Of percent. */
    function slider(key, parent, least, value, act) {
      const label = element("label", "zk-pose-slider", parent);
      const text = element("span", "zk-pose-label", label);
      const range = element("input", "", label, { type: "range", min: least, max: 100, step: 1, value });
      const shown = element("span", "zk-pose-percent", label, { "aria-hidden": "true" });
      const show = (percent) => {
        range.value = percent;
        shown.textContent = `${percent} %`;
      };
      show(value);
      spoken(() => (text.textContent = say(key)));
      range.addEventListener("input", () => (show(range.valueAsNumber), act(range.valueAsNumber)), { signal });
      return { label, range, show };
    }

    const bar = element("div", "zk-pose-bar", main, { role: "toolbar" });
    const buttons = {};
    for (const [key, act] of Object.entries({
      undo,
      redo,
      reset,
      mirror,
      smaller: () => grow(1 / GROWTH),
      larger: () => grow(GROWTH),
      fit: fitAll,
      remove_point: removePoint,
      remove_person: removePerson,
    }))
      buttons[key] = button(key, bar, act);
    const stage = element("div", "zk-pose-stage", main);
    const svg = shape("svg", stage, { role: "application", "aria-describedby": `${own}-hint ${own}-keys`, class: "zk-pose-svg" });
    const ground = shape("rect", svg, { fill: "#000" });
    const photo = shape("image", svg, { preserveAspectRatio: "xMidYMid meet" });
    const clip = shape("clipPath", shape("defs", svg), { id: `${own}-clip` });
    const frame = shape("rect", clip);
    const drawing = shape("g", svg, { "clip-path": `url(#${own}-clip)`, class: "zk-pose-drawing" });
    const handles = shape("g", svg, { class: "zk-pose-handles" });
    handles.dataset.takesEscape = ""; // it leaves a point; elsewhere in the panel it cancels the picture in the making
    const tag = shape("text", svg, { class: "zk-pose-tag", "aria-hidden": "true" });
    const curtain = element("div", "zk-pose-drop", stage, { hidden: "" });
    const missing = element("div", "zk-pose-row zk-pose-missing", main, { role: "group" });
    const alert = element("div", "zk-pose-alert", main, { role: "alert" });
    const status = element("div", "zk-pose-status", main, { role: "status", "aria-live": "polite" });
    const hint = element("p", "zk-pose-hint", main, { id: `${own}-hint` });
    const keys = element("details", "zk-pose-hint", main);
    spoken(() => {
      root.setAttribute("aria-label", say("label"));
      svg.setAttribute("aria-label", say("stage"));
      bar.setAttribute("aria-label", say("label"));
      curtain.textContent = say("drop");
      hint.textContent = say("hint");
      keys.replaceChildren();
      element("summary", "", keys).textContent = say("keyboard");
      element("p", "", keys, { id: `${own}-keys` }).textContent = say("keys");
    });

    const peopleRow = row("people", tools);
    const chips = element("span", "zk-pose-chips", peopleRow);
    button("add", peopleRow, addPerson);

    const posesRow = row("poses", tools, "radiogroup");
    const strip = element("div", "zk-pose-strip", posesRow);
    const thumbs = Object.entries(poses).map(([name, of]) => thumb(name, of.adult));

    function thumb(name, points) {
      const node = element("button", "zk-pose-thumb", strip, { type: "button", role: "radio", "data-pose": name });
      const xs = points.map(([x]) => x);
      const middle = (Math.min(...xs) + Math.max(...xs)) / 2;
      const picture = shape("svg", node, { viewBox: `${middle - 0.55} -0.2 1.1 1.25`, "aria-hidden": "true" });
      figure(figureOf(points, 0, 0), picture, [1, 1], 0.026);
      const caption = element("span", "", node);
      spoken(() => (caption.textContent = model.get("texts").presets[name]));
      node.addEventListener("click", () => choosePose(name), { signal });
      return node;
    }

    const bodyRow = element("div", "zk-pose-row zk-pose-body", tools);
    const bodyLabel = element("label", "zk-pose-slider", bodyRow);
    const bodyText = element("span", "zk-pose-label", bodyLabel);
    const bodies = element("select", "zk-pose-select", bodyLabel);
    for (const key of ["", "adult", "small"]) element("option", "", bodies, { value: key });
    spoken(() => {
      bodyText.textContent = say("body");
      for (const option of bodies.options) option.textContent = say(`body_${option.value || "model"}`);
    });
    const tallness = slider("height", bodyRow, 10, 78, (percent) => look({ size: percent / 100 }, "height"));
    bodies.addEventListener("change", () => look({ body: bodies.value || undefined }, "body"), { signal });

    /** Body and height of named poses: the points come from Python. */
    function look(changes, kind) {
      const { body: _, size: __, ...others } = kept(settled.value);
      const all = { ...kept(settled.value), ...changes };
      const value = { preset: names(settled.value), ...others };
      for (const name of ["size", "body"]) if (all[name]) value[name] = all[name];
      stepNamed(value, people, "", kind);
    }

    const viewRow = row("view", tools);
    const views = element("span", "zk-pose-views", viewRow, { role: "radiogroup", "aria-labelledby": `${own}-view` });
    const [onBlack, onPicture] = ["skeleton", "picture"].map((key) => {
      const label = element("label", "zk-pose-choice", views);
      const radio = element("input", "", label, { type: "radio", name: `${own}-view`, value: key });
      const text = element("span", "", label);
      spoken(() => (text.textContent = say(key)));
      radio.addEventListener("change", scenery, { signal });
      return radio;
    });
    onBlack.checked = true;
    button("load", viewRow, () => pictureFile.click());
    const brightness = slider("brightness", viewRow, 0, 55, scenery);

    const files = element("div", "zk-pose-row", tools);
    button("import", files, () => jsonFile.click());
    button("export", files, () => ask({ do: "write" }));
    button("draw", files, () => ask({ do: "draw" }));
    const jsonFile = chooser(".json,application/json");
    const pictureFile = chooser("image/*");

    function chooser(accept) {
      const input = element("input", "", root, { type: "file", accept, hidden: "", tabindex: "-1" });
      input.addEventListener(
        "change",
        () => {
          if (input.files[0]) takeFile(input.files[0]);
          input.value = ""; // the same file may be chosen again
        },
        { signal },
      );
      return input;
    }

    // ---- what is behind the people ----

    let urls = { last: "", loaded: "" };

    function backdrop() {
      const bytes = model.get("backdrop");
      URL.revokeObjectURL(urls.last);
      urls.last = bytes?.byteLength ? URL.createObjectURL(new Blob([bytes])) : "";
      scenery();
    }

    function scenery() {
      const url = urls.loaded || urls.last;
      onPicture.disabled = !url;
      if (!url) onBlack.checked = true;
      const shown = onPicture.checked;
      if (url) photo.setAttribute("href", url);
      else photo.removeAttribute("href");
      photo.style.display = shown ? "" : "none";
      photo.style.opacity = brightness.range.value / 100;
      brightness.label.hidden = !shown;
    }

    // ---- files in and out ----

    function takeFile(file) {
      complain("");
      if (file.type.startsWith("image/")) {
        URL.revokeObjectURL(urls.loaded);
        urls.loaded = URL.createObjectURL(file);
        onPicture.checked = true;
        onPicture.disabled = false;
        return scenery();
      }
      if (!/\.json$/i.test(file.name) && !/json|text/.test(file.type))
        return complain(say("not_a_file", { name: file.name }));
      return file.text().then((text) => ask({ do: "read", text }));
    }

    function ask(content) {
      complain("");
      const waiting = ++asked;
      model.send(content);
      setTimeout(() => asked === waiting && !signal.aborted && tell(say("said_waiting")), PATIENCE);
    }

    function answered(content, buffers) {
      asked++;
      if (status.textContent === say("said_waiting")) tell("");
      if (content.do === "fail") complain(content.text);
      if (content.do === "save") save(content, buffers[0]);
      if (content.do === "read") {
        person = 0;
        chosen = "move";
        settled = { ...settled, size: content.size };
        edit(content.people, say("said_read", { number: content.people.length }));
        origin = settled;
        able();
      }
    }

    function save({ name, type }, bytes) {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([bytes], { type }));
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser still reads it after the click
    }

    const tell = (text) => (status.textContent = text);
    const complain = (text) => (alert.textContent = text || model.get("problem"));

    // ---- drawing ----

    /** A person as `skeleton.draw` draws them: limbs in their order, then points. `thick` is a limb's half-width. */
    function figure(one, parent, [width, height], thick) {
      const flat = one[BODY];
      limbs.forEach(([a, b], number) => {
        if (!has(flat, a) || !has(flat, b)) return;
        const [[x1, y1], [x2, y2]] = [at(flat, a), at(flat, b)].map(([x, y]) => [x * width, y * height]);
        const turn = (Math.atan2(y2 - y1, x2 - x1) * 180) / Math.PI;
        const [cx, cy, rx] = [(x1 + x2) / 2, (y1 + y2) / 2, Math.hypot(x2 - x1, y2 - y1) / 2];
        const fill = rgb(colours[number], 0.6);
        shape("ellipse", parent, { cx, cy, rx, ry: thick, fill, transform: `rotate(${turn} ${cx} ${cy})` });
      });
      dots(flat, parent, [width, height], thick, (point) => rgb(colours[point]));
    }

    function dots(flat, parent, [width, height], r, colour) {
      for (const point of indices(flat).filter((each) => has(flat, each))) {
        const [x, y] = at(flat, point);
        shape("circle", parent, { cx: x * width, cy: y * height, r, fill: colour(point) });
      }
    }

    function hand(flat, parent, [width, height], thick) {
      anatomy.bones.forEach(([a, b], number) => {
        if (!has(flat, a) || !has(flat, b)) return;
        const [[x1, y1], [x2, y2]] = [at(flat, a), at(flat, b)];
        const ends = { x1: x1 * width, y1: y1 * height, x2: x2 * width, y2: y2 * height };
        shape("line", parent, { ...ends, stroke: rgb(anatomy.bone_colours[number]), "stroke-width": thick / 2 });
      });
      dots(flat, parent, [width, height], thick, () => "rgb(0 0 255)");
    }

    function draw() {
      const { size } = settled;
      const thick = (4 * Math.min(...size)) / anatomy.reference_side;
      drawing.replaceChildren();
      for (const one of people) figure(one, drawing, size, thick);
      const hands = people.flatMap((one) => [one[LEFT_HAND], one[RIGHT_HAND]]).filter((flat) => flat?.length);
      for (const flat of hands) hand(flat, drawing, size, thick);
      for (const { [FACE]: flat } of people) dots(flat, drawing, size, 0.75 * thick, () => "#fff");
    }

    const handlesOf = (one) => ["move", "size", ...seen(one)];

    function handlePlace(one, handle) {
      if (typeof handle === "number") return at(one[BODY], handle);
      // on the corners of the box, where they hide no point, and never out of sight
      const box = boxOf([one]);
      const [dx, dy] = around();
      const [air, below] = [0.5 * dx, 0.5 * dy];
      return handle === "size"
        ? [clamp(box.right + air, air, 1 + air), clamp(box.bottom + below, below, 1 + below)]
        : [clamp(box.left - air, -air, 1 - air), clamp(box.top - below, -below, 1 - below)];
    }

    /** Handles anew: after a step, when people or points may have come or gone. The focus stays where it was. */
    function build() {
      const focused = handles.contains(document.activeElement);
      handles.replaceChildren();
      people.forEach((one, index) => {
        const group = shape("g", handles, { role: "group", "aria-label": nameOf(index), "data-person": index });
        shape("rect", group, { class: "zk-pose-box" });
        limbs.forEach((limb) => {
          if (limb.every((point) => has(one[BODY], point)))
            shape("line", group, { class: "zk-pose-limb", "data-limb": limb.join() });
        });
        for (const handle of handlesOf(one)) {
          const node = shape("g", group, { class: `zk-pose-handle zk-pose-${handle}`, role: "button" });
          set(node, { "data-handle": handle, "aria-label": handleName(index, handle), tabindex: -1 });
          shape("circle", node, { class: "zk-pose-hit" });
          shape("circle", node, { class: "zk-pose-ring" });
          if (handle === "move") shape("path", node, { class: "zk-pose-glyph" });
          if (handle === "size") shape("path", node, { class: "zk-pose-glyph" });
        }
      });
      if (!people.length) return;
      if (!handlesOf(current()).includes(chosen)) chosen = "move";
      panel();
      place();
      if (focused) focusHandle();
    }

    const nodeOf = (index, handle) =>
      handles.querySelector(`[data-person="${index}"] [data-handle="${handle}"]`);

    function focusHandle() {
      nodeOf(person, chosen)?.focus({ preventScroll: true });
    }

    /** Everything in the picture to where it is now; each handle has one size on the screen, however large the picture. */
    function place() {
      const [width, height] = settled.size;
      const room = BESIDE * Math.min(width, height);
      const view = [-room, -room, width + 2 * room, height + 2 * room];
      svg.setAttribute("viewBox", view.join(" "));
      root.style.setProperty("--aspect", view[2] / view[3]);
      for (const rect of [ground, frame, photo]) set(rect, { width, height });
      const px = view[2] / (svg.clientWidth || view[2]);
      svg.style.setProperty("--px", px);
      draw();
      people.forEach((one, index) => {
        const group = handles.children[index];
        if (!group) return;
        group.classList.toggle("zk-pose-chosen", index === person);
        const box = boxOf([one]);
        const air = 0.5 * room;
        set(group.querySelector(".zk-pose-box"), {
          x: box.left * width - air,
          y: box.top * height - air,
          width: box.width * width + 2 * air,
          height: box.height * height + 2 * air,
        });
        const tall = stature(one, settled.size, rest(), limbs) / px;
        group.style.setProperty("--ring", `${clamp(tall / 52, 2.8, 6.5)}px`); // the points of small people stay apart
        for (const line of group.querySelectorAll(".zk-pose-limb")) {
          const [[x1, y1], [x2, y2]] = line.dataset.limb.split(",").map((point) => at(one[BODY], Number(point)));
          set(line, { x1: x1 * width, y1: y1 * height, x2: x2 * width, y2: y2 * height });
        }
        const first = index === person ? chosen : "move";
        for (const node of group.querySelectorAll(".zk-pose-handle")) {
          const handle = handleIn(node);
          const [x, y] = handlePlace(one, handle);
          node.setAttribute("transform", `translate(${x * width} ${y * height}) scale(${px})`);
          node.setAttribute("tabindex", handle === first ? 0 : -1);
          node.classList.toggle("zk-pose-current", index === person && handle === chosen);
        }
      });
      name();
    }

    const handleIn = (node) => (/^\d+$/.test(node.dataset.handle) ? Number(node.dataset.handle) : node.dataset.handle);

    /** What the pointer is over, or what has the focus, in letters beside it. */
    function name() {
      const focused = handles.contains(document.activeElement) ? { index: person, handle: chosen } : null;
      const about = drag?.taken ?? hovered ?? focused;
      handles.querySelector(".zk-pose-near")?.classList.remove("zk-pose-near");
      if (hovered && !drag) nodeOf(hovered.index, hovered.handle)?.classList.add("zk-pose-near");
      tag.textContent = about && people[about.index] ? handleName(about.index, about.handle) : "";
      if (!tag.textContent) return;
      const [width, height] = settled.size;
      const px = Number(svg.style.getPropertyValue("--px"));
      const [x, y] = handlePlace(people[about.index], about.handle);
      // above the point, where no finger is; along the edges to the inside
      set(tag, {
        x: x * width,
        y: y * height + (y < 0.05 ? 30 : -17) * px,
        "text-anchor": x < 0.2 ? "start" : x > 0.8 ? "end" : "middle",
        "font-size": 13 * px,
        "stroke-width": 3.5 * px,
      });
    }

    /** Buttons and lists beside the picture. */
    function panel() {
      const inChips = [...chips.children].indexOf(document.activeElement);
      chips.replaceChildren(
        ...people.map((_, index) => {
          const chip = element("button", "zk-pose-chip", null, { type: "button", "aria-pressed": index === person });
          chip.textContent = say("chip", { number: index + 1 });
          chip.addEventListener("click", () => choose(index, "move"), { signal });
          return chip;
        }),
      );
      if (inChips >= 0) chips.children[clamp(inChips, 0, people.length - 1)].focus();

      const pose = named(settled.value) ? names(settled.value)[person] : "";
      const reachable = thumbs.find((node) => node.dataset.pose === pose) ?? thumbs[0];
      for (const node of thumbs) {
        node.setAttribute("aria-checked", node.dataset.pose === pose);
        node.tabIndex = node === reachable ? 0 : -1;
      }
      const { offsetLeft, offsetWidth } = reachable;
      if (offsetLeft < strip.scrollLeft || offsetLeft + offsetWidth > strip.scrollLeft + strip.clientWidth)
        strip.scrollLeft = offsetLeft - (strip.clientWidth - offsetWidth) / 2;
      bodyRow.hidden = !named(settled.value);
      bodies.value = settled.value.body ?? "";
      tallness.show(Math.round(100 * (settled.value.size ?? 0.78)));

      const gone = indices(current()[BODY]).filter((point) => !has(current()[BODY], point));
      missing.hidden = gone.length === 0;
      missing.setAttribute("aria-label", say("missing"));
      const label = element("span", "zk-pose-label");
      label.textContent = say("missing");
      missing.replaceChildren(
        label,
        ...gone.map((point) => {
          const what = model.get("texts").points[point];
          const back = element("button", "zk-pose-chip", null, {
            type: "button",
            title: say("put_back", { point: what }),
            "aria-label": say("put_back", { point: what }),
          });
          back.textContent = `+ ${what}`;
          back.addEventListener("click", () => putBack(point), { signal });
          return back;
        }),
      );
      able();
    }

    function able() {
      const off = {
        undo: !past.length,
        redo: !future.length,
        remove_point: typeof chosen !== "number",
        remove_person: people.length < 2,
        reset: same(settled.value, origin.value),
      };
      // not `disabled`, which would throw the focus out of a button that has just been pressed
      for (const [key, is] of Object.entries(off)) buttons[key].setAttribute("aria-disabled", is);
    }

    function choose(index, handle) {
      if (index !== person || handle !== chosen) together = "";
      const other = index !== person;
      person = index;
      chosen = handle;
      if (other) panel();
      else able();
      place();
    }

    // ---- pointer ----

    /** The pointer in pixels of the picture, and how many of them one of the screen's is. */
    function pointer(event) {
      const [x, y] = [event.clientX, event.clientY];
      const place = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM().inverse());
      return [place.x, place.y];
    }

    /** What the pointer takes hold of: the nearest handle in reach, else the figure of the nearest limb. */
    function under(event) {
      const [width, height] = settled.size;
      const [x, y] = pointer(event);
      const px = Number(svg.style.getPropertyValue("--px"));
      const reach = (REACH[event.pointerType] ?? REACH.mouse) * px;
      let [best, found] = [reach, null];
      const consider = (distance, index, handle) => {
        // of two people on each other the chosen one is meant, and of two points the one that is chosen
        const weighed = distance * (index === person ? 0.7 : 1) * (index === person && handle === chosen ? 0.8 : 1);
        if (distance <= reach && weighed < best) [best, found] = [weighed, { index, handle }];
      };
      people.forEach((one, index) => {
        const offered = index === person ? handlesOf(one) : seen(one);
        for (const handle of offered) {
          const [hx, hy] = handlePlace(one, handle);
          consider(Math.hypot(x - hx * width, y - hy * height), index, handle);
        }
      });
      if (found) return found;
      best = LIMB_REACH * px;
      people.forEach((one, index) => {
        for (const limb of limbs) {
          if (!limb.every((point) => has(one[BODY], point))) continue;
          const [a, b] = limb.map((point) => at(one[BODY], point)).map(([fx, fy]) => [fx * width, fy * height]);
          const distance = distanceToLimb([x, y], a, b) * (index === person ? 0.7 : 1);
          if (distance < best) [best, found] = [distance, { index, handle: "move" }];
        }
      });
      return found;
    }

    function press(event) {
      const taken = event.button === 0 && !drag ? under(event) : null;
      if (!taken) return;
      event.preventDefault();
      svg.setPointerCapture(event.pointerId);
      choose(taken.index, taken.handle);
      focusHandle();
      drag = { taken, id: event.pointerId, from: pointer(event), start: people[taken.index], gone: false };
      root.classList.add("zk-pose-dragging");
      place();
    }

    function pull(event) {
      if (!drag) {
        const found = under(event);
        svg.style.cursor = { move: "move", size: "nwse-resize" }[found?.handle] ?? (found ? "grab" : "");
        if (!same(found, hovered)) {
          hovered = found;
          name();
        }
        return;
      }
      if (event.pointerId !== drag.id) return;
      const [width, height] = settled.size;
      const [x, y] = pointer(event);
      const [dx, dy] = [(x - drag.from[0]) / width, (y - drag.from[1]) / height];
      if (!dx && !dy) return;
      drag.gone = true;
      people = replaced(people, person, dragged(drag.start, dx, dy));
      place();
    }

    function dragged(start, dx, dy) {
      if (chosen === "move") return shifted(start, dx, dy);
      const [x, y] = handlePlace(start, chosen);
      if (chosen !== "size") return pointTo(start, chosen, x + dx, y + dy);
      const [width, height] = settled.size;
      const box = boxOf([start]);
      const [across, down] = [(x - box.left) * width, (y - box.top) * height];
      const along = (dx * width * across + dy * height * down) / (across ** 2 + down ** 2 || 1);
      return scaled(start, bounded(1 + along), [box.left, box.top]);
    }

    function release(event) {
      if (!drag || event.pointerId !== drag.id) return;
      const { gone } = drag;
      stopDragging();
      if (gone) edit(people, chosen === "size" ? sizeSaid(current()) : placeSaid(current(), chosen));
      else fromPython(); // which may have answered meanwhile
    }

    function stopDragging() {
      drag = null;
      root.classList.remove("zk-pose-dragging");
    }

    function letGo() {
      if (!drag) return;
      stopDragging();
      people = settled.people;
      place();
      fromPython();
    }

    svg.addEventListener("pointerdown", press, { signal });
    // a finger that has taken hold of somebody does not scroll the page; touch-action knows no part of a drawing
    svg.addEventListener("touchstart", (event) => drag && event.preventDefault(), { signal, passive: false });
    svg.addEventListener("pointermove", pull, { signal });
    svg.addEventListener("pointerup", release, { signal });
    svg.addEventListener("pointercancel", letGo, { signal });
    svg.addEventListener("lostpointercapture", letGo, { signal });
    svg.addEventListener("pointerleave", () => ((hovered = null), name()), { signal });
    // on the stage: Chromium lets Tab stop at an SVG element that listens to the focus itself
    stage.addEventListener(
      "focusin",
      ({ target }) => {
        const node = target.closest("[data-handle]");
        const index = Number(node?.parentNode.dataset.person);
        if (node && !drag && (index !== person || handleIn(node) !== chosen)) choose(index, handleIn(node));
        else name();
      },
      { signal },
    );
    stage.addEventListener("focusout", name, { signal });

    // ---- keys ----

    const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

    function walk(by) {
      const order = handlesOf(current());
      choose(person, order[(order.indexOf(chosen) + by + order.length) % order.length]);
      focusHandle();
    }

    /** True for a key that was meant for the handle that has the focus. */
    function onHandle(event) {
      if (drag && event.key === "Escape") letGo();
      else if (drag) return true; // one hand at a time
      else if (ARROWS[event.key]) {
        const far = event.shiftKey ? LONG_NUDGE : NUDGE;
        nudge(...ARROWS[event.key].map((way) => way * far), event.repeat);
      } else if (event.key === "[" || event.key === "]") walk(event.key === "]" ? 1 : -1);
      else if (event.key === "Delete" || event.key === "Backspace") removePoint();
      else if (event.key === "+" || event.key === "=") grow(event.shiftKey && event.key !== "+" ? LONG_GROWTH : GROWTH);
      else if (event.key === "-" || event.key === "_") grow(1 / (event.shiftKey ? LONG_GROWTH : GROWTH));
      else if (event.key === "Escape") chips.children[person].focus();
      else return false;
      return true;
    }

    function onThumb(event) {
      const turn = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const ends = { Home: 0, End: thumbs.length - 1 }[event.key];
      if (!turn && ends === undefined) return false;
      const next = thumbs[ends ?? (thumbs.indexOf(event.target) + turn + thumbs.length) % thumbs.length];
      choosePose(next.dataset.pose);
      next.tabIndex = 0;
      next.focus();
      return true;
    }

    root.addEventListener(
      "keydown",
      (event) => {
        const chord = event.ctrlKey || event.metaKey;
        const letter = event.key.toLowerCase();
        if (chord && !event.altKey && (letter === "z" || letter === "y")) {
          if (letter === "y" || event.shiftKey) redo();
          else undo();
          event.preventDefault();
          event.stopPropagation();
          return;
        }
        if (chord || event.altKey) return;
        hovered = null; // the hand is on the keyboard now
        const mine = handles.contains(event.target) ? onHandle(event) : thumbs.includes(event.target) && onThumb(event);
        if (mine) event.preventDefault();
        // single keys are commands of the notebook's, such as deleting the cell; none of them was meant in here
        if (mine || (event.key !== "Tab" && event.key !== "Escape" && !/^F\d/.test(event.key))) event.stopPropagation();
      },
      { signal },
    );
    for (const [key, node] of Object.entries(buttons))
      node.addEventListener("click", () => key !== "undo" && key !== "redo" && able(), { signal });

    // ---- files dropped ----

    const carriesFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    for (const kind of ["dragenter", "dragover"])
      root.addEventListener(
        kind,
        (event) => {
          if (!carriesFile(event)) return;
          event.preventDefault();
          event.stopPropagation();
          curtain.hidden = false;
        },
        { signal },
      );
    root.addEventListener("dragleave", (event) => root.contains(event.relatedTarget) || (curtain.hidden = true), {
      signal,
    });
    root.addEventListener(
      "drop",
      (event) => {
        curtain.hidden = true;
        if (!carriesFile(event)) return;
        event.preventDefault();
        event.stopPropagation(); // JupyterLab would upload it
        takeFile(event.dataTransfer.files[0]);
      },
      { signal },
    );

    // ---- the model ----

    const listeners = {
      "change:value": fromOutside,
      "change:figures": fromPython,
      "change:backdrop": backdrop,
      "change:problem": () => complain(""),
      "change:texts": () => {
        for (const task of words) task();
        build();
      },
      "msg:custom": answered,
    };
    for (const [event, listener] of Object.entries(listeners)) model.on(event, listener);
    const measure = new ResizeObserver(() => people.length && place());
    measure.observe(svg);

    backdrop();
    complain("");
    fromPython();

    return () => {
      abort.abort();
      measure.disconnect();
      for (const [event, listener] of Object.entries(listeners)) model.off(event, listener);
      for (const url of Object.values(urls)) URL.revokeObjectURL(url);
    };
  },
};
