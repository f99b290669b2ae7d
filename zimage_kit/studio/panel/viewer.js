// The picture, its preview while it is made, the strip of results, and the commands for the selected one.

const ACTIONS = ["use", "vary", "upscale", "compare", "grid", "copy", "download", "zoom", "forget"];
const CHOICES = { // beside which button a choice stands, and its values; the browser remembers the choice
  how: { beside: "use", values: ["seed", "open", "exactly"] },
  format: { beside: "download", values: ["png", "jpg", "webp"] },
};
const [LEAST_ZOOM, MOST_ZOOM] = [0.1, 8];

/** The scale after enlarging by `factor`. */
export const zoomed = (scale, factor) => Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, scale * factor));

/** What a key does to the zoom: ["by", factor], ["to", scale] (0: the picture fits the page), or null. */
export const zoomCommand = (key) =>
  ({ "+": ["by", 1.25], "=": ["by", 1.25], "-": ["by", 0.8], 0: ["to", 0], 1: ["to", 1] })[key] ?? null;

/** Whether new pictures are shown as they come, once this one was selected: with the latest, unless one is being made. */
export const follows = (results, id, making) => results.at(-1)?.id === id && !making;

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
    const zoom = zoomDialog(text, signal);
    el.append(figure, track, live, actions, strip, zoom.dialog);

    const buttons = Object.fromEntries(ACTIONS.map((name) => {
      const button = make("button", "zk-button");
      button.type = "button";
      button.addEventListener("click", () => act(name), { signal });
      actions.append(button);
      return [name, button];
    }));

    const choices = Object.fromEntries(Object.entries(CHOICES).map(([name, { beside, values }]) => {
      const choice = make("select", "zk-choice");
      choice.append(...values.map((value) => new Option(value, value)));
      choice.value = values.includes(remembered(name)) ? remembered(name) : values[0];
      choice.addEventListener("change", () => remember(name, choice.value), { signal });
      buttons[beside].after(choice);
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

    function act(name) {
      if (name === "zoom") return zoom.open(url, model.get("about").alt);
      if (name === "copy") return copy();
      tell({ do: name, id: model.get("selected"), view: own, how: choices.how.value, format: choices.format.value });
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

    function showPicture() {
      const progress = model.get("progress");
      const preview = model.get("preview");
      const making = Boolean(progress.active && model.get("following"));
      const bytes = making && preview.byteLength ? preview : model.get("picture");
      const isPreview = bytes === preview;
      empty.hidden = bytes.byteLength > 0;
      picture.hidden = bytes.byteLength === 0;
      if (bytes.byteLength) {
        const next = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
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
        button.disabled = !model.get("selected") || isPreview || !(can.includes(name) || ["copy", "zoom"].includes(name));
      }
      for (const [name, choice] of Object.entries(choices)) choice.disabled = buttons[CHOICES[name].beside].disabled;
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
        thumb.button.remove();
        thumbs.delete(id);
      }
      for (const result of results) {
        if (thumbs.has(result.id)) continue;
        const button = make("button", "zk-thumb");
        button.type = "button";
        const image = make("img");
        const thumb = URL.createObjectURL(new Blob([result.thumb], { type: "image/jpeg" }));
        image.src = thumb;
        image.alt = result.label;
        button.title = result.label;
        button.append(image);
        button.addEventListener("click", () => select(result.id), { signal });
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
      for (const [name, button] of Object.entries(buttons)) {
        button.textContent = text(name);
        button.title = text(`${name}_help`);
      }
      for (const [name, choice] of Object.entries(choices)) {
        choice.setAttribute("aria-label", text(name));
        choice.title = text(`${name}_help`);
        for (const option of choice.options) option.textContent = text(`${name}_${option.value}`);
      }
    }

    strip.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      const all = [...strip.children];
      all[all.indexOf(document.activeElement) + step]?.focus();
    }, { signal });
    picture.addEventListener("click", () => { if (!buttons.zoom.disabled) act("zoom"); }, { signal });

    model.on("msg:custom", (message, buffers) => {
      if (!message.file || message.view !== own) return;
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
    };
  },
};

function make(tag, className = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  return made;
}

function remembered(name) {
  try {
    return localStorage.getItem(`zimage_kit.${name}`) ?? "";
  } catch {
    return ""; // the browser keeps nothing for this page
  }
}

function remember(name, value) {
  try {
    localStorage.setItem(`zimage_kit.${name}`, value);
  } catch {
    // it is chosen until the page is closed
  }
}

function flash(button, line) {
  const before = button.textContent;
  button.textContent = line;
  setTimeout(() => { if (button.textContent === line) button.textContent = before; }, 1500);
}

// The picture over the whole page: + and - or the wheel zoom, a drag pans, Escape closes it.
function zoomDialog(text, signal) {
  const dialog = make("dialog", "zk-zoom");
  const frame = make("div", "zk-zoom-frame");
  frame.tabIndex = 0;
  const image = make("img");
  const close = make("button", "zk-button");
  close.type = "button";
  frame.append(image);
  dialog.append(frame, close);
  let scale = 0; // 0: the picture fits the page

  function apply() {
    image.style.width = scale ? `${image.naturalWidth * scale}px` : "";
    image.classList.toggle("zk-fits", !scale);
  }

  function enlarge(factor) {
    const now = scale || image.clientWidth / image.naturalWidth;
    const middle = [frame.scrollLeft + frame.clientWidth / 2, frame.scrollTop + frame.clientHeight / 2];
    scale = zoomed(now, factor);
    apply();
    frame.scrollTo(middle[0] * (scale / now) - frame.clientWidth / 2, middle[1] * (scale / now) - frame.clientHeight / 2);
  }

  dialog.addEventListener("keydown", (event) => {
    const [how, value] = zoomCommand(event.key) ?? [];
    if (how) event.preventDefault();
    if (how === "by") enlarge(value);
    if (how === "to") {
      scale = value;
      apply();
    }
    event.stopPropagation(); // Escape closes the dialog; it does not cancel the running picture
  }, { signal });
  frame.addEventListener("wheel", (event) => {
    event.preventDefault();
    enlarge(event.deltaY < 0 ? 1.1 : 1 / 1.1);
  }, { signal, passive: false });
  frame.addEventListener("pointerdown", (event) => {
    frame.setPointerCapture(event.pointerId);
    const from = [event.clientX + frame.scrollLeft, event.clientY + frame.scrollTop];
    const move = (next) => frame.scrollTo(from[0] - next.clientX, from[1] - next.clientY);
    frame.addEventListener("pointermove", move, { signal });
    frame.addEventListener("pointerup", () => frame.removeEventListener("pointermove", move), { signal, once: true });
  }, { signal });
  close.addEventListener("click", () => dialog.close(), { signal });
  return {
    dialog,
    open(url, alt) {
      image.src = url;
      image.alt = alt ?? "";
      scale = 0;
      apply();
      close.textContent = text("close");
      frame.setAttribute("aria-label", text("zoom_keys"));
      dialog.setAttribute("aria-label", text("zoom"));
      dialog.showModal();
      frame.focus();
    },
  };
}
