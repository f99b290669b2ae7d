// @ts-check
// The picture, its preview while it is made, the strip of results, and the commands for the selected one.

import { disable, jpeg, make, unusable } from "../js/dom.js";
import { lightbox } from "../js/lightbox.js";
import { remember, remembered } from "../js/remembered.js";

const OWN = ["copy", "zoom"]; // actions that need no kernel
const CHOICES = { // beside which button a choice stands, and its values; the browser remembers the choice
  how: { beside: "use", values: ["seed", "open", "exactly", "template"] },
  format: { beside: "download", values: ["png", "jpg", "webp"] },
  as: { beside: "input", values: [] }, // fields of stages, which the kernel names
};
const KEPT = 8; // full pictures and files, so that going back and forth asks for none again
const HOVER = 400; // milliseconds over a picture until its file is fetched, to be dragged out

/** Whether new pictures are shown as they come, once this one was selected: with the latest, unless one is being made. */
export const follows = (results, id, making) => results.at(-1)?.id === id && !making;

/** The number that a key leads to in a row of `count`, of which only one is a tab stop; null for no such key. */
export function reached(key, at, count) {
  const to = { __proto__: null, ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: count - 1 }[key];
  return to === undefined || count === 0 ? null : Math.min(count - 1, Math.max(0, to));
}

/** Addresses of what was fetched, by id: the latest `KEPT`; older ones are revoked. */
export class Fetched {
  constructor(revoke = URL.revokeObjectURL) {
    this.all = new Map();
    this.revoke = revoke;
  }

  get(id) { return this.all.get(id); }

  put(id, value) {
    for (const old of [id, ...[...this.all.keys()].filter((other) => other !== id).slice(0, 1 - KEPT)]) this.drop(old);
    this.all.set(id, value);
  }

  drop(id) {
    if (this.all.has(id)) this.revoke(this.all.get(id).url);
    this.all.delete(id);
  }

  clear() { for (const id of [...this.all.keys()]) this.drop(id); }
}

