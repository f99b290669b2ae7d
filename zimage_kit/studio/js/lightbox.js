// @ts-check
// One picture over the whole page, with its neighbours, zoom, before and after, recipe and notes. The panel's viewer,
// grids, their web pages and the library open it; what is special to one of them comes with its source.

import { button, disable, make, set, unusable, write } from "./dom.js";
import { fill } from "./words.js";
import { command, fitting, held, pinched, swiped, wheeled, whole, zoomed } from "./zoom.js";

const PATIENCE = 500; // milliseconds until it says that the full picture is still to come
const TAPS = { apart: 24, within: 320 }; // pixels and milliseconds between two taps that are one double tap
const STEP = 0.15; // of the frame, for a key that moves an enlarged picture

/**
 * @typedef {object} Item What is known of a picture now.
 * @property {string} url "" where there is none to show
 * @property {boolean} [rough] only a small one so far
 * @property {string} [alt]
 * @property {string} [label] its heading
 * @property {string} [caption] a line below
 * @property {string} [status] why there is none, or how far it is; read out
 * @property {string} [before] a picture to compare with, shown while B is held
 * @property {() => Promise<string>} [earlier] brings that, the first time somebody wants to see it
 * @property {string | [string, string][] | ((parent: HTMLElement) => void)} [recipe] JSON, names and values, or who writes it
 * @property {string[]} [notes] the trace's
 * @property {() => Promise<Partial<Item>>} [load] asked once, when it is shown: brings the full picture
 *
 * @typedef {object} Source
 * @property {number} count
 * @property {(index: number) => Item} at
 * @property {(index: number, key: string) => number | null} [next] where an arrow leads; by default back and forth
 * @property {(index: number) => void} [shown]
 * @property {(event: KeyboardEvent, index: number) => boolean} [key] keys of its own, asked first; true: it was one
 * @property {[string, string][]} [keys] them, and what they do, for the help
 * @property {{sign: string, label: string, does: (index: number) => void, pressed?: (index: number) => boolean}[]} [actions]
 * @property {(index: number, foot: HTMLElement) => void} [foot] writes beside the caption
 * @property {(index: number) => HTMLElement | null | undefined} [back] what has the focus afterwards
 * @property {boolean} [sheet] the recipe is open from the start
 */

/**
 * The dialog, in `root`. `text` gives the words of the section `lightbox`.
 * @param {HTMLElement} root
 * @param {{text: (key: string) => string, signal?: AbortSignal}} options
 */
