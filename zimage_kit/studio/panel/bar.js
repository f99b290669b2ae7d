// @ts-check
// Generate and Cancel, and what the panel as a whole needs from the page: keys, dropped pictures, accessible names, and
// requests that reach the kernel in the order in which they were made.

import { button, disable, set, unusable } from "../js/dom.js";
import { reached } from "../js/kernel.js";
import { remember, remembered } from "../js/remembered.js";

const SLICE = 4_000_000; // bytes; the notebook server closes connections at messages of about ten megabytes
const LARGEST = 300_000_000; // bytes of a file
const PATIENCE = 500; // milliseconds until the bar says that the kernel is busy
const STILL_SHOWN = 10_000; // milliseconds between two signs that the panel is still shown
const LEFT_ALONE = 600_000; // milliseconds without a key or pointer after which nobody is thought to look
const SETTLES = 400; // milliseconds in which a control that the kernel replaces arrives, on a busy machine too

/** What a key in the panel does: "generate", "make_grid" (within the grid's pane), "cancel" or null. `busy`: there is something to cancel. */
export function shortcut(event, busy) {
  if (event.isComposing || event.keyCode === 229) return null; // the key belongs to an input method
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    return event.target?.closest?.(".zk-pane-grid") ? "make_grid" : "generate";
  }
  if (event.key !== "Escape" || !busy) return null;
  return event.target.closest?.("dialog, select, [data-takes-escape]") ? null : "cancel"; // which use Escape themselves
}

/**
 * Walks through the prompts that were used, the latest last. What stood in the field before comes back at the end.
 * `walk(by, now)`: the text that is `by` (-1: older) from the one that `now` stands in the field; null: there is none.
 */
export class PromptHistory {
  constructor() {
    this.prompts = [];
    this.at = null; // its place in prompts; null: the field's own text
    this.own = "";
  }

  walk(by, now) {
    if (this.at !== null && this.prompts[this.at] !== now) this.at = null; // it was edited: that is the own text now
    if (this.at === null) this.own = now;
    const to = (this.at ?? this.prompts.length) + by;
    if (to < 0 || to > this.prompts.length) return null;
    if (to === this.prompts.length) {
      this.at = null;
      return this.own;
    }
    this.at = to;
    return this.prompts[to];
  }
}

/** Whether the page shall say that it is seen: not when it is hidden or was left alone, so that idle servers can stop. */
export const isSeen = (hidden, quiet, busy) => !hidden && (busy || quiet < LEFT_ALONE);

/** The pieces of a file, {part, parts, bytes} in order. An empty file has one, which is empty. */
export function* pieces(buffer, size = SLICE) {
  const parts = Math.max(1, Math.ceil(buffer.byteLength / size));
  for (let part = 0; part < parts; part += 1) yield { part, parts, bytes: buffer.slice(part * size, (part + 1) * size) };
}

/**
 * What was changed in the page and has not reached the kernel.
 *
 * ipywidgets sends a control's second change only when the kernel has answered its first, which it does after the
 * running cell. A request that is sent meanwhile carries these changes, in their order, and they are not sent again.
 */
export class Changes {
  constructor() {
    this.controls = new Map(); // model id -> its model
    this.touched = new Map(); // model id -> the attribute that was changed here, the latest change last
  }

  follow(id, control) {
    this.controls.set(id, control);
    const name = control.get("index") === undefined ? "value" : "index"; // menus have an index
    control.on(`change:${name}`, () => {
      this.touched.delete(id);
      if (control._state_lock === null || control._state_lock === undefined) this.touched.set(id, name); // not the kernel's
    });
  }

  /** [[model id, attribute, value], …] for a request to carry. */
  take() {
    const carried = [];
    for (const [id, name] of this.touched) {
      const control = this.controls.get(id);
      if (!(control._pending_msgs > 0)) continue; // it was sent at once
      carried.push([id, name, control.get(name)]);
      control._msg_buffer = null;
    }
    this.touched.clear();
    return carried;
  }
}

