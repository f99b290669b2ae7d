// Texts with places to fill in, and cuts that no reader stumbles over.

import assert from "node:assert/strict";
import { test } from "node:test";

import { fill, graphemes } from "zimage_kit/studio/js/words.js";

test("a value is filled in as it is, whatever signs it has", () => {
  assert.equal(fill("Change {label}", { label: "$& $1 $$ {label}" }), "Change $& $1 $$ {label}");
  assert.equal(fill("{count} of {all}", { count: 0, all: 3 }), "0 of 3");
  assert.equal(fill("{unknown}", {}), "{unknown}");
});

test("a letter is what a reader takes for one: emoji of several code points, Chinese beyond the first plane", () => {
  assert.deepEqual(graphemes("a👩‍🚀é𠮷"), ["a", "👩‍🚀", "é", "𠮷"]);
});
