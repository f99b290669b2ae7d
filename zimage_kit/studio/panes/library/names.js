// @ts-check
// Names of pictures whose tiles have not come yet: what needs them, and what is typed after it, waits its turn.

export class Names {
  /** @param {(from: number, end: number) => boolean} ask Asks the kernel for names; false when nobody is there. */
  constructor(ask) {
    this.ask = ask;
    /** @type {{ from: number, end: number, then: (names: string[]) => void, after: (() => void)[] } | null} */
    this.held = null;
  }

  /**
   * Hand over the names of the rows from one place to before another, at once if all of them are there.
   *
   * @param {{ name: string }[]} rows With holes where none has come. @param {number} from @param {number} end
   * @param {(names: string[]) => void} then
   */
  of(rows, from, end, then) {
    const there = rows.slice(from, end).filter(Boolean);
    if (there.length === end - from) return then(there.map((each) => each.name));
    this.held = { from, end, then, after: [] };
    this.askFor(end);
  }

  /** Do it now, or after what waits for names. @param {() => void} what */
  inTurn(what) {
    if (this.held) this.held.after.push(what);
    else what();
  }

  /** Ask the kernel for the names that are held, of so many pictures as there are. @param {number} count */
  askFor(count) {
    if (this.held && !this.ask(this.held.from, Math.min(this.held.end, count))) this.held = null;
  }

  /** The names have come. @param {string[]} names */
  came(names) {
    if (!this.held) return;
    const { then, after } = this.held;
    this.held = null;
    then(names);
    for (const what of after) this.inTurn(what);
  }
}
