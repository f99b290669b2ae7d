// @ts-check
// One cell over the whole page: its small picture first, the full one once the kernel has sent it.

import { make, set, write } from "../js/dom.js";
import { lightbox } from "../js/lightbox.js";
import { fill } from "../js/words.js";

export class Enlarged {
  constructor(parent, board, signal) {
    this.board = board;
    this.asked = ""; // the key whose full picture was asked for
    this.box = lightbox(parent, { text: (key) => board.model.get("texts").lightbox?.[key] ?? key, signal });
  }

  get open() { return this.box.shown; }

  update() { this.box.update(); }

  show(index) {
    const { board } = this;
    const { text } = board;
    this.asked = "";
    this.box.open({
      count: board.shape.count,
      at: (at) => this.item(at),
      next: (at, key) => board.layout.neighbour(at, key),
      shown: (at) => {
        board.active = { at: "cell", index: at };
        board.render(); // the enlarged cell must be in the page for its preview
      },
      key: (event, at) => {
        if (event.ctrlKey || event.metaKey || event.altKey) return false;
        if (event.key !== "u") return board.mark(event.key, at);
        this.use(at);
        return true;
      },
      keys: [["1–5", text("key_rate")], ["W", text("key_pick")], ["C", text("key_compare")], ["R", text("key_retry")],
        ["U", this.useText()]],
      actions: [
        { sign: "♛", label: text("pick"), does: (at) => board.pick(at), pressed: (at) => board.wins(at) },
        { sign: "⇆", label: text("compare"), does: (at) => board.compare(at), pressed: (at) => board.marked.includes(at) },
        { sign: "↥", label: this.useText(), does: (at) => this.use(at) },
      ],
      foot: (at, foot) => this.marks(at, foot),
      back: (at) => (board.focus(at), null),
    }, index);
  }

  useText() { return this.board.text(this.board.model.get("fills") ? "use" : "copy_recipe"); }

  // The form is behind the enlarged picture.
  use(index) {
    this.board.use(index);
    if (this.board.model.get("fills")) this.box.close();
  }

  item(index) {
    const { board } = this;
    const { shape } = board;
    const [state, key] = [board.state(index), board.key(index)];
    const full = state === "d" ? board.shelf.full.get(key) : undefined;
    if (state === "d" && !full && this.asked !== key) {
      this.asked = key;
      board.ask({ do: "full", cell: index });
    }
    return {
      url: full?.url || (state === "d" ? board.picture(index) : board.cells.get(index)?.url) || "",
      rough: state === "d" && !full,
      label: shape.label(index),
      caption: full?.about ?? "",
      status: state === "f" ? board.error(index) : state !== "d" ? board.doing(index) : "",
      recipe: (parent) => board.card.fill(parent, { shape, index }),
    };
  }

  marks(index, foot) {
    const { board } = this;
    const stars = board.rating(index);
    const node = foot.firstElementChild ?? make("span", "zk-enlarged-marks", foot);
    node.setAttribute("role", "img");
    write(node, `${"★".repeat(stars)}${"☆".repeat(5 - stars)}${board.wins(index) ? ` · ${board.text("winner")}` : ""}`);
    set(node, "aria-label", fill(board.text("rated"), { stars }));
  }
}
