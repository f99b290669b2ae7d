// @ts-check
// The parts of the board that are in the page: lines, headers and cells, made when they come into view.

import { button, make, set } from "../js/dom.js";
import { fill } from "../js/words.js";
import { CellView } from "./grid_cell.js";
import { placeFor } from "./grid_layout.js";

// Screen readers and Tab go by the order in the page, so what comes into view is put where it belongs.
function insert(parent, node, order) {
  node.zkOrder = order;
  const orders = [...parent.children].map((child) => child.zkOrder ?? -1); // the header, the corner, a row's own header
  parent.insertBefore(node, parent.children[placeFor(orders, order)] ?? null);
}

export class Parts {
  // the board's
  cells; rows; heads; space; header; shape; layout; text; card; menu;

  addLine(number) {
    const node = /** @type {any} */ (make("div", "zk-line"));
    node.zkNumber = number;
    node.setAttribute("role", "row");
    insert(this.space, node, number);
    this.rows.set(number, node);
    const { rows } = this.shape.plan;
    if (rows.length) {
      node.zkHead = this.head("rowheader", "rows", number, rows[number]);
      node.append(node.zkHead);
    }
    this.placeLine(node);
  }

  placeLine(node) {
    const { layout } = this;
    const line = layout.lines[node.zkNumber];
    if (!line) return;
    set(node, "aria-rowindex", line.number + (layout.top ? 2 : 1));
    Object.assign(node.style, { top: `${layout.top + line.y}px`, height: `${line.height}px`, width: `${layout.width}px` });
    if (node.zkHead) Object.assign(node.zkHead.style, { width: `${layout.left}px`, height: `${line.height}px` });
  }

  addHead(number) {
    const node = this.head("columnheader", "columns", number, this.shape.plan.columns[number]);
    node.zkNumber = number;
    insert(this.header, node, number);
    this.heads.set(number, node);
    this.placeHead(node);
  }

  placeHead(node) {
    const { layout } = this;
    set(node, "aria-colindex", node.zkNumber * this.shape.inner + (layout.left ? 2 : 1));
    Object.assign(node.style, { left: `${layout.x(node.zkNumber * this.shape.inner)}px`, width: `${layout.cell}px`, height: `${layout.top}px` });
  }

  // A header: its label, and a button for its menu.
  head(kind, role, number, label) {
    const node = /** @type {any} */ (make("div", `zk-head zk-${kind}`));
    node.setAttribute("role", kind);
    node.tabIndex = -1;
    node.dataset[role === "rows" ? "row" : "column"] = number;
    const said = make("span", "zk-head-label", node);
    said.textContent = label;
    node.title = label;
    this.dots(node, role, number, label);
    return node;
  }

  dots(parent, role, number, label) {
    const dots = button("zk-dots", parent);
    dots.tabIndex = -1;
    dots.textContent = "⋯";
    set(dots, "aria-label", fill(this.text("menu"), { label }));
    dots.title = fill(this.text("menu"), { label });
    dots.addEventListener("click", (event) => {
      event.stopPropagation();
      this.openMenu(role, number, dots, parent);
    });
  }

  openMenu(role, number, anchor, back) {
    this.card.hide();
    this.menu.open(role, number, this.shape.plan[role][number], this.shape.plan, anchor, back);
  }

  addCell(index) {
    const cell = new CellView(this, index);
    const { line } = this.layout.where(index);
    if (!this.rows.has(line)) this.addLine(line);
    if (this.shape.wall && this.shape.place(index).inner === 0) {
      const { column } = this.shape.place(index);
      cell.label = make("div", "zk-under", cell.node);
      const said = make("span", "zk-head-label", cell.label);
      said.textContent = this.shape.plan.columns[column];
      said.title = said.textContent;
      this.dots(cell.label, "columns", column, said.textContent);
    }
    insert(this.rows.get(line), cell.node, index);
    this.cells.set(index, cell);
    this.placeCell(cell);
  }

  placeCell(cell) {
    const { layout } = this;
    const { line, slot } = layout.where(cell.index);
    const about = layout.lines[line];
    if (cell.node.parentNode !== this.rows.get(line)) {
      if (!this.rows.has(line)) this.addLine(line);
      insert(this.rows.get(line), cell.node, cell.index);
    }
    set(cell.node, "aria-colindex", slot + 1 + (layout.left ? 1 : 0));
    cell.place(layout.x(slot), about.picture, layout);
  }
}
