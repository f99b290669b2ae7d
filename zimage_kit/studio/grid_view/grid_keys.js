// Keys of the board, and the one cell or header that the tabulator stops at.

const Keys = (View) => class extends View {
  rove() {
    const node = this.node(this.active);
    for (const other of this.scroll.querySelectorAll('[tabindex="0"]')) if (other !== node) other.tabIndex = -1;
    if (node) node.tabIndex = 0;
  }

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

  bringIntoSight({ at, index, number }) {
    const { layout, scroll } = this;
    const where = at === "cell" ? layout.where(index) : { line: at === "rows" ? number : null, slot: at === "columns" ? number * this.shape.inner : null };
    if (where.line !== null) {
      const line = layout.lines[where.line];
      const [top, bottom] = [line.y, line.y + line.height + layout.top];
      if (top - GAP < scroll.scrollTop) scroll.scrollTop = top - GAP;
      else if (bottom + GAP > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = bottom + GAP - scroll.clientHeight;
    }
    if (where.slot !== null) {
      const x = layout.x(where.slot);
      if (x - layout.left - GAP < scroll.scrollLeft) scroll.scrollLeft = x - layout.left - GAP;
      else if (x + layout.unit + GAP > scroll.scrollLeft + scroll.clientWidth) scroll.scrollLeft = x + layout.unit + GAP - scroll.clientWidth;
    }
  }

  // The cell beside another one as they stand in the page; null at the edge.
  neighbour(index, key) {
    if (!this.shown(index)) return null;
    const { layout } = this;
    const { line, slot } = layout.where(index);
    const [down, right] = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[key] ?? [0, 0];
    let [toLine, toSlot] = [line + down, slot + right];
    if (this.shape.wall && right) { // on to the next line
      if (toSlot < 0) [toLine, toSlot] = [line - 1, Infinity];
      else if (toSlot >= layout.slots(line)) [toLine, toSlot] = [line + 1, 0];
    }
    if (!layout.lines[toLine]) return null;
    toSlot = Math.min(toSlot, down || toSlot === Infinity ? layout.slots(toLine) - 1 : toSlot);
    return toSlot < 0 || toSlot >= layout.slots(toLine) ? null : layout.at(toLine, toSlot);
  }

  target(event) {
    const { layout, active } = this;
    const { key } = event;
    const whole = event.ctrlKey || event.metaKey;
    if (active.at !== "cell") {
      const rows = active.at === "rows";
      const last = this.shape[active.at] - 1;
      const step = { [rows ? "ArrowDown" : "ArrowRight"]: 1, [rows ? "ArrowUp" : "ArrowLeft"]: -1 }[key];
      if (step) return active.number + step < 0 || active.number + step > last ? null : { ...active, number: active.number + step };
      if (key === (rows ? "ArrowRight" : "ArrowDown")) {
        return { at: "cell", index: rows ? layout.at(active.number, 0) : layout.at(0, active.number * this.shape.inner) };
      }
      return null;
    }
    const { line, slot } = layout.where(active.index);
    const last = layout.lines.length - 1;
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / (layout.lines[line].height + GAP)) - 1);
    const at = (toLine, toSlot) => ({ at: "cell", index: layout.at(toLine, Math.min(toSlot, layout.slots(toLine) - 1)) });
    switch (key) {
      case "Home": return at(whole ? 0 : line, 0);
      case "End": return at(whole ? last : line, Infinity);
      case "PageUp": return at(Math.max(0, line - page), slot);
      case "PageDown": return at(Math.min(last, line + page), slot);
    }
    const next = this.neighbour(active.index, key);
    if (next !== null) return { at: "cell", index: next };
    if (key === "ArrowLeft" && this.shape.plan.rows.length) return { at: "rows", number: line };
    if (key === "ArrowUp" && layout.top) return { at: "columns", number: Math.floor(slot / this.shape.inner) };
    return null;
  }

  keydown(event) {
    if (event.isComposing || event.altKey || !event.target.closest(".zk-scroll")) return;
    const { active } = this;
    const moves = event.key.startsWith("Arrow") || ["Home", "End", "PageUp", "PageDown"].includes(event.key);
    let done = true;
    if (moves) {
      const target = this.target(event);
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
