// Runs the page's own verifier on the cases of stdin: [[base64 of a bundle, policy], …] -> [[ok, [[code, entry], …]], …];
// with DISCLOSED in the environment, what each discloses instead.
"use strict";
const fs = require("node:fs"), vm = require("node:vm");
globalThis.crypto ??= require("node:crypto").webcrypto; // Debian 12's Node has it under this name only
if (process.env.NO_ED25519) {
  const importKey = crypto.subtle.importKey.bind(crypto.subtle);
  crypto.subtle.importKey = async (format, key, algorithm, ...rest) => {
    if (algorithm.name === "Ed25519") throw new DOMException("Unrecognized name.", "NotSupportedError");
    return importKey(format, key, algorithm, ...rest);
  };
}
for (const file of process.argv.slice(2)) vm.runInThisContext(fs.readFileSync(file, "utf8"), file);
(async () => {
  const answers = [];
  for (const [data, text] of JSON.parse(fs.readFileSync(0, "utf8"))) {
    let answer;
    try {
      const report = await SuyuanBundle.verify(new Uint8Array(Buffer.from(data, "base64")), await SuyuanBundle.parsePolicy(text));
      answer = [report.ok, report.findings.map((f) => [f.code, f.entry])];
    } catch (error) {
      if (!(error instanceof SuyuanBundle.Refused)) throw error;
      answer = [false, [[error.code, null]]];
    }
    if (process.env.DISCLOSED) {
      const bundle = await SuyuanBundle.open(new Uint8Array(Buffer.from(data, "base64")));
      const polls = [...(await SuyuanBundle.readAll(bundle)).records].filter(([, r]) => r.type === "reading" || r.type === "gap");
      answer = SuyuanBundle.disclosed(bundle, polls);
    }
    answers.push(answer);
  }
  process.stdout.write(JSON.stringify(answers));
})();
