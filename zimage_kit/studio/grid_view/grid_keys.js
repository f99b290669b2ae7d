// @ts-check
// Keys of the board, and the one cell or header that is a tab stop.

export const Keys = (View) => class extends View {
  rove() {
    const node = this.node(this.active);
    for (const other of this.scroll.querySelectorAll('[tabindex="0"]')) if (other !== node) other.tabIndex = -1;
    if (node) node.tabIndex = 0;
  }

  /** @param {{at: string, index?: number, number?: number}} target */
  node({ at, index, number }) {
    if (at === "cell") return this.cells.get(index)?.node;
    return at === "rows" ? this.rows.get(number)?.zkHead : this.heads.get(number);
  }

  focus(index) { this.go({ at: "cell", index }); }

  go(target) {
    if (target.at === "cell" && !this.shown(target.index)) {
      this.page = this.shape.place(target.index).page;
      this.tools.pages();
      this.relayout(true);
    }
    this.active = target;
    this.bringIntoSight(target);
    this.render();
    this.node(target)?.focus({ preventScroll: true });
  }

  bringIntoSight(target) {
    const { scrollTop, scrollLeft } = this.layout.scrolledTo(target, this.scroll);
    if (scrollTop !== this.scroll.scrollTop) this.scroll.scrollTop = scrollTop;
    if (scrollLeft !== this.scroll.scrollLeft) this.scroll.scrollLeft = scrollLeft;
  }

  keydown(event) {
    if (event.isComposing || event.altKey || !event.target.closest(".zk-scroll")) return;
    const { active } = this;
    const moves = event.key.startsWith("Arrow") || ["Home", "End", "PageUp", "PageDown"].includes(event.key);
    let done = true;
    if (moves) {
      const target = this.layout.target(active, event.key, event.ctrlKey || event.metaKey, this.scroll.clientHeight);
      if (target) this.go(target);
    } else if (event.ctrlKey || event.metaKey) done = false;
    else if (event.key === "Escape") done = this.card.hide();
    else if (event.key === "Enter" || event.key === " ") {
      if (event.target.tagName === "BUTTON") return;
      if (active.at === "cell") this.enlarge(active.index);
      else this.openMenu(active.at, active.number, this.node(active), this.node(active));
    } else if (event.key === "m") this.menuOfActive();
    else if (event.key === "?") this.tools.toggleHelp();
    else done = active.at === "cell" && this.mark(event.key, active.index);
    if (!done) return;
    event.preventDefault();
    event.stopPropagation();
  }

  menuOfActive() {
    const { active } = this;
    const node = this.node(active);
    if (active.at !== "cell") return this.openMenu(active.at, active.number, node, node);
    const { column, row } = this.shape.place(active.index);
    if (this.shape.plan.columns.length) this.openMenu("columns", column, node, node);
    else if (this.shape.plan.rows.length) this.openMenu("rows", row, node, node);
  }

  enlarge(index) {
    this.card.hide();
    this.active = { at: "cell", index };
    this.enlarged.show(index);
  }
};
