// What the panel's scripts decide: keys, changes on their way to the kernel, pieces of a file, the strip, the slider's line.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Changes, isSeen, pieces, PromptHistory, shortcut } from "../../zimage_kit/studio/panel/bar.js";
import { Fetched, follows, reached } from "../../zimage_kit/studio/panel/viewer.js";
import { percentAt, sameShape, wholePercent } from "../../zimage_kit/studio/panes/compare/slider.js";

// ---- keys ----

/** A key pressed in an element; `inside` is whether that element, or one around it, uses Escape itself. */
const press = (key, more = {}, inside = false) => ({ key, keyCode: 0, target: { closest: () => (inside ? {} : null) }, ...more });

test("Ctrl+Enter or Cmd+Enter generates, Enter alone does not", () => {
  assert.equal(shortcut(press("Enter", { ctrlKey: true }), false), "generate");
  assert.equal(shortcut(press("Enter", { metaKey: true }), true), "generate");
  assert.equal(shortcut(press("Enter"), true), null);
});

test("Ctrl+Enter in the grid's pane makes the grid", () => {
  const target = { closest: (selector) => (selector === ".zk-pane-grid" ? {} : null) };
  assert.equal(shortcut(press("Enter", { ctrlKey: true, target }), false), "make_grid");
});

test("Escape cancels what goes on, and is left alone when nothing does", () => {
  assert.equal(shortcut(press("Escape"), true), "cancel");
  assert.equal(shortcut(press("Escape"), false), null);
  assert.equal(shortcut(press("a"), true), null);
});

test("Escape in a dialog, a menu or the pose editor cancels nothing", () => {
  const asked = [];
  const event = press("Escape", { target: { closest: (selector) => (asked.push(selector), {}) } });
  assert.equal(shortcut(event, true), null);
  assert.deepEqual(asked[0].split(", "), ["dialog", "select", "[data-takes-escape]"]);
  assert.equal(shortcut(press("Escape", { target: {} }), true), "cancel", "a target that is no element");
});

test("an input method's own keys do nothing", () => {
  assert.equal(shortcut(press("Escape", { isComposing: true }), true), null);
  assert.equal(shortcut(press("Escape", { keyCode: 229 }), true), null);
  assert.equal(shortcut(press("Enter", { ctrlKey: true, isComposing: true }), true), null);
});

// ---- changes that have not reached the kernel ----

/** A control's model as ipywidgets has it: a change waits while a message is pending. */
class Control {
  constructor(values) {
    Object.assign(this, { values, heard: {}, _pending_msgs: 1, _msg_buffer: {}, _state_lock: null });
  }

  get(name) { return this.values[name]; }
  on(event, listener) { this.heard[event] = listener; }
  set(name, value) {
    this.values[name] = value;
    this.heard[`change:${name}`]?.();
  }
}

function followed(...controls) {
  const changes = new Changes();
  controls.forEach((control, number) => changes.follow(`m${number}`, control));
  return changes;
}

test("a request carries what was changed and is still waiting, in order, and only once", () => {
  const [prompt, steps, menu] = [new Control({ value: "" }), new Control({ value: 4 }), new Control({ index: 0, value: "a" })];
  const changes = followed(prompt, steps, menu);
  steps.set("value", 3);
  prompt.set("value", "a boat");
  menu.set("index", 2);
  prompt.set("value", "a yellow boat");
  assert.deepEqual(changes.take(), [["m1", "value", 3], ["m2", "index", 2], ["m0", "value", "a yellow boat"]]);
  assert.ok([prompt, steps, menu].every((control) => control._msg_buffer === null), "ipywidgets sends none of it again");
  assert.deepEqual(changes.take(), []);
});

test("a change that was sent at once is not carried", () => {
  const control = new Control({ value: "" });
  const changes = followed(control);
  control._pending_msgs = 0;
  control.set("value", "sent");
  assert.deepEqual(changes.take(), []);
  assert.deepEqual(control._msg_buffer, {});
});

test("a change of the kernel's own takes the page's earlier one off the list", () => {
  const control = new Control({ value: "" });
  const changes = followed(control);
  control.set("value", "typed");
  control._state_lock = { value: "theirs" };
  control.set("value", "theirs");
  assert.deepEqual(changes.take(), []);
});