export function lightbox(root, { text, signal }) {
  const dialog = make("dialog", "zk-lightbox", root);
  dialog.tabIndex = -1;
  dialog.dataset.lmSuppressShortcuts = "true";
  const head = make("div", "zk-lightbox-head", dialog);
  const title = make("h2", "zk-lightbox-title", head);
  title.id = `zk-lightbox-${Math.random().toString(36).slice(2)}`;
  dialog.setAttribute("aria-labelledby", title.id);
  const tools = make("div", "zk-lightbox-tools", head);
  tools.setAttribute("role", "toolbar");
  const own = make("span", "zk-lightbox-own", tools); // the source's actions
  const body = make("div", "zk-lightbox-body", dialog);
  const stage = make("div", "zk-lightbox-stage", body);
  const image = make("img", "", stage);
  image.draggable = false;
  const problem = make("p", "zk-lightbox-problem", stage);
  const sheet = make("aside", "zk-lightbox-sheet", body);
  sheet.tabIndex = 0;
  const foot = make("div", "zk-lightbox-foot", dialog);
  const place = make("span", "zk-lightbox-place", foot);
  const caption = make("span", "", foot);
  const slot = make("span", "zk-lightbox-slot", foot);
  const status = make("span", "zk-lightbox-status", foot);
  status.setAttribute("role", "status");

  /** @type {Source} */
  let source = { count: 0, at: () => ({ url: "" }) };
  /** @type {Item} */
  let item = { url: "" };
  let index = 0;
  let view = { scale: 1, x: 0, y: 0 };
  let fits = true;
  let size = { width: 1, height: 1 }; // of the picture as it is loaded
  /** @type {"" | "info" | "keys"} */
  let open = ""; // the sheet
  let before = false;
  let coming = -1; // the picture whose `earlier` is on its way
  let late = false;
  /** @type {Map<number, Partial<Item> | null>} */
  let loaded = new Map(); // null: on its way
  let opening = 0; // an answer to an earlier one is not for this
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {Element | null} */
  let opener = null;

  // ---- buttons ----

  function control(sign, does, parent = /** @type {HTMLElement} */ (tools)) {
    const made = button("zk-lightbox-button", parent);
    made.textContent = sign;
    made.addEventListener("click", () => { if (!unusable(made)) does(); }, { signal });
    return made;
  }
  const controls = {
    before: control("◧", () => compare(!before, true)),
    smaller: control("−", () => zoom(0.8)),
    larger: control("+", () => zoom(1.25)),
    own_size: control("1:1", () => toggle()),
    fit: control("⤢", () => fitAgain()),
    info: control("i", () => show(open === "info" ? "" : "info")),
    keys: control("?", () => show(open === "keys" ? "" : "keys")),
    close: control("✕", () => dialog.close()),
    previous: control("‹", () => turn("ArrowLeft"), body),
    next: control("›", () => turn("ArrowRight"), body),
  };
  controls.previous.classList.add("zk-lightbox-previous");
  controls.next.classList.add("zk-lightbox-next");

  function named() {
    const names = {
      before: text("before"), smaller: text("smaller"), larger: text("larger"), own_size: text("own_size"),
      fit: text("fit"), info: text("info"), keys: text("keys"), close: text("close"), previous: text("previous"),
      next: text("next"),
    };
    for (const [name, label] of Object.entries(names)) {
      set(controls[name], "aria-label", label);
      controls[name].title = label;
    }
    set(tools, "aria-label", text("tools"));
    own.replaceChildren(...(source.actions ?? []).map(({ sign, label, does, pressed }) => {
      const made = control(sign, () => { does(index); update(); }, own);
      set(made, "aria-label", label);
      made.title = label;
      if (pressed) set(made, "aria-pressed", pressed(index));
      return made;
    }));
  }

  // ---- what is shown ----

  const neighbour = (key) => {
    if (source.next) return source.next(index, key);
    const to = index + ({ __proto__: null, ArrowLeft: -1, ArrowRight: 1 }[key] ?? 0);
    return to === index || to < 0 || to >= source.count ? null : to;
  };

  function turn(key) {
    const to = neighbour(key);
    if (to !== null) go(to);
  }

  function go(to) {
    index = to;
    before = late = false;
    fits = true;
    clearTimeout(timer);
    timer = setTimeout(() => { late = true; update(); }, PATIENCE);
    source.shown?.(index);
    update();
  }

  function load() {
    if (!item.load || loaded.has(index)) return;
    const [asked, then] = [index, opening];
    loaded.set(asked, null);
    item.load().then((more) => {
      if (then !== opening) return;
      loaded.set(asked, { rough: false, ...more });
      update();
    }, (error) => {
      if (then !== opening) return;
      loaded.set(asked, { rough: false, status: String(error?.message ?? error) });
      update();
    });
  }

  /** Show what has become of the picture meanwhile. */
  function update() {
    if (!dialog.open) return;
    item = source.at(index);
    load();
    item = { ...item, ...loaded.get(index) };
    const url = (before && item.before) || item.url;
    image.hidden = !url;
    if (url && image.getAttribute("src") !== url) image.src = url;
    image.alt = item.alt ?? item.label ?? "";
    image.classList.toggle("zk-lightbox-rough", Boolean(item.rough));
    write(title, item.label || item.alt || text("label"));
    write(place, source.count > 1 ? fill(text("place"), { number: index + 1, count: source.count }) : "");
    write(caption, before ? text("is_before") : item.caption ?? "");
    write(problem, url ? "" : item.status ?? "");
    problem.hidden = Boolean(url) || !item.status;
    const waits = coming === index ? text("before_waits") : item.rough && late ? text("waits") : "";
    write(status, url && item.status ? item.status : waits);
    source.foot?.(index, slot);
    controls.before.hidden = !item.before && !item.earlier;
    set(controls.before, "aria-pressed", before);
    disable(controls.previous, neighbour("ArrowLeft") === null);
    disable(controls.next, neighbour("ArrowRight") === null);
    controls.previous.hidden = controls.next.hidden = source.count < 2;
    source.actions?.forEach(({ pressed }, number) => pressed && set(own.children[number], "aria-pressed", pressed(index)));
    controls.info.hidden = !item.recipe && !item.notes?.length && !item.rough; // whose recipe may be still to come
    fillSheet();
    measure();
  }

  /** @param {boolean} shown @param {boolean} [stays] it is shown as soon as it is there */
  function compare(shown, stays = false) {
    if (shown && !item.before && item.earlier) return bring(item.earlier, stays);
    if (before === (shown && Boolean(item.before))) return;
    before = !before;
    update();
  }

  /** @param {() => Promise<string>} earlier @param {boolean} stays */
  function bring(earlier, stays) {
    if (coming === index) return;
    const [asked, then] = [index, opening];
    const put = (/** @type {Partial<Item>} */ more) => {
      if (coming === asked) coming = -1;
      if (then !== opening) return;
      loaded.set(asked, { ...loaded.get(asked), ...more });
      before = before || (stays && index === asked && Boolean(more.before));
      update();
    };
    coming = asked;
    update();
    earlier().then((url) => put({ before: url }), (error) => put({ status: String(error?.message ?? error) }));
  }

  // ---- the sheet at the side: recipe and notes, or keys ----

  function show(which) {
    const had = sheet.contains(document.activeElement);
    open = which;
    update();
    if (!which && had) dialog.focus();
    if (which) sheet.scrollTop = 0;
  }

  function fillSheet() {
    const shown = open === "keys" || (open === "info" && !controls.info.hidden);
    sheet.hidden = !shown;
    set(controls.info, "aria-expanded", shown && open === "info");
    set(controls.keys, "aria-expanded", open === "keys");
    if (!shown) return;
    const made = document.createElement("div");
    const heading = open === "keys" ? text("help") : text("recipe");
    write(make("h3", "", made), heading);
    set(sheet, "aria-label", heading);
    if (open === "keys") pairs(made, help());
    else {
      if (typeof item.recipe === "function") item.recipe(made);
      else if (typeof item.recipe === "string") write(make("pre", "", made), item.recipe);
      else if (item.recipe) pairs(made, item.recipe);
      if (item.notes?.length) {
        write(make("h3", "", made), text("notes"));
        const list = make("ul", "", made);
        for (const note of item.notes) write(make("li", "", list), note);
      }
    }
    if (sheet.firstElementChild?.innerHTML !== made.innerHTML) sheet.replaceChildren(made);
  }

  function pairs(parent, all) {
    const list = make("dl", "", parent);
    for (const [name, value] of all) {
      write(make("dt", "", list), name);
      write(make("dd", "", list), value);
    }
  }

  function help() {
    const digits = !source.keys; // which a source may use otherwise
    return [
      ["← →", text("key_turn")], ["+ −", text("key_zoom")], [digits ? "Z, 1" : "Z", text("key_own_size")],
      [digits ? "F, 0" : "F", text("key_fit")], ["⇧ ← ↑ → ↓", text("key_move")], ["B", text("key_before")],
      ["I", text("key_info")], ["?", text("key_keys")], ["Esc", text("key_close")], ...(source.keys ?? []),
    ];
  }

  // ---- zoom ----

  const frame = () => ({ width: stage.clientWidth || 1, height: stage.clientHeight || 1 });
  const middle = () => ({ x: stage.clientWidth / 2, y: stage.clientHeight / 2 });
  const onePixel = () => 1 / (devicePixelRatio || 1); // a pixel of the picture on one of the screen

  function apply() {
    image.style.width = `${size.width}px`;
    image.style.height = `${size.height}px`;
    image.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    stage.classList.toggle("zk-lightbox-zoomed", !fits);
    stage.dataset.scale = view.scale.toFixed(3);
    set(controls.own_size, "aria-pressed", Math.abs(view.scale - onePixel()) < 1e-6);
    set(controls.fit, "aria-pressed", fits);
  }

  // Keeps what is seen when a small picture is replaced by the full one, or the window changes.
  function measure() {
    const { naturalWidth: width, naturalHeight: height } = image;
    if (!width || image.hidden) return;
    if (!fits) view = held({ ...view, scale: (view.scale * size.width) / width }, { width, height }, frame());
    size = { width, height };
    if (fits) view = whole(size, frame());
    apply();
  }

  function zoom(factor, at = middle()) {
    if (image.hidden) return;
    view = zoomed(view, factor, at, size, frame());
    fits = Math.abs(view.scale - fitting(size, frame())) < 1e-6;
    apply();
  }

  function fitAgain() {
    fits = true;
    measure();
  }

  // Between the whole picture and its own pixels.
  function toggle(at = middle()) {
    if (Math.abs(view.scale - onePixel()) < 1e-6 && !fits) fitAgain();
    else zoom(onePixel() / view.scale, at);
  }

  function move(dx, dy) {
    view = held({ ...view, x: view.x + dx, y: view.y + dy }, size, frame());
    apply();
  }

  image.addEventListener("load", measure, { signal });
  const observer = new ResizeObserver(measure);
  observer.observe(stage);
  signal?.addEventListener("abort", () => { observer.disconnect(); clearTimeout(timer); dialog.remove(); });

  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(wheeled(event), pointOf(event));
  }, { signal, passive: false });

  // ---- pointers: one pans or swipes, two pinch ----

  /** @type {Map<number, {x: number, y: number}>} */
  const pointers = new Map();
  let start = { x: 0, y: 0, moved: false, many: false };
  let tap = { x: 0, y: 0, time: -Infinity };

  function pointOf(event) {
    const { left, top } = stage.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  function lost(event) {
    pointers.delete(event.pointerId);
    stage.classList.toggle("zk-lightbox-held", pointers.size > 0);
  }

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return; // the page's menu opens on a right click, and no release is told
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, pointOf(event));
    if (pointers.size === 1) start = { ...pointOf(event), moved: false, many: false };
    else start.many = true;
    stage.classList.add("zk-lightbox-held");
  }, { signal });
  stage.addEventListener("pointermove", (event) => {
    const was = pointers.get(event.pointerId);
    if (!was) return;
    if (!(event.buttons & 1)) return lost(event); // it was released where nobody told
    const is = pointOf(event);
    const from = [...pointers.values()];
    pointers.set(event.pointerId, is);
    start.moved ||= Math.hypot(is.x - start.x, is.y - start.y) > 6;
    if (pointers.size === 2) {
      view = pinched(view, from, [...pointers.values()], size, frame());
      fits = Math.abs(view.scale - fitting(size, frame())) < 1e-6;
      apply();
    } else if (pointers.size === 1 && !fits) move(is.x - was.x, is.y - was.y);
  }, { signal });
  stage.addEventListener("pointerup", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const at = pointOf(event);
    lost(event);
    if (pointers.size || start.many) return;
    const way = fits && event.pointerType !== "mouse" ? swiped(at.x - start.x, at.y - start.y) : 0;
    if (way) return turn(way > 0 ? "ArrowRight" : "ArrowLeft");
    if (start.moved) return;
    const again = event.timeStamp - tap.time < TAPS.within && Math.hypot(at.x - tap.x, at.y - tap.y) < TAPS.apart;
    tap = again ? { x: 0, y: 0, time: -Infinity } : { ...at, time: event.timeStamp };
    if (again) toggle(at);
  }, { signal });
  for (const name of /** @type {const} */ (["pointercancel", "lostpointercapture"])) {
    stage.addEventListener(name, lost, { signal });
  }

  // ---- keys ----

  dialog.addEventListener("keydown", (event) => {
    event.stopPropagation(); // Escape closes the sheet or the dialog; it cancels nothing behind them
    if (event.isComposing) return;
    const target = /** @type {Element} */ (event.target);
    if (["Enter", " ", "Tab"].includes(event.key) || (event.key.startsWith("Arrow") && target.closest("pre, input, select"))) return;
    if (target === sheet && ["ArrowUp", "ArrowDown"].includes(event.key)) return; // they scroll it
    if (source.key?.(event, index)) {
      event.preventDefault();
      return update();
    }
    const [name, ...more] = command(event) ?? [];
    if (!name) return;
    event.preventDefault();
    if (name === "turn") turn(more[0]);
    else if (name === "move") move(more[0] * STEP * frame().width, more[1] * STEP * frame().height);
    else if (name === "by") zoom(more[0]);
    else if (name === "fit") fitAgain();
    else if (name === "own") toggle();
    else if (name === "before") compare(true);
    else if (name === "info" || name === "keys") show(open === name ? "" : name);
    else if (name === "close") escape();
  }, { signal });
  dialog.addEventListener("keyup", (event) => {
    event.stopPropagation();
    if (event.key.toLowerCase() === "b") compare(false);
  }, { signal });
  dialog.addEventListener("contextmenu", (event) => event.stopPropagation()); // JupyterLab's would open behind the dialog
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault(); // a phone's way back does what Escape does
    escape();
  }, { signal });

  function escape() {
    if (sheet.hidden || (open === "info" && source.sheet)) dialog.close(); // a sheet that nobody opened is no step back
    else show("");
  }

  dialog.addEventListener("close", () => {
    clearTimeout(timer);
    pointers.clear();
    opening += 1;
    // told a moment after the browser gave the focus back to where it was, when a key may have led elsewhere
    const there = document.activeElement;
    if (there !== opener && there !== document.body && !dialog.contains(there)) return;
    const back = source.back ? source.back(index) : opener;
    if (back instanceof HTMLElement) back.focus({ preventScroll: true });
  }, { signal });

  return {
    dialog,
    get index() { return index; },
    get shown() { return dialog.open; },
    close: () => dialog.close(),
    update,
    open(shown, at = 0) {
      const items = shown;
      source = Array.isArray(items) ? { count: items.length, at: (number) => items[number] } : items;
      opening += 1;
      loaded = new Map();
      open = source.sheet ? "info" : open === "info" ? "info" : "";
      if (!dialog.open) {
        opener = document.activeElement;
        dialog.showModal();
      }
      dialog.focus({ preventScroll: true });
      named();
      go(at);
    },
  };
}
