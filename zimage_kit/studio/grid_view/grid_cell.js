// @ts-check
// A cell of the board in the page: made when it comes into view, removed when it leaves.

import { button, jpeg, make, set, write } from "../js/dom.js";
import { fill } from "../js/words.js";
import { FOOT } from "./grid_layout.js";

export class CellView {
  constructor(board, index) {
    this.board = board;
    this.index = index;
    this.url = "";
    this.own = false; // whether that is a preview's, which is revoked
    this.preview = null;
    /** @type {HTMLElement | null} */
    this.label = null; // in a wall
    const { text } = board;
    this.node = make("div", "zk-cell");
    this.node.setAttribute("role", "gridcell");
    this.node.tabIndex = -1;
    this.node.dataset.cell = index;
    this.frame = make("div", "zk-frame", this.node);
    this.image = make("img", "", this.frame);
    this.image.alt = "";
    this.image.hidden = true;
    this.image.draggable = false;
    this.image.decoding = "async";
    this.said = make("div", "zk-said", this.frame);
    this.track = make("div", "zk-track", this.frame);
    this.retry = null;
    this.badge = make("span", "zk-badge", this.frame);
    this.crown = make("span", "zk-crown", this.frame);
    this.foot = make("div", "zk-foot", this.node);
    this.caption = board.shape.inner > 1 ? make("div", "zk-inner-label", this.node) : null;
    this.stars = [1, 2, 3, 4, 5].map((stars) => this.action("★", () => board.rate(index, board.rating(index) === stars ? 0 : stars)));
    this.stars.forEach((star, number) => set(star, "aria-label", fill(text("rate"), { stars: number + 1 })));
    this.pick = this.action("♛", () => board.pick(index));
    this.pick.classList.add("zk-pick");
    this.compare = this.action("⇆", () => board.compare(index));
    this.compare.classList.add("zk-compared");
    for (const [made, key] of /** @type {[HTMLElement, string][]} */ ([[this.pick, "pick"], [this.compare, "compare"]])) {
      set(made, "aria-label", text(key));
      made.title = text(key);
    }
    this.update();
  }

  action(sign, does) {
    const made = button("zk-sign", this.foot);
    made.tabIndex = -1; // keys do the same
    made.textContent = sign;
    made.addEventListener("click", (event) => {
      event.stopPropagation();
      does();
    });
    return made;
  }

  // Beneath the picture stands its label, in a wall or side by side, then its rating.
  place(x, height, { unit, cell, under, foot }) {
    Object.assign(this.node.style, { left: `${x}px`, width: `${unit}px`, height: `${height + under + foot}px` });
    this.frame.style.height = `${height}px`;
    if (this.caption) this.caption.style.top = `${height}px`;
    if (this.label) Object.assign(this.label.style, { top: `${height + foot - FOOT}px`, width: `${cell}px`, height: `${under}px` });
    this.foot.style.top = `${height + under + foot - FOOT}px`;
  }

  update() {
    const { board, index } = this;
    const { text, shape } = board;
    const state = board.state(index);
    const running = state === "r" ? board.running(index) : null;
    const names = { w: "waiting", r: "running", d: "done", f: "failed" };
    this.node.dataset.state = names[state] ?? "waiting";
    this.show(state, running);
    const failed = state === "f";
    write(this.said, failed ? board.error(index) : state === "r" ? board.doing(index)
      : state === "d" && !this.url ? text(board.lost(index) ? "gone" : "coming") : "");
    this.track.style.setProperty("--done", String(running?.steps ? running.step / running.steps : 0));
    if (failed && !this.retry) {
      this.retry = button("zk-button zk-retry", this.frame);
      this.retry.tabIndex = -1;
      this.retry.textContent = text("retry");
      this.retry.addEventListener("click", (event) => {
        event.stopPropagation();
        board.retry(index);
      });
    } else if (!failed && this.retry) {
      this.retry.remove();
      this.retry = null;
    }
    if (this.retry) this.retry.disabled = board.busy();
    const rating = board.rating(index);
    const wins = board.wins(index);
    this.stars.forEach((star, number) => star.classList.toggle("zk-on", number < rating));
    this.pick.classList.toggle("zk-on", wins);
    this.foot.classList.toggle("zk-marked", rating > 0);
    this.foot.hidden = state !== "d";
    const marked = board.marked.indexOf(index);
    this.compare.classList.toggle("zk-on", marked >= 0);
    write(this.badge, marked >= 0 ? "AB"[marked] : "");
    this.badge.hidden = marked < 0;
    write(this.crown, wins ? `♛ ${text("winner")}` : "");
    this.crown.hidden = !wins;
    this.node.classList.toggle("zk-winner", wins);
    if (this.caption) write(this.caption, shape.plan.inner[shape.place(index).inner]);
    const about = [shape.label(index), failed ? `${text("failed")}: ${board.error(index)}` : state === "w" ? text("waiting_cell")
      : state === "r" ? board.doing(index) : "", rating ? fill(text("rated"), { stars: rating }) : "",
      wins ? text("winner") : "", marked >= 0 ? fill(text("marked"), { letter: "AB"[marked] }) : ""];
    set(this.node, "aria-label", about.filter(Boolean).join("; "));
    set(this.node, "aria-selected", marked >= 0);
  }

  // The small picture, or a preview while it is made.
  show(state, running) {
    const preview = running?.preview;
    if (preview?.byteLength) {
      if (preview !== this.preview) this.point(jpeg(preview), true);
      this.preview = preview;
    } else {
      if (state !== "r") this.preview = null;
      const url = state === "d" ? this.board.picture(this.index) : "";
      if (url !== this.url && !(state === "r" && this.preview)) this.point(url, false);
    }
  }

  point(url, own) {
    const old = this.own ? this.url : "";
    Object.assign(this, { url, own });
    this.image.hidden = !url;
    if (url) this.image.src = url;
    else this.image.removeAttribute("src");
    if (old && url) this.image.addEventListener("load", () => URL.revokeObjectURL(old), { once: true });
    else if (old) URL.revokeObjectURL(old);
  }

  remove() {
    if (this.own) URL.revokeObjectURL(this.url);
    this.node.remove();
  }
}
