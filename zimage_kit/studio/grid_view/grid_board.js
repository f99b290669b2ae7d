// @ts-check
// The board: cells in lines under headers that stay in view. Only what is in view is in the page.

import { make, set, write } from "../js/dom.js";
import { reached } from "../js/kernel.js";
import { fill } from "../js/words.js";
import { Downloads, copy } from "./grid_files.js";
import { Enlarged } from "./grid_enlarged.js";
import { Keys } from "./grid_keys.js";
import { Layout, Shape } from "./grid_layout.js";
import { LineMenu } from "./grid_menu.js";
import { Parts } from "./grid_parts.js";
import { Shelf } from "./grid_pictures.js";
import { RecipeCard } from "./grid_recipe.js";
import { Tools } from "./grid_tools.js";

const PATIENCE = 500; // milliseconds until the board says that the kernel is busy
const OVERSCAN = 160; // pixels around the view in which cells are made, so that scrolling finds them

class BoardView extends Keys(Parts) {
  constructor(model, el, shelf, signal) {
    super();
    Object.assign(this, { model, el, shelf, signal, asked: 0, waits: false, page: 0, marked: [], drafts: {}, view: crypto.getRandomValues(new Uint32Array(2)).join("-"), files: new Downloads() });
    this.cells = new Map(); // index -> CellView
    this.rows = new Map(); // line number -> node
    this.heads = new Map(); // column number -> node
    /** @type {{at: string, index?: number, number?: number}} */
    this.active = { at: "cell", index: 0 };
    this.wanted = 0; // the user's choice of a picture's width; 0: as it fits
    this.text = (key) => model.get("texts")[key] ?? key;
    el.classList.add("zk-board");
    el.lang = model.get("texts").lang ?? "";
    el.dataset.lmSuppressShortcuts = "true";
    el.dataset.takesEscape = "true"; // Escape in here does not cancel the panel's picture
    this.tools = new Tools(el, this, signal);
    this.scroll = make("div", "zk-scroll", el);
    this.scroll.setAttribute("role", "grid");
    this.space = make("div", "zk-space", this.scroll);
    this.header = make("div", "zk-header", this.space);
    this.header.setAttribute("role", "row");
    this.corner = make("div", "zk-corner", this.header);
    this.corner.setAttribute("role", "columnheader");
    this.card = new RecipeCard(el, this.text, signal);
    this.menu = new LineMenu(el, this.text, (message) => this.ask(message, true), signal);
    this.enlarged = new Enlarged(el, this, signal);
    this.listen();
    this.replan();
  }

  // ---- a cell's state ----

  key(index) { return this.model.get("keys_of")[index] ?? ""; }
  state(index) { return this.model.get("states")[index] ?? "w"; }
  running(index) { return this.model.get("running")[index]; }
  error(index) { return this.model.get("errors")[index] ?? ""; }
  picture(index) { return this.shelf.url(this.key(index)); }
  lost(index) { return this.shelf.gone.has(this.key(index)); }
  rating(index) { return this.drafts[this.key(index)]?.rating ?? Number(this.model.get("ratings")[index] ?? 0); }
  wins(index) { return this.winner === undefined ? this.model.get("winners").includes(index) : this.winner === this.key(index); }
  busy() { return Boolean(this.model.get("progress").running); }
  doing(index) { return this.state(index) === "w" ? this.text("waiting_cell") : this.running(index)?.text ?? ""; }

  // ---- requests to the kernel, which answers once the running cell of the notebook has ended ----

  ask(message, alone = false) {
    if (alone && this.pending) return;
    this.pending ||= alone;
    this.asked += 1;
    setTimeout(() => {
      this.waits = this.asked > 0;
      this.tools.update();
    }, PATIENCE);
    if (!reached(this.model, this.el, { ...message, of: this.shape.plan.id })) Object.assign(this, { gone: true, asked: 0, pending: false });
    this.tools.update();
  }

  heard() {
    this.asked = Math.max(0, this.asked - 1);
    if (this.asked === 0) {
      Object.assign(this, { waits: false, pending: false, drafts: {}, winner: undefined });
      this.refresh();
    }
    this.tools.update();
  }

  rate(index, rating) {
    if (this.state(index) !== "d") return;
    this.drafts[this.key(index)] = { rating };
    this.ask({ do: "rate", cell: index, rating });
    this.say(fill(this.text("rated"), { stars: rating }));
    this.refresh();
  }

  pick(index) {
    if (this.state(index) !== "d") return;
    const undo = this.wins(index);
    this.winner = undo ? null : this.key(index);
    this.ask({ do: "pick", cell: undo ? null : index });
    this.say(undo ? this.text("no_winner") : `${this.text("winner")}: ${this.shape.label(index)}`);
    this.refresh();
  }