export default {
  render({ model, el, signal }) {
    const text = (key) => model.get("texts")[key] ?? key;
    el.classList.add("zk-bar");

    const generate = button("zk-button zk-primary");
    const cancel = button("zk-button");
    const draft = button("zk-button");
    const skip = button("zk-button");
    const panes = document.createElement("span");
    panes.className = "zk-panes";
    const open = button("zk-button zk-quiet");
    const queue = document.createElement("span");
    queue.className = "zk-queue";
    const file = document.createElement("input");
    file.type = "file";
    file.accept = "image/*";
    file.multiple = true;
    file.hidden = true;
    const language = document.createElement("select");
    language.className = "zk-language";
    for (const [code, name] of Object.entries(model.get("languages"))) language.append(new Option(name, code));
    const done = document.createElement("select");
    done.className = "zk-language zk-done";
    for (const value of ["title", "sound", "notify", "both"]) done.append(new Option("", value));
    el.append(generate, draft, cancel, skip, panes, queue, open, file, done, language);

    let asked = 0; // requests that were sent and not answered yet
    let waiting = false; // for a running cell to end
    let gone = false; // the kernel was ended

    function show() {
      generate.textContent = text("generate");
      generate.title = text("generate_help");
      cancel.textContent = text("cancel");
      cancel.title = text("cancel_help");
      disable(cancel, !model.get("busy") && !waiting); // it keeps the focus
      for (const [name, each] of /** @type {[string, HTMLElement][]} */ ([["draft", draft], ["skip", skip]])) {
        each.textContent = text(name);
        each.title = text(`${name}_help`);
      }
      skip.hidden = !model.get("busy");
      open.textContent = text("open");
      open.title = text("open_help");
      file.setAttribute("aria-label", text("open"));
      done.setAttribute("aria-label", text("done"));
      done.title = text("done_help");
      for (const option of done.options) option.textContent = text(`done_${option.value}`);
      language.setAttribute("aria-label", text("language"));
      language.value = model.get("language");
      queue.textContent = gone ? text("kernel_gone") : waiting ? text("waiting") : model.get("queue");
    }
    for (const name of ["texts", "busy", "language", "queue"]) model.on(`change:${name}`, show);
    show();

    function showPanes() {
      panes.replaceChildren(...model.get("panes").map(({ name, label, help }) => {
        const made = button("zk-button");
        made.textContent = label;
        made.title = help;
        made.addEventListener("click", () => ask({ do: "pane", name }), { signal });
        return made;
      }));
    }
    model.on("change:panes", showPanes);
    showPanes();

    // ---- requests to the kernel ----

    const changes = new Changes();

    async function follow() {
      for (const id of model.get("inputs")) {
        if (changes.controls.has(id)) continue;
        changes.controls.set(id, null);
        let control;
        try {
          control = await model.widget_manager.get_model(id);
        } catch {
          changes.controls.delete(id); // it was closed meanwhile; if not, the next list names it again
          continue;
        }
        changes.follow(id, control);
      }
    }
    model.on("change:inputs", follow);
    follow();

    function values() {
      const active = document.activeElement;
      if (active?.matches("input, textarea") && active.closest(".zk-studio")) {
        active.dispatchEvent(new Event("change", { bubbles: true })); // number fields commit on change
      }
      return changes.take();
    }

    function ask(message, buffers) {
      asked += 1;
      setTimeout(() => {
        waiting = asked > 0;
        show();
      }, PATIENCE);
      reached(model, el, { ...message, values: values() }, buffers);
    }
    model.on("msg:custom", (message) => {
      if (message.finished !== undefined) finished(message.finished);
      if (message.heard) {
        asked = Math.max(0, asked - 1);
        waiting = waiting && asked > 0;
        show();
      }
    });

    // ---- what tells that all is done, to somebody who looks elsewhere ----

    let title = "";
    const seen = () => {
      if (title && document.hasFocus() && !document.hidden) {
        document.title = title;
        title = "";
      }
    };
    window.addEventListener("focus", seen, { signal });
    document.addEventListener("visibilitychange", seen, { signal });
    document.addEventListener("pointerdown", seen, { signal, capture: true });

    function finished(line) {
      if (document.hasFocus() && !document.hidden) return;
      title ||= document.title;
      document.title = `${text("finished")} · ${title}`;
      if (done.value === "sound" || done.value === "both") chime();
      if (done.value === "notify" || done.value === "both") notify(line);
    }

    function notify(line) {
      if (globalThis.Notification?.permission !== "granted") return;
      const shown = new Notification(text("finished"), { body: line, tag: "zimage" });
      shown.addEventListener("click", () => {
        window.focus();
        shown.close();
      });
    }

    done.value = remembered("done") || "title";
    done.addEventListener("change", async () => {
      if (done.value === "sound" || done.value === "both") chime(); // so that it is known, and the browser allows it
      if (done.value === "notify" || done.value === "both") {
        const allowed = await globalThis.Notification?.requestPermission();
        if (allowed !== "granted") done.value = done.value === "both" ? "sound" : "title";
      }
      remember("done", done.value);
    }, { signal });

    async function take(files) {
      for (const chosen of files) {
        if (chosen.size > LARGEST) {
          ask({ do: "refuse", name: chosen.name, bytes: chosen.size });
          continue;
        }
        const bytes = await chosen.arrayBuffer();
        for (const { part, parts, bytes: piece } of pieces(bytes)) ask({ do: "open", name: chosen.name, part, parts }, [piece]);
      }
    }

    generate.addEventListener("click", () => ask({ do: "generate" }), { signal });
    cancel.addEventListener("click", () => { if (!unusable(cancel)) ask({ do: "cancel" }); }, { signal });
    draft.addEventListener("click", () => ask({ do: "draft" }), { signal });
    skip.addEventListener("click", () => ask({ do: "skip" }), { signal });
    open.addEventListener("click", () => file.click(), { signal });
    file.addEventListener("change", () => {
      take([...file.files]);
      file.value = "";
    }, { signal });
    language.addEventListener("change", () => ask({ do: "language", to: language.value }), { signal });

    // ---- the panel around this bar, once both are in the page ----

    let observer;
    let beat;
    function settle() {
      if (signal.aborted) return;
      const root = el.closest(".zk-studio");
      if (!root) return requestAnimationFrame(settle);
      root.dataset.lmSuppressShortcuts = "true"; // JupyterLab would run the cell again on Ctrl+Enter
      root.lang = model.get("language") === "zh" ? "zh-CN" : "en"; // screen readers speak it
      if (document.body.dataset.voila) document.documentElement.lang = root.lang; // the page is the panel
      root.setAttribute("role", "region");
      root.setAttribute("aria-label", text("panel"));
      root.addEventListener("zk-gone", () => {
        [gone, asked] = [true, 0];
        clearInterval(beat);
        show();
      }, { signal });
      root.addEventListener("zk-do", (event) => ask(event.detail), { signal }); // from the viewer
      root.addEventListener("click", ({ target }) => { // on buttons in panes whose fields belong to the request
        const name = /zk-asks-(\w+)/.exec(target.closest(".zk-asks")?.className ?? "")?.[1];
        if (name) ask({ do: name, selected: selectedIn(root.querySelector(".zk-prompt textarea")) });
      }, { signal });
      keys(root);
      drops(root);
      keepFocus(root, signal);
      dress(root);
      observer = new MutationObserver(() => dress(root));
      observer.observe(root, { childList: true, subtree: true, attributes: true, attributeFilter: ["class", "title"] });
      let touched = performance.now();
      const shown = () => {
        if (isSeen(document.hidden, performance.now() - touched, model.get("busy"))) reached(model, el, { do: "shown" });
      };
      for (const name of ["keydown", "pointerdown", "pointermove", "wheel"]) {
        document.addEventListener(name, () => {
          const back = performance.now() - touched > LEFT_ALONE;
          touched = performance.now();
          if (back) shown();
        }, { signal, passive: true, capture: true });
      }
      document.addEventListener("visibilitychange", shown, { signal });
      window.addEventListener("beforeunload", (event) => {
        if (model.get("loses")) event.preventDefault();
      }, { signal });
      shown();
      beat = setInterval(shown, STILL_SHOWN);
    }
    requestAnimationFrame(settle);

    // In the capture phase: text fields of ipywidgets stop the propagation of keys.
    function keys(root) {
      root.addEventListener("keydown", (event) => {
        if (walked(event)) {
          event.preventDefault();
          event.stopPropagation();
          return;
        }
        const command = shortcut(event, model.get("busy") || asked > 0);
        if (!command) return;
        event.preventDefault();
        event.stopPropagation();
        ask({ do: command });
      }, { signal, capture: true });
    }

    const past = new PromptHistory();

    /** Alt and an arrow in the prompt: an earlier or later one. */
    function walked(event) {
      const by = event.altKey ? { __proto__: null, ArrowUp: -1, ArrowDown: 1 }[event.key] : undefined;
      const field = event.target;
      if (!by || !field.matches?.(".zk-prompt textarea")) return false;
      past.prompts = model.get("history");
      const prompt = past.walk(by, field.value);
      if (prompt === null) return true;
      field.value = prompt;
      field.dispatchEvent(new Event("input", { bubbles: true }));
      field.dispatchEvent(new Event("change", { bubbles: true }));
      return true;
    }

    function drops(root) {
      let own = false; // a picture of this panel is on its way out: the browser offers it as a file too
      root.addEventListener("dragstart", () => { own = true; }, { signal, capture: true });
      for (const name of ["dragend", "pointerdown"]) {
        document.addEventListener(name, () => { own = false; }, { signal, capture: true });
      }
      const carriesFile = (event) => !own && [...(event.dataTransfer?.types ?? [])].includes("Files");
      root.addEventListener("dragover", (event) => {
        if (!carriesFile(event)) return;
        event.preventDefault();
        event.stopPropagation();
        root.dataset.drop = text("drop");
      }, { signal });
      root.addEventListener("dragleave", (event) => {
        if (!root.contains(event.relatedTarget)) delete root.dataset.drop;
      }, { signal });
      root.addEventListener("drop", (event) => {
        delete root.dataset.drop;
        if (!carriesFile(event)) return;
        event.preventDefault();
        event.stopPropagation();
        take([...event.dataTransfer.files]);
      }, { signal });
    }

    return () => {
      observer?.disconnect();
      clearInterval(beat);
    };
  },
};

