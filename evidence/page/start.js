// Starts the display. Its script is packed beside the data; the page's security policy runs it by its SHA-256 only.
"use strict";
(async () => {
  const main = document.getElementById("main");
  try {
    const packed = SuyuanBundle.unbase64(document.getElementById("display").textContent.trim());
    const script = document.createElement("script");
    script.textContent = new TextDecoder().decode(await SuyuanBundle.gunzip(packed));
    document.body.append(script);
    if (!globalThis.SuyuanWords) throw new Error("refused");
  } catch (error) {
    const told = document.createElement("p");
    told.textContent = "The display of this file is damaged or this browser is too old. 本文件的显示部分已损坏，或浏览器过旧。 → suyuan verify FILE.html --policy POLICY";
    main.replaceChildren(told);
  }
})();
