// @ts-check
// Above the cells: progress, commands for the whole grid, pages as tabs, and help on the keys.

import { button, disable, make, set, unusable, write } from "../js/dom.js";
import { fill } from "../js/words.js";
import { LARGEST, SMALLEST } from "./grid_layout.js";

export class Tools {
  constructor(el, board, signal) {
    this.board = board;
    const { text, model } = board;
    this.title = make("h3", "zk-board-title", el);
    this.row = make("div", "zk-tools", el);
    this.meter = make("progress", "", this.row);
    this.line = make("span", "zk-told", this.row);
    this.stop = this.button("stop", () => board.ask({ do: "stop" }), signal);
    this.goOn = this.button("go_on", () => board.ask({ do: "go_on" }), signal);
    this.retryAll = this.button("retry_all", () => board.ask({ do: "retry_all" }), signal);
    this.undo = this.button("undo", () => board.ask({ do: "undo" }, true), signal);
    const label = make("label", "zk-size", this.row);
    this.sizeName = make("span", "", label);
    this.size = make("input", "", label);
    Object.assign(this.size, { type: "range", min: SMALLEST, max: LARGEST, step: 8 });
    this.size.addEventListener("input", () => {
      board.wanted = this.size.valueAsNumber;
      board.soon("relayout");
    }, { signal });
    this.size.addEventListener("keydown", (event) => event.key !== "Tab" && event.stopPropagation(), { signal });
    this.exports = make("span", "zk-exports", this.row);
    this.exports.setAttribute("role", "group");
    this.exportName = make("span", "", this.exports);
    const ask = (ending) => board.ask({ do: "export", ending, view: board.view });
    this.files = [
      this.button("png", () => ask(".png"), signal), this.button("jpeg", () => ask(".jpg"), signal),
      this.button("html", () => ask(".html"), signal), this.button("csv", () => ask(".csv"), signal),
    ];
    this.exports.append(...this.files);
    this.exported = make("progress", "", this.exports);
    this.helpButton = this.button("help", () => this.toggleHelp(), signal);
    this.waits = make("p", "zk-waits", el);
    this.waits.setAttribute("role", "status");
    this.help = make("p", "zk-help", el);
    this.help.hidden = true;
    this.tabs = make("div", "zk-tabs", el);
    this.tabs.setAttribute("role", "tablist");
    this.live = make("span", "zk-unseen", el);
    this.live.setAttribute("role", "status");
    this.said = "";
    this.tabs.addEventListener("keydown", (event) => this.tabKey(event), { signal });
    this.text = text;
    this.model = model;
  }

  button(name, does, signal) {
    const made = button("zk-button", this.row);
    made.dataset.name = name;
    made.addEventListener("click", () => { if (!unusable(made)) does(); }, { signal });
    return made;
  }

  update() {
    const { board, text, model } = this;
    const { running, done, failed, count, left, text: line } = model.get("progress");
    const { plan } = board.shape ?? {};
    write(this.title, plan?.title ?? "");
    this.title.hidden = !plan?.title;
    this.meter.max = count || 1;
    this.meter.value = (done ?? 0) + (failed ?? 0);
    set(this.meter, "aria-label", text("progress"));
    write(this.line, line ?? "");
    for (const made of [this.stop, this.goOn, this.retryAll, this.undo, ...this.files, this.helpButton]) {
      write(made, text(made.dataset.name));
      made.title = text(`${made.dataset.name}_help`);
    }
    this.stop.hidden = !running;
    this.goOn.hidden = running || !left;
    this.retryAll.hidden = running || !failed;
    this.undo.hidden = !model.get("undoable");
    disable(this.undo, Boolean(board.pending)); // ask() takes one at a time
    const { ending, done: drawn, count: wanted } = model.get("exporting");
    write(this.exportName, text("export"));
    set(this.exports, "aria-label", text("export"));
    set(this.exported, "aria-label", text("exporting"));
    this.exported.hidden = !ending;
    this.exported.max = wanted || 1;
    this.exported.value = drawn ?? 0;
    for (const made of this.files) disable(made, Boolean(ending) || !count);
    write(this.sizeName, text("size"));
    if (board.layout) this.size.value = board.layout.unit;
    write(this.help, text("keys"));
    set(this.helpButton, "aria-expanded", !this.help.hidden);
    const one = board.marked.length === 1 ? fill(text("marked_first"), { label: board.shape.label(board.marked[0]) }) : "";
    write(this.waits, board.gone ? text("kernel_gone") : board.waits ? text("waiting") : one);
    this.waits.hidden = !this.waits.textContent;
    const ended = running ? "" : line ?? "";
    if (this.wasRunning && !running) this.say(ended);
    this.wasRunning = running;
  }

  say(line) {
    write(this.live, line);
  }

  toggleHelp() {
    this.help.hidden = !this.help.hidden;
    this.update();
  }

  pages() {
    const { board, text } = this;
    const { pages } = board.shape.plan;
    this.tabs.hidden = pages.length === 0;
    set(this.tabs, "aria-label", text("pages"));
    this.tabs.replaceChildren(...pages.map((label, number) => {
      const tab = button("zk-tab");
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-selected", String(number === board.page));
      tab.tabIndex = number === board.page ? 0 : -1;
      tab.textContent = label;
      tab.title = label;
      tab.addEventListener("click", () => this.turn(number));
      return tab;
    }));
  }

  turn(number) {
    this.board.turn(number);
    this.pages();
    /** @type {HTMLElement} */ (this.tabs.children[number])?.focus();
  }

  tabKey(event) {
    const step = { __proto__: null, ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const to = this.board.page + step;
    if (to >= 0 && to < this.board.shape.pages) this.turn(to);
  }
}