  compare(index) {
    if (this.state(index) !== "d") return;
    const others = this.marked.filter((other) => other !== index);
    this.marked = others.length < this.marked.length ? others : [...this.marked.slice(-1), index];
    if (this.marked.length === 2) this.ask({ do: "compare", cells: this.marked });
    this.say(this.text(["unmarked", "marked_one", "comparing"][this.marked.length]));
    this.tools.update();
    this.refresh();
  }

  // Fills the form, or where there is none copies the recipe.
  use(index) {
    if (this.model.get("fills")) return this.ask({ do: "use", cell: index });
    const recipe = new Promise((resolve) => { this.copied = resolve; });
    this.ask({ do: "recipe", cell: index });
    copy(recipe, this.text("copy_by_hand")).then((done) => { if (done) this.say(this.text("copied")); });
  }

  retry(index) {
    if (this.state(index) === "f" && !this.busy()) this.ask({ do: "retry", cell: index });
  }

  // Does what a key means for a cell, on the board or enlarged; returns whether it means anything.
  mark(key, index) {
    if (/^[0-5]$/.test(key)) this.rate(index, Number(key));
    else if (key === "w") this.pick(index);
    else if (key === "c") this.compare(index);
    else if (key === "r") this.retry(index);
    else if (key === "u") this.use(index);
    else return false;
    return true;
  }

  say(line) { this.tools.say(line); }

  // ---- layout ----

  replan() {
    const plan = this.model.get("plan");
    if (!plan.rows) return;
    const kept = this.shape ? [this.scroll.scrollLeft, this.scroll.scrollTop] : [0, 0];
    this.shape = new Shape(plan);
    this.page = Math.min(this.page, this.shape.pages - 1);
    this.marked = [];
    const { at, index, number } = this.active;
    if (at === "cell" ? index >= this.shape.count : number >= plan[at].length) this.active = { at: "cell", index: 0 };
    const focused = this.scroll.contains(document.activeElement);
    this.tools.pages();
    this.relayout(true);
    [this.scroll.scrollLeft, this.scroll.scrollTop] = kept;
    this.render();
    this.soon("refresh");
    if (focused) this.node(this.active)?.focus({ preventScroll: true });
  }

  relayout(anew = false) {
    const width = this.scroll.clientWidth || this.el.clientWidth;
    if (!this.shape || !width) return;
    const { plan } = this.shape;
    if (anew) this.clear();
    this.layout = new Layout(this.shape, this.page, width - 2, this.wanted);
    const { layout } = this;
    Object.assign(this.space.style, { width: `${layout.width}px`, height: `${layout.height}px` });
    this.header.hidden = !layout.top;
    Object.assign(this.header.style, { height: `${layout.top}px` });
    Object.assign(this.corner.style, { width: `${layout.left}px`, height: `${layout.top}px` });
    this.corner.hidden = !layout.left;
    this.corner.replaceChildren();
    if (layout.left) {
      write(make("span", "zk-axis-down", this.corner), `${plan.names.rows} ↓`);
      write(make("span", "zk-axis-right", this.corner), `${plan.names.columns} →`);
    }
    set(this.scroll, "aria-label", plan.title || this.text("label"));
    set(this.scroll, "aria-rowcount", layout.lines.length + (layout.top ? 1 : 0));
    set(this.scroll, "aria-colcount", layout.across * this.shape.inner + (layout.left ? 1 : 0));
    for (const node of this.rows.values()) this.placeLine(node);
    for (const node of this.heads.values()) this.placeHead(node);
    for (const cell of this.cells.values()) if (this.shown(cell.index)) this.placeCell(cell);
    this.tools.update();
    this.render();
  }

  shown(index) { return this.shape.place(index).page === this.page; }

  clear() {
    for (const cell of this.cells.values()) cell.remove();
    for (const node of [...this.rows.values(), ...this.heads.values()]) node.remove();
    for (const map of [this.cells, this.rows, this.heads]) map.clear();
  }

  turn(page) {
    this.page = page;
    const place = this.shape.place(this.active.index ?? 0);
    this.active = { at: "cell", index: this.shape.index({ ...place, page }) };
    this.relayout(true);
  }

