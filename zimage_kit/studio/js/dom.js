// @ts-check
// Making and changing elements, which every script here does.

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Element | null} [parent] where it is appended
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, className = "", parent = null) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  parent?.append(made);
  return made;
}

/** @param {Element | null} [parent] */
export function button(className = "", parent = null) {
  const made = make("button", className, parent);
  made.type = "button";
  return made;
}

/** Set an attribute, if it has another value: what watches the page hears of changes only.
 * @param {Element} element @param {string} name @param {unknown} value */
export function set(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** The same for an element's text. @param {Element} element @param {string} text */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The address of a picture. Whoever asks for it revokes it. @param {BlobPart} bytes */
export const jpeg = (bytes) => URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));

/**
 * Make an element not usable for now without losing the focus, as `disabled` would: it says so, and its listeners ask
 * `unusable`. @param {Element} element @param {boolean} is
 */
export const disable = (element, is) => set(element, "aria-disabled", is);

/** @param {Element} element */
export const unusable = (element) => element.getAttribute("aria-disabled") === "true";
