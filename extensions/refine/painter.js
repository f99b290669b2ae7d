// @ts-check
// The mask painter: paint what is to be drawn again over the picture, by mouse, pen, finger or keyboard.
//
// All painting happens in the browser, so a busy kernel does not delay it. After each step the whole mask goes to
// Python, packed; Python keeps it and answers with the step's number. `drawn` is the mask that Python has: it comes
// back after a reload of the page, and is shown when it was set from outside.

import { button, disable, make, set, unusable, write } from "zimage_kit/studio/js/dom.js";
import { reached } from "zimage_kit/studio/js/kernel.js";
import { fill as filled } from "zimage_kit/studio/js/words.js";
import {
  History, clamp, empty, feathered, fill, invert, packed, polygon, rectangle, resized, share, stroke, unpacked, whole,
} from "./mask_pixels.js";
import {
  FITTED, brushAt, chordCommand, keptFromNotebook, keyCommand, maskSize, panned, placeAt, placeOf, showing, windowAt, zoomed,
} from "./mask_view.js";

/** @typedef {import("./mask_pixels.js").Mask} Mask */
/** @typedef {import("./mask_pixels.js").Point} Point */
/** @typedef {any} Model anywidget's */

const SVG = "http://www.w3.org/2000/svg";
const FEATHER = 8; // the stage's default
const PATIENCE = 700; // milliseconds until it says that the kernel is busy
const STRIPES = [[255, 45, 120, 0.62], [255, 222, 233, 0.45]]; // red, green, blue, opacity
const TOOLS = ["brush", "eraser", "rectangle", "lasso", "fill"];

// paths on a 24 x 24 grid
/** @type {Record<string, string>} */
const ICONS = {
  brush: "M20 4 10.5 13.5M8.5 13a3.5 3.5 0 0 1 3.3 4.6C11 20 7.5 20.5 4 20c1.6-1 1.2-2.4 1.4-3.8A3.4 3.4 0 0 1 8.5 13z",
  eraser: "M9 20h11M4.5 15.5 14 6l5.5 5.5L12 19H8zM9.5 10.5 15 16",
  rectangle: "M4.5 6h15v12h-15z",
  lasso: "M12 5c4.7 0 8 2.3 8 5.3s-3.3 5.4-8 5.4-8-2.3-8-5.4S7.3 5 12 5zM7 14.6c-1.8 1-1.5 3 .6 3.2 1.8.2 2.2 1.6 1 2.7",
  fill: "M11 3.5 4.5 11a1.5 1.5 0 0 0 0 2l5.5 5a1.5 1.5 0 0 0 2 0l7-7zM5 12h12.5M20 15.5c1.2 1.8 1.5 2.6 1.5 3.2a1.5 1.5 0 0 1-3 0c0-.6.3-1.4 1.5-3.2z",
  undo: "M8 4.5 3.5 9 8 13.5M4 9h10a5.25 5.25 0 0 1 0 10.5H8.5",
  redo: "M16 4.5 20.5 9 16 13.5M20 9H10a5.25 5.25 0 0 0 0 10.5h5.5",
  invert: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16M10.3 5v14M8.6 5.5v13M6.9 6.7v10.6M5.4 8.6v6.8",
  clear: "M4.5 7h15M9.5 7V4.5h5V7M7 7l.8 13h8.4L17 7",
  farther: "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM15.5 15.5 20.5 20.5M7.5 10.5h6",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  nearer: "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM15.5 15.5 20.5 20.5M7.5 10.5h6M10.5 7.5v6",
};

let painters = 0; // ids must be unique in the page

