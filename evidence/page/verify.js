// Verification of an audit bundle, as evidence/bundle_verify.py does it: no document, no network, the same codes.
// Runs in a browser and in Node (WebCrypto for SHA-256 and Ed25519). What is believed comes from the policy alone.
"use strict";
globalThis.SuyuanBundle = (() => {
  const subtle = globalThis.crypto && globalThis.crypto.subtle;
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const encoder = new TextEncoder();
  const TAGS = { "suyuan-bundle/1": 4, "suyuan-bundle/2": 2 }; // how long, by format
  const HASH = 32, MAX_UNPACKED = 1 << 28, MAX_ENTRIES = 1 << 20;

  class Refused extends Error {
    constructor(code, what, params = {}) { super(what); this.code = code; this.params = params; }
  }
  const damaged = (what) => new Refused("container", what);

  // ---- bytes ------------------------------------------------------------------------------------------------

  const binary = (bytes) => {
    let text = "";
    for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode.apply(null, bytes.subarray(i, i + 8192));
    return text;
  };
  const bytesOf = (text) => {
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  };
  const unbase64 = (text) => {
    let found;
    try { found = atob(text); } catch { return null; }
    return btoa(found) === text ? bytesOf(found) : null;
  };
  const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);
  const joined = (...parts) => {
    const whole = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
    let at = 0;
    for (const part of parts) { whole.set(part, at); at += part.length; }
    return whole;
  };
  const sha256 = async (bytes) => new Uint8Array(await subtle.digest("SHA-256", bytes));
  const leafHash = (bytes) => sha256(joined([0], bytes));
  const nodeHash = (left, right) => sha256(joined([1], left, right));

  async function gunzip(bytes) {
    const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
    const parts = [];
    let size = 0;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        size += value.length;
        if (size > MAX_UNPACKED) throw damaged("it unpacks to more than any bundle holds");
        parts.push(value);
      }
    } catch (error) {
      throw error instanceof Refused ? error : damaged("the data do not unpack");
    }
    return joined(...parts);
  }

  // ---- packed entries (evidence/bundle_packing.py) ----------------------------------------------------------

  class Source {
    constructor(bytes) { this.bytes = bytes; this.at = 0; this.spent = 0; this.group(); }
    group() { this.earlier = []; this.known = { numbers: [], blobs: [] }; }
    take(count) {
      if (count > this.bytes.length - this.at) throw damaged("packed entries end too early");
      this.at += count;
      return this.bytes.subarray(this.at - count, this.at);
    }
    spend(size) { this.spent += size; if (this.spent > MAX_UNPACKED) throw damaged("packed entries are too large"); }
    big() {
      let value = 0n, small = 0, scale = 1, count = 0;
      for (;;) {
        const byte = this.take(1)[0];
        if (count < 7) { small += (byte & 127) * scale; scale *= 128; } else value += BigInt(byte & 127) << BigInt(7 * count);
        count += 1;
        if (byte < 128) return value + BigInt(small);
        if (count > 18) throw damaged("a packed number is too long");
      }
    }
    number() {
      const value = this.big();
      if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged("a packed number is too large");
      return Number(value);
    }
    text() { return binary(this.take(this.number())); }
    differences(rows, leader = null) {
      const values = [];
      for (let i = 0, value = 0n; i < rows; i++) {
        const step = this.big();
        if (leader) value = foretold(value, leader, i);
        value += step & 1n ? -(step >> 1n) : step >> 1n;
        values.push(value);
      }
      return values;
    }
    column(rows) {
      const kind = this.take(1)[0];
      if (kind === 0) { const text = this.text(); this.spend(rows * text.length); return new Array(rows).fill(text); }
      if (kind === 1) {
        const lengths = [];
        for (let i = 0; i < rows; i++) lengths.push(this.number());
        return lengths.map((length) => binary(this.take(length)));
      }
      if (kind === 2) return this.differences(rows).map(String);
      if (kind === 3 || kind === 5) {
        let leader = null;
        if (kind === 5 && !(leader = this.earlier[this.number()])) throw damaged("a packed column follows one that is not there");
        const most = this.number(), places = Array.from(this.take(rows));
        if (most > 15 || places.some((p) => p > most)) throw damaged("a packed decimal has too many places");
        const values = this.differences(rows, leader);
        this.earlier.push(values);
        return values.map((value, i) => decimal(value, places[i], most));
      }
      if (kind === 4) {
        const length = this.number(), block = this.take(rows * length), column = [];
        for (let row = 0; row < rows; row++) {
          const bytes = new Uint8Array(length);
          for (let i = 0; i < length; i++) bytes[i] = block[i * rows + row];
          column.push(`"${btoa(binary(bytes))}"`);
        }
        return column;
      }
      if (kind === 6) return this.numbers(rows);
      if (kind === 7) {
        const length = this.number(), check = this.take(1)[0], blobs = this.planes(rows, length);
        if (check > 3 || (check && length < 4)) throw damaged("packed bytes with an unknown check sum");
        for (const blob of blobs) restoreSum(blob, check);
        this.known.blobs.push(blobs);
        return blobs.map((blob) => `"${btoa(binary(blob))}"`);
      }
      throw damaged(`there is no packed column of kind ${kind}`);
    }
    planes(rows, width) {
      const block = this.take(rows * width), found = [];
      for (let row = 0; row < rows; row++) {
        const bytes = new Uint8Array(width);
        for (let i = 0; i < width; i++) bytes[i] = block[i * rows + row];
        found.push(bytes);
      }
      return found;
    }
    numbers(rows) {
      const decimals = this.take(1)[0], [most, how] = decimals ? this.take(2) : [0, 0];
      if (most > 15 || how > 2 || decimals > 1) throw damaged("a packed decimal has too many places");
      const places = how === 2 ? Array.from(this.take(rows)) : null;
      if (places && places.some((p) => p > most)) throw damaged("a packed decimal has too many places");
      const rule = this.take(1)[0], tell = foreteller(rule, Array.from({ length: ARGUMENTS[rule] ?? 0 }, () => this.number()), this.known);
      const width = this.take(1)[0], values = [];
      if (width > 16) throw damaged("a packed number is too long");
      this.spend(8 * rows);
      const block = this.take(rows * width);
      for (let row = 0, before = 0n; row < rows; row++) {
        before = tell(row, before) + zigzag(block, row, rows, width);
        values.push(before);
      }
      this.known.numbers.push(values);
      return decimals ? values.map((value, row) => decimal(value, places ? places[row] : how ? shortest(value, most) : most, most)) : values.map(String);
    }
  }

  // What a value is by the ratio of the row before, in doubles.
  function foretold(before, leader, row) {
    const small = (value) => value > -(1n << 53n) && value < 1n << 53n;
    if (row === 0 || leader[row - 1] === 0n || !small(leader[row - 1]) || !small(leader[row]) || !small(before)) return before;
    return BigInt(Math.floor(Number(before) * (Number(leader[row]) / Number(leader[row - 1])) + 0.5));
  }

  function decimal(value, places, most) {
    const scale = 10n ** BigInt(most - places), size = value < 0n ? -value : value;
    if (size % scale) throw damaged("a packed decimal has more places than it says");
    const digits = String(size / scale).padStart(places + 1, "0");
    const cut = digits.length - places;
    return `"${value < 0n ? "-" : ""}${places ? `${digits.slice(0, cut)}.${digits.slice(cut)}` : digits}"`;
  }

  function shortest(value, most) {
    while (most && value % 10n === 0n) { value /= 10n; most -= 1; }
    return most;
  }

  // ---- what a column of numbers is foretold by (evidence/bundle_foretelling.py) -------------------------------

  const ARGUMENTS = [0, 0, 1, 1, 2, 4];
  const FORMS = [["whole", 2], ["whole", 4], ["whole", 8], ["float", 4], ["bcd", 2], ["bcd", 3], ["bcd", 4]];
  const EXACT = 2 ** 52, exact = (value) => value > -EXACT && value < EXACT;
  // A difference out of its planes: as a double while that is exact.
  function zigzag(block, row, rows, width) {
    if (width < 7) {
      let step = 0;
      for (let i = width - 1; i >= 0; i--) step = step * 256 + block[i * rows + row];
      return BigInt(step % 2 ? -(step - 1) / 2 : step / 2);
    }
    let step = 0n;
    for (let i = width - 1; i >= 0; i--) step = step << 8n | BigInt(block[i * rows + row]);
    return step & 1n ? -(step >> 1n) : step >> 1n;
  }
  const whole = (bytes) => (bytes.length ? BigInt(`0x${hex(bytes)}`) : 0n);

  // (row, value of the row before) => what the rule foretells; called row by row.
  function foreteller(rule, args, { numbers, blobs }) {
    const there = (columns, at) => { if (!columns[at]) throw damaged("a packed column follows one that is not there"); return columns[at]; };
    if (rule === 0) return () => 0n;
    if (rule === 1) return (_, before) => before;
    if (rule === 5) {
      const [column, at, form, power] = args, from = there(blobs, column), [kind, size] = there(FORMS, form);
      if (power > 15) throw damaged("a packed number is too long");
      return (row) => (at + size > from[row].length ? 0n : read(kind, from[row].slice(at, at + size), power));
    }
    if (!(rule in ARGUMENTS)) throw damaged(`there is no rule ${rule}`);
    const leader = there(numbers, args[0]);
    if (rule === 2) return (row) => leader[row];
    if (rule === 3) return (row, before) => (row ? before + leader[row] - leader[row - 1] : before);
    return ratio(leader.map(Number), there(numbers, args[1]).map(Number));
  }

  // A column's ratio to its leader as earlier rows had it, interpolated by a third column.
  function ratio(leader, by) {
    const places = [], ratios = [];
    const find = (place) => {
      let low = 0, high = places.length;
      while (low < high) { const middle = (low + high) >> 1; if (places[middle] < place) low = middle + 1; else high = middle; }
      return low;
    };
    const learn = (over, place, value) => {
      if (!over || !exact(over) || !exact(place) || !exact(value)) return;
      const at = find(place);
      if (places[at] === place) ratios[at] = value / over;
      else if (places.length < 4096) { places.splice(at, 0, place); ratios.splice(at, 0, value / over); }
    };
    const at = (place) => {
      const i = find(place);
      if (i === places.length) return ratios[i - 1];
      if (i === 0 || places[i] === place) return ratios[i];
      return ratios[i - 1] + (ratios[i] - ratios[i - 1]) * ((place - places[i - 1]) / (places[i] - places[i - 1]));
    };
    return (row, before) => {
      if (row) learn(leader[row - 1], by[row - 1], Number(before));
      if (!places.length || !exact(leader[row]) || !exact(by[row])) return before;
      const said = leader[row] * at(by[row]);
      return exact(said) ? BigInt(Math.floor(said + 0.5)) : before;
    };
  }

  function read(kind, bytes, power) {
    if (kind === "whole") return BigInt.asIntN(8 * bytes.length, whole(bytes)) * 10n ** BigInt(power);
    if (kind === "float") {
      const said = new DataView(bytes.buffer).getFloat32(0) * Number(`1e${power}`);
      return exact(said) ? BigInt(Math.floor(said + 0.5)) : 0n;
    }
    let value = 0n;
    for (const byte of bytes.reverse()) { const digits = (byte - 0x33) & 255; value = value * 100n + BigInt((digits >> 4) * 10 + (digits & 15)); }
    return value * 10n ** BigInt(power);
  }

  // A check sum stands as its difference from the right one: a sum, last but one (1; 2: as M-Bus sums), or a CRC-16 (3).
  function restoreSum(bytes, check) {
    const end = bytes.length - 2;
    if (check === 1 || check === 2) bytes[end] ^= bytes.subarray(check === 2 ? 4 : 0, end).reduce((sum, byte) => sum + byte, 0) & 255;
    if (check !== 3) return;
    let crc = 0xffff;
    for (const byte of bytes.subarray(0, end)) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ 0xa001 : crc >> 1;
    }
    bytes[end] ^= crc & 255;
    bytes[end + 1] ^= crc >> 8;
  }

  function unpackEntries(bytes) {
    const source = new Source(bytes);
    const count = source.number(), kinds = source.number();
    if (count > MAX_ENTRIES || kinds > count) throw damaged("packed entries: their number cannot be");
    const order = [], rows = new Array(kinds).fill(0);
    for (let i = 0; i < count; i++) {
      const kind = source.number();
      if (kind >= kinds) throw damaged("packed entries: the kinds do not agree");
      order.push(kind);
      rows[kind] += 1;
    }
    const waiting = rows.map((many) => {
      source.group();
      const parts = source.text().split("\0");
      const columns = parts.slice(1).map(() => source.column(many));
      source.spend(many * parts.reduce((n, p) => n + p.length, 0));
      const made = [];
      for (let row = 0; row < many; row++) {
        let text = parts[0];
        for (let i = 0; i < columns.length; i++) text += columns[i][row] + parts[i + 1];
        made.push(bytesOf(text));
      }
      return made;
    });
    if (source.at !== bytes.length) throw damaged("packed entries are followed by other bytes");
    const next = new Array(kinds).fill(0);
    return order.map((kind) => waiting[kind][next[kind]++]);
  }

  // The bundle in gzipped bytes. Throws Refused("container").
  async function open(bytes) {
    // gzip's own header may say nothing: no name, no time, compressed best, by an unknown system, Unix or Windows.
    if (![31, 139, 8, 0, 0, 0, 0, 0, 2].every((byte, i) => bytes[i] === byte) || ![255, 3, 11].includes(bytes[9])) throw damaged("the data do not begin as a bundle's");
    const whole = await gunzip(bytes);
    if (binary(whole.subarray(0, 4)) !== "SYB1") throw damaged("not an audit bundle");
    const length = new DataView(whole.buffer, whole.byteOffset).getUint32(4);
    let head;
    try { head = JSON.parse(utf8.decode(whole.subarray(8, 8 + length))); } catch { throw damaged("its head cannot be read"); }
    if (!head || !Object.hasOwn(TAGS, head.format)) throw damaged("an audit bundle of another version");
    let at = 8 + length;
    const tag = TAGS[head.format], sizes = [head.packed, tag * head.indexes.length, HASH * head.hashes, ...head.files.map((f) => f[2])];
    if (sizes.some((n) => !(n >= 0)) || at + sizes.reduce((a, b) => a + b, 0) !== whole.length) {
      throw damaged("its parts have not the sizes that its head states");
    }
    const parts = sizes.map((size) => whole.subarray(at, (at += size)));
    const pieces = (part, size) => {
      const found = [];
      for (let i = 0; i < part.length; i += size) found.push(part.subarray(i, i + size));
      return found;
    };
    const entries = unpackEntries(parts[0]);
    if (entries.length !== head.indexes.length) throw damaged("entries and indexes differ in number");
    let index = 0;
    const indexes = head.indexes.map((step) => (index += step));
    return {
      origin: head.origin, instrument: head.instrument, from_us: head.from_us, to_us: head.to_us,
      checkpoint: head.checkpoint, indexes, entries,
      tags: pieces(parts[1], tag), hashes: pieces(parts[2], HASH),
      receipts: head.receipts.map(([note, consistency]) => ({ note, consistency: consistency.map(unbase64) })),
      files: head.files.map(([name, media, _], i) => ({ name, media, data: parts[3 + i] })),
    };
  }

  // ---- tree -------------------------------------------------------------------------------------------------

  const split = (count) => { let n = 1; while (n * 2 < count) n *= 2; return n; };

  async function rootOf(indexes, leaves, size, hashes) {
    let used = 0, missing = false;
    const firstFrom = (start) => {
      let low = 0, high = indexes.length;
      while (low < high) { const middle = (low + high) >> 1; if (indexes[middle] < start) low = middle + 1; else high = middle; }
      return low;
    };
    const walk = (start, end) => {  // left to right; the hashing itself may go on meanwhile
      const at = firstFrom(start);
      if (at === indexes.length || indexes[at] >= end) {
        if (used >= hashes.length) missing = true;
        return missing ? new Uint8Array(HASH) : hashes[used++];
      }
      if (end - start === 1) return leaves[at];
      const middle = start + split(end - start);
      const left = walk(start, middle), right = walk(middle, end);
      return Promise.all([left, right]).then(([l, r]) => nodeHash(l, r));
    };
    if (!size) return null;
    const root = await walk(0, size);
    return missing || used !== hashes.length ? null : root;
  }

  async function consistent(older, newer, oldRoot, newRoot, proof) {
    if (older < 0 || older > newer || proof.some((step) => !step || step.length !== HASH)) return false;
    if (older === newer) return !proof.length && same(oldRoot, newRoot);
    if (older === 0) return !proof.length;
    const steps = Number.isInteger(Math.log2(older)) ? [oldRoot, ...proof] : [...proof];
    if (!steps.length) return false;
    let place = older - 1, last = newer - 1;
    while (place % 2) { place = (place - 1) / 2; last = Math.floor(last / 2); }
    let first = steps[0], second = steps[0];
    for (const step of steps.slice(1)) {
      if (last === 0) return false;
      if (place % 2 || place === last) {
        first = await nodeHash(step, first);
        second = await nodeHash(step, second);
        while (place % 2 === 0 && place) { place /= 2; last = Math.floor(last / 2); }
      } else {
        second = await nodeHash(second, step);
      }
      place = Math.floor(place / 2);
      last = Math.floor(last / 2);
    }
    return last === 0 && same(first, oldRoot) && same(second, newRoot);
  }

  // ---- keys, notes, policy ----------------------------------------------------------------------------------

  const isName = (name) => name !== "" && !/[+\s\x00-\x1f]/u.test(name);

  async function parseKey(vkey) {
    const [, name, id, material] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(vkey.trim()) || [];
    const blob = material ? unbase64(material) : null;
    if (!name || !isName(name) || !blob || !blob.length) throw new Refused("policy", "not a vkey: NAME+KEYID+BASE64");
    if (![1, 4].includes(blob[0]) || blob.length !== 33) throw new Refused("policy", `${name}: a key of a type that cannot be checked here`);
    const digest = await sha256(joined(encoder.encode(name), [10], blob));
    if (hex(digest.subarray(0, 4)) !== id) throw new Refused("policy", `${name}: the key id is not that of its key; was it copied whole?`);
    return { name, id, kind: blob[0], raw: blob.slice(1), vkey: vkey.trim() };
  }

  async function fingerprint(vkey) {
    return hex(await sha256(encoder.encode(vkey))).slice(0, 20).replace(/(....)(?=.)/g, "$1 ");
  }

  // A C2SP tlog-policy, or just keys: a log's and, if wanted, witnesses' (then all of them must have cosigned).
  async function parsePolicy(text) {
    const policy = { logs: [], witnesses: new Map(), groups: new Map(), quorum: null, revoked: [] };
    const listed = new Set(), bare = [];
    let number = 0;
    const wrong = (what) => new Refused("policy", `line ${number}: ${what}`, { line: number });
    const fresh = (name) => { if (name === "none" || policy.witnesses.has(name) || policy.groups.has(name)) throw wrong(`the name ${name} is taken`); return name; };
    const defined = (name) => { if (!policy.witnesses.has(name) && !policy.groups.has(name)) throw wrong(`${name} is not defined before this line`); return name; };
    const key = async (vkey, kind, others) => {
      let found;
      try { found = await parseKey(vkey); } catch (error) { throw wrong(error.message); }
      if (found.kind !== kind) throw wrong(`${found.name}: ${kind === 1 ? "not a log's key" : "not a witness's key"}`);
      if (others.some((other) => same(other.raw, found.raw))) throw wrong(`the key of ${found.name} is there twice`);
      return found;
    };
    for (const line of text.split("\n")) {
      number += 1;
      const words = line.replace(/\r$/, "").trim().split(/[ \t]+/);
      if (!words[0] || words[0].startsWith("#")) continue;
      const [kind, ...rest] = words;
      if (kind === "log" && (rest.length === 1 || rest.length === 2)) policy.logs.push(await key(rest[0], 1, policy.logs));
      else if (kind === "witness" && (rest.length === 2 || rest.length === 3)) policy.witnesses.set(fresh(rest[0]), await key(rest[1], 4, [...policy.witnesses.values()]));
      else if (kind === "group" && rest.length > 2) {
        const [name, least, ...members] = rest;
        for (const member of members) { defined(member); if (listed.has(member)) throw wrong(`${member} is listed as a member twice`); listed.add(member); }
        const many = least === "all" ? members.length : least === "any" ? 1 : /^[1-9][0-9]{0,3}$/.test(least) ? Number(least) : 0;
        if (!many || many > members.length) throw wrong("all, any, or a number of members");
        policy.groups.set(fresh(name), { least: many, members });
      } else if (kind === "quorum" && rest.length === 1) {
        if (policy.quorum !== null) throw wrong("there is a quorum line already");
        policy.quorum = rest[0] === "none" ? "none" : defined(rest[0]);
      } else if (kind === "revoked" && rest.length === 3) {
        const revoked = await key(rest[0], 1, []), bound = rest[2];
        const at = rest[1] === "witnessed-before" && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(bound) ? Date.parse(bound) / 1000 : NaN;
        if (rest[1] === "size" && /^(0|[1-9][0-9]{0,15})$/.test(bound)) policy.revoked.push({ key: revoked, size: Number(bound) });
        else if (Number.isFinite(at) && new Date(at * 1000).toISOString().startsWith(bound.slice(0, 10))) policy.revoked.push({ key: revoked, before: at });
        else throw wrong("revoked VKEY size N, or revoked VKEY witnessed-before 2026-11-24T10:00:00Z");
      } else if (words.length === 1 && kind.includes("+")) {
        let found;
        try { found = await parseKey(kind); } catch (error) { throw wrong(error.message); }
        if (found.kind === 1) policy.logs.push(found);
        else { const name = `witness${policy.witnesses.size + 1}`; policy.witnesses.set(name, found); bare.push(name); }
      } else throw wrong("reads neither as a key nor as a line of a policy");
    }
    if (policy.quorum === null && !bare.length && (policy.witnesses.size || policy.groups.size)) throw new Refused("policy", "there is no quorum line");
    if (policy.quorum === null && bare.length) { policy.groups.set("", { least: bare.length, members: bare }); policy.quorum = ""; }
    if (policy.quorum === null) policy.quorum = "none";
    if (!policy.logs.length) throw new Refused("policy", "there is no log's key");
    return policy;
  }

  function met(policy, cosigned, name = policy.quorum) {
    if (name === "none") return true;
    if (policy.witnesses.has(name)) return cosigned.has(policy.witnesses.get(name));
    const group = policy.groups.get(name);
    return group.members.filter((member) => met(policy, cosigned, member)).length >= group.least;
  }

  function parseNote(whole) {
    const bad = new Refused("note", "not a signed note");
    const cut = whole.lastIndexOf("\n\n");
    if (cut < 0 || !whole.endsWith("\n") || /[\x00-\x09\x0b-\x1f]/.test(whole)) throw bad;
    const text = whole.slice(0, cut + 1), signatures = [];
    for (const line of whole.slice(cut + 2, -1).split("\n")) {
      const [, name, coded] = /^\u2014 (\S+) (\S+)$/u.exec(line) || [];
      const blob = coded ? unbase64(coded) : null;
      if (!name || !isName(name) || !blob || blob.length < 5) throw bad;
      signatures.push({ name, id: hex(blob.subarray(0, 4)), blob: blob.subarray(4) });
    }
    if (signatures.length > 32) throw bad;
    return { text, signatures };
  }

  function parseCheckpoint(text) {
    const [origin, size, coded] = text.split("\n");
    const root = coded ? unbase64(coded) : null;
    if (!origin || !/^(0|[1-9][0-9]{0,15})$/.test(size) || !root || root.length !== HASH) throw new Refused("note", "not a checkpoint");
    return { origin, size: Number(size), root };
  }

  async function signatureHolds(key, text, blob) {
    let message = encoder.encode(text), signature = blob;
    if (key.kind === 4) {
      if (blob.length !== 72 || blob[0] & 128) return false;
      const at = new DataView(blob.buffer, blob.byteOffset).getBigUint64(0);
      message = joined(encoder.encode(`cosignature/v1\ntime ${at}\n`), message);
      signature = blob.subarray(8);
    }
    if (signature.length !== 64) return false;
    let imported;
    try { imported = await subtle.importKey("raw", key.raw, { name: "Ed25519" }, false, ["verify"]); } catch { throw new Refused("unsupported", "no Ed25519"); }
    return subtle.verify({ name: "Ed25519" }, imported, signature, message);
  }

  // "yes", "wrong" or "absent": by this key, on this note; and when, for a cosignature.
  async function signedBy(note, key) {
    const lines = note.signatures.filter((s) => s.name === key.name && s.id === key.id);
    let at = 0;
    for (const line of lines) {
      if (!(await signatureHolds(key, note.text, line.blob))) return { state: "wrong" };
      if (key.kind === 4) at = Math.max(at, Number(new DataView(line.blob.buffer, line.blob.byteOffset).getBigUint64(0)));
    }
    return { state: lines.length ? "yes" : "absent", at };
  }

  // A checkpoint signed by one of the keys, of its own origin. Throws Refused.
  async function openCheckpoint(whole, logs) {
    const note = parseNote(whole), head = parseCheckpoint(note.text);
    let by = null;
    for (const key of logs) {
      const { state } = await signedBy(note, key);
      if (state === "wrong") throw new Refused("checkpoint", `the signature of ${key.name} is wrong`, { key: key.name });
      if (state === "yes" && key.name === head.origin) by = key;
    }
    if (!by) throw new Refused("checkpoint", "not signed by a key that was given", { origin: head.origin, signers: note.signatures.map((s) => s.name).join(", ") });
    return { head, note, by };
  }

  // ---- records ----------------------------------------------------------------------------------------------

  const FIELDS = {
    genesis: "salt format? origin keys software utc_us boot_us previous_log?",
    key: "salt vkey replaces statement utc_us boot_us?",
    document: "salt digest kind name media_type? size utc_us",
    configuration: "salt digest body",
    calibration_state: "salt digest body",
    reading: "salt instrument number previous due_us utc_us boot_us clock clock_error_us raw indications missing results state configuration flags?",
    gap: "salt instrument first last previous from_us to_us reason",
    aggregate: "salt instruments measurand unit from_us to_us first last count missing value u contributions independent states method flags? supersedes? number?",
    event: "salt kind utc_us boot_us detail? number?",
    advice: "salt instruments reason from_us to_us supersedes? documents? detail? utc_us",
    seal: "salt utc_us boot_us boot_id clock clock_error_us counts software configuration receipt alarms? energies? events?",
  };
  const DECIMAL = /^-?(?:0|[1-9][0-9]{0,31})(?:\.[0-9]{1,32})?(?:E[+-]?[0-9]{1,3})?$/;

  // Whether some object in the text has the same key twice: JSON.parse would silently take the last.
  function repeatsKey(text) {
    const seen = [];
    for (let i = 0; i < text.length; i++) {
      const c = text[i];
      if (c === "{") seen.push(new Set());
      else if (c === "[") seen.push(null);
      else if (c === "}" || c === "]") seen.pop();
      else if (c === '"') {
        const start = i;
        for (i += 1; text[i] !== '"'; i++) if (text[i] === "\\") i += 1;
        const keys = seen[seen.length - 1];
        if (keys && text[i + 1] === ":") {
          const key = JSON.parse(text.slice(start, i + 1));
          if (keys.has(key)) return true;
          keys.add(key);
        }
      }
    }
    return false;
  }

  async function readRecord(bytes) {
    const bad = (what) => new Refused("record", what);
    let text, record;
    try { text = utf8.decode(bytes); record = JSON.parse(text); } catch { throw bad("not JSON"); }
    const fields = Object.hasOwn(FIELDS, record?.type ?? "") ? FIELDS[record.type].split(" ") : null;
    if (!fields) throw bad("no record of a known type");
    if (repeatsKey(text)) throw bad("equal keys");
    const allowed = new Set(["type", ...fields.map((f) => f.replace("?", ""))]);
    if (Object.keys(record).some((name) => !allowed.has(name))) throw bad("unknown fields");
    if (fields.some((f) => !f.endsWith("?") && !(f in record))) throw bad("a field is missing");
    if (record.type === "reading") {
      const texts = [...Object.values(record.indications), ...Object.values(record.results).flat()];
      if (!texts.every((t) => typeof t === "string" && DECIMAL.test(t))) throw bad("a value is not decimal text");
      if (Object.keys(record.missing).some((name) => name in record.indications)) throw bad("both an indication and none");
    }
    if (record.type === "aggregate") {
      const texts = [...Object.values(record.contributions), record.independent, ...[record.value, record.u].filter((t) => t !== null)];
      if (!texts.every((t) => typeof t === "string" && DECIMAL.test(t))) throw bad("a value is not decimal text");
    }
    if (record.type === "gap" && record.last < record.first) throw bad("a gap that ends before it begins");
    if ("body" in record) {
      const start = text.indexOf(',"body":') + 8;
      if (start < 8 || hex(await sha256(encoder.encode(text.slice(start, -1)))) !== record.digest) throw bad("the digest is not that of the body");
    }
    return record;
  }

  // ---- verification -----------------------------------------------------------------------------------------

  // The bundle and its records without any verdict, for the page to show before a key is given.
  async function readAll(bundle) {
    const records = new Map(), problems = [];
    for (let i = 0; i < bundle.entries.length; i++) {
      try { records.set(bundle.indexes[i], await readRecord(bundle.entries[i])); } catch (error) {
        if (!(error instanceof Refused)) throw error;
        problems.push({ code: "record", entry: bundle.indexes[i], what: error.message });
      }
    }
    return { records, problems };
  }

  // Up to which size the word of each revoked key counts: vkey to size.
  function boundsOf(policy, cosigned) {
    const found = new Map();
    for (const { key, size, before } of policy.revoked) {
      const bound = size ?? Math.max(0, ...cosigned.filter((c) => c.at < before).map((c) => c.size));
      found.set(key.vkey, Math.min(bound, found.get(key.vkey) ?? bound));
    }
    return found;
  }

  const counting = (keys, bounds, size) => keys.filter((key) => size <= (bounds.get(key.vkey) ?? size));

  async function verify(bytes, policy) {
    const findings = [];
    const add = (code, what, entry = null, where = "", params = {}) => findings.push({ code, severity: "error", what, entry, where, params });
    const report = { findings, origin: "", size: 0, root: "", signer: null, cosigned: [], polls: null, disclosed: null, records: new Map(), ok: false };
    const done = () => { report.ok = !findings.some((f) => f.severity === "error"); return report; };
    let bundle;
    try { bundle = await open(bytes); } catch (error) {
      if (!(error instanceof Refused)) throw error;
      add(error.code, error.message);
      return done();
    }
    let opened;
    try { opened = await openCheckpoint(bundle.checkpoint, policy.logs); } catch (error) {
      if (!(error instanceof Refused)) throw error;
      add(error.code === "unsupported" ? "unsupported" : "checkpoint", error.message, null, "checkpoint", error.params);
      return done();
    }
    const { head } = opened;
    Object.assign(report, { origin: head.origin, size: head.size, root: hex(head.root), signer: opened.by });
    if (head.origin !== bundle.origin) add("checkpoint", `is of ${head.origin}, the bundle says ${bundle.origin}`, null, "checkpoint");
    let records = new Map();
    if (await included(bundle, head, add)) {
      const read = await readAll(bundle);
      records = read.records;
      for (const problem of read.problems) add("record", problem.what, problem.entry);
    }
    report.records = records;
    const polls = [...records].filter(([, r]) => (r.type === "reading" || r.type === "gap") && r.instrument === bundle.instrument);
    if (records.size) series(bundle, head.size, records, polls, add, findings);
    report.polls = completeness(bundle, polls);
    report.disclosed = disclosed(bundle, polls);
    await cosignatures(bundle, opened, policy, polls.length ? polls[polls.length - 1][0] + 1 : 1, report, add);
    const bounds = boundsOf(policy, report.cosigned);
    const states = await Promise.all(counting(policy.logs, bounds, head.size).filter((key) => key.name === head.origin).map((key) => signedBy(opened.note, key)));
    if (bounds.size && !states.some(({ state }) => state === "yes")) add("revoked", `is over ${head.size} entries, and signed by a revoked key alone`, null, "checkpoint");
    await genesis(records, head.origin, policy, bounds, add);
    await filesNamed(bundle, records, add, findings);
    return done();
  }

  async function included(bundle, head, add) {
    const { indexes } = bundle;
    if (indexes.some((index, i) => index <= (i ? indexes[i - 1] : -1)) || (indexes.length && indexes[indexes.length - 1] >= head.size)) {
      add("indexes", `the entries' indexes do not ascend below the size of ${head.size}`);
      return false;
    }
    const leaves = await Promise.all(bundle.entries.map(leafHash));
    const wrong = bundle.tags.length === leaves.length ? indexes.filter((_, i) => !same(leaves[i].subarray(0, bundle.tags[i].length), bundle.tags[i])) : [];
    for (const index of wrong) add("entry", "the entry was changed, or another put in its place", index);
    const root = await rootOf(indexes, leaves, head.size, bundle.hashes);
    if (root && same(root, head.root)) return !wrong.length;
    add("root", "the entries and hashes do not lead to the signed root hash");
    return false;
  }

  async function cosignatures(bundle, opened, policy, needed, report, add) {
    const notes = [["checkpoint", opened.head, opened.note]];
    for (const [i, receipt] of bundle.receipts.entries()) {
      const where = `receipt ${i + 1}`;
      let other;
      try { other = await openCheckpoint(receipt.note, policy.logs); } catch (error) {
        if (!(error instanceof Refused)) throw error;
        add("receipt", error.message, null, where);
        continue;
      }
      if (!(await consistent(other.head.size, opened.head.size, other.head.root, opened.head.root, receipt.consistency))) {
        add("fork", "is not shown to be of the history of the checkpoint", null, where);
        continue;
      }
      notes.push([where, other.head, other.note]);
    }
    const there = new Set();
    for (const [where, head, note] of notes) {
      for (const witness of policy.witnesses.values()) {
        const { state, at } = await signedBy(note, witness);
        if (state === "wrong") add("cosignature", "the cosignature is wrong", null, `${where}, ${witness.name}`);
        if (state !== "yes") continue;
        report.cosigned.push({ name: witness.name, size: head.size, at, where });
        if (head.size >= needed) there.add(witness);
      }
    }
    if (!met(policy, there)) add("quorum", "the policy's quorum has not cosigned a tree that holds these entries", null, "", { there: [...there].map((w) => w.name).join(", ") });
  }

  async function genesis(records, origin, policy, bounds, add) {
    const first = records.get(0);
    if (!first || first.type !== "genesis") { add("genesis", "the log's first entry is not in the bundle, or is no genesis record", 0); return; }
    if (first.origin !== origin) add("genesis_origin", `this log began as ${first.origin}`, 0);
    const keys = [];
    const take = async (vkey) => { try { keys.push(await parseKey(vkey)); } catch { /* of a type that is not checked here */ } };
    for (const vkey of first.keys) await take(vkey);
    for (const [index, record] of records) {
      if (record.type !== "key" || ofAnotherKind(record.vkey)) continue; // such a key counts for nothing here
      if (await vouched(record, origin, counting([...keys, ...policy.logs], bounds, index + 1))) await take(record.vkey);
      else add("key_statement", "the new key is not vouched for by an older one and by itself", index);
    }
    if (!keys.some((key) => policy.logs.some((log) => log.vkey === key.vkey))) add("genesis_key", "no key that was given is one that the log began with or took over to", 0);
  }

  function ofAnotherKind(vkey) {
    try { return unbase64(vkey.split("+").slice(2).join("+"))[0] === 0xff; } catch { return false; }
  }

  async function vouched(record, origin, older) {
    try {
      const note = parseNote(record.statement), fresh = await parseKey(record.vkey);
      const states = await Promise.all(older.map((key) => signedBy(note, key)));
      return note.text === `suyuan/key\n${origin}\n${fresh.vkey}\n` && (await signedBy(note, fresh)).state === "yes" &&
        states.some((s) => s.state === "yes") && !states.some((s) => s.state === "wrong");
    } catch (error) {
      if (!(error instanceof Refused) || error.code === "unsupported") throw error;
      return false;
    }
  }

  async function filesNamed(bundle, records, add, findings) {
    const named = new Map([...records.values()].filter((r) => r.type === "document").map((r) => [r.digest, r]));
    for (const file of bundle.files) {
      const document = named.get(hex(await sha256(file.data)));
      if (!document) add("file", "no document record has this file's digest", null, file.name);
      else if (file.name !== document.name || file.media !== (document.media_type ?? "")) {
        findings.push({ code: "file_name", severity: "warning", what: "the file's record names it otherwise", entry: null, where: file.name, params: { name: document.name } });
      }
    }
  }

  const lastOf = (poll) => (poll.type === "reading" ? poll.number : poll.last);
  const firstOf = (poll) => (poll.type === "reading" ? poll.number : poll.first);

  function completeness(bundle, polls) {
    let received = 0, missed = 0;
    const reasons = {};
    for (const [, poll] of polls) {
      if (poll.type === "reading") received += bundle.from_us <= poll.due_us && poll.due_us < bundle.to_us ? 1 : 0;
      else if (poll.from_us < bundle.to_us && poll.to_us >= bundle.from_us) {
        const count = poll.last - poll.first + 1;
        missed += count;
        reasons[poll.reason] = (reasons[poll.reason] || 0) + count;
      }
    }
    return { due: received + missed, received, missed, reasons };
  }

  const spanOfPoll = (poll) => (poll.type === "reading" ? [poll.due_us, poll.due_us] : [poll.from_us, poll.to_us]);

  // How far the polls reach within the period asked for, and the first and last running number due in it.
  function disclosed(bundle, polls) {
    const { from_us: from, to_us: to } = bundle, all = polls.map(([, poll]) => poll);
    const due = all.filter((poll) => spanOfPoll(poll)[0] < to && spanOfPoll(poll)[1] >= from);
    const covered = all.length ? [Math.max(from, spanOfPoll(all[0])[0]), Math.min(to, spanOfPoll(all[all.length - 1])[1])] : [from, from];
    return { covered, whole: covered[0] === from && covered[1] === to, numbers: due.length ? [firstOf(due[0]), lastOf(due[due.length - 1])] : null };
  }

  function series(bundle, size, records, polls, add, findings) {
    const name = bundle.instrument;
    for (const [index, record] of records) {
      const whose = record.type === "reading" || record.type === "gap" ? [record.instrument]
        : record.type === "aggregate" || record.type === "advice" ? record.instruments : [name];
      if (!whose.includes(name)) add("foreign", `is of ${whose.join(", ")}, not of ${name}`, index, "", { whose: whose.join(", ") });
    }
    if (!polls.length) { add("no_polls", "there is no poll of the instrument", null, name); return; }
    for (let i = 1; i < polls.length; i++) {
      const [index, one] = polls[i - 1], [after, other] = polls[i];
      if (firstOf(other) !== lastOf(one) + 1) add("running_number", `running number ${firstOf(other)} follows ${lastOf(one)}`, after, name, { number: firstOf(other), before: lastOf(one) });
      if (other.previous !== index) add("back_link", `names entry ${other.previous} as the one before; the bundle has entry ${index}`, after, name, { previous: other.previous, before: index });
    }
    const [firstIndex, first] = polls[0], [lastIndex, last] = polls[polls.length - 1];
    if ((first.due_us ?? first.from_us) >= bundle.from_us && !(firstOf(first) === 1 && first.previous === -1)) add("predecessor", "the poll before the period is not in the bundle", firstIndex, name);
    if ((last.due_us ?? last.to_us) < bundle.to_us) {
      const final = records.get(size - 1);
      const tally = final && final.type === "seal" && Object.hasOwn(final.counts, name) ? final.counts[name] : null;
      if (!tally || tally[0] !== lastOf(last)) add("successor", "neither the poll after the period nor a last seal that counts to it is in the bundle", lastIndex, name);
    }
    const known = new Map();
    for (const [index, record] of records) if ("body" in record) known.set(`${record.type} ${index} ${record.digest}`, record.body);
    for (const [index, record] of records) {
      const wanted = record.type === "reading" ? [["calibration_state", record.state], ["configuration", record.configuration]]
        : record.type === "aggregate" ? record.states.map((state) => ["calibration_state", state]) : [];
      for (const [kind, [at, digest]] of wanted) {
        const body = known.get(`${kind} ${at} ${digest}`);
        if (body === undefined || at >= index) add(`${kind}_reference`, `entry ${at} is no earlier ${kind} in the bundle`, index, "", { at });
        else if (kind === "calibration_state" && body.instrument && body.instrument !== name) add("state_foreign", `was corrected with the calibration state of ${body.instrument}`, index, "", { whose: body.instrument });
      }
    }
    for (const [index, seal] of records) {
      if (seal.type !== "seal" || polls[0][0] > index) continue;
      const before = polls.filter(([at]) => at < index), goesOn = before.length < polls.length;
      const counted = lastOf(before[before.length - 1][1]);
      const tally = Object.hasOwn(seal.counts, name) ? seal.counts[name] : null, said = tally ? tally[0] : 0;
      if ((goesOn ? said !== counted : said < counted) || (tally && tally[1] + tally[2] !== tally[0])) add("seal_counts", `the seal counts to ${said}; the bundle's polls before it to ${counted}`, index, name, { said, counted });
    }
    for (const [kind, whose] of [["energy", name], ["event", name], ["event", ""]]) numbered(kind, whose, bundle, size, records, add);
    const ends = {}, replaced = new Set([...records.values()].filter((r) => r.type === "aggregate").map((r) => r.supersedes));
    for (const [index, record] of records) {
      if (record.type !== "aggregate" || replaced.has(index) || (record.supersedes ?? null) !== null) continue;
      const end = ends[record.measurand];
      if (end !== undefined && record.from_us !== end) findings.push({ code: "energies_apart", severity: "warning", what: "does not begin where the energy before it ends", entry: index, where: record.measurand, params: {} });
      ends[record.measurand] = record.to_us;
    }
  }

  // The row of numbers that a record is in: energies of each instrument, events of each instrument and of the log.
  const rowOf = (r) => r.type === "event" ? ["event", r.detail?.instrument ?? ""]
    : r.type === "aggregate" && (r.supersedes ?? null) === null && r.instruments.length === 1 ? ["energy", r.instruments[0]] : null;
  const inRow = (kind, whose) => ([, r]) => { const row = rowOf(r); return row !== null && row[0] === kind && row[1] === whose; };
  const spanOf = (r) => (r.type === "event" ? [r.utc_us, r.utc_us] : [r.from_us, r.to_us]);

  // Energies and events, as far as they carry numbers: none is missing (evidence/numbered.py).
  function numbered(kind, whose, bundle, size, records, add) {
    const code = `${kind}_number`, found = [...records].filter(inRow(kind, whose)), rows = found.filter(([, r]) => (r.number ?? null) !== null);
    const sealed = (seal) => { const counts = seal?.[kind === "energy" ? "energies" : "events"] ?? {}; return Object.hasOwn(counts, whose) ? counts[whose] : 0; };
    if (!rows.length) {
      const told = [...records].find(([, r]) => r.type === "seal" && sealed(r) > 0);
      if (told) add(code, `the seal counts to ${sealed(told[1])}; there is none here`, told[0], whose);
      return;
    }
    for (const [index, r] of found) if ((r.number ?? null) === null && index > rows[0][0]) add(code, "has no number, though one before it has", index, whose);
    for (let i = 1; i < rows.length; i++) {
      const before = rows[i - 1][1].number, [index, { number }] = rows[i];
      if (number !== before + 1) add(code, `number ${number} follows ${before}`, index, whose);
    }
    const [first, one] = rows[0], [last, end] = rows[rows.length - 1], final = records.get(size - 1);
    if (one.number !== 1 && spanOf(one)[1] > bundle.from_us) add(code, `begins with number ${one.number}: the one before the period is not here`, first, whose);
    if (spanOf(end)[0] < bundle.to_us && (final?.type !== "seal" || sealed(final) !== end.number)) add(code, `ends with number ${end.number}: neither the one after the period nor the last seal shows it`, last, whose);
  }

  return { open, verify, readAll, disclosed, parsePolicy, parseNote, parseCheckpoint, fingerprint, gunzip, unbase64, hex, sha256, Refused };
})();
