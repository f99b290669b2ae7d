// @ts-check
// A cell's recipe in words, how it differs from its neighbours', and why there is no picture: one sheet for the board's
// card, the lightbox, and the web page of a grid.

import { make, write } from "./dom.js";

/**
 * @typedef {object} Told
 * @property {string} [title]
 * @property {string} [problem] why the cell is empty
 * @property {string} [marks] its rating
 * @property {{side: string, changes: [name: string, was: string, now: string][]}[]} differs from which neighbours, and how
 * @property {[name: string, value: string, varies?: boolean][]} recipe
 * @property {string} nothing said where nothing differs
 */

/** @param {HTMLElement} parent @param {Told} told */
export function writeRecipe(parent, { title, problem, marks, differs, recipe, nothing }) {
  if (title) write(make("h3", "zk-recipe-title", parent), title);
  if (marks) write(make("p", "zk-recipe-marks", parent), marks);
  if (problem) write(make("p", "zk-recipe-problem", parent), problem);
  for (const { side, changes } of differs) {
    const line = make("div", "zk-recipe-differs", parent);
    write(make("span", "zk-recipe-side", line), side);
    const list = make("ul", "", line);
    if (!changes.length) write(make("li", "", list), nothing);
    for (const [name, was, now] of changes) {
      const item = make("li", "", list);
      write(make("b", "", item), name);
      item.append(": ");
      write(make("del", "", item), was || "–");
      item.append(" → ");
      write(make("ins", "", item), now || "–");
    }
  }
  const table = make("dl", "zk-recipe", parent);
  for (const [name, value, varies] of recipe) {
    const pair = make("div", varies ? "zk-varies" : "", table);
    write(make("dt", "", pair), name);
    write(make("dd", "", pair), value);
  }
}
