// A judge of our logs that shares no code with them: WebCrypto, as a browser has it.
//   node judge.mjs DIRECTORY PUBLIC-KEY-HEX
// Checks the Ed25519 signature on the checkpoint and the root hash over all entry bundles. Exit 0: yes; 1: no.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { webcrypto, createHash } from "node:crypto";

const [directory, key] = process.argv.slice(2);
const no = (reason) => {
  console.log(reason);
  process.exit(1);
};
const checkpoint = readFileSync(join(directory, "checkpoint"));
const at = checkpoint.lastIndexOf("\n\n");
const text = checkpoint.subarray(0, at + 1);
const [origin, size, root] = text.toString().split("\n");
const line = checkpoint.subarray(at + 2).toString().split("\n")[0];
if (!line.startsWith(`— ${origin} `)) no("signature line");
const signature = Buffer.from(line.slice(origin.length + 3), "base64").subarray(4);
const imported = await webcrypto.subtle.importKey("raw", Buffer.from(key, "hex"), { name: "Ed25519" }, false, ["verify"]);
if (!(await webcrypto.subtle.verify({ name: "Ed25519" }, imported, signature, text))) no("signature");

const sha = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();
const number = (n) => {
  let path = String(n % 1000).padStart(3, "0");
  for (n = Math.floor(n / 1000); n > 0; n = Math.floor(n / 1000)) path = `x${String(n % 1000).padStart(3, "0")}/${path}`;
  return path;
};
const stack = []; // [height, hash]
const push = (hash) => {
  let height = 0;
  while (stack.length && stack.at(-1)[0] === height) {
    hash = sha(Buffer.from([1]), stack.pop()[1], hash);
    height += 1;
  }
  stack.push([height, hash]);
};
for (let n = 0; n < Number(size); ) {
  const width = Math.min(256, Number(size) - n);
  const name = number(Math.floor(n / 256)) + (width < 256 ? `.p/${width}` : "");
  const bundle = readFileSync(join(directory, "tile", "entries", name));
  let from = 0;
  for (let i = 0; i < width; i += 1, n += 1) {
    if (from + 2 > bundle.length) no(`bundle ${name} is short`);
    const length = bundle.readUInt16BE(from);
    if (from + 2 + length > bundle.length) no(`bundle ${name} is short`);
    push(sha(Buffer.from([0]), bundle.subarray(from + 2, from + 2 + length)));
    from += 2 + length;
  }
  if (from !== bundle.length) no(`bundle ${name} is long`);
}
let computed = stack.pop()[1];
while (stack.length) computed = sha(Buffer.from([1]), stack.pop()[1], computed);
if (computed.toString("base64") !== root) no("root");
console.log(`yes ${size}`);
