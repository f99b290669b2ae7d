// @ts-check
// Messages to the kernel behind a page, which may have ended while the page stayed open.

/**
 * Send a message; false when nobody is there any more.
 *
 * Jupyter's connection throws "Cannot send" once its kernel was ended or restarted. Then `el` emits `zk-gone`, which
 * bubbles, so that the panel says it wherever in it the message was made.
 *
 * @param {{ send(content: any, callbacks?: any, buffers?: any): void }} model
 * @param {HTMLElement} el @param {Record<string, unknown>} message @param {ArrayBuffer[]} [buffers]
 */
export function reached(model, el, message, buffers) {
  try {
    model.send(message, undefined, buffers);
    return true;
  } catch (error) {
    if (!(error instanceof Error) || error.message !== "Cannot send") throw error;
    el.dispatchEvent(new CustomEvent("zk-gone", { bubbles: true }));
    return false;
  }
}
