// @ts-check
// The library: filters above, thousands of pictures of which only the seen ones are in the page, and what can be done
// with those that are chosen.

import { disable, jpeg, make, unusable } from "../../js/dom.js";
import { reached } from "../../js/kernel.js";
import { lightbox } from "../../js/lightbox.js";
import { Names } from "./names.js";
import { chosenAfter, command, layout, moved, pages, place, seen } from "./tiles.js";

const PAGE = 60; // pictures that are asked for at once
const TYPING = 250; // milliseconds from the last key to the search
const FILTERS = ["model", "stage", "lora", "tag", "stars", "since", "cells"];
const COMMANDS = ["use", "strip", "compare", "grid", "like", "tag", "download", "remove"];
const ONE = new Set(["use", "like"]); // which take one picture

export default {
  render({ model, el, signal }) {
    const text = (key) => model.get("texts")[key] ?? key;
    const fill = (key, values) => text(key).replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
    el.classList.add("zk-library");

    const filters = make("div", "zk-library-filters");
    const words = make("input");
    words.type = "search";
    const menus = Object.fromEntries(FILTERS.map((name) => [name, make("select", "zk-choice")]));
    const clear = button("clear");
    filters.append(labelled(words, "words"), ...FILTERS.map((name) => labelled(menus[name], name)), clear);

    const actions = make("div", "zk-actions");
    actions.setAttribute("role", "toolbar");
    const buttons = Object.fromEntries(COMMANDS.map((name) => {
      const made = button(name);
      made.addEventListener("click", () => { if (!unusable(made)) names.inTurn(() => act(name)); }, { signal });
      actions.append(made);
      return [name, made];
    }));
    const undo = button("undo");
    undo.addEventListener("click", () => send({ do: "undo" }), { signal });
    const told = make("span", "zk-library-told");
    told.setAttribute("role", "status");
    actions.append(undo, told);

    const frame = make("div", "zk-library-frame");
    const list = make("div", "zk-library-list");
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-multiselectable", "true");
    frame.append(list);
    const empty = make("p", "zk-empty");
    const keys = make("p", "zk-cost");
    keys.hidden = true;
    el.append(filters, actions, frame, empty, keys);
    const box = lightbox(el, { text: (key) => model.get("texts").lightbox?.[key] ?? key, signal });

    let asked = new Set(); // pages that were asked for
    let rows = []; // by place; undefined: not there yet
    let tiles = new Map(); // place -> its element
    let chosen = []; // names
    let at = 0; // the place that has the focus, or had it
    let shape = layout(600, 0);
    let focusSoon = false;
    let asks = ""; // the words that were asked for last

    const send = (message) => reached(model, el, { ...message, version: model.get("version") });
    const names = new Names((from, end) => send({ do: "names", from, end }));

    function button(name) {
      const made = make("button", "zk-button");
      made.type = "button";
      made.textContent = text(name);
      made.title = text(`${name}_help`);
      return made;
    }

    function labelled(control, name) {
      const made = make("label", `zk-library-${name}`);
      made.append(text(name === "tag" ? "tag_filter" : name), control); // "tag" is what the button says
      return made;
    }

    // ---- the question ----

    function showFilters() {
      const facets = model.get("facets");
      const query = model.get("query");
      for (const name of FILTERS) {
        const options = (facets[name] ?? []).map(([label, value]) => new Option(label, value));
        menus[name].replaceChildren(new Option(text("any"), ""), ...options);
        menus[name].value = query[name] ?? "";
        menus[name].closest("label").hidden = options.length === 0 && !query[name];
      }
      if ((query.words ?? "") !== asks) words.value = asks = query.words ?? ""; // what is being typed stays
      clear.hidden = !Object.values(query).some(Boolean);
    }

    function ask() {
      asks = words.value;
      const query = { words: asks };
      for (const name of FILTERS) query[name] = menus[name].value;
      model.set("query", { ...query, like: model.get("query").like ?? "" });
      model.save_changes();
    }

    const find = () => names.inTurn(ask); // what was typed before it means the pictures that were shown then

    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let typing;
    words.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(find, TYPING);
    }, { signal });
    for (const menu of Object.values(menus)) menu.addEventListener("change", find, { signal });
    clear.addEventListener("click", () => names.inTurn(() => {
      words.value = asks = "";
      model.set("query", {});
      model.save_changes();
      words.focus();
    }), { signal });

    // ---- the tiles ----

    const count = () => model.get("total");

    function anew() {
      names.askFor(count()); // once more, of the pictures that there are now
      asked = new Set();
      for (const row of rows) if (row?.url) URL.revokeObjectURL(row.url);
      rows = [];
      for (const { element, url } of tiles.values()) {
        element.remove();
        if (url) URL.revokeObjectURL(url);
      }
      tiles = new Map();
      at = Math.max(0, Math.min(at, count() - 1));
      show();
    }

    function show() {
      shape = layout(frame.clientWidth || 600, count());
      list.style.height = `${shape.height}px`;
      frame.hidden = count() === 0;
      empty.hidden = count() > 0;
      empty.textContent = text(model.get("busy") ? "reading" : Object.values(model.get("query")).some(Boolean) ? "none" : "empty");
      const [first, end] = seen(shape, count(), frame.scrollTop, frame.clientHeight || 600);
      for (const [index, { element, url }] of tiles) {
        if ((index >= first && index < end) || index === at) continue;
        element.remove();
        if (url) URL.revokeObjectURL(url);
        tiles.delete(index);
      }
      for (let index = first; index < end; index += 1) draw(index);
      if (at < count()) draw(at);
      for (const page of pages(first, end, PAGE)) askFor(page);
      showChosen();
    }

    function askFor(page) {
      if (asked.has(page)) return;
      asked.add(page);
      send({ do: "page", page, size: PAGE });
    }

    function draw(index) {
      let tile = tiles.get(index);
      if (!tile) {
        const element = make("div", "zk-tile");
        element.setAttribute("role", "option");
        element.setAttribute("aria-posinset", String(index + 1));
        element.dataset.index = String(index);
        const image = make("img");
        image.draggable = true;
        const stars = make("span", "zk-tile-stars");
        element.append(image, stars);
        const next = [...tiles.keys()].filter((other) => other > index).sort((a, b) => a - b)[0];
        list.insertBefore(element, next === undefined ? null : tiles.get(next).element); // in order, for screen readers
        tile = { element, image, stars, url: "", row: undefined };
        tiles.set(index, tile);
      }
      const [left, top] = place(shape, index);
      Object.assign(tile.element.style, {
        left: `${left}px`, top: `${top}px`, width: `${shape.tile}px`, height: `${shape.tile}px`,
      });
      tile.element.setAttribute("aria-setsize", String(count()));
      const row = rows[index];
      if (row && tile.row !== row) {
        tile.row = row;
        tile.image.alt = row.label;
        tile.element.title = row.label;
        tile.stars.textContent = "★".repeat(row.stars);
        if (row.thumb && !tile.url) {
          tile.url = URL.createObjectURL(new Blob([row.thumb], { type: "image/jpeg" }));
          tile.image.src = tile.url;
        }
        tile.element.classList.toggle("zk-broken", !row.thumb);
      }
      return tile;
    }

    function showChosen() {
      for (const [index, { element, row }] of tiles) {
        const is = row !== undefined && chosen.includes(row.name);
        if (element.getAttribute("aria-selected") !== String(is)) element.setAttribute("aria-selected", String(is));
        element.tabIndex = index === at ? 0 : -1;
      }
      for (const [name, each] of Object.entries(buttons)) {
        const least = name === "compare" ? 2 : 1;
        disable(each, chosen.length < least || ((ONE.has(name) || name === "compare") && chosen.length > least));
      }
      undo.hidden = !model.get("undoable");
      const facts = [fill("count", { count: count(), size: model.get("size") })];
      if (chosen.length) facts.push(fill("chosen", { count: chosen.length }));
      if (model.get("note")) facts.push(model.get("note"));
      told.textContent = facts.join(" · ");
    }

    function focus(index) {
      at = index;
      const [, top] = place(shape, index);
      if (top < frame.scrollTop) frame.scrollTop = top;
      else if (top + shape.tile > frame.scrollTop + frame.clientHeight) frame.scrollTop = top + shape.tile - frame.clientHeight;
      show();
      tiles.get(index)?.element.focus({ preventScroll: true });
    }

    function choose(index, event) {
      const [first, last] = event.shiftKey ? [Math.min(at, index), Math.max(at, index)] : [index, index];
      const toggle = event.ctrlKey || event.metaKey || event.key === " ";
      if (event.key !== " ") at = index;
      names.inTurn(() => names.of(rows, first, last + 1, (found) => {
        if (found.length) chosen = chosenAfter(chosen, found[0], { toggle, range: event.shiftKey ? found : [] });
        showChosen();
      }));
    }

    list.addEventListener("click", (event) => {
      const tile = /** @type {any} */ (event.target).closest(".zk-tile");
      if (!tile) return;
      choose(Number(tile.dataset.index), event);
      tile.focus({ preventScroll: true });
    }, { signal });
    list.addEventListener("dblclick", (event) => {
      if (/** @type {any} */ (event.target).closest(".zk-tile")) act("enlarge");
    }, { signal });
    list.addEventListener("keydown", (event) => {
      const rowsSeen = Math.max(1, Math.floor(frame.clientHeight / (shape.tile + 8)));
      const to = event.ctrlKey || event.altKey || event.metaKey ? null : moved(event.key, at, shape, count(), rowsSeen);
      const asks = to === null ? command(event) : null;
      if (to === null && !asks) return;
      if (asks?.[0] === "none" && !chosen.length && !names.held) return; // Escape belongs to the panel
      event.preventDefault();
      event.stopPropagation();
      if (to !== null) {
        if (event.shiftKey) choose(to, event);
        focus(to);
      } else {
        key(asks, event);
      }
    }, { signal });

    function key([name, value], event) {
      if (name === "toggle") return choose(at, event);
      if (name === "help") keys.hidden = !keys.hidden;
      else if (name === "find") words.focus();
      else names.inTurn(() => keyed(name, value));
    }

    function keyed(name, value) {
      const then = (found) => {
        chosen = found;
        if (name === "mark") send({ do: "mark", names: found, stars: value });
        else if (name !== "all" && name !== "none") act(name);
        showChosen();
      };
      if (name === "all") names.of(rows, 0, count(), then);
      else if (name === "none" || name === "undo" || chosen.length || !count()) then(name === "none" ? [] : chosen);
      else names.of(rows, at, at + 1, then);
    }

    function act(name) {
      if (name === "undo") return send({ do: "undo" });
      if (name === "enlarge") return enlarge();
      if (!chosen.length) return;
      if (name === "tag") {
        const tags = window.prompt(text("tag_prompt"), "");
        if (tags?.trim()) send({ do: "tag", names: chosen, tags });
        return;
      }
      send({ do: name, names: chosen, how: "seed" });
      if (name === "remove") {
        chosen = [];
        focusSoon = list.contains(document.activeElement);
      }
    }

    /** @type {Map<string, (item: object) => void>} */
    const awaited = new Map(); // name -> what takes its full picture

    const befores = new Map(); // name -> what takes the picture before its last stage

    function enlarge() {
      if (!rows[at]) return;
      box.open({
        count: count(),
        at: (index) => {
          const row = rows[index];
          if (!row) return { url: "", rough: true, status: text("reading") };
          if (row.thumb) row.url ??= jpeg(row.thumb);
          return {
            url: row.url ?? "", rough: true, alt: row.label, label: row.label, caption: "★".repeat(row.stars),
            load: () => new Promise((resolve) => {
              awaited.set(row.name, resolve);
              send({ do: "full", name: row.name });
            }),
            earlier: row.staged ? () => new Promise((resolve, reject) => {
              befores.set(row.name, { resolve, reject });
              send({ do: "before", name: row.name });
            }) : undefined,
          };
        },
        shown: (index) => {
          at = index;
          askFor(Math.floor(index / PAGE));
        },
        key: (event, index) => {
          const [name, value] = command(event) ?? [];
          if (name !== "mark" || !rows[index]) return false;
          send({ do: "mark", names: [rows[index].name], stars: value });
          return true;
        },
        keys: [["0–5", text("stars")]],
        back: (index) => (focus(index), null),
      }, at);
    }

    // The file for a drag out of the page must be there before the drag begins: it is fetched when the pointer rests.
    const files = new Map(); // name -> {url, file}
    list.addEventListener("pointerover", (event) => {
      const row = rows[Number(/** @type {any} */ (event.target).closest?.(".zk-tile")?.dataset.index)];
      if (!row || files.has(row.name)) return;
      clearTimeout(hover);
      hover = setTimeout(() => {
        if (!files.has(row.name)) send({ do: "file", name: row.name });
      }, 200);
    }, { signal });
    let hover;
    list.addEventListener("dragstart", (event) => {
      const row = rows[Number(/** @type {any} */ (event.target).closest?.(".zk-tile")?.dataset.index)];
      const there = row && files.get(row.name);
      if (!row || !event.dataTransfer) return;
      event.dataTransfer.setData("application/x-zimage-picture", row.name);
      event.dataTransfer.effectAllowed = "copy";
      if (!there) return;
      event.dataTransfer.setData("DownloadURL", `${there.type}:${there.file}:${there.url}`);
      event.dataTransfer.setData("text/uri-list", there.url);
    }, { signal });

    // ---- what the kernel tells ----

    model.on("msg:custom", (message, buffers) => {
      if (message.page !== undefined && message.version === model.get("version")) {
        message.rows.forEach((row, offset) => {
          rows[message.page * PAGE + message.from + offset] = { ...row, thumb: buffers[offset].byteLength ? buffers[offset] : null };
        });
        show();
        box.update();
        if (focusSoon && tiles.has(at) && rows[at]) {
          focusSoon = false;
          tiles.get(at).element.focus({ preventScroll: true });
        }
      } else if (message.names && message.version === model.get("version")) {
        names.came(message.names);
      } else if (message.before) {
        const { resolve, reject } = befores.get(message.before) ?? {};
        if (message.error) reject?.(new Error(message.error));
        else resolve?.(jpeg(buffers[0]));
      } else if (message.full) {
        const { full: name, ...item } = message;
        awaited.get(name)?.({ ...item, url: jpeg(buffers[0]), rough: false });
        awaited.delete(name);
      } else if (message.marks) {
        for (const row of rows) if (row && message.marks[row.name] !== undefined) row.stars = message.marks[row.name];
        box.update();
        for (const tile of tiles.values()) if (tile.row) tile.stars.textContent = "★".repeat(tile.row.stars);
      } else if (message.file) {
        const url = URL.createObjectURL(new Blob([buffers[0]], { type: message.type }));
        if (message.name) {
          files.set(message.name, { url, file: message.file, type: message.type });
          if (files.size > 24) {
            const [oldest, { url: old }] = files.entries().next().value;
            URL.revokeObjectURL(old);
            files.delete(oldest);
          }
          return;
        }
        const link = make("a");
        link.href = url;
        link.download = message.file;
        link.click();
        setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser may still be reading it
      }
    });

    function showTexts() {
      list.setAttribute("aria-label", text("label"));
      actions.setAttribute("aria-label", text("actions"));
      words.placeholder = text("words_hint");
      keys.textContent = text("keys");
    }

    frame.addEventListener("scroll", () => requestAnimationFrame(show), { signal, passive: true });
    const sizes = new ResizeObserver(() => show());
    sizes.observe(frame);
    model.on("change:version", anew);
    model.on("change:total change:busy change:undoable change:note", show);
    model.on("change:facets change:query", showFilters);
    showTexts();
    showFilters();
    anew();
    return () => {
      sizes.disconnect();
      for (const { url } of tiles.values()) if (url) URL.revokeObjectURL(url);
      for (const { url } of files.values()) URL.revokeObjectURL(url);
    };
  },
};
