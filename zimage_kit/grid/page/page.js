// What the page does: filter, walk by keyboard, show a cell's recipe, enlarge it. The grid itself is plain HTML, so it
// shows every picture and label without this script.

import { byPlace, cardPlace, differing, facts, fitting, haystack, neighbour, passes, starsOf, step, toward, words } from "./cells.js";
import { fill } from "../../studio/js/words.js";

const read = id => JSON.parse(document.getElementById(id).textContent);
const $ = id => document.getElementById(id);
const cells = read("cells"), texts = read("texts");
const buttons = new Map([...document.querySelectorAll(".cell")].map(button => [Number(button.dataset.cell), button]));
const places = byPlace(cells);
const make = (name, props = {}, ...children) => {
  const element = Object.assign(document.createElement(name), props);
  element.append(...children);
  return element;
};

// the recipe in words

const called = name => texts.names[name] || name;

function list(cell) {
  const dl = make("dl");
  for (const [name, value] of facts(cell)) dl.append(make("dt", { textContent: called(name) }), make("dd", { textContent: value }));
  if (cell.took) dl.append(make("dt", { textContent: texts.took }), make("dd", { textContent: cell.took }));
  return dl;
}

function differences(cell) {
  const box = make("div", { className: "differs" });
  for (const side of ["left", "above"]) {
    const other = neighbour(places, cell, side);
    if (!other) continue;
    const items = make("ul");
    for (const [name, was, is] of differing(other, cell, texts.none)) {
      items.append(make("li", {}, `${called(name)}: `, make("del", { textContent: was }), " → ", make("ins", { textContent: is })));
    }
    const nothing = items.childElementCount ? "" : ` ${texts.nothing}`;
    box.append(make("p", { textContent: texts[side] + nothing }), items);
  }
  return box.childElementCount ? box : "";
}

function stars(cell) {
  if (!cell.rating && !cell.winner) return "";
  return make("p", { className: "stars", textContent: [starsOf(cell.rating), cell.winner ? texts.winner : ""].filter(Boolean).join("  ") });
}

// the card beside a cell under the pointer or the focus

const card = $("card");
let carded = null;

function showCard(button) {
  const cell = cells[Number(button.dataset.cell)];
  hideCard();
  carded = button;
  button.setAttribute("aria-describedby", "card");
  card.replaceChildren(make("h3", { textContent: cell.label }), stars(cell), list(cell), differences(cell));
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
  const next = { Home: shown()[0], End: shown().at(-1) }[event.key] || (event.key.startsWith("Arrow") && reached(toward, button, event.key));
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

const dialog = $("enlarged"), stage = $("stage"), picture = $("picture");
let open = null;

function enlarge(button) {
  const cell = cells[Number(button.dataset.cell)];
  hideCard();
  open = button;
  const small = button.querySelector("img"), large = cell.large === null ? null : $(`large-${cell.large}`);
  picture.hidden = !small;
  $("problem").hidden = Boolean(small);
  $("problem").textContent = [cell.word, cell.error].filter(Boolean).join(": ");
  if (small) picture.src = large ? `data:image/jpeg;base64,${large.textContent}` : small.src;
  picture.alt = cell.label;
  $("name").textContent = cell.label;
  $("facts").replaceChildren(stars(cell), list(cell), differences(cell));
  $("json").textContent = JSON.stringify(cell.request, null, 2);
  for (const [id, key] of [["before", "ArrowLeft"], ["after", "ArrowRight"]]) $(id).disabled = !reached(step, button, key);
  whole(true);
  if (!dialog.open) dialog.showModal();
}

function whole(fits) {
  stage.classList.toggle("fits", fits);
  $("zoom").setAttribute("aria-pressed", String(!fits));
}

function go(key) {
  const next = open && reached(step, open, key);
  if (next) enlarge(next);
}

$("grid").addEventListener("click", event => {
  const button = event.target.closest(".cell");
  if (button) enlarge(button);
});
dialog.addEventListener("keydown", event => {
  if (event.key.startsWith("Arrow") && !event.target.closest("pre")) { event.preventDefault(); go(event.key); }
  if (event.key === "1" || event.key === "0") whole(event.key === "0");
});
dialog.addEventListener("close", () => { if (open) { focusable(open); open.focus(); open.scrollIntoView({ block: "nearest", inline: "nearest" }); } open = null; });
$("before").addEventListener("click", () => go("ArrowLeft"));
$("after").addEventListener("click", () => go("ArrowRight"));
$("close").addEventListener("click", () => dialog.close());
$("zoom").addEventListener("click", () => whole(!stage.classList.contains("fits")));
picture.addEventListener("click", event => {
  const box = picture.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
  whole(!stage.classList.contains("fits"));
  const now = picture.getBoundingClientRect();
  stage.scrollTo(x * now.width - stage.clientWidth / 2, y * now.height - stage.clientHeight / 2);
});

// filter

const haystacks = cells.map(haystack);
const axes = [...document.querySelectorAll("select[data-axis]")];

function filter() {
  const chosen = axes.filter(select => select.value !== "").map(select => [select.dataset.axis, Number(select.value)]);
  const wanted = {
    find: words($("find").value), rating: Number($("rating").value), winners: $("winner").checked, values: Object.fromEntries(chosen),
  };
  let count = 0;
  cells.forEach((cell, index) => {
    const fits = passes(cell, haystacks[index], wanted);
    buttons.get(index).closest(".place").hidden = buttons.get(index).hidden = !fits;
    count += fits;
  });
  for (const item of document.querySelectorAll(".flow > li")) item.hidden = !item.querySelector(".cell:not([hidden])");
  for (const table of document.querySelectorAll("table")) tidy(table);
  for (const page of document.querySelectorAll("section")) page.hidden = !page.querySelector(".cell:not([hidden])");
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
  const row = document.querySelector("tbody tr"), most = Number($("size").value);
  if (!row) return most;
  const pictures = row.querySelectorAll(".place").length;
  return fitting(most, document.documentElement.clientWidth, row.cells[0].offsetWidth, row.cells.length, pictures);
}

if (current) current.tabIndex = 0;
for (const field of document.querySelectorAll(".said")) field.hidden = !cells.some(cell => cell.rating || cell.winner);
$("size").defaultValue = fittingSize();
resize();
filter();
