// @ts-check
// Texts with places to fill in, and texts letter by letter as a reader sees them.

/** `Rated {stars}` with its places filled in; a value may hold braces, `$&` or whatever a prompt has.
 * @param {string} text @param {Record<string, unknown>} values @returns {string} */
export const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));

const letters = typeof Intl.Segmenter === "function" ? new Intl.Segmenter(undefined, { granularity: "grapheme" }) : null;

/** What a reader calls letters: an emoji of several code points is one. @param {string} text @returns {string[]} */
export const graphemes = (text) => (letters ? [...letters.segment(text)].map(({ segment }) => segment) : Array.from(text));
