// @ts-check
// What the page does: filter, walk by keyboard, show a cell's recipe, enlarge it. The grid itself is plain HTML, so it
// shows every picture and label without this script.

import { byPlace, cardPlace, differing, facts, fitting, haystack, neighbour, passes, starsOf, step, toward, words } from "./cells.js";
import { lightbox } from "../../studio/js/lightbox.js";
import { writeRecipe } from "../../studio/js/recipe.js";
import { fill } from "../../studio/js/words.js";

const read = id => JSON.parse(document.getElementById(id).textContent);
/** @type {(id: string) => any} */
const $ = id => document.getElementById(id);
/** @type {(selector: string) => any[]} */
const $$ = selector => [...document.querySelectorAll(selector)];
const cells = read("cells"), texts = read("texts");
const buttons = new Map($$(".cell").map(button => [Number(button.dataset.cell), button]));
const places = byPlace(cells);
const make = (name, props = {}, ...children) => {
  const element = Object.assign(document.createElement(name), props);
  element.append(...children);
  return element;
};

// the recipe in words, and what differs

const called = name => texts.names[name] || name;
const marks = cell => [starsOf(cell.rating), cell.winner ? texts.winner : ""].filter(Boolean).join("  ");

function tell(parent, cell, title = "") {
  const differs = ["left", "above"].map(side => [side, neighbour(places, cell, side)]).filter(([, other]) => other);
  writeRecipe(parent, {
    title, marks: marks(cell), nothing: texts.nothing,
    recipe: /** @type {[string, string][]} */ ([
      ...facts(cell).map(([name, value]) => [called(name), value]), ...(cell.took ? [[texts.took, cell.took]] : []),
    ]),
    differs: differs.map(([side, other]) => ({
      side: texts[side], changes: differing(other, cell, texts.none).map(([name, was, is]) => [called(name), was, is]),
    })),
  });
}

// the card beside a cell under the pointer or the focus

const card = $("card");
let carded = null;

function showCard(button) {
  const cell = cells[Number(button.dataset.cell)];
  hideCard();
  carded = button;
  button.setAttribute("aria-describedby", "card");
  card.replaceChildren();
  tell(card, cell, cell.label);
  card.hidden = false;
  const size = card.getBoundingClientRect();
  const [left, top] = cardPlace(button.getBoundingClientRect(), [size.width, size.height], [innerWidth, innerHeight]);
  Object.assign(card.style, { left: `${left}px`, top: `${top}px` });
}

function hideCard() {
  card.hidden = true;
  carded?.removeAttribute("aria-describedby");
  carded = null;
}

// walking: to the next cell in a direction, as the cells lie on the page

let current = cells.length ? buttons.get(0) : null;

function focusable(button) {
  if (current) current.tabIndex = -1;
  current = button;
  current.tabIndex = 0;
}

const shown = () => [...buttons.values()].filter(button => !button.hidden && button.offsetParent);

// the button that `lead`, toward or step, gives for a key
function reached(lead, from, key) {
  const all = shown();
  const boxes = all.map(button => {
    const box = button.getBoundingClientRect();
    return { x: box.left + box.width / 2, y: box.top + box.height / 2, height: box.height };
  });
  return all[lead(boxes, all.indexOf(from), key)];
}

$("grid").addEventListener("keydown", event => {
  const button = event.target.closest(".cell");
  if (!button) return;
  if (event.key === "Escape") return hideCard();
  const next = { __proto__: null, Home: shown()[0], End: shown().at(-1) }[event.key] || (event.key.startsWith("Arrow") && reached(toward, button, event.key));
  if (!next) return;
  event.preventDefault();
  focusable(next);
  next.focus();
});
$("grid").addEventListener("focusin", event => {
  const button = event.target.closest(".cell");
  if (button) { focusable(button); if (button.matches(":focus-visible")) showCard(button); }
});
$("grid").addEventListener("focusout", hideCard);
$("grid").addEventListener("pointerover", event => {
  const button = event.target.closest(".cell");
  if (button && event.pointerType !== "touch") showCard(button);
});
$("grid").addEventListener("pointerout", event => {
  if (!event.relatedTarget?.closest?.(".cell")) hideCard();
});
document.addEventListener("keydown", event => { if (event.key === "Escape") hideCard(); });
addEventListener("scroll", hideCard, { passive: true });

