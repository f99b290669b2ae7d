// @ts-check
// The menu of a row or column: add a copy of it with another value, or remove it.

import { button, make, set, write } from "../js/dom.js";
import { fill } from "../js/words.js";
import { menuPlace } from "./grid_layout.js";

export class LineMenu {
  line; plan; back; // set by open()

  constructor(parent, text, ask, signal) {
    this.text = text;
    this.ask = ask;
    this.node = make("form", "zk-menu", parent);
    this.node.popover = "auto"; // closes on Escape and on a click elsewhere
    this.node.setAttribute("role", "dialog");
    this.title = make("p", "zk-menu-title", this.node);
    this.field = this.control("select");
    this.value = this.control("input");
    this.value.type = "text";
    this.value.autocomplete = "off";
    const row = make("div", "zk-menu-buttons", this.node);
    this.add = make("button", "zk-button zk-primary", row);
    this.add.type = "submit";
    this.remove = button("zk-button", row);
    this.field.addEventListener("change", () => this.hint(), { signal });
    this.node.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask({ do: "rerun", ...this.line, name: this.field.value, value: this.value.value });
      this.node.hidePopover();
    }, { signal });
    this.remove.addEventListener("click", () => {
      this.ask({ do: "without", ...this.line });
      this.node.hidePopover();
    }, { signal });
    this.node.addEventListener("keydown", (event) => event.stopPropagation(), { signal });
    this.node.addEventListener("toggle", (event) => {
      // told a moment after it closed, when the user may be elsewhere already
      const lost = document.activeElement === document.body || this.node.contains(document.activeElement);
      if (event.newState === "closed" && lost) this.back?.focus();
    }, { signal });
  }

  control(tag) {
    const label = make("label", "", this.node);
    const name = make("span", "", label);
    const made = make(tag, "", label);
    made.zkName = name;
    return made;
  }

  open(role, number, label, plan, anchor, back) {
    Object.assign(this, { line: { role, number }, plan, back });
    const text = this.text;
    write(this.title, label);
    set(this.node, "aria-label", fill(text("menu"), { label }));
    write(this.field.zkName, text("menu_field"));
    write(this.value.zkName, text("menu_value"));
    write(this.add, text(role === "rows" ? "add_row" : "add_column"));
    write(this.remove, text(role === "rows" ? "remove_row" : "remove_column"));
    this.remove.disabled = plan[role].length < 2;
    const was = this.field.value;
    this.field.replaceChildren(...plan.fields.map(([name, value]) => new Option(name, value)));
    const own = Object.keys(plan.lines[role][number] ?? {})[0];
    this.field.value = plan.fields.some(([, value]) => value === was) && !own ? was : own ?? this.field.value;
    this.value.value = "";
    this.hint();
    this.node.showPopover();
    /** @type {[number, number]} */
    const size = [this.node.offsetWidth, this.node.offsetHeight];
    const { x, y } = menuPlace(anchor.getBoundingClientRect(), size, [innerWidth, innerHeight]);
    this.node.style.left = `${x}px`;
    this.node.style.top = `${y}px`;
    this.value.focus();
  }

  hint() {
    const { role, number } = this.line;
    const name = this.field.value;
    const now = this.plan.lines[role][number]?.[name] ?? this.plan.base[name.replace(/^stages\./, "")] ?? "";
    this.value.placeholder = now ? fill(this.text("menu_now"), { value: now }) : "";
  }
}
