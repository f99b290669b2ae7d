// @ts-check
// Choices that the browser remembers for this person.

/** @param {string} name @returns {string} empty if nothing is remembered */
export function remembered(name) {
  try {
    return localStorage.getItem(`zimage_kit.${name}`) ?? "";
  } catch {
    return ""; // the browser keeps nothing for this page
  }
}

/** @param {string} name @param {string} value */
export function remember(name, value) {
  try {
    localStorage.setItem(`zimage_kit.${name}`, value);
  } catch {
    // it is chosen until the page is closed
  }
}
