// What the page does: filter, walk by keyboard, tell what a cell is made of, enlarge it. The grid itself is plain HTML,
// so without this script it still shows every picture and label.
(() => {
"use strict";
const read = id => JSON.parse(document.getElementById(id).textContent);
const $ = id => document.getElementById(id);
const cells = read("cells"), texts = read("texts");
const buttons = new Map([...document.querySelectorAll(".cell")].map(button => [Number(button.dataset.cell), button]));
const byPlace = new Map(cells.map(cell => [cell.place.join(), cell]));
const make = (name, props = {}, ...children) => {
  const element = Object.assign(document.createElement(name), props);
  element.append(...children);
  return element;
};

// the recipe in words

function facts(cell) {
  const r = cell.request, found = [];
  const add = (name, value) => { if (value !== null && value !== undefined && value !== "") found.push([name, String(value)]); };
  add("prompt", r.prompt);
  add("negative_prompt", r.negative_prompt);
  add("model", r.model);
  add("size", r.width && r.height ? `${r.width} × ${r.height}` : null);
  for (const name of ["steps", "guidance", "seed"]) add(name, r[name]);
  for (const lora of r.loras || []) add("lora", `${lora.path} ${lora.weight}`);
  (r.stages || []).forEach((stage, index) => {
    const { kind, ...fields } = stage;
    const told = Object.entries(fields).filter(([, value]) => value !== null && value !== "" && value !== false);
    add(`${index + 1}. ${kind}`, told.map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ") || "·");
  });
  return found;
}

const called = name => texts.names[name] || name;

function list(cell) {
  const dl = make("dl");
  for (const [name, value] of facts(cell)) dl.append(make("dt", { textContent: called(name) }), make("dd", { textContent: value }));
  if (cell.took) dl.append(make("dt", { textContent: texts.took }), make("dd", { textContent: cell.took }));
  return dl;
}

// the neighbour above, or at the left: one picture further in the cell, or one column
function neighbour(cell, side) {
  const [page, row, column, inner] = cell.place;
  if (side === "above") return byPlace.get([page, row - 1, column, inner].join());
  return byPlace.get((inner ? [page, row, column, inner - 1] : [page, row, column - 1, inner]).join());
}

// both texts without what they begin and end with in common, cut between words
function parted(before, after) {
  const boundary = (text, at) => at <= 0 || at >= text.length || !/[\p{Script=Latin}\d]/u.test(text[at - 1]) || !/[\p{Script=Latin}\d]/u.test(text[at]);
  const most = Math.min(before.length, after.length);
  let head = 0, tail = 0;
  while (head < most && before[head] === after[head]) head++;
  while (head > 0 && !(boundary(before, head) && boundary(after, head))) head--;
  while (tail < most - head && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
  while (tail > 0 && !(boundary(before, before.length - tail) && boundary(after, after.length - tail))) tail--;
  const middle = text => (head ? "…" : "") + text.slice(head, text.length - tail).trim() + (tail ? "…" : "");
  return [middle(before), middle(after)];
}

function differences(cell) {
  const box = make("div", { className: "differs" });
  for (const side of ["left", "above"]) {
    const other = neighbour(cell, side);
    if (!other) continue;
    const mine = new Map(facts(cell)), theirs = new Map(facts(other)), items = make("ul");
    for (const name of new Set([...theirs.keys(), ...mine.keys()])) {
      const before = theirs.get(name) ?? texts.none, after = mine.get(name) ?? texts.none;
      if (before === after) continue;
      const [was, is] = parted(before, after);
      items.append(make("li", {}, `${called(name)}: `, make("del", { textContent: was }), " → ", make("ins", { textContent: is })));
    }
    const nothing = items.childElementCount ? "" : ` ${texts.nothing}`;
    box.append(make("p", { textContent: texts[side] + nothing }), items);
  }
  return box.childElementCount ? box : "";
}

function stars(cell) {
  if (!cell.rating && !cell.winner) return "";
  const shown = "★".repeat(cell.rating) + (cell.rating ? "☆".repeat(5 - cell.rating) : "");
  return make("p", { className: "stars", textContent: [shown, cell.winner ? texts.winner : ""].filter(Boolean).join("  ") });
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
  const at = button.getBoundingClientRect(), size = card.getBoundingClientRect(), gap = 10;
  const right = at.right + gap + size.width <= innerWidth;
  card.style.left = `${Math.max(gap, right ? at.right + gap : at.left - gap - size.width)}px`;
  card.style.top = `${Math.max(gap, Math.min(at.top, innerHeight - size.height - gap))}px`;
}

function hideCard() {
  card.hidden = true;
  carded?.removeAttribute("aria-describedby");
  carded = null;
}

// walking: to the next cell in a direction, as it stands on the page

let current = cells.length ? buttons.get(0) : null;

function focusable(button) {
  if (current) current.tabIndex = -1;
  current = button;
  current.tabIndex = 0;
}

function toward(from, key) {
  const shown = [...buttons.values()].filter(button => !button.hidden && button.offsetParent);
  const middle = button => { const r = button.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2, r.height]; };
  const [x, y, height] = middle(from);
  const across = key === "ArrowLeft" || key === "ArrowRight", sign = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
  let best = null, least = Infinity;
  for (const button of shown) {
    if (button === from) continue;
    const [bx, by] = middle(button);
    const along = sign * (across ? bx - x : by - y), aside = Math.abs(across ? by - y : bx - x);
    if (along <= 1 || (across && aside > height / 2)) continue;
    const distance = along + 4 * aside;
    if (distance < least) [least, best] = [distance, button];
  }
  return best;
}

$("grid").addEventListener("keydown", event => {
  const button = event.target.closest(".cell");
  if (!button) return;
  if (event.key === "Escape") return hideCard();
  const shown = [...buttons.values()].filter(each => !each.hidden && each.offsetParent);
  const next = { Home: shown[0], End: shown.at(-1) }[event.key] || (event.key.startsWith("Arrow") ? toward(button, event.key) : null);
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
  for (const [id, key] of [["before", "ArrowLeft"], ["after", "ArrowRight"]]) $(id).disabled = !step(button, key);
  whole(true);
  if (!dialog.open) dialog.showModal();
}

// left and right go on in reading order at the end of a line
function step(button, key) {
  const there = toward(button, key);
  if (there || key === "ArrowUp" || key === "ArrowDown") return there;
  const shown = [...buttons.values()].filter(each => !each.hidden && each.offsetParent);
  return shown[shown.indexOf(button) + (key === "ArrowLeft" ? -1 : 1)];
}

function whole(fits) {
  stage.classList.toggle("fits", fits);
  $("zoom").setAttribute("aria-pressed", String(!fits));
}

function go(key) {
  const next = open && step(open, key);
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

const heaps = cells.map(cell => `${cell.label}\n${facts(cell).map(fact => fact[1]).join("\n")}`.toLowerCase());
const axes = [...document.querySelectorAll("select[data-axis]")];

function filter() {
  const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean), least = Number($("rating").value);
  let count = 0;
  cells.forEach((cell, index) => {
    const fits = words.every(word => heaps[index].includes(word)) && cell.rating >= least && (cell.winner || !$("winner").checked)
      && axes.every(select => select.value === "" || cell.values[Number(select.dataset.axis)] === Number(select.value));
    buttons.get(index).closest(".place").hidden = buttons.get(index).hidden = !fits;
    count += fits;
  });
  for (const item of document.querySelectorAll(".flow > li")) item.hidden = !item.querySelector(".cell:not([hidden])");
  for (const table of document.querySelectorAll("table")) tidy(table);
  for (const page of document.querySelectorAll("section")) page.hidden = !page.querySelector(".cell:not([hidden])");
  $("count").textContent = texts.count.replace("{count}", count).replace("{all}", cells.length);
  if (current?.hidden) {
    const first = [...buttons.values()].find(button => !button.hidden);
    if (first) focusable(first);
  }
}

// rows and columns in which nothing is left go
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

// as large as lets a whole line of a table be seen, if that is not too small
function fitting() {
  const row = document.querySelector("tbody tr"), most = Number($("size").value);
  if (!row) return most;
  const places = row.querySelectorAll(".place").length, columns = row.cells.length;
  const room = document.documentElement.clientWidth - 64 - row.cells[0].offsetWidth - 10 * columns - 3 * places;
  return Math.max(Math.min(most, 96), Math.min(most, 8 * Math.floor(room / places / 8)));
}

if (current) current.tabIndex = 0;
for (const field of document.querySelectorAll(".said")) field.hidden = !cells.some(cell => cell.rating || cell.winner);
$("size").defaultValue = fitting();
resize();
filter();
})();