  render() {
    const { layout } = this;
    if (!layout) return;
    const { first, last, from, to } = layout.inView(this.scroll, OVERSCAN);
    const seen = new Set();
    const lines = new Set();
    for (let line = first; line <= last; line += 1) {
      lines.add(line);
      const { cells } = layout.lines[line];
      for (let column = from; column <= Math.min(to, cells - 1); column += 1) {
        for (let inner = 0; inner < this.shape.inner; inner += 1) seen.add(layout.at(line, column * this.shape.inner + inner));
      }
    }
    const heads = new Set();
    for (let column = from; layout.top && column <= to; column += 1) heads.add(column);
    const { at, index, number } = this.active; // the focused element must stay in the page
    if (at === "cell" && this.shown(index)) {
      seen.add(index);
      lines.add(layout.where(index).line);
    } else if (at === "rows") lines.add(number);
    else if (at === "columns" && layout.top) heads.add(number);
    for (const [key, cell] of this.cells) {
      if (seen.has(key)) continue;
      cell.remove();
      this.cells.delete(key);
    }
    for (const [map, wanted] of [[this.rows, lines], [this.heads, heads]]) {
      for (const [key, node] of map) {
        if (wanted.has(key)) continue;
        node.remove();
        map.delete(key);
      }
    }
    for (const line of [...lines].sort((a, b) => a - b)) if (!this.rows.has(line)) this.addLine(line);
    for (const column of heads) if (!this.heads.has(column)) this.addHead(column);
    for (const key of seen) if (!this.cells.has(key)) this.addCell(key);
    this.rove();
  }

  refresh() {
    this.el.dataset.pictures = this.shelf.bytes.size; // pictures received, in view or not
    for (const cell of this.cells.values()) cell.update();
    this.enlarged.update();
  }

  // ---- events ----

  listen() {
    const { model, signal, scroll } = this;
    const on = (name, does) => {
      model.on(name, does);
      signal.addEventListener("abort", () => model.off(name, does));
    };
    on("change:plan", () => this.replan());
    on("change:states change:running change:errors change:ratings change:winners change:keys_of change:packs", () => this.soon("refresh"));
    on("change:progress change:undoable change:exporting", () => this.soon("refresh"));
    on("change:texts", () => { this.tools.update(); this.replan(); });
    on("msg:custom", (message, buffers) => {
      if (message.heard) this.heard();
      else if (message.full) this.enlarged.update();
      else if (message.recipe !== undefined) this.copied?.(message.text);
      else if (message.file && message.view === this.view && this.files.take(message, buffers[0])) {
        this.say(fill(this.text("exported"), { name: message.file }));
      }
    });
    scroll.addEventListener("scroll", () => this.soon("render"), { signal, passive: true });
    scroll.addEventListener("keydown", (event) => this.keydown(event), { signal });
    scroll.addEventListener("click", (event) => {
      const node = /** @type {any} */ (event.target).closest(".zk-cell");
      if (node) this.enlarge(Number(node.dataset.cell));
    }, { signal });
    scroll.addEventListener("focusin", ({ target }) => this.focused(target), { signal });
    scroll.addEventListener("focusout", () => this.card.hideSoon(), { signal });
    scroll.addEventListener("pointerover", ({ target }) => this.pointed(target), { signal });
    scroll.addEventListener("pointerleave", () => this.card.hideSoon(), { signal });
    const observer = new ResizeObserver(() => this.soon("relayout"));
    observer.observe(scroll);
    signal.addEventListener("abort", () => {
      observer.disconnect();
      this.card.hide();
      this.clear();
    });
  }

  // Does it at most once a frame, however often it is called.
  soon(what) {
    this.due ??= new Set();
    this.due.add(what);
    if (this.due.size > 1) return;
    requestAnimationFrame(() => {
      const due = this.due;
      this.due = new Set();
      if (this.signal.aborted) return;
      if (due.has("relayout")) this.relayout();
      if (due.has("render")) this.render();
      if (due.has("refresh")) {
        this.refresh();
        this.tools.update();
      }
    });
  }

  focused(target) {
    const node = target.closest(".zk-cell, .zk-head");
    if (!node) return;
    if (node.dataset.cell) this.active = { at: "cell", index: Number(node.dataset.cell) };
    else if (node.dataset.row) this.active = { at: "rows", number: Number(node.dataset.row) };
    else this.active = { at: "columns", number: Number(node.dataset.column) };
    this.rove();
    if (this.active.at === "cell") {
      this.describe(node, this.active.index);
      if (this.model.get("selected") !== this.active.index) {
        this.model.set("selected", this.active.index);
        this.model.save_changes();
      }
    }
  }

  pointed(target) {
    const node = target.closest?.(".zk-cell");
    if (node) this.describe(node, Number(node.dataset.cell));
    else this.card.hideSoon();
  }

  describe(node, index) {
    if (this.menu.node.matches(":popover-open") || this.enlarged.open) return;
    set(node, "aria-describedby", this.card.node.id);
    this.card.showSoon((card) => this.card.fill(card, { shape: this.shape, index, error: this.error(index), title: this.shape.label(index) }), node, index);
  }
}

export default () => {
  let shelf = null;
  return {
    initialize({ model }) {
      shelf = new Shelf(model);
      return () => shelf.close();
    },
    render({ model, el, signal }) {
      shelf ??= new Shelf(model);
      new BoardView(model, el, shelf, signal);
    },
  };
};
