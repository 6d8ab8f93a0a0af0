// Unpacks this page: its style, its verifier and its display stand above as gzip in printable text, so that the file is small.
// What they unpack to are elements of the document like any others, to be read with the browser's own tools; the page's
// security policy runs them by their SHA-256 only. The source stands in evidence/page of Suyuan.
"use strict";
globalThis.SuyuanPage = {
  ALPHABET: Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)).filter((c) => !'"&<'.includes(c)).join(""),
  // The bytes of a text that holds 13 bits in two characters, 6 in a last one, white space apart; null if it is none.
  bytes(text) {
    const values = new Map([...this.ALPHABET].map((character, i) => [character, i]));
    const letters = text.replace(/\s+/g, ""), odd = letters.length % 2, most = (letters.length - odd) / 2 * 13 + odd * 6;
    const found = new Uint8Array(Math.floor(most / 8));
    let bits = 0, held = 0, at = 0;
    for (let i = 0; i < letters.length; i += 2) {
      const alone = i + 1 === letters.length;
      const value = alone ? values.get(letters[i]) : values.get(letters[i]) * 91 + values.get(letters[i + 1]);
      if (!(value < (alone ? 64 : 8192))) return null;
      bits = bits << (alone ? 6 : 13) | value;
      held += alone ? 6 : 13;
      for (; held >= 8; held -= 8) found[at++] = bits >> held - 8;
      bits &= (1 << held) - 1;
    }
    return bits || found.length * 8 < most - (odd ? 5 : 6) ? null : found;
  },
  async text(packed) {
    return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  },
};
if (globalThis.document) (async () => {
  try {
    const parts = (await SuyuanPage.text(SuyuanPage.bytes(document.getElementById("page").textContent))).split("\0");
    parts.forEach((part, i) => {
      const element = document.createElement(i ? "script" : "style");
      element.textContent = part;
      document[i ? "body" : "head"].append(element);
    });
    if (!globalThis.SuyuanBundle || !globalThis.SuyuanWords) throw new Error("refused");
  } catch (error) {
    const told = document.createElement("p");
    told.textContent = "The display of this file is damaged or this browser is too old. \u672c\u6587\u4ef6\u7684\u663e\u793a\u90e8\u5206\u5df2\u635f\u574f\uff0c\u6216\u6d4f\u89c8\u5668\u8fc7\u65e7\u3002 \u2192 suyuan verify FILE.html --policy POLICY";
    document.getElementById("main").replaceChildren(told);
  }
})();
