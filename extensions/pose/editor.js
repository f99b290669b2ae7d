// @ts-check
// The pose editor: people of 18 points, drawn as the ControlNet gets them and dragged into place.
//
// All dragging happens in the browser, so a busy kernel does not delay it; the value is sent when a drag ends. Python
// turns named poses into points, reads and writes OpenPose JSON, and answers with `figures`, which name the value that
// they belong to.

import {
  BODY, FACE, LEFT_HAND, RIGHT_HAND, BESIDE, at, boxOf, clamp, dragged, figureOf, fitted, grabbed, grown, handleAfter,
  handlePlace, handlesOf, has, indices, limbEllipse, mirrored, named, namePlace, names, newcomer, nextHandle, placeOf,
  posed, renamed, replaced, rgb, same, seen, stature, withLook, withMirror, withoutPoint, withPoint,
} from "./figures.js";
import { reached } from "zimage_kit/studio/js/kernel.js";
import { GROWTH, chordCommand, handleCommand, keptFromNotebook, poseReached } from "./keys.js";
import { UndoStack } from "./undo.js";

const SVG = "http://www.w3.org/2000/svg";
const PATIENCE = 700; // milliseconds until the editor says that the kernel is busy

// paths on a 24 x 24 grid
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

let editors = 0; // ids must be unique in the page

