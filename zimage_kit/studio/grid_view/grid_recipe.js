// @ts-check
// A cell's recipe and how it differs from its neighbours', shown beside the cell under the pointer or with the focus. All
// of it is in the page, so it works while the kernel is busy.

import { make } from "../js/dom.js";
import { writeRecipe } from "../js/recipe.js";
import { cardPlace } from "./grid_layout.js";

function valueOf(recipes, field, index) {
  const varies = recipes.vary[field];
  return varies ? varies.values[varies.of[index]] : recipes.same[field] ?? "";
}

/** What differs: the axes' own values first, then fields that differ for another reason.
 * @returns {[name: string, was: string, now: string][]} */
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
  return /** @type {any} */ ([
    ...axes.map((axis) => [fields.find(([, name]) => name === axis)?.[0] ?? axis, was[axis], now[axis]]),
    ...others.map((field) => [recipes.labels[field], valueOf(recipes, field, neighbour), valueOf(recipes, field, index)]),
  ]);
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

  fill(node, { shape, index, error = "", title = "" }) {
    const { recipes } = shape.plan;
    /** @returns {[name: string, value: string, varies: boolean]} */
    const told = (field) => [recipes.labels[field], valueOf(recipes, field, index), field in recipes.vary];
    writeRecipe(node, {
      title,
      problem: error,
      differs: [["left", shape.left(index)], ["above", shape.above(index)]]
        .filter(([, neighbour]) => neighbour !== null)
        .map(([side, neighbour]) => ({ side: this.text(side), changes: differences(shape, index, neighbour) })),
      recipe: Object.keys(recipes.labels).map(told).filter(([, value]) => value),
      nothing: this.text("nothing"),
    });
  }
}

export { RecipeCard, differences, valueOf };
