// A cell's recipe and how it differs from its neighbours', shown beside the cell under the pointer or with the focus. All
// of it is in the page, so it works while the kernel is busy.

import { make, write } from "../js/dom.js";
import { cardPlace } from "./grid_layout.js";

function valueOf(recipes, field, index) {
  const varies = recipes.vary[field];
  return varies ? varies.values[varies.of[index]] : recipes.same[field] ?? "";
}

// [name, was, now] of what differs: the axes' own values first, then fields that differ for another reason.
function differences(shape, index, neighbour) {
  const { recipes, slots, fields } = shape.plan;
  const [now, was] = [shape.values(index), shape.values(neighbour)];
  const axes = Object.keys({ ...was, ...now }).filter((axis) => was[axis] !== now[axis]);
  const implied = new Set(axes.map((axis) => axis.replace(/^stages\./, ""))); // by the axes' values, so not repeated
  if (implied.has("size")) ["width", "height"].forEach((field) => implied.add(field));
  if (axes.some((axis) => axis.startsWith("lora"))) implied.add("loras");
  if (axes.some((axis) => slots.includes(axis))) ["prompt", "negative_prompt"].forEach((field) => implied.add(field));
  const others = Object.keys(recipes.vary).filter(
    (field) => !implied.has(field) && recipes.vary[field].of[index] !== recipes.vary[field].of[neighbour],
  );
  return [
    ...axes.map((axis) => [fields.find(([, name]) => name === axis)?.[0] ?? axis, was[axis], now[axis]]),
    ...others.map((field) => [recipes.labels[field], valueOf(recipes, field, neighbour), valueOf(recipes, field, index)]),
  ];
}

const SLOW = 350; // milliseconds that the pointer rests before the card opens
const GRACE = 200; // milliseconds before it closes, so that the pointer can move into it

class RecipeCard {
  constructor(parent, text, signal) {
    this.text = text;
    this.node = make("div", "zk-card", parent);
    this.node.popover = "manual"; // on top of everything, and not clipped
    this.node.id = `zk-card-${Math.random().toString(36).slice(2)}`;
    this.node.setAttribute("role", "tooltip");
    this.node.addEventListener("pointerenter", () => clearTimeout(this.timer), { signal });
    this.node.addEventListener("pointerleave", () => this.hideSoon(), { signal });
    this.timer = 0;
    this.index = -1;
  }

  showSoon(fill, anchor, index) {
    if (this.index === index && this.node.matches(":popover-open")) return clearTimeout(this.timer);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (!anchor.isConnected) return;
      this.index = index;
      this.node.replaceChildren();
      fill(this.node);
      this.node.showPopover();
      this.beside(anchor.getBoundingClientRect());
    }, SLOW);
  }

  hideSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.hide(), GRACE);
  }

  hide() {
    clearTimeout(this.timer);
    const shown = this.node.matches(":popover-open");
    if (shown) this.node.hidePopover();
    this.index = -1;
    return shown;
  }

  beside(cell) {
    const { x, y } = cardPlace(cell, [this.node.offsetWidth, this.node.offsetHeight], [innerWidth, innerHeight]);
    this.node.style.left = `${x}px`;
    this.node.style.top = `${y}px`;
  }

  fill(node, { shape, index, error }) {
    const { recipes } = shape.plan;
    write(make("p", "zk-card-title", node), shape.label(index));
    if (error) write(make("p", "zk-card-error", node), error);
    for (const [key, neighbour] of [["left", shape.left(index)], ["above", shape.above(index)]]) {
      if (neighbour === null) continue;
      const differs = differences(shape, index, neighbour);
      const line = make("div", "zk-card-differs", node);
      write(make("span", "zk-card-side", line), this.text(key));
      const list = make("ul", "", line);
      if (!differs.length) write(make("li", "", list), this.text("nothing"));
      for (const [name, was, now] of differs) {
        const item = make("li", "", list);
        write(make("b", "", item), name);
        item.append(" ");
        write(make("span", "zk-was", item), was || "–");
        item.append(" → ");
        write(make("span", "zk-now", item), now || "–");
      }
    }
    const table = make("dl", "zk-card-recipe", node);
    for (const field of Object.keys(recipes.labels)) {
      const value = valueOf(recipes, field, index);
      if (!value) continue;
      const pair = make("div", field in recipes.vary ? "zk-varies" : "", table);
      write(make("dt", "", pair), recipes.labels[field]);
      write(make("dd", "", pair), value);
    }
  }
}

export { RecipeCard, differences, valueOf };
