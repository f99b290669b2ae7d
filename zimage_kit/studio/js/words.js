// @ts-check
// Texts with places to fill in, and texts cut where a reader would cut them.

/** `Rated {stars}` with its places filled in; a value may hold braces, `$&` or whatever a prompt has.
 * @param {string} text @param {Record<string, unknown>} values @returns {string} */
export const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));

const letters = typeof Intl.Segmenter === "function" ? new Intl.Segmenter(undefined, { granularity: "grapheme" }) : null;

/** What a reader calls letters: an emoji of several code points is one. @param {string} text @returns {string[]} */
export const graphemes = (text) => (letters ? [...letters.segment(text)].map(({ segment }) => segment) : Array.from(text));

/** At most so many letters; a longer text ends in an ellipsis. @param {string} text @param {number} most */
export function shortened(text, most) {
  const all = text.length > most ? graphemes(text) : [];
  return all.length > most ? `${all.slice(0, most - 1).join("").trimEnd()}…` : text;
}