export default {
  /** @param {{ model: Model, el: HTMLElement }} context */
  render({ model, el }) {
    const abort = new AbortController();
    const { signal } = abort;
    const own = `zk-mask-${++painters}`;
    const history = new History();

    /** @type {[number, number] | null} */
    let shape = null; // of the backdrop
    let mask = empty(...maskSize(model.get("size"), shape));
    let view = FITTED;
    let tool = "brush";
    let size = 50; // the slider's place of the brush
    let soft = false;
    let [sent, kept] = [0, 0];
    /** @type {Point} */
    let cross = [0.5, 0.5]; // where the keyboard paints, in fractions of the picture
    /** @type {{ start: ArrayBuffer, last: Point, points: Point[], erase: boolean, tool: string, pointer: number } | null} */
    let drawing = null;
    /** @type {Map<number, Point>} */
    const fingers = new Map(); // fingers on the picture, in fractions of the window
    let pinching = false;
    /** @type {{ pointer: number, at: Point } | null} */
    let dragging = null; // the picture, with the middle button

    /** @param {string} key @param {Record<string, unknown>} [values] */
    const say = (key, values = {}) => filled(model.get("texts")[key] ?? key, values);
    const percent = () => {
      const exact = 100 * share(mask);
      return exact > 0 && exact < 1 ? "< 1" : String(Math.round(exact));
    };

    // ---- elements ----

    el.classList.add("zk-mask-widget");
    const root = make("div", "zk-mask", el);
    set(root, "role", "group");
    /** @type {(() => void)[]} */
    const words = []; // tasks that write texts, run again when the language changes
    const spoken = (/** @type {() => void} */ task) => (words.push(task), task());

    const bar = make("div", "zk-mask-bar", root);
    set(bar, "role", "toolbar");
    /** @type {Record<string, HTMLButtonElement>} */
    const buttons = {};
    for (const group of [TOOLS, ["undo", "redo", "invert", "clear"], ["farther", "fit", "nearer"]]) {
      const part = make("span", "zk-mask-group", bar);
      for (const key of group) {
        const node = (buttons[key] = button("zk-mask-button", part));
        node.dataset.do = key;
        const drawing_ = document.createElementNS(SVG, "svg");
        const path = document.createElementNS(SVG, "path");
        for (const [name, value] of [["viewBox", "0 0 24 24"], ["aria-hidden", "true"]]) drawing_.setAttribute(name, value);
        path.setAttribute("d", ICONS[key]);
        drawing_.append(path);
        node.append(drawing_);
        spoken(() => {
          node.title = say(key);
          set(node, "aria-label", say(key));
        });
        node.addEventListener("click", () => unusable(node) || act(key), { signal });
      }
    }

    const stage = make("div", "zk-mask-stage", root);
    stage.tabIndex = 0;
    stage.dataset.takesEscape = ""; // Escape ends a line; elsewhere in the panel it cancels the running picture
    set(stage, "role", "application");
    set(stage, "aria-describedby", `${own}-hint ${own}-keys`);
    const plane = make("div", "zk-mask-plane", stage);
    const photo = make("img", "zk-mask-photo", plane);
    photo.alt = "";
    photo.draggable = false;
    const canvas = make("canvas", "zk-mask-canvas", plane);
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const lines = document.createElementNS(SVG, "svg");
    lines.setAttribute("class", "zk-mask-lines");
    lines.setAttribute("preserveAspectRatio", "none");
    lines.setAttribute("viewBox", "0 0 1 1");
    const outlines = ["zk-mask-under", "zk-mask-over"].map((name) => {
      const line = document.createElementNS(SVG, "polygon");
      line.setAttribute("class", name);
      lines.append(line);
      return line;
    });
    plane.append(lines);
    const ring = make("div", "zk-mask-ring", stage);
    const target = make("div", "zk-mask-cross", stage);
    const curtain = make("div", "zk-mask-drop", stage);
    curtain.hidden = true;
    const alert = make("div", "zk-mask-alert", root);
    set(alert, "role", "alert");
    const status = make("div", "zk-mask-status", root);
    set(status, "role", "status");

    const controls = make("div", "zk-mask-row", root);
    /** @param {string} key @param {number} most @param {(value: number) => string} shows @param {(value: number, done: boolean) => void} changed */
    function slider(key, most, shows, changed) {
      const label = make("label", "zk-mask-slider", controls);
      const text = make("span", "zk-mask-label", label);
      const range = make("input", "", label);
      Object.assign(range, { type: "range", min: "0", max: String(most), step: "1" });
      const shown = make("span", "zk-mask-number", label);
      set(shown, "aria-hidden", "true");
      spoken(() => write(text, say(key)));
      const show = (/** @type {number} */ value) => {
        range.value = String(value);
        write(shown, shows(value));
        set(range, "aria-valuetext", shows(value));
      };
      for (const kind of ["input", "change"])
        range.addEventListener(kind, () => (show(range.valueAsNumber), changed(range.valueAsNumber, kind === "change")), { signal });
      return { range, show };
    }
    const pixels = (/** @type {number} */ place) => Math.max(1, Math.round(2 * brushAt(place) * Math.min(...model.get("size"))));
    const sizes = slider("size", 100, (place) => `${pixels(place)} px`, (place) => resize(place));
    const feathers = slider("feather", 128, (value) => `${value} px`, (value, done) => {
      if (soft) paint();
      if (done) tellFeather(value);
    });
    const choice = make("label", "zk-mask-choice", controls);
    const preview = make("input", "", choice);
    preview.type = "checkbox";
    const previewText = make("span", "", choice);
    preview.addEventListener("change", () => ((soft = preview.checked), paint()), { signal });

    const files = make("div", "zk-mask-row", root);
    const chooser = make("input", "", files);
    Object.assign(chooser, { type: "file", accept: "image/*", hidden: true, tabIndex: -1 });
    for (const [key, click] of /** @type {[string, () => void][]} */ ([["load", () => chooser.click()], ["save", save]])) {
      const node = button("zk-mask-text", files);
      spoken(() => write(node, say(key)));
      node.addEventListener("click", click, { signal });
    }
    chooser.addEventListener("change", () => {
      if (chooser.files?.[0]) load(chooser.files[0]);
      chooser.value = ""; // so that the same file can be chosen again
    }, { signal });

    const hint = make("p", "zk-mask-hint", root);
    hint.id = `${own}-hint`;
    const keys = make("details", "zk-mask-hint", root);
    const summary = make("summary", "", keys);
    const keyTexts = make("p", "", keys);
    keyTexts.id = `${own}-keys`;
    spoken(() => {
      set(root, "aria-label", say("label"));
      set(bar, "aria-label", say("tools"));
      set(stage, "aria-label", say("stage"));
      write(curtain, say("drop"));
      write(hint, say("hint"));
      write(summary, say("keyboard"));
      write(keyTexts, say("keys"));
      write(previewText, say("preview"));
    });

    const tell = (/** @type {string} */ text) => write(status, text);
    const complain = (/** @type {string} */ text) => write(alert, text || model.get("problem"));

    // ---- what is shown ----

    /** The mask over the picture, hatched so that it is seen on any colour. @param {import("./mask_pixels.js").Rect} [rect] */
    function paint(rect = whole(mask)) {
      const [width, height] = [rect.right - rect.left, rect.bottom - rect.top];
      if (width <= 0 || height <= 0) return;
      const image = context.createImageData(width, height);
      const levels = soft && !drawing ? feathered(mask, (feathers.range.valueAsNumber * mask.width) / model.get("size")[0]) : null;
      const hatch = Math.max(2, Math.round(Math.min(mask.width, mask.height) / 64));
      for (let y = 0, to = 0; y < height; y++)
        for (let x = 0; x < width; x++, to += 4) {
          const [column, row] = [rect.left + x, rect.top + y];
          const from = row * mask.width + column;
          const level = levels ? 0.2 * mask.data[from] + 0.8 * levels.data[from] : mask.data[from];
          const [red, green, blue, opacity] = STRIPES[Math.floor((column + row) / hatch) % 2];
          image.data[to] = red;
          image.data[to + 1] = green;
          image.data[to + 2] = blue;
          image.data[to + 3] = level * opacity;
        }
      context.putImageData(image, rect.left, rect.top);
    }

    /** Everything anew, after a change of the mask's size too. */
    function build() {
      if (canvas.width !== mask.width || canvas.height !== mask.height) [canvas.width, canvas.height] = [mask.width, mask.height];
      root.style.setProperty("--aspect", String(mask.width / mask.height));
      paint();
      place();
      able();
    }

    function place() {
      const { zoom, x, y } = view;
      plane.style.transform = `scale(${zoom}) translate(${-100 * x}%, ${-100 * y}%)`;
      stage.style.setProperty("--zoom", String(zoom));
      const [u, v] = windowAt(view, cross);
      Object.assign(target.style, { left: `${100 * u}%`, top: `${100 * v}%` });
      stage.dataset.tool = tool;
      const across = (2 * brushAt(size) * Math.min(mask.width, mask.height) * zoom * stage.clientWidth) / mask.width;
      stage.style.setProperty("--brush", `${across}px`);
    }

    function able() {
      for (const each of TOOLS) set(buttons[each], "aria-pressed", each === tool);
      disable(buttons.undo, !history.past.length);
      disable(buttons.redo, !history.future.length);
      disable(buttons.clear, !mask.data.some(Boolean));
      disable(buttons.fit, view.zoom === 1);
      disable(buttons.farther, view.zoom === 1);
    }

    const outline = (/** @type {Point[]} */ points) => {
      const text = points.map(([x, y]) => `${x / mask.width},${y / mask.height}`).join(" ");
      for (const line of outlines) line.setAttribute("points", text);
    };

    // ---- steps ----

    /** One step that undo takes back. @param {ArrayBuffer} before @param {string} said */
    function step(before, said) {
      history.step(before);
      paint();
      done(said);
    }

    /** @param {string} said */
    function done(said) {
      complain("");
      able();
      tell(`${said} ${say("share", { percent: percent() })}`.trim());
      const content = packed(mask);
      send({ do: "paint" }, [content]);
    }

    /** @param {Record<string, unknown>} content @param {ArrayBuffer[]} [buffers] */
    function send(content, buffers = []) {
      const number = ++sent;
      if (!reached(model, el, { ...content, number }, buffers)) return tell(say("said_gone"));
      setTimeout(() => kept < number && !signal.aborted && tell(say("said_waiting")), PATIENCE);
    }

    /** @param {(before: ArrayBuffer) => void} change @param {string} said */
    function change(change, said) {
      const before = packed(mask);
      change(before);
      step(before, said);
    }

    /** @param {ArrayBuffer | undefined} state @param {string} said */
    function travel(state, said) {
      if (!state) return;
      mask = resized(unpacked(state), mask.width, mask.height); // it may be of a picture of another size
      paint();
      done(said);
    }

    /** @type {Record<string, () => void>} */
    const commands = {
      undo: () => drawing || travel(history.undo(packed(mask)), say("said_undone")),
      redo: () => drawing || travel(history.redo(packed(mask)), say("said_redone")),
      invert: () => change(() => invert(mask), say("said_inverted")),
      clear: () => mask.data.some(Boolean) && change(() => mask.data.fill(0), say("said_cleared")),
      fit: () => look(FITTED),
      nearer: () => look(zoomed(view, 1.5)),
      farther: () => look(zoomed(view, 1 / 1.5)),
    };

    /** @param {string} key of a button */
    function act(key) {
      if (TOOLS.includes(key)) choose(key);
      else if (!drawing) commands[key]();
    }

    /** @param {string} which */
    function choose(which) {
      if (drawing) abandon();
      tool = which;
      able();
      place();
      tell(say(which));
    }

    /** @param {import("./mask_view.js").View} next */
    function look(next) {
      if (view.zoom !== next.zoom) tell(say("said_zoom", { percent: Math.round(100 * next.zoom) }));
      view = next;
      place();
      able();
    }

    /** @param {number} to */
    function resize(to) {
      size = clamp(to, 0, 100);
      sizes.show(Math.round(size));
      place();
    }

    /** @param {number} value */
    function tellFeather(value) {
      complain("");
      send({ do: "feather", feather: value });
    }

    // ---- lines, from their begin to their end ----

    const radius = () => brushAt(size) * Math.min(mask.width, mask.height);

    /** @param {Point} at in pixels of the mask @param {number} pointer */
    function begin(at, pointer, erase = tool === "eraser") {
      if (tool === "fill") {
        let painted = true;
        change(() => (painted = fill(mask, at)), "");
        tell(`${say(painted ? "said_filled" : "said_emptied")} ${say("share", { percent: percent() })}`);
        return;
      }
      drawing = { start: packed(mask), last: at, points: [at], erase, tool, pointer };
      if (tool === "brush" || tool === "eraser") paint(stroke(mask, at, at, radius(), erase));
      else outline([at]);
    }

    /** @param {Point} at @param {number} [pressure] of a pen */
    function draw(at, pressure = 1) {
      if (!drawing) return;
      if (drawing.tool === "rectangle") {
        const [x, y] = drawing.points[0];
        drawing.points = [[x, y], [at[0], y], at, [x, at[1]]];
        outline(drawing.points);
      } else if (drawing.tool === "lasso") {
        drawing.points.push(at);
        outline(drawing.points);
      } else paint(stroke(mask, drawing.last, at, radius() * pressure, drawing.erase));
      drawing.last = at;
    }

    function finish() {
      if (!drawing) return;
      const { start, points, erase } = drawing;
      const line = drawing.tool === "lasso" || drawing.tool === "rectangle";
      if (drawing.tool === "rectangle" && points.length > 2) rectangle(mask, points[0], points[2], erase);
      if (drawing.tool === "lasso") polygon(mask, points, erase);
      drawing = null;
      outline([]);
      if (line && points.length < 3) return paint();
      step(start, say(erase ? "said_erased" : "said_painted"));
    }

    /** Take back what was begun. */
    function abandon() {
      if (!drawing) return;
      mask = unpacked(drawing.start);
      drawing = null;
      outline([]);
      paint();
    }

    // ---- pointer ----

    /** In fractions of the window. @param {{ clientX: number, clientY: number }} event @returns {Point} */
    function windowOf(event) {
      const box = stage.getBoundingClientRect();
      return [(event.clientX - box.left - stage.clientLeft) / stage.clientWidth, (event.clientY - box.top - stage.clientTop) / stage.clientHeight];
    }

    /** @param {Point} place in fractions of the window @returns {Point} in pixels of the mask */
    function pixelAt(place) {
      const [x, y] = placeAt(view, ...place);
      return [x * mask.width, y * mask.height];
    }

    /** @param {PointerEvent} event */
    function press(event) {
      const at = windowOf(event);
      if (event.pointerType === "touch") {
        fingers.set(event.pointerId, at);
        if (fingers.size > 1) {
          abandon();
          pinching = true;
          return;
        }
      }
      if (event.button === 1) {
        event.preventDefault();
        dragging = { pointer: event.pointerId, at };
      } else if (event.button !== 0 || drawing || pinching) return;
      else begin(pixelAt(at), event.pointerId);
      stage.setPointerCapture(event.pointerId);
    }

    /** @param {PointerEvent} event */
    function move(event) {
      const at = windowOf(event);
      stage.dataset.pointer = event.pointerType;
      Object.assign(ring.style, { left: `${100 * at[0]}%`, top: `${100 * at[1]}%` });
      if (pinching && fingers.has(event.pointerId)) return pinch(event.pointerId, at);
      if (dragging?.pointer === event.pointerId) {
        view = panned(view, at[0] - dragging.at[0], at[1] - dragging.at[1]);
        dragging.at = at;
        return place();
      }
      if (drawing?.pointer !== event.pointerId) return;
      const all = event.getCoalescedEvents?.() ?? [];
      for (const each of all.length ? all : [event])
        draw(pixelAt(windowOf(each)), each.pointerType === "pen" && each.pressure ? 0.3 + 0.7 * each.pressure : 1);
    }

    /** Two fingers move and zoom the picture. @param {number} finger @param {Point} at */
    function pinch(finger, at) {
      const [before, other] = [fingers.get(finger) ?? at, [...fingers].find(([id]) => id !== finger)?.[1] ?? at];
      const far = (/** @type {Point} */ one) => Math.hypot((one[0] - other[0]) * stage.clientWidth, (one[1] - other[1]) * stage.clientHeight);
      const middle = /** @type {Point} */ ([(at[0] + other[0]) / 2, (at[1] + other[1]) / 2]);
      view = panned(view, (at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
      view = zoomed(view, far(at) / Math.max(1, far(before)), ...middle);
      fingers.set(finger, at);
      place();
      able();
    }

    /** @param {PointerEvent} event */
    function release(event) {
      fingers.delete(event.pointerId);
      if (!fingers.size) pinching = false;
      if (dragging?.pointer === event.pointerId) dragging = null;
      if (drawing?.pointer === event.pointerId) finish();
    }

    /** @param {PointerEvent} event */
    function lost(event) {
      fingers.delete(event.pointerId);
      if (!fingers.size) pinching = false;
      if (drawing?.pointer === event.pointerId) abandon();
    }

    stage.addEventListener("pointerdown", press, { signal });
    stage.addEventListener("pointermove", move, { signal });
    stage.addEventListener("pointerup", release, { signal });
    stage.addEventListener("pointercancel", lost, { signal });
    stage.addEventListener("lostpointercapture", lost, { signal });
    stage.addEventListener("pointerleave", () => drawing || delete stage.dataset.pointer, { signal });
    stage.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
      event.preventDefault();
      look(zoomed(view, Math.exp(-event.deltaY / 300), ...windowOf(event)));
    }, { signal, passive: false });

    // ---- keyboard ----

    const KEYBOARD = -1; // as a pointer
    const crossed = () => /** @type {Point} */ ([cross[0] * mask.width, cross[1] * mask.height]);

    /** @type {Record<string, (...values: any[]) => void>} */
    const keyActs = {
      move: (dx, dy) => {
        cross = [clamp(cross[0] + dx / view.zoom, 0, 1), clamp(cross[1] + dy / view.zoom, 0, 1)];
        view = showing(view, cross);
        const line = drawing?.pointer === KEYBOARD;
        if (line && drawing?.tool !== "lasso") draw(crossed());
        place();
        if (!line) tell(say("at", { x: Math.round(100 * cross[0]), y: Math.round(100 * cross[1]) }));
      },
      tool: choose,
      size: (by) => {
        resize(size + by);
        tell(say("said_size", { pixels: pixels(size) }));
      },
      zoom: (factor) => look(showing(zoomed(view, factor, ...windowAt(view, cross)), cross)),
      press: () => {
        if (!drawing) begin(crossed(), KEYBOARD);
        else if (drawing.tool === "lasso") draw(crossed());
        else if (drawing.tool === "rectangle") finish();
      },
      finish,
      leave: () => (drawing ? abandon() : buttons[tool].focus()),
      fit: commands.fit,
      invert: () => drawing || commands.invert(),
      clear: () => drawing || commands.clear(),
    };

    root.addEventListener("keydown", (event) => {
      const chord = chordCommand(event);
      if (chord) {
        commands[chord]();
        event.preventDefault();
        event.stopPropagation();
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target === stage) {
        const [command, ...values] = keyCommand(event) ?? [];
        delete stage.dataset.pointer; // the keyboard is in use now
        if (command && !(event.repeat && (command === "press" || command === "invert"))) keyActs[command](...values);
        if (command) event.preventDefault();
      }
      if (keptFromNotebook(event.key)) event.stopPropagation();
    }, { signal });
    stage.addEventListener("keyup", (event) => {
      if (event.key === " " && drawing?.pointer === KEYBOARD && (drawing.tool === "brush" || drawing.tool === "eraser")) finish();
    }, { signal });
    stage.addEventListener("blur", () => drawing?.pointer === KEYBOARD && finish(), { signal });

    // ---- files ----

    /** @param {File} file */
    async function load(file) {
      complain("");
      let picture;
      try {
        picture = await createImageBitmap(file);
      } catch {
        return complain(say("not_a_picture", { name: file.name }));
      }
      if (signal.aborted) return;
      const page = make("canvas");
      [page.width, page.height] = [mask.width, mask.height];
      const pen = /** @type {CanvasRenderingContext2D} */ (page.getContext("2d"));
      pen.fillRect(0, 0, page.width, page.height); // what is transparent is not painted
      pen.drawImage(picture, 0, 0, page.width, page.height);
      const { data } = pen.getImageData(0, 0, page.width, page.height);
      const stretched = Math.abs(Math.log((picture.width * mask.height) / (picture.height * mask.width))) > 0.02;
      change(() => {
        for (let at = 0; at < mask.data.length; at++)
          mask.data[at] = Math.round(0.299 * data[4 * at] + 0.587 * data[4 * at + 1] + 0.114 * data[4 * at + 2]);
      }, say(stretched ? "said_stretched" : "said_loaded", { name: file.name }));
    }

    function save() {
      const page = make("canvas");
      [page.width, page.height] = [mask.width, mask.height];
      const pen = /** @type {CanvasRenderingContext2D} */ (page.getContext("2d"));
      const image = pen.createImageData(mask.width, mask.height);
      mask.data.forEach((level, at) => image.data.set([level, level, level, 255], 4 * at));
      pen.putImageData(image, 0, 0);
      page.toBlob((blob) => {
        if (!blob) return;
        const link = make("a");
        link.href = URL.createObjectURL(blob);
        link.download = "mask.png";
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser may read it after the click
      }, "image/png");
    }

    const carries = (/** @type {DragEvent} */ event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    for (const kind of /** @type {const} */ (["dragenter", "dragover", "drop"]))
      root.addEventListener(kind, (event) => {
        if (!carries(event)) return;
        event.preventDefault();
        event.stopPropagation(); // JupyterLab would upload it
        curtain.hidden = kind === "drop";
        if (kind === "drop" && event.dataTransfer?.files[0]) load(event.dataTransfer.files[0]);
      }, { signal });
    root.addEventListener("dragleave", (event) => {
      if (!root.contains(/** @type {Node | null} */ (event.relatedTarget))) curtain.hidden = true;
    }, { signal });

    // ---- the model ----

    /** What Python has, unless a step of ours is on its way there. */
    function fromPython() {
      if (drawing || kept < sent) return;
      const drawn = /** @type {DataView} */ (model.get("drawn"));
      const size_ = maskSize(model.get("size"), shape);
      mask = drawn?.byteLength ? resized(unpacked(drawn), ...size_) : empty(...size_);
      build();
    }

    /** The mask follows the size and the shape of the picture: it is scaled to it. */
    function fitted() {
      const [width, height] = maskSize(model.get("size"), shape);
      sizes.show(Math.round(size));
      if (mask.width === width && mask.height === height) return build();
      abandon();
      const other = Math.abs(Math.log((mask.width * height) / (mask.height * width))) > 0.02 && mask.data.some(Boolean);
      mask = resized(mask, width, height);
      view = FITTED;
      build();
      if (other) tell(say("said_scaled"));
    }

    let url = "";
    function backdrop() {
      const bytes = model.get("backdrop");
      URL.revokeObjectURL(url);
      url = bytes?.byteLength ? URL.createObjectURL(new Blob([bytes])) : "";
      photo.hidden = !url;
      shape = null;
      if (url) photo.src = url;
      else {
        photo.removeAttribute("src");
        fitted();
      }
    }
    photo.addEventListener("load", () => {
      shape = [photo.naturalWidth, photo.naturalHeight];
      fitted();
    }, { signal });

    const feather = () => {
      const value = model.get("value").feather ?? FEATHER;
      feathers.range.max = String(Math.max(128, value));
      feathers.show(value);
      if (soft) paint();
    };

    /** @type {Record<string, (...given: any[]) => void>} */
    const listeners = {
      "change:drawn": fromPython,
      "change:value": feather,
      "change:size": fitted,
      "change:backdrop": backdrop,
      "change:problem": () => complain(""),
      "change:texts": () => {
        words.forEach((task) => task());
        tell("");
      },
      "msg:custom": (content) => {
        if (content.do !== "kept") return;
        kept = Math.max(kept, content.number ?? 0);
        if (status.textContent === say("said_waiting")) tell("");
        if (content.failed) complain(say("not_kept", { reason: content.failed }));
      },
    };
    for (const [event, listener] of Object.entries(listeners)) model.on(event, listener);
    const watch = new ResizeObserver(place);
    watch.observe(stage);

    resize(size);
    feather();
    complain("");
    backdrop();
    fromPython();

    return () => {
      abort.abort();
      watch.disconnect();
      for (const [event, listener] of Object.entries(listeners)) model.off(event, listener);
      URL.revokeObjectURL(url);
    };
  },
};