// ---- pieces of a file ----

test("a file is cut into pieces that make it up again", () => {
  const bytes = Uint8Array.from({ length: 10 }, (_, number) => number);
  const cut = [...pieces(bytes.buffer, 4)];
  assert.deepEqual(cut.map(({ part, parts }) => [part, parts]), [[0, 3], [1, 3], [2, 3]]);
  assert.deepEqual(cut.flatMap((piece) => [...new Uint8Array(piece.bytes)]), [...bytes]);
  assert.deepEqual([...pieces(bytes.buffer, 10)].length, 1);
  assert.deepEqual([...pieces(new ArrayBuffer(0))].map(({ part, parts, bytes: piece }) => [part, parts, piece.byteLength]), [[0, 1, 0]]);
});

test("no piece is larger than a notebook's server takes", () => {
  for (const { bytes } of pieces(new ArrayBuffer(12_000_001))) assert.ok(bytes.byteLength <= 4_000_000);
});

// ---- the viewer ----

test("the strip is one tab stop in which arrows, Home and End lead from picture to picture", () => {
  assert.equal(reached("ArrowRight", 0, 3), 1);
  assert.equal(reached("ArrowRight", 2, 3), 2);
  assert.equal(reached("ArrowLeft", 0, 3), 0);
  assert.equal(reached("Home", 2, 3), 0);
  assert.equal(reached("End", 0, 3), 2);
  assert.equal(reached("Tab", 0, 3), null);
  assert.equal(reached("End", 0, 0), null);
});

test("of full pictures the latest are kept, and the addresses of the others given back", () => {
  const revoked = [];
  const fetched = new Fetched((url) => revoked.push(url));
  for (let number = 0; number < 10; number += 1) fetched.put(`r${number}`, { url: `u${number}` });
  assert.deepEqual(revoked, ["u0", "u1"]);
  fetched.put("r9", { url: "again" });
  assert.deepEqual(revoked, ["u0", "u1", "u9"]);
  assert.equal(fetched.get("r9").url, "again");
  fetched.clear();
  assert.equal(revoked.length, 11);
});

test("who selects the latest picture follows what comes, unless one is being made", () => {
  const results = [{ id: "r1" }, { id: "r2" }];
  assert.equal(follows(results, "r2", false), true);
  assert.equal(follows(results, "r2", true), false);
  assert.equal(follows(results, "r1", false), false);
  assert.equal(follows([], "r1", false), false);
});

// ---- the line between two pictures ----

test("the line is where the pointer is, in whole percent of the frame and within it", () => {
  const frame = { left: 100, width: 300 };
  assert.equal(wholePercent(percentAt(211, frame)), 37);
  assert.equal(wholePercent(percentAt(0, frame)), 0);
  assert.equal(wholePercent(percentAt(999, frame)), 100);
  assert.equal(wholePercent(49.5), 50);
});

test("pictures whose sides were rounded to the model's multiples have one shape", () => {
  assert.ok(sameShape([1216 / 832]) && sameShape([1216 / 832, 608 / 416]) && sameShape([1000 / 700, 1008 / 704]));
  assert.ok(!sameShape([1, 1.1]) && !sameShape([1, 0.9]));
});

test("Alt and the arrows walk through the prompts that were used, and back to what was being written", () => {
  const past = new PromptHistory();
  past.prompts = ["a", "b", "c"];
  assert.equal(past.walk(1, "mine"), null);
  assert.equal(past.walk(-1, "mine"), "c");
  assert.equal(past.walk(-1, "c"), "b");
  assert.equal(past.walk(1, "b"), "c");
  assert.equal(past.walk(1, "c"), "mine");
  assert.equal(past.walk(-1, "mine"), "c");
  assert.equal(past.walk(-1, "c, edited"), "c", "what was edited is the own text now");
  assert.equal(past.walk(1, "c"), "c, edited");
  past.prompts = [];
  assert.equal(past.walk(-1, "x"), null);
});

test("a page that is hidden, or was left alone, does not say that it is seen", () => {
  assert.equal(isSeen(false, 0, false), true);
  assert.equal(isSeen(true, 0, true), false);
  assert.equal(isSeen(false, 3_600_000, false), false);
  assert.equal(isSeen(false, 3_600_000, true), true, "a picture is being made");
});