export default {
  render({ model, el, signal }) {
    const text = (key) => model.get("texts")[key] ?? key;
    el.classList.add("zk-viewer");
    el.setAttribute("role", "group");

    const figure = make("figure", "zk-figure");
    const empty = make("p", "zk-empty");
    const picture = make("img", "zk-picture");
    const caption = make("figcaption", "zk-caption");
    figure.append(empty, picture, caption);
    const track = make("div", "zk-progress");
    const bar = make("progress");
    const told = make("span");
    track.append(bar, told);
    const live = make("span", "zk-unseen");
    live.setAttribute("role", "status");
    const actions = make("div", "zk-actions");
    actions.setAttribute("role", "toolbar");
    const strip = make("div", "zk-strip");
    strip.setAttribute("role", "group");
    el.append(figure, track, live, actions, strip);
    const zoom = lightbox(el, { text: (key) => model.get("texts").lightbox?.[key] ?? key, signal });

    const buttons = Object.fromEntries(model.get("actions").map(({ name, label, help }) => {
      const button = make("button", "zk-button");
      button.type = "button";
      button.textContent = label;
      button.title = help;
      button.addEventListener("click", () => { if (!unusable(button)) act(name); }, { signal });
      actions.append(button);
      return [name, button];
    }));

    const choices = Object.fromEntries(Object.entries(CHOICES).map(([name, { beside, values }]) => {
      const choice = make("select", "zk-choice");
      const offer = (/** @type {{value: string, label: string}[]} */ all) => {
        choice.replaceChildren(...all.map(({ value, label }) => new Option(label, value)));
        choice.value = all.some(({ value }) => value === remembered(name)) ? remembered(name) : all[0]?.value ?? "";
      };
      if (name === "as") model.on("change:inputs", () => offer(model.get("inputs")));
      offer(name === "as" ? model.get("inputs") : values.map((value) => ({ value, label: text(`${name}_${value}`) })));
      choice.addEventListener("change", () => remember(name, choice.value), { signal });
      const pair = make("span", "zk-pair-of");
      buttons[beside].replaceWith(pair);
      pair.append(buttons[beside], choice);
      return [name, choice];
    }));

    // sent through the bar, which keeps all requests of the panel in order
    const tell = (message) => el.dispatchEvent(new CustomEvent("zk-do", { detail: message, bubbles: true }));
    const own = Math.random().toString(36).slice(2); // names this view; there may be several
    const follow = (now) => {
      if (model.get("following") === now) return;
      model.set("following", now);
      model.save_changes();
    };
    let url = "";
    let thumbs = new Map(); // result id -> {button, url}

    const full = new Fetched(); // result id -> its whole picture, and what is known of it
    const files = new Fetched(); // result id -> its PNG, to be dragged out
    const befores = new Fetched(); // result id -> the picture before its last stage
    const awaited = new Map(); // result id -> what takes the picture before
    let seen = null; // the bytes of the latest one in `full`

    const before = (id) => new Promise((resolve, reject) => {
      awaited.set(id, { resolve, reject });
      tell({ do: "before", id, view: own });
    });

    function keepFull() {
      const [about, bytes] = [model.get("about"), model.get("picture")];
      if (about.id && bytes.byteLength && bytes !== seen) full.put(about.id, { url: jpeg(bytes), about });
      else if (full.get(about.id)) full.get(about.id).about = about;
      seen = bytes;
      zoom.update();
    }

    function act(name) {
      if (name === "zoom") return enlarge();
      if (name === "copy") return copy();
      tell({ do: name, id: model.get("selected"), view: own, how: choices.how.value, format: choices.format.value, as: choices.as.value });
    }

    async function copy() {
      const recipe = model.get("about").recipe ?? "";
      try {
        await navigator.clipboard.writeText(recipe);
        live.textContent = text("copied");
        flash(buttons.copy, text("copied"));
      } catch {
        window.prompt(text("copy_by_hand"), recipe); // the browser does not let this page use the clipboard
      }
    }

    // All results over the whole page: what is not here yet is selected, which brings it.
    function enlarge() {
      const all = model.get("results");
      const from = el.contains(document.activeElement) ? document.activeElement : buttons.zoom;
      zoom.open({
        count: all.length,
        at(index) {
          const { id, label } = all[index];
          const { url, about } = full.get(id) ?? {};
          if (!url) return { url: thumbs.get(id)?.url ?? "", rough: true, label };
          const item = { url, label, alt: about.alt, caption: about.caption, recipe: about.recipe, notes: about.notes };
          if (!about.staged) return item;
          return { ...item, before: befores.get(id)?.url, earlier: () => before(id) };
        },
        shown(index) {
          if (all[index].id !== model.get("selected") && thumbs.has(all[index].id)) select(all[index].id);
        },
        back: () => from,
      }, Math.max(0, all.findIndex(({ id }) => id === model.get("selected"))));
    }

    function showPicture() {
      const progress = model.get("progress");
      const preview = model.get("preview");
      const making = Boolean(progress.active && model.get("following"));
      const bytes = making && preview.byteLength ? preview : model.get("picture");
      const isPreview = bytes === preview;
      empty.hidden = bytes.byteLength > 0;
      picture.hidden = bytes.byteLength === 0;
      if (bytes.byteLength) {
        const next = jpeg(bytes);
        const old = url;
        url = next;
        picture.src = next;
        if (old) picture.addEventListener("load", () => URL.revokeObjectURL(old), { once: true });
      } else if (url) {
        picture.removeAttribute("src");
        URL.revokeObjectURL(url);
        url = "";
      }
      picture.classList.toggle("zk-making", isPreview);
      picture.alt = isPreview ? text("in_the_making") : model.get("about").alt ?? "";
      caption.textContent = isPreview ? "" : model.get("about").caption ?? "";
      for (const [name, button] of Object.entries(buttons)) {
        const can = model.get("about").can ?? [];
        disable(button, !model.get("selected") || isPreview || !(can.includes(name) || OWN.includes(name)));
      }
      for (const [name, choice] of Object.entries(choices)) choice.disabled = unusable(buttons[CHOICES[name].beside]);
      keepFull();
    }

    function showProgress() {
      const { active, value, max, text: line } = model.get("progress");
      track.classList.toggle("zk-idle", !active);
      if (max) {
        bar.max = max;
        bar.value = value;
      } else {
        bar.removeAttribute("value");
      }
      told.textContent = line ?? "";
    }

    function showResults() {
      const results = model.get("results");
      const there = new Set(results.map((result) => result.id));
      for (const [id, thumb] of thumbs) {
        if (there.has(id)) continue;
        URL.revokeObjectURL(thumb.url);
        const next = thumb.button.nextElementSibling ?? thumb.button.previousElementSibling;
        if (thumb.button === document.activeElement) next?.focus();
        thumb.button.remove();
        thumbs.delete(id);
        full.drop(id);
        files.drop(id);
      }
      for (const result of results) {
        if (thumbs.has(result.id)) continue;
        const button = make("button", "zk-thumb");
        button.type = "button";
        const image = make("img");
        const thumb = jpeg(result.thumb);
        image.src = thumb;
        image.alt = result.label;
        button.title = result.label;
        button.append(image);
        button.addEventListener("click", () => select(result.id), { signal });
        button.addEventListener("dblclick", enlarge, { signal });
        draggedOut(button, () => result.id);
        strip.append(button);
        thumbs.set(result.id, { button, url: thumb });
      }
      strip.hidden = results.length === 0;
      showSelected();
    }

    function select(id) {
      model.set("following", follows(model.get("results"), id, model.get("progress").active));
      model.set("selected", id);
      model.save_changes();
      showPicture();
    }

    function showSelected() {
      const selected = model.get("selected");
      for (const [id, { button }] of thumbs) {
        button.setAttribute("aria-current", String(id === selected));
        if (id === selected) bringIntoStrip(button);
      }
      rove(strip.contains(document.activeElement) ? document.activeElement : thumbs.get(selected)?.button);
    }

    // The strip is one tab stop: the picture that has the focus, or the selected one.
    function rove(stop) {
      const all = /** @type {HTMLElement[]} */ ([...strip.children]);
      const one = all.includes(stop) ? stop : all.at(-1);
      for (const button of all) button.tabIndex = button === one ? 0 : -1;
    }

    // A picture that is dragged out of the page is its PNG, recipe and all. That is the kernel's to write, so it is asked
    // for while the pointer rests on the picture: a drag cannot wait for it.
    function draggedOut(element, idOf) {
      let timer;
      const ask = () => {
        const id = idOf();
        if (id && !files.get(id)) tell({ do: "download", id, view: `${own}:${id}`, format: "png" });
      };
      element.addEventListener("pointerenter", ({ pointerType }) => {
        if (pointerType === "mouse") timer = setTimeout(ask, HOVER);
      }, { signal });
      element.addEventListener("pointerleave", () => clearTimeout(timer), { signal });
      element.addEventListener("dragstart", (event) => {
        const file = files.get(idOf());
        if (!file) {
          event.preventDefault();
          live.textContent = told.textContent = text("drag_waits");
          return ask();
        }
        event.dataTransfer.setData("DownloadURL", `image/png:${file.name}:${file.url}`);
        event.dataTransfer.setData("text/uri-list", file.url);
        event.dataTransfer.effectAllowed = "copy";
      }, { signal });
    }

    // Sideways only: scrollIntoView would scroll the page as well.
    function bringIntoStrip(button) {
      const [it, all] = [button.getBoundingClientRect(), strip.getBoundingClientRect()];
      strip.scrollLeft += Math.min(0, it.left - all.left) + Math.max(0, it.right - all.right);
    }

    function showTexts() {
      el.setAttribute("aria-label", text("label"));
      empty.textContent = text("empty");
      bar.setAttribute("aria-label", text("progress"));
      actions.setAttribute("aria-label", text("actions"));
      strip.setAttribute("aria-label", text("strip"));
      for (const [name, choice] of Object.entries(choices)) {
        choice.setAttribute("aria-label", text(name));
        choice.title = text(`${name}_help`);
        if (name !== "as") for (const option of choice.options) option.textContent = text(`${name}_${option.value}`);
      }
    }

    strip.addEventListener("keydown", (event) => {
      const all = /** @type {any[]} */ ([...strip.children]);
      const to = reached(event.key, all.indexOf(document.activeElement), all.length);
      if (to === null) return;
      event.preventDefault();
      event.stopPropagation();
      all[to].focus();
    }, { signal });
    strip.addEventListener("focusin", ({ target }) => rove(target), { signal });
    picture.addEventListener("click", () => { if (!unusable(buttons.zoom)) enlarge(); }, { signal });
    draggedOut(picture, () => (picture.classList.contains("zk-making") ? "" : model.get("selected")));

    model.on("msg:custom", (message, buffers) => {
      if (message.before && message.view === own) {
        const { resolve, reject } = awaited.get(message.before) ?? {};
        if (message.error) return reject?.(new Error(message.error));
        befores.put(message.before, { url: jpeg(buffers[0]) });
        return resolve?.(befores.get(message.before).url);
      }
      if (!message.file || !message.view?.startsWith(own)) return;
      if (message.view !== own) { // to be dragged out
        files.put(message.view.slice(own.length + 1), {
          name: message.file.replace(/[:/\\]/g, "-"), // a colon ends the name
          url: URL.createObjectURL(new Blob([buffers[0]], { type: message.type })),
        });
        return;
      }
      const link = make("a");
      link.href = URL.createObjectURL(new Blob([buffers[0]], { type: message.type }));
      link.download = message.file;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser may still be reading it
    });
    let was = "";
    model.on("change:progress", () => {
      const { active, said } = model.get("progress");
      if (active && !was) follow(true);
      if (said) live.textContent = said;
      was = active;
      showProgress();
      showPicture();
    });
    model.on("change:picture change:preview change:about change:following", showPicture);
    model.on("change:results", showResults);
    model.on("change:selected", showSelected);
    model.on("change:texts", () => { showTexts(); showPicture(); });
    showTexts();
    showResults();
    showProgress();
    showPicture();
    return () => {
      if (url) URL.revokeObjectURL(url);
      for (const thumb of thumbs.values()) URL.revokeObjectURL(thumb.url);
      full.clear();
      files.clear();
    };
  },
};

function flash(button, line) {
  const before = button.textContent;
  button.textContent = line;
  setTimeout(() => { if (button.textContent === line) button.textContent = before; }, 1500);
}
