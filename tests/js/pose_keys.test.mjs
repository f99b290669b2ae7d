// Keys and undo of the pose editor.

import assert from "node:assert/strict";
import { test } from "node:test";

import { chordCommand, handleCommand, keptFromNotebook, poseReached } from "../../extensions/pose/keys.js";
import { UndoStack } from "../../extensions/pose/undo.js";

const key = (name, more = {}) => ({ key: name, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...more });

test("arrows nudge a handle, with Shift five times as far", () => {
  assert.deepEqual(handleCommand(key("ArrowLeft")), ["nudge", -0.01, 0]);
  assert.deepEqual(handleCommand(key("ArrowRight")), ["nudge", 0.01, 0]);
  assert.deepEqual(handleCommand(key("ArrowDown")), ["nudge", 0, 0.01]);
  assert.deepEqual(handleCommand(key("ArrowUp", { shiftKey: true })), ["nudge", 0, -0.05]);
});

test("brackets walk, Delete removes, + and - scale, Escape leaves, and other keys do nothing", () => {
  assert.deepEqual(handleCommand(key("]")), ["walk", 1]);
  assert.deepEqual(handleCommand(key("[")), ["walk", -1]);
  for (const name of ["Delete", "Backspace"]) assert.deepEqual(handleCommand(key(name)), ["remove"]);
  for (const name of ["+", "="]) assert.deepEqual(handleCommand(key(name)), ["grow", 1.05]);
  assert.deepEqual(handleCommand(key("+", { shiftKey: true })), ["grow", 1.05], "on most keyboards + needs Shift");
  assert.deepEqual(handleCommand(key("=", { shiftKey: true })), ["grow", 1.2]);
  assert.deepEqual(handleCommand(key("-")), ["grow", 1 / 1.05]);
  assert.deepEqual(handleCommand(key("_", { shiftKey: true })), ["grow", 1 / 1.2]);
  assert.deepEqual(handleCommand(key("Escape")), ["leave"]);
  for (const name of ["a", "d", "m", "x", "Enter", "Tab", "Home"]) assert.equal(handleCommand(key(name)), null, name);
});

test("a key is not looked up in what every object has", () => {
  for (const name of ["toString", "constructor", "__proto__"]) {
    assert.equal(handleCommand(key(name)), null, name);
    assert.equal(poseReached(name, 0, 5), null, name);
  }
});

test("arrows go round in the row of poses, Home and End to its ends", () => {
  assert.equal(poseReached("ArrowRight", 0, 5), 1);
  assert.equal(poseReached("ArrowDown", 4, 5), 0);
  assert.equal(poseReached("ArrowLeft", 0, 5), 4);
  assert.equal(poseReached("ArrowUp", 3, 5), 2);
  assert.equal(poseReached("Home", 3, 5), 0);
  assert.equal(poseReached("End", 0, 5), 4);
  assert.equal(poseReached("Enter", 2, 5), null);
});

test("Ctrl or Cmd with Z undoes, with Shift or with Y it redoes", () => {
  assert.equal(chordCommand(key("z", { ctrlKey: true })), "undo");
  assert.equal(chordCommand(key("Z", { metaKey: true, shiftKey: true })), "redo");
  assert.equal(chordCommand(key("y", { ctrlKey: true })), "redo");
  assert.equal(chordCommand(key("z")), null);
  assert.equal(chordCommand(key("z", { ctrlKey: true, altKey: true })), null);
  assert.equal(chordCommand(key("s", { ctrlKey: true })), null);
});

test("the notebook hears Tab, Escape and function keys, and none that is a command of its own", () => {
  for (const name of ["Tab", "Escape", "F1", "F12"]) assert.ok(!keptFromNotebook(name), name);
  for (const name of ["d", "a", "b", "x", "m", "Enter", "ArrowDown", "F", " "]) assert.ok(keptFromNotebook(name), name);
});

test("undo goes back step by step, redo forth, and a new step ends redo", () => {
  const stack = new UndoStack();
  stack.step("a");
  stack.step("b");
  assert.equal(stack.undo("c"), "b");
  assert.equal(stack.undo("b"), "a");
  assert.equal(stack.undo("a"), null);
  assert.equal(stack.redo("a"), "b");
  assert.equal(stack.redo("b"), "c");
  assert.equal(stack.redo("c"), null);
  assert.equal(stack.undo("c"), "b");
  stack.step("b");
  assert.equal(stack.redo("d"), null);
  assert.deepEqual(stack.past, ["a", "b"]);
});

test("consecutive steps of one kind are one, unless something comes between", () => {
  const stack = new UndoStack();
  for (const state of ["a", "b", "c"]) stack.step(state, "height");
  assert.deepEqual(stack.past, ["a"]);
  stack.step("d", "body");
  assert.deepEqual(stack.past, ["a", "d"]);
  stack.join();
  stack.step("e", "body");
  assert.deepEqual(stack.past, ["a", "d", "e"]);
  assert.equal(stack.undo("f"), "e");
  stack.step("e", "body");
  assert.deepEqual(stack.past, ["a", "d", "e"], "what was undone is no step to join");
});

test("a key held down is one step: the repeats join the first", () => {
  const stack = new UndoStack();
  stack.step("a");
  stack.join("nudge 0 4");
  stack.step("b", "nudge 0 4");
  stack.step("c", "nudge 0 4");
  assert.deepEqual(stack.past, ["a"]);
  stack.step("d");
  assert.deepEqual(stack.past, ["a", "d"], "pressed once more");
});

test("the stack forgets the oldest steps, and all of them when the value comes from outside", () => {
  const stack = new UndoStack(3);
  for (const state of ["a", "b", "c", "d"]) stack.step(state);
  assert.deepEqual(stack.past, ["b", "c", "d"]);
  stack.undo("e");
  stack.clear();
  assert.equal(stack.undo("x"), null);
  assert.equal(stack.redo("x"), null);
});
