// @ts-check
// Small pictures by the keys of their cells, shared by all views of a board.

import { jpeg } from "../js/dom.js";

export class Shelf {
  constructor(model) {
    this.model = model;
    this.taken = 0; // packs already read
    this.bytes = new Map();
    this.gone = new Set(); // keys of pictures that the kernel has looked for in vain
    this.urls = new Map();
    this.full = new Map(); // key -> {url, about} of the last twelve
    this.take = () => {
      for (; this.taken < model.get("packs"); this.taken += 1) {
        for (const [key, bytes] of Object.entries(model.get(`pack${this.taken}`) ?? {})) {
          this.gone[bytes.byteLength ? "delete" : "add"](key);
          if (bytes.byteLength) this.bytes.set(key, bytes);
        }
      }
    };
    this.hear = (message, buffers) => message.full && this.keep(message, buffers[0]);
    model.on("change:packs", this.take);
    model.on("msg:custom", this.hear);
    this.take();
  }

  url(key) {
    if (!this.urls.has(key) && this.bytes.has(key)) this.urls.set(key, jpeg(this.bytes.get(key)));
    return this.urls.get(key) ?? "";
  }

  keep(message, bytes) {
    this.drop(message.full);
    this.full.set(message.full, { url: bytes.byteLength ? jpeg(bytes) : "", about: message.about });
    for (const key of [...this.full.keys()].slice(0, -12)) this.drop(key);
  }

  drop(key) {
    if (this.full.has(key)) URL.revokeObjectURL(this.full.get(key).url);
    this.full.delete(key);
  }

  close() {
    this.model.off("change:packs", this.take);
    this.model.off("msg:custom", this.hear);
    for (const url of this.urls.values()) URL.revokeObjectURL(url);
    for (const { url } of this.full.values()) URL.revokeObjectURL(url);
  }
}
