// One cell over the whole page: its small picture first, the full one once the kernel has sent it.

import { button, make, set, write } from "../js/dom.js";
import { fill } from "../js/words.js";

const BUSY = 500; // milliseconds until the dialog says that the kernel is busy

export class Enlarged {
  constructor(parent, board, signal) {
    Object.assign(this, { board, index: -1, timer: 0 });
    this.node = make("dialog", "zk-enlarged", parent);
    this.node.tabIndex = -1;
    const head = make("div", "zk-enlarged-head", this.node);
    this.title = make("p", "zk-enlarged-title", head);
    this.close = button("zk-button", head);
    const middle = make("div", "zk-enlarged-middle", this.node);
    this.previous = button("zk-button zk-turn", middle);
    const frame = make("div", "zk-enlarged-frame", middle);
    this.image = make("img", "", frame);
    this.next = button("zk-button zk-turn", middle);
    const foot = make("div", "zk-enlarged-foot", this.node);
    this.marks = make("span", "zk-enlarged-marks", foot);
    this.about = make("span", "zk-enlarged-about", foot);
    this.note = make("span", "zk-enlarged-note", foot);
    this.note.setAttribute("role", "status");
    write(this.previous, "‹");
    write(this.next, "›");
    this.close.addEventListener("click", () => this.node.close(), { signal });
    this.previous.addEventListener("click", () => this.turn("ArrowLeft"), { signal });
    this.next.addEventListener("click", () => this.turn("ArrowRight"), { signal });
    this.node.addEventListener("close", () => {
      // told a moment after the browser gave the focus back to where it was, when a key may have led elsewhere
      const there = document.activeElement;
      if ([this.opener, document.body].includes(there) || this.node.contains(there)) this.board.focus(this.index);
    }, { signal });
    this.node.addEventListener("click", (event) => event.target === this.node && this.node.close(), { signal });
    this.node.addEventListener("keydown", (event) => this.key(event), { signal });
  }

  get open() {
    return this.node.open;
  }

  show(index) {
    this.index = index;
    this.board.active = { at: "cell", index };
    this.board.render(); // the enlarged cell must be in the page for its preview
    const { text } = this.board;
    write(this.close, text("close"));
    set(this.previous, "aria-label", text("previous"));
    set(this.next, "aria-label", text("next"));
    set(this.node, "aria-label", text("enlarged"));
    if (!this.node.open) {
      this.opener = document.activeElement;
      this.node.showModal();
    }
    this.node.focus();
    this.asked = this.late = false;
    this.update();
  }

  update() {
    if (!this.node.open) return;
    const { board } = this;
    const { text, shape } = board;
    const state = board.state(this.index);
    const full = state === "d" ? board.shelf.full.get(board.key(this.index)) : undefined;
    if (state === "d" && !full && !this.asked) this.ask();
    const url = full?.url || (state === "d" ? board.picture(this.index) : board.cells.get(this.index)?.url);
    write(this.title, shape.label(this.index));
    this.image.hidden = !url;
    if (url && this.image.src !== url) this.image.src = url;
    this.image.alt = shape.label(this.index);
    this.image.classList.toggle("zk-small", !full);
    const stars = board.rating(this.index);
    write(this.marks, `${"★".repeat(stars)}${"☆".repeat(5 - stars)}${board.wins(this.index) ? ` · ${text("winner")}` : ""}`);
    set(this.marks, "aria-label", fill(text("rated"), { stars }));
    this.marks.setAttribute("role", "img");
    write(this.about, full?.about ?? "");
    const said = state === "f" ? board.error(this.index) : state !== "d" ? board.doing(this.index)
      : !full && this.late ? text("full_waits") : "";
    write(this.note, said);
    this.previous.disabled = this.board.layout.neighbour(this.index, "ArrowLeft") === null;
    this.next.disabled = this.board.layout.neighbour(this.index, "ArrowRight") === null;
  }

  ask() {
    this.asked = true;
    this.board.ask({ do: "full", cell: this.index });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.late = true;
      this.update();
    }, BUSY);
  }

  turn(key) {
    const next = this.board.layout.neighbour(this.index, key);
    if (next !== null) this.show(next);
  }

  key(event) {
    event.stopPropagation(); // Escape closes the dialog only
    if (event.target.closest("button") && ["Enter", " "].includes(event.key)) return;
    if (event.key.startsWith("Arrow")) {
      event.preventDefault();
      this.turn(event.key);
    } else if (this.board.mark(event.key, this.index)) {
      event.preventDefault();
      this.update();
    }
  }
}
