// @ts-check
// Undo and redo.

const UNDO_STEPS = 200;

/** States that can be gone back to. Consecutive steps of one kind, such as a key held down, are undone as one. */
class UndoStack {
  constructor(most = UNDO_STEPS) {
    this.most = most;
    /** @type {any[]} */
    this.past = [];
    /** @type {any[]} */
    this.future = [];
    this.kind = "";
  }

  /** Before a change: `state` is what undo returns to. */
  step(state, kind = "") {
    if (!kind || kind !== this.kind) {
      this.past.push(state);
      if (this.past.length > this.most) this.past.shift();
    }
    this.kind = kind;
    this.future = [];
  }

  /** Later steps of this kind join the last one; none does without a kind. */
  join(kind = "") {
    this.kind = kind;
  }

  /** The state before the last step, where `now` is what redo returns to; null when there is none. */
  undo(now) {
    return this.travel(this.past, this.future, now);
  }

  /** The state that was undone last; null when there is none. */
  redo(now) {
    return this.travel(this.future, this.past, now);
  }

  travel(from, to, now) {
    if (!from.length) return null;
    to.push(now);
    this.kind = "";
    return from.pop();
  }

  clear() {
    Object.assign(this, { past: [], future: [], kind: "" });
  }
}

export { UndoStack };
