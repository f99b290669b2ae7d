// @ts-check
// What leaves the board: files that the kernel sends in pieces, and a recipe for the clipboard.

import { make } from "../js/dom.js";

/** Gathers the pieces of files and has the browser save them. */
export class Downloads {
  constructor() {
    /** @type {Map<string, BlobPart[]>} */
    this.parts = new Map(); // name -> its pieces so far
  }

  /** Whether the file is whole now.
   * @param {{file: string, type: string, part: number, parts: number}} about @param {BlobPart} piece */
  take({ file, type, part, parts }, piece) {
    const all = part ? this.parts.get(file) ?? [] : [];
    all.push(piece);
    this.parts.set(file, all);
    if (part < parts - 1) return false;
    this.parts.delete(file);
    this.save(file, new Blob(all, { type }));
    return true;
  }

  /** @param {string} name @param {Blob} content */
  save(name, content) {
    const link = make("a");
    link.href = URL.createObjectURL(content);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser may still be reading it
  }
}

/**
 * Copy a text that is still to come; true when it was. A browser lets a page copy only while it handles a click or a key,
 * or when it has been promised the text then; where it does not let it at all, the text is shown.
 * @param {Promise<string>} text @param {string} byHand
 */
export async function copy(text, byHand) {
  try {
    const content = text.then((known) => new Blob([known], { type: "text/plain" }));
    await navigator.clipboard.write([new ClipboardItem({ "text/plain": content })]);
    return true;
  } catch {
    window.prompt(byHand, await text);
    return false;
  }
}