/** The selected text of a field; it keeps its selection without the focus. */
const selectedIn = (field) => field?.value.slice(field.selectionStart, field.selectionEnd) ?? "";

// Two soft tones.
function chime() {
  const Audio = globalThis.AudioContext;
  if (!Audio) return;
  const audio = new Audio();
  const volume = audio.createGain();
  volume.gain.setValueAtTime(0.08, audio.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + 0.6);
  volume.connect(audio.destination);
  for (const [frequency, at] of [[660, 0], [880, 0.15]]) {
    const tone = audio.createOscillator();
    tone.frequency.value = frequency;
    tone.connect(volume);
    tone.start(audio.currentTime + at);
    tone.stop(audio.currentTime + at + 0.4);
  }
  setTimeout(() => audio.close(), 1000);
}

// ipywidgets gives a symbol button's purpose only as its title, and the state of a toggle not at all.
function dress(root) {
  for (const symbol of root.querySelectorAll(".zk-symbol")) if (symbol.title) set(symbol, "aria-label", symbol.title);
  for (const told of root.querySelectorAll(".zk-live")) set(told, "aria-live", "polite");
  for (const toggle of root.querySelectorAll(".widget-toggle-button")) {
    const pressed = String(toggle.classList.contains("mod-active"));
    set(toggle, toggle.classList.contains("zk-fold") ? "aria-expanded" : "aria-pressed", pressed);
  }
}

