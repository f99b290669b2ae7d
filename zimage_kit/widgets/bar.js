// Generate and Cancel, and what the panel as a whole needs of the page: keys, dropped pictures, accessible names.

const SYMBOLS = ".zk-symbol";

export default {
  render({ model, el, signal }) {
    const text = (key) => model.get("texts")[key] ?? key;
    el.classList.add("zk-bar");

    const generate = button("zk-primary");
    const cancel = button();
    const open = button("zk-quiet");
    const queue = document.createElement("span");
    queue.className = "zk-queue";
    queue.setAttribute("role", "status");
    const file = document.createElement("input");
    file.type = "file";
    file.accept = "image/png";
    file.hidden = true;
    const language = document.createElement("select");
    language.className = "zk-language";
    for (const [code, name] of Object.entries(model.get("languages"))) language.append(new Option(name, code));
    el.append(generate, cancel, queue, open, file, language);

    function button(kind = "") {
      const made = document.createElement("button");
      made.type = "button";
      made.className = `zk-button ${kind}`;
      return made;
    }

    function show() {
      generate.textContent = text("generate");
      generate.title = text("generate_help");
      cancel.textContent = text("cancel");
      cancel.title = text("cancel_help");
      cancel.disabled = !model.get("busy");
      open.textContent = text("open");
      open.title = text("open_help");
      file.setAttribute("aria-label", text("open"));
      language.setAttribute("aria-label", text("language"));
      language.value = model.get("language");
      queue.textContent = model.get("queue");
    }
    for (const name of ["texts", "busy", "language", "queue"]) model.on(`change:${name}`, show);
    show();

    // What the controls hold in the page: while the kernel was busy it may have been told an older value.
    async function values() {
      const active = document.activeElement;
      if (active instanceof HTMLElement && active.closest(".zk-studio")) {
        active.dispatchEvent(new Event("change", { bubbles: true })); // number fields commit on change
      }
      const found = {};
      for (const id of model.get("inputs")) {
        const input = await model.widget_manager.get_model(id);
        found[id] = input.get("value");
      }
      return found;
    }

    const ask = {
      generate: async () => model.send({ do: "generate", values: await values() }),
      cancel: () => model.send({ do: "cancel" }),
      async open(chosen) {
        const bytes = await chosen.arrayBuffer();
        model.send({ do: "open", name: chosen.name }, undefined, [bytes]);
      },
    };
    generate.addEventListener("click", ask.generate, { signal });
    cancel.addEventListener("click", ask.cancel, { signal });
    open.addEventListener("click", () => file.click(), { signal });
    file.addEventListener("change", () => {
      if (file.files[0]) ask.open(file.files[0]);
      file.value = "";
    }, { signal });
    language.addEventListener("change", () => model.send({ do: "language", to: language.value }), { signal });

    // The panel around this bar is there once the page has put everything in its place.
    let observer;
    function settle() {
      if (signal.aborted) return;
      const root = el.closest(".zk-studio");
      if (!root) return requestAnimationFrame(settle);
      root.dataset.lmSuppressShortcuts = "true"; // JupyterLab would run the cell again on Ctrl+Enter
      root.setAttribute("role", "region");
      root.setAttribute("aria-label", text("panel"));
      keys(root);
      drops(root);
      dress(root);
      observer = new MutationObserver(() => dress(root));
      observer.observe(root, { childList: true, subtree: true, attributes: true, attributeFilter: ["class", "title"] });
      model.send({ do: "shown" });
    }
    requestAnimationFrame(settle);

    // On the way down: text fields of ipywidgets keep the keys that they hear to themselves.
    function keys(root) {
      root.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
          event.preventDefault();
          event.stopPropagation();
          ask.generate();
        } else if (event.key === "Escape" && model.get("busy") && !event.target.closest?.("dialog, [data-takes-escape]")) {
          event.preventDefault();
          event.stopPropagation();
          ask.cancel();
        }
      }, { signal, capture: true });
    }

    function drops(root) {
      const carriesFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
      const own = (event) => event.target.closest?.("[data-takes-files]"); // an editor that opens files of its own
      root.addEventListener("dragover", (event) => {
        if (!carriesFile(event) || own(event)) return;
        event.preventDefault();
        event.stopPropagation();
        root.dataset.drop = text("drop");
      }, { signal });
      root.addEventListener("dragleave", (event) => {
        if (!root.contains(event.relatedTarget)) delete root.dataset.drop;
      }, { signal });
      root.addEventListener("drop", (event) => {
        if (!carriesFile(event) || own(event)) return;
        event.preventDefault();
        event.stopPropagation();
        delete root.dataset.drop;
        if (event.dataTransfer.files[0]) ask.open(event.dataTransfer.files[0]);
      }, { signal });
    }

    return () => {
      observer?.disconnect();
      model.send({ do: "hidden" });
    };
  },
};

// ipywidgets says what a button is for in its title only, and not at all whether a toggle is pressed.
function dress(root) {
  for (const button of root.querySelectorAll(SYMBOLS)) set(button, "aria-label", button.title);
  for (const toggle of root.querySelectorAll(".widget-toggle-button")) {
    const pressed = String(toggle.classList.contains("mod-active"));
    set(toggle, toggle.classList.contains("zk-fold") ? "aria-expanded" : "aria-pressed", pressed);
  }
}

function set(element, name, value) {
  if (value && element.getAttribute(name) !== value) element.setAttribute(name, value);
}
