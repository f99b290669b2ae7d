// @ts-check
// What a key means on a handle or on the row of poses.

const NUDGE = 0.01; // of the picture's width or height
const LONG_NUDGE = 0.05;
const GROWTH = 1.05;
const LONG_GROWTH = 1.2;
const ARROWS = { __proto__: null, ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** [command, …] for a key on a handle, null for none: nudge dx dy, walk ±1, remove, grow factor, leave. */
function handleCommand({ key, shiftKey }) {
  if (ARROWS[key]) return ["nudge", ...ARROWS[key].map((way) => way * (shiftKey ? LONG_NUDGE : NUDGE))];
  if (key === "[" || key === "]") return ["walk", key === "]" ? 1 : -1];
  if (key === "Delete" || key === "Backspace") return ["remove"];
  if (key === "+" || key === "=") return ["grow", shiftKey && key !== "+" ? LONG_GROWTH : GROWTH]; // + itself needs Shift
  if (key === "-" || key === "_") return ["grow", 1 / (shiftKey ? LONG_GROWTH : GROWTH)];
  return key === "Escape" ? ["leave"] : null;
}

/** The number of the pose that a key goes to from `index`, of `count`; null for a key that goes nowhere. */
function poseReached(key, index, count) {
  const end = { __proto__: null, Home: 0, End: count - 1 }[key];
  const turn = { __proto__: null, ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key];
  if (end === undefined && !turn) return null;
  return end ?? (index + turn + count) % count;
}

/** "undo", "redo" or null for a key anywhere in the editor. */
function chordCommand({ key, ctrlKey, metaKey, altKey, shiftKey }) {
  const letter = key.toLowerCase();
  if (!(ctrlKey || metaKey) || altKey || (letter !== "z" && letter !== "y")) return null;
  return letter === "y" || shiftKey ? "redo" : "undo";
}

/** Whether the notebook must not hear a key: its single-key commands delete cells, and none was meant in here. */
const keptFromNotebook = (key) => key !== "Tab" && key !== "Escape" && !/^F\d/.test(key);

export { GROWTH, chordCommand, handleCommand, keptFromNotebook, poseReached };