// Keeps the keyboard focus when the kernel replaces or removes the control that has it.
function keepFocus(root, signal) {
  const usable = (element) => element && !element.disabled && element.checkVisibility();
  root.addEventListener("focusin", ({ target }) => {
    root.zkLast = { element: target, title: target.title, kind: `${target.tagName}.${target.classList[0] ?? ""}` };
  }, { signal });
  root.addEventListener("pointerdown", () => {
    root.zkLast = null; // a click elsewhere gives up the focus on purpose
  }, { signal, capture: true });

  // The focus goes to the new control; if none has come after SETTLES, to the nearest substitute.
  function restore(settled) {
    const last = root.zkLast; // kept on the root: another language replaces this bar as well
    if (!last || document.activeElement !== document.body || usable(last.element)) return;
    const all = [...root.querySelectorAll("button, select")].filter(usable);
    const [tag, name] = last.kind.split(".");
    const same = all.find((element) => last.title && element.title === last.title);
    if (!same && !settled) {
      setTimeout(restore, SETTLES, true);
      return;
    }
    const next =
      same ??
      all.find((element) => element.classList.contains("zk-undo")) ??
      all.find((element) => name?.startsWith("zk-") && element.matches(`${tag}.${name}`)) ??
      all.find((element) => element.classList.contains("zk-primary"));
    next?.focus();
  }
  // The browser takes the focus from what is hidden at the end of a frame, after the frame's callbacks.
  const observer = new MutationObserver(() => requestAnimationFrame(() => setTimeout(restore, 0, false)));
  observer.observe(root, { childList: true, subtree: true, attributes: true, attributeFilter: ["disabled", "class"] });
  restore(false);
  signal.addEventListener("abort", () => observer.disconnect());
}