// enlarged

const box = lightbox(document.body, { text: key => texts.lightbox[key] ?? key });

function item(index) {
  const cell = cells[index], small = buttons.get(index).querySelector("img");
  const large = cell.large === null ? null : $(`large-${cell.large}`);
  return {
    url: !small ? "" : large ? `data:image/jpeg;base64,${large.textContent}` : small.src,
    label: cell.label,
    status: small ? "" : [cell.word, cell.error].filter(Boolean).join(": "),
    recipe: parent => {
      tell(parent, cell);
      parent.append(make("details", {}, make("summary", { textContent: texts.json }),
        make("pre", { textContent: JSON.stringify(cell.request, null, 2), tabIndex: 0 })));
    },
  };
}

function enlarge(button) {
  hideCard();
  box.open({
    count: cells.length,
    at: item,
    next: (index, key) => {
      const there = reached(step, buttons.get(index), key);
      return there ? Number(there.dataset.cell) : null;
    },
    back: index => buttons.get(index),
    sheet: innerWidth > 640,
  }, Number(button.dataset.cell));
}

$("grid").addEventListener("click", event => {
  const button = event.target.closest(".cell");
  if (button) enlarge(button);
});

// filter

const haystacks = cells.map(haystack);
const axes = $$("select[data-axis]");

function filter() {
  const chosen = axes.filter(select => select.value !== "").map(select => [select.dataset.axis, Number(select.value)]);
  const wanted = {
    find: words($("find").value), rating: Number($("rating").value), winners: $("winner").checked, values: Object.fromEntries(chosen),
  };
  let count = 0;
  cells.forEach((cell, index) => {
    const fits = passes(cell, haystacks[index], wanted);
    buttons.get(index).closest(".place").hidden = buttons.get(index).hidden = !fits;
    count += Number(fits);
  });
  for (const item of $$(".flow > li")) item.hidden = !item.querySelector(".cell:not([hidden])");
  for (const table of $$("table")) tidy(table);
  for (const page of $$("section")) page.hidden = !page.querySelector(".cell:not([hidden])");
  $("count").textContent = fill(texts.count, { count, all: cells.length });
  if (current?.hidden) {
    const first = [...buttons.values()].find(button => !button.hidden);
    if (first) focusable(first);
  }
}

// hides rows and columns in which no picture is left
function tidy(table) {
  const seen = new Set();
  for (const row of table.tBodies[0].rows) {
    const shown = [...row.cells].filter(cell => cell.querySelector(".cell:not([hidden])"));
    row.hidden = !shown.length;
    shown.forEach(cell => seen.add(cell.cellIndex));
  }
  for (const row of table.rows) for (const cell of row.cells) if (cell.dataset.column) cell.hidden = !seen.has(cell.cellIndex);
}

$("tools").addEventListener("input", filter);
$("tools").addEventListener("submit", event => event.preventDefault());
$("tools").addEventListener("reset", () => setTimeout(() => { filter(); resize(); }));
const resize = () => document.documentElement.style.setProperty("--cell", `${$("size").value}px`);
$("size").addEventListener("input", resize);

function fittingSize() {
  const row = $$("tbody tr")[0], most = Number($("size").value);
  if (!row) return most;
  const pictures = row.querySelectorAll(".place").length;
  return fitting(most, document.documentElement.clientWidth, row.cells[0].offsetWidth, row.cells.length, pictures);
}

if (current) current.tabIndex = 0;
for (const field of $$(".said")) field.hidden = !cells.some(cell => cell.rating || cell.winner);
$("size").defaultValue = fittingSize();
resize();
filter();
