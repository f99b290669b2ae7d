// @ts-check
// Two pictures, one on top of the other, with a line between them. A range input provides keyboard, focus and
// accessibility; the pointer is followed on the whole picture, since a range's own thumb does not stay exactly under it.

import { make } from "../../js/dom.js";

const STEPPING = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"]);
const SAME_SHAPE = 0.02; // relative: sides are rounded to the model's multiples, which nobody sees

/** The line's position in whole percent, from a number that may lie outside of the picture. */
export const wholePercent = (position) => Math.round(Math.min(100, Math.max(0, position)));

/** Position of a pointer over a frame, in percent from the left, unrounded. */
export const percentAt = (clientX, { left, width }) => (100 * (clientX - left)) / width;

/** Whether the first and the last picture have one shape, so that both may fill the frame. Aspects are width / height. */
export const sameShape = (aspects) => Math.abs(aspects[0] / aspects.at(-1) - 1) < SAME_SHAPE;

export default {
  render({ model, el }) {
    const abort = new AbortController();
    const { signal } = abort;

    el.classList.add("zk-compare-widget");
    const root = make("div", "zk-compare", el);
    root.setAttribute("role", "group");
    const frame = make("div", "zk-compare-frame", root);
    const sides = { after: side("after"), before: side("before") };
    const line = make("div", "zk-compare-line", frame);
    line.setAttribute("aria-hidden", "true");
    const range = make("input", "zk-compare-range", frame);
    Object.assign(range, { type: "range", min: 0, max: 100, step: 1 });
    make("div", "zk-compare-grip", line);

    function side(name) {
      const layer = make("div", `zk-compare-side zk-compare-${name}`, frame);
      return { name, layer, label: make("span", "zk-compare-label", layer), image: null, url: "" };
    }

    function picture(side) {
      const bytes = model.get(side.name);
      side.image?.remove();
      URL.revokeObjectURL(side.url);
      side.image = null;
      side.url = "";
      if (bytes?.byteLength) {
        side.url = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
        side.image = make("img", "zk-compare-picture");
        side.image.draggable = false;
        side.image.addEventListener("load", fit, { signal });
        side.image.src = side.url;
        side.layer.prepend(side.image);
      }
      words();
      fit();
    }

    // the frame has the shape of the second picture and the width in pixels of the larger one, but fits the page
    function fit() {
      const shown = [sides.after, sides.before].filter(({ image }) => image);
      root.hidden = shown.length === 0;
      line.hidden = range.hidden = shown.length < 2;
      frame.classList.toggle("zk-compare-single", shown.length < 2);
      const loaded = shown.map(({ image }) => image).filter((image) => image.naturalWidth > 0);
      if (loaded.length < shown.length || loaded.length === 0) return;
      const aspects = loaded.map((image) => image.naturalWidth / image.naturalHeight);
      frame.style.setProperty("--aspect", String(aspects[0]));
      frame.style.setProperty("--pixels", `${Math.max(...loaded.map((image) => image.naturalWidth))}px`);
      for (const image of loaded) image.style.objectFit = sameShape(aspects) ? "fill" : "contain";
    }

    function words() {
      const texts = model.get("texts");
      root.setAttribute("aria-label", texts.label ?? "");
      range.setAttribute("aria-label", texts.position ?? "");
      for (const { name, label, image } of Object.values(sides)) {
        label.textContent = texts[name] ?? "";
        label.hidden = !label.textContent || !image;
        if (image) image.alt = texts[name] ?? "";
      }
    }

    function place() {
      const position = model.get("position");
      range.value = position;
      range.setAttribute("aria-valuetext", `${position} %`);
      frame.style.setProperty("--position", `${position}%`);
    }

    function moveTo(position) {
      const whole = wholePercent(position);
      if (whole === model.get("position")) return;
      model.set("position", whole);
      model.save_changes();
    }

    function follow(event) {
      moveTo(percentAt(event.clientX, frame.getBoundingClientRect()));
    }

    range.addEventListener("input", () => moveTo(range.valueAsNumber), { signal });
    // JupyterLab would use these keys to move between cells
    range.addEventListener("keydown", (event) => STEPPING.has(event.key) && event.stopPropagation(), { signal });
    frame.addEventListener(
      "pointerdown",
      (event) => {
        if (event.button !== 0 || range.hidden) return;
        event.preventDefault();
        frame.setPointerCapture(event.pointerId);
        range.focus({ preventScroll: true });
        follow(event);
      },
      { signal },
    );
    frame.addEventListener("pointermove", (event) => frame.hasPointerCapture(event.pointerId) && follow(event), {
      signal,
    });

    const listeners = {
      "change:before": () => picture(sides.before),
      "change:after": () => picture(sides.after),
      "change:texts": words,
      "change:position": place,
    };
    for (const [name, listener] of Object.entries(listeners)) model.on(name, listener);

    picture(sides.after);
    picture(sides.before);
    place();

    return () => {
      abort.abort();
      for (const [name, listener] of Object.entries(listeners)) model.off(name, listener);
      for (const { url } of Object.values(sides)) URL.revokeObjectURL(url);
    };
  },
};
