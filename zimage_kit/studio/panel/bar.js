// Generate and Cancel, and what the panel as a whole needs of the page: keys, dropped pictures, accessible names, and
// that whatever is asked for comes to the kernel in the order in which it was done here.

const SLICE = 4_000_000; // bytes: a notebook's server cuts the connection at messages of some ten megabytes
const LARGEST = 300_000_000;
const PATIENCE = 500; // milliseconds until it is said that the kernel is busy with a cell
const STILL_SHOWN = 10_000;
const SETTLES = 400; // milliseconds in which what the kernel makes anew has come, on a busy machine too

export default {
  render({ model, el, signal }) {
    const text = (key) => model.get("texts")[key] ?? key;
    el.classList.add("zk-bar");

    const generate = button("zk-primary");
    const cancel = button();
    const grid = button();
    const open = button("zk-quiet");
    const queue = document.createElement("span");
    queue.className = "zk-queue";
    const file = document.createElement("input");
    file.type = "file";
    file.accept = "image/png";
    file.multiple = true;
    file.hidden = true;
    const language = document.createElement("select");
    language.className = "zk-language";
    for (const [code, name] of Object.entries(model.get("languages"))) language.append(new Option(name, code));
    el.append(generate, cancel, grid, queue, open, file, language);

    function button(kind = "") {
      const made = document.createElement("button");
      made.type = "button";
      made.className = `zk-button ${kind}`;
      return made;
    }

    let asked = 0; // what was sent and not heard of yet
    let waiting = false; // for a cell that runs

    function show() {
      generate.textContent = text("generate");
      generate.title = text("generate_help");
      cancel.textContent = text("cancel");
      cancel.title = text("cancel_help");
      cancel.disabled = !model.get("busy") && !waiting;
      grid.textContent = text("grid");
      grid.title = text("grid_help");
      open.textContent = text("open");
      open.title = text("open_help");
      file.setAttribute("aria-label", text("open"));
      language.setAttribute("aria-label", text("language"));
      language.value = model.get("language");
      queue.textContent = waiting ? text("waiting") : model.get("queue");
    }
    for (const name of ["texts", "busy", "language", "queue"]) model.on(`change:${name}`, show);
    show();

    // ---- what was changed here and has not come to the kernel ----

    // A control's second change waits until the kernel has answered its first, which it does after the running cell.
    // Whatever is asked for meanwhile brings these changes along, in their order, and they are not sent again.
    const followed = new Map(); // model id -> its model
    const touched = new Map(); // model id -> the attribute that was changed here, the latest change last

    async function follow() {
      for (const id of model.get("inputs")) {
        if (followed.has(id)) continue;
        followed.set(id, null);
        let input;
        try {
          input = await model.widget_manager.get_model(id);
        } catch {
          followed.delete(id); // closed meanwhile; one that lives is asked for again with the next list
          continue;
        }
        followed.set(id, input);
        const name = input.get("index") === undefined ? "value" : "index"; // of a menu
        input.on(`change:${name}`, () => {
          touched.delete(id);
          if (input._state_lock === null || input._state_lock === undefined) touched.set(id, name); // not the kernel's
        });
      }
    }
    model.on("change:inputs", follow);
    follow();

    function changes() {
      const active = document.activeElement;
      if (active?.matches("input, textarea") && active.closest(".zk-studio")) {
        active.dispatchEvent(new Event("change", { bubbles: true })); // number fields commit on change
      }
      const carried = [];
      for (const [id, name] of touched) {
        const input = followed.get(id);
        if (input._pending_msgs > 0) {
          carried.push([id, name, input.get(name)]);
          input._msg_buffer = null;
        }
      }
      touched.clear();
      return carried;
    }

    function ask(message, buffers) {
      asked += 1;
      setTimeout(() => {
        waiting = asked > 0;
        show();
      }, PATIENCE);
      model.send({ ...message, values: changes() }, undefined, buffers);
    }
    model.on("msg:custom", (message) => {
      if (message.heard) {
        asked = Math.max(0, asked - 1);
        waiting = waiting && asked > 0;
        show();
      }
    });

    async function take(files) {
      for (const chosen of files) {
        if (chosen.size > LARGEST) {
          ask({ do: "refuse", name: chosen.name, bytes: chosen.size });
          continue;
        }
        const bytes = await chosen.arrayBuffer();
        const parts = Math.max(1, Math.ceil(bytes.byteLength / SLICE));
        for (let part = 0; part < parts; part += 1) {
          ask({ do: "open", name: chosen.name, part, parts }, [bytes.slice(part * SLICE, (part + 1) * SLICE)]);
        }
      }
    }

    generate.addEventListener("click", () => ask({ do: "generate" }), { signal });
    cancel.addEventListener("click", () => ask({ do: "cancel" }), { signal });
    grid.addEventListener("click", () => ask({ do: "grid_pane" }), { signal });
    open.addEventListener("click", () => file.click(), { signal });
    file.addEventListener("change", () => {
      take([...file.files]);
      file.value = "";
    }, { signal });
    language.addEventListener("change", () => ask({ do: "language", to: language.value }), { signal });

    // ---- the panel around this bar, once the page has put everything in its place ----

    let observer;
    let beat;
    function settle() {
      if (signal.aborted) return;
      const root = el.closest(".zk-studio");
      if (!root) return requestAnimationFrame(settle);
      root.dataset.lmSuppressShortcuts = "true"; // JupyterLab would run the cell again on Ctrl+Enter
      root.setAttribute("role", "region");
      root.setAttribute("aria-label", text("panel"));
      root.addEventListener("zk-do", (event) => ask(event.detail), { signal }); // of the viewer
      root.addEventListener("click", ({ target }) => { // of buttons in panes whose fields count
        const name = /zk-asks-(\w+)/.exec(target.closest(".zk-asks")?.className ?? "")?.[1];
        if (name) ask({ do: name });
      }, { signal });
      keys(root);
      drops(root);
      keepFocus(root, signal);
      dress(root);
      observer = new MutationObserver(() => dress(root));
      observer.observe(root, { childList: true, subtree: true, attributes: true, attributeFilter: ["class", "title"] });
      const shown = () => model.send({ do: "shown" });
      shown();
      beat = setInterval(shown, STILL_SHOWN);
    }
    requestAnimationFrame(settle);

    // On the way down: text fields of ipywidgets keep the keys that they hear to themselves.
    function keys(root) {
      root.addEventListener("keydown", (event) => {
        if (event.isComposing || event.keyCode === 229) return; // an input method's own
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
          event.preventDefault();
          event.stopPropagation();
          ask({ do: "generate" });
        } else if (event.key === "Escape" && (model.get("busy") || asked > 0)) {
          if (event.target.closest?.("dialog, select, [data-takes-escape]")) return;
          event.preventDefault();
          event.stopPropagation();
          ask({ do: "cancel" });
        }
      }, { signal, capture: true });
    }

    function drops(root) {
      const carriesFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
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

// ipywidgets says what a button is for in its title only, and not at all whether a toggle is pressed.
function dress(root) {
  for (const button of root.querySelectorAll(".zk-symbol")) set(button, "aria-label", button.title);
  for (const toggle of root.querySelectorAll(".widget-toggle-button")) {
    const pressed = String(toggle.classList.contains("mod-active"));
    set(toggle, toggle.classList.contains("zk-fold") ? "aria-expanded" : "aria-pressed", pressed);
  }
}

function set(element, name, value) {
  if (value && element.getAttribute(name) !== value) element.setAttribute(name, value);
}

// A control that has the focus and is made anew, or taken away, leaves whoever works by keyboard nowhere.
function keepFocus(root, signal) {
  const usable = (element) => element && !element.disabled && element.checkVisibility();
  root.addEventListener("focusin", ({ target }) => {
    root.zkLast = { element: target, title: target.title, kind: `${target.tagName}.${target.classList[0] ?? ""}` };
  }, { signal });
  root.addEventListener("pointerdown", () => {
    root.zkLast = null; // a click elsewhere leaves on purpose
  }, { signal, capture: true });

  // The same control, made anew; and if it does not come within a moment, what stands for it.
  function restore(settled) {
    const last = root.zkLast; // of the bar before this one, too: another language makes all anew
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
  const observer = new MutationObserver(() => requestAnimationFrame(() => restore(false)));
  observer.observe(root, { childList: true, subtree: true, attributes: true, attributeFilter: ["disabled", "class"] });
  restore(false);
  signal.addEventListener("abort", () => observer.disconnect());
}