export default {
  render({ model, el }) {
    const abort = new AbortController();
    const { signal } = abort;
    const own = `zk-pose-${++editors}`;
    const anatomy = model.get("anatomy");
    const { limbs, colours, poses } = anatomy;

    // ---- state: `settled` is the last step, which undo goes back to; `people` is what is shown during a drag ----

    /** @type {{value: any, people: any[], size: [number, number]}} */
    let settled = { value: model.get("value"), people: [], size: /** @type {any} */ ([...model.get("size")]) };
    let people = [];
    let body = "adult";
    let origin = settled; // what reset goes back to: the value set from outside, or the pose last chosen by name
    const undoStack = new UndoStack();
    let person = 0; // the selected one
    /** @type {number | string} */
    let chosen = "move"; // their handle that has, or last had, the focus: a point, "move" or "size"
    let hovered = null;
    let drag = null;
    let asked = 0;

    const rest = () => poses.standing[body];
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

    /** One step that undo takes back. Consecutive steps of one `kind` count as one. */
    function step(value, list, said, kind = "") {
      undoStack.step(settled, kind);
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
      awaiting();
    }

    /** Whether what is shown is an estimate, until Python's figures for it come. */
    function awaiting() {
      const answered = same(model.get("figures").of, settled.value) || model.get("problem");
      root.dataset.estimate = String(!answered); // not aria-busy: what is said about a drag must be heard meanwhile
    }

    const edit = (list, said, kind) => step(asPeople(list), list, said, kind);

    /** A step to named poses. `list` is an estimate of their points, shown until Python sends the exact ones. */
    function stepNamed(value, list, said, kind) {
      origin = { value, people: list, size: settled.size };
      step(value, list, said, kind);
    }

    function travel(state, said) {
      if (!state) return;
      // for another size of picture the points come from Python
      settle(same(state.size, settled.size) ? state : { ...state, people, size: settled.size }, said);
    }

    const undo = () => drag || travel(undoStack.undo(settled), say("said_undone"));
    const redo = () => drag || travel(undoStack.redo(settled), say("said_redone"));

    function fromPython() {
      const found = model.get("figures");
      awaiting();
      if (drag || !found.people || !same(found.of, settled.value)) return;
      const shown = [settled.people, settled.size, body];
      settled = { value: settled.value, people: found.people, size: found.size };
      if (same(origin.value, settled.value)) origin = settled;
      body = found.body;
      people = found.people;
      person = clamp(person, 0, people.length - 1);
      // built anew only if something changed: the user may be about to grab one of these elements
      if (!same(shown, [people, settled.size, body])) build();
    }

    function fromOutside() {
      const value = model.get("value");
      if (same(value, settled.value)) return;
      undoStack.clear();
      settled = { ...settled, value };
      origin = settled;
      fromPython();
      if (people.length) panel();
    }

    // ---- commands ----

    const current = () => people[person];

    function choosePose(name) {
      const said = say("said_pose", { person: nameOf(person), pose: model.get("texts").presets[name] });
      const drawn = replaced(people, person, posed(current(), poses[name][body], settled.size, rest(), limbs));
      if (named(settled.value)) {
        stepNamed(renamed(settled.value, replaced(names(settled.value), person, name)), drawn, said, "pose");
      } else edit(drawn, said, "pose");
    }

    function addPerson() {
      const list = [...people, newcomer(people, settled.size, rest(), limbs)];
      person = people.length;
      chosen = "move";
      const said = say("said_added", { person: nameOf(person) });
      if (named(settled.value)) {
        stepNamed(renamed(settled.value, [...names(settled.value), "standing"]), list, said);
      } else edit(list, said);
    }

    function removePerson() {
      if (people.length < 2) return;
      const left = people.filter((_, index) => index !== person);
      const said = say("said_removed", { person: nameOf(person) });
      chosen = "move";
      if (named(settled.value)) {
        const others = names(settled.value).filter((_, index) => index !== person);
        stepNamed(renamed(settled.value, others), left, said);
      } else edit(left, said);
      chips.children[person]?.focus();
    }

    function removePoint() {
      if (typeof chosen !== "number" || !has(current()[BODY], chosen)) return;
      if (seen(current()).length === 1) return complain(say("said_last"));
      const [point, inside] = [chosen, handles.contains(document.activeElement)];
      const said = say("said_missing", { what: handleName(person, point) });
      chosen = handleAfter(current(), point);
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
      // a single named person stands in the middle: the stage's `mirror` gives the same, and the pose keeps its name
      if (named(settled.value) && people.length === 1) step(withMirror(settled.value), [turned], said);
      else edit(replaced(people, person, turned), said);
    }

    const sizeSaid = (one) =>
      say("said_size", { person: nameOf(person), percent: Math.round(100 * boxOf([one]).height) });

    function grow(factor, kind) {
      const larger = grown(current(), factor);
      edit(replaced(people, person, larger), sizeSaid(larger), kind);
    }

    const fitAll = () => edit(fitted(people, settled.size), say("said_fit"));

    function placeSaid(one, handle) {
      const [x, y] = handlePlace(one, handle, settled.size).map((fraction) => Math.round(100 * fraction));
      return say("at", { what: handleName(person, handle), x, y });
    }

    function nudge(dx, dy, repeated) {
      const kind = repeated ? `nudge ${person} ${chosen}` : "";
      if (chosen === "size") return grow(1 + dx - dy, kind);
      const one = dragged(current(), chosen, dx, dy, settled.size);
      edit(replaced(people, person, one), placeSaid(one, chosen), kind);
      if (!repeated) undoStack.join(`nudge ${person} ${chosen}`); // repeats of a held key join its first step
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
    const words = []; // tasks that write texts, run again when the language changes
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

    /** A slider in percent. */
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
    handles.dataset.takesEscape = ""; // Escape leaves a handle; elsewhere in the panel it cancels the running picture
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

    /** Body or height of named poses; the points come from Python. */
    const look = (changes, kind) => stepNamed(withLook(settled.value, changes), people, "", kind);

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
    buttons.load = button("load", viewRow, () => pictureFile.click());
    const unloading = button("unload", viewRow, unload);
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
          input.value = ""; // so that the same file can be chosen again
        },
        { signal },
      );
      return input;
    }

    // ---- the background ----

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
      unloading.hidden = !urls.loaded;
      if (!url) onBlack.checked = true;
      const shown = onPicture.checked;
      if (url) photo.setAttribute("href", url);
      else photo.removeAttribute("href");
      photo.style.display = shown ? "" : "none";
      photo.style.opacity = brightness.range.value / 100;
      brightness.label.hidden = !shown;
    }

    /** Takes the loaded picture away; behind it is the panel's last one, if there is one. */
    function unload() {
      URL.revokeObjectURL(urls.loaded);
      urls.loaded = "";
      scenery();
      buttons.load.focus();
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
      if (!reached(model, el, content)) return tell(say("said_gone"));
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
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser may read it after the click
    }

    const tell = (text) => (status.textContent = text);
    const complain = (text) => (alert.textContent = text || model.get("problem"));

    // ---- drawing ----

    /** A person as `skeleton.draw` draws them: limbs in order, then points. `thick` is half the width of a limb. */
    function figure(one, parent, [width, height], thick) {
      const flat = one[BODY];
      limbs.forEach(([a, b], number) => {
        if (!has(flat, a) || !has(flat, b)) return;
        const [from, to] = [at(flat, a), at(flat, b)].map(([x, y]) => [x * width, y * height]);
        const { degrees, ...ellipse } = limbEllipse(from, to);
        const transform = `rotate(${degrees} ${ellipse.cx} ${ellipse.cy})`;
        shape("ellipse", parent, { ...ellipse, ry: thick, fill: rgb(colours[number], 0.6), transform });
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

    /** Rebuild the handles after a step, since people or points may have come or gone. The focus stays where it was. */
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

    /** Move everything to its current place. Handles keep one size on the screen, whatever the size of the picture. */
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
        group.style.setProperty("--ring", `${clamp(tall / 52, 2.8, 6.5)}px`); // smaller on small people, so that they do not overlap
        for (const line of group.querySelectorAll(".zk-pose-limb")) {
          const [[x1, y1], [x2, y2]] = line.dataset.limb.split(",").map((point) => at(one[BODY], Number(point)));
          set(line, { x1: x1 * width, y1: y1 * height, x2: x2 * width, y2: y2 * height });
        }
        const first = index === person ? chosen : "move";
        for (const node of group.querySelectorAll(".zk-pose-handle")) {
          const handle = handleIn(node);
          const [x, y] = handlePlace(one, handle, settled.size);
          node.setAttribute("transform", `translate(${x * width} ${y * height}) scale(${px})`);
          node.setAttribute("tabindex", handle === first ? 0 : -1);
          node.classList.toggle("zk-pose-current", index === person && handle === chosen);
        }
      });
      name();
    }

    const handleIn = (node) => (/^\d+$/.test(node.dataset.handle) ? Number(node.dataset.handle) : node.dataset.handle);

    /** The name of what the pointer is over, or of what has the focus, beside it. */
    function name() {
      const focused = handles.contains(document.activeElement) ? { index: person, handle: chosen } : null;
      const about = drag?.taken ?? hovered ?? focused;
      handles.querySelector(".zk-pose-near")?.classList.remove("zk-pose-near");
      if (hovered && !drag) nodeOf(hovered.index, hovered.handle)?.classList.add("zk-pose-near");
      tag.textContent = about && people[about.index] ? handleName(about.index, about.handle) : "";
      if (!tag.textContent) return;
      const px = Number(svg.style.getPropertyValue("--px"));
      const where = handlePlace(people[about.index], about.handle, settled.size);
      set(tag, { ...namePlace(where, settled.size, px), "font-size": 13 * px, "stroke-width": 3.5 * px });
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
        undo: !undoStack.past.length,
        redo: !undoStack.future.length,
        remove_point: typeof chosen !== "number",
        remove_person: people.length < 2,
        reset: same(settled.value, origin.value),
      };
      // not `disabled`: a button that has just been pressed would lose the focus
      for (const [key, is] of Object.entries(off)) buttons[key].setAttribute("aria-disabled", is);
    }

    function choose(index, handle) {
      if (index !== person || handle !== chosen) undoStack.join();
      const other = index !== person;
      person = index;
      chosen = handle;
      if (other) panel();
      else able();
      place();
    }

    // ---- pointer ----

    /** The pointer in pixels of the picture. @returns {[number, number]} */
    function pointer(event) {
      const [x, y] = [event.clientX, event.clientY];
      const place = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM().inverse());
      return [place.x, place.y];
    }

    function under(event) {
      const px = Number(svg.style.getPropertyValue("--px")); // of the picture in one of the screen
      return grabbed(people, pointer(event), settled.size, px, limbs, event.pointerType, { person, handle: chosen });
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
      people = replaced(people, person, dragged(drag.start, chosen, dx, dy, settled.size));
      place();
    }

    function release(event) {
      if (!drag || event.pointerId !== drag.id) return;
      const { gone } = drag;
      stopDragging();
      if (gone) edit(people, chosen === "size" ? sizeSaid(current()) : placeSaid(current(), chosen));
      else fromPython(); // an answer may have arrived during the drag
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
    // a finger that drags a figure must not scroll the page; touch-action cannot be set on parts of a drawing
    svg.addEventListener("touchstart", (event) => drag && event.preventDefault(), { signal, passive: false });
    svg.addEventListener("pointermove", pull, { signal });
    svg.addEventListener("pointerup", release, { signal });
    svg.addEventListener("pointercancel", letGo, { signal });
    svg.addEventListener("lostpointercapture", letGo, { signal });
    svg.addEventListener("pointerleave", () => ((hovered = null), name()), { signal });
    // on the stage, not the SVG element: Chromium makes an SVG element with focus listeners a tab stop
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

    function walk(by) {
      choose(person, nextHandle(current(), chosen, by));
      focusHandle();
    }

    /** True for a key that was meant for the handle that has the focus. */
    function onHandle(event) {
      if (drag) {
        if (event.key === "Escape") letGo();
        return true; // other keys wait until the drag ends
      }
      const [command, ...arguments_] = handleCommand(event) ?? [];
      const acts = {
        nudge: (dx, dy) => nudge(dx, dy, event.repeat),
        walk,
        remove: removePoint,
        grow: (factor) => grow(factor),
        leave: () => chips.children[person].focus(),
      };
      acts[command]?.(...arguments_);
      return command !== undefined;
    }

    function onThumb(event) {
      const reached = poseReached(event.key, thumbs.indexOf(event.target), thumbs.length);
      if (reached === null) return false;
      const next = thumbs[reached];
      choosePose(next.dataset.pose);
      next.tabIndex = 0;
      next.focus();
      return true;
    }

    root.addEventListener(
      "keydown",
      (event) => {
        const chord = chordCommand(event);
        if (chord) {
          if (chord === "redo") redo();
          else undo();
          event.preventDefault();
          event.stopPropagation();
          return;
        }
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        hovered = null; // the keyboard is in use now, not the pointer
        const mine = handles.contains(event.target) ? onHandle(event) : thumbs.includes(event.target) && onThumb(event);
        if (mine) event.preventDefault();
        if (mine || keptFromNotebook(event.key)) event.stopPropagation();
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
      "change:problem": () => (complain(""), awaiting()),
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
