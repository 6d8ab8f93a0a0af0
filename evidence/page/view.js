// The page: shows what the bundle says, asks for a key, and tells whether it holds. Text only, never markup from data.
"use strict";
(async () => {
  const { SuyuanBundle: B, SuyuanWords: WORDS, SuyuanDraw: DRAW } = globalThis;
  const K = 2, PAGE = 100, NBSP = "\u00a0", DASH = "\u2013";
  const view = { language: /^zh/i.test(navigator.language) ? 1 : 0, measurand: null, page: 0, report: null, problem: "", busy: false, policy: "" };
  let bundle = null, records = new Map(), failure = "";

  const has = (name) => Object.hasOwn(WORDS, name);
  const say = (name, values = {}) => WORDS[name][view.language].replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
  const word = (name) => (has(name) ? say(name) : name);
  const colon = () => (view.language ? "：" : ": "), and = (names) => names.join(view.language ? "、" : ", ");
  const el = (tag, attributes, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes ?? {})) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
    return node;
  };
  const facts = (...pairs) => el("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  const section = (id, title, ...content) => el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), ...content);
  const table = (caption, heads, rows) => el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
    el("table", {}, el("caption", {}, caption),
      el("thead", {}, el("tr", {}, heads.map(([text, kind]) => el("th", { scope: "col", class: kind ?? null }, text)))),
      el("tbody", {}, rows)));

  // ---- numbers and times ------------------------------------------------------------------------------------

  const two = (n) => String(n).padStart(2, "0");
  const offsetOf = (date) => {
    const minutes = -date.getTimezoneOffset(), size = Math.abs(minutes);
    return `${minutes < 0 ? "-" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
  };
  const local = (us, fine = false) => {
    const d = new Date(us / 1000);
    return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}` +
      (fine ? `.${String(d.getMilliseconds()).padStart(3, "0")}` : "") + ` ${offsetOf(d)}`;
  };
  const moment = (us, fine) => el("time", { datetime: new Date(us / 1000).toISOString(), title: `UTC ${new Date(us / 1000).toISOString()}` }, local(us, fine));
  const clock = (t, step) => {
    const d = new Date(t * 1000);
    if (step >= 86400) return `${two(d.getMonth() + 1)}-${two(d.getDate())}`;
    return `${two(d.getHours())}:${two(d.getMinutes())}${step < 60 ? `:${two(d.getSeconds())}` : ""}`;
  };
  // U to two significant digits, the value to the same place.
  function rounded(y, U) {
    if (!(U > 0)) return [String(y), String(U)];
    let place = Math.floor(Math.log10(U)) - 1;
    if (Math.round(U / 10 ** place) >= 100) place += 1;
    const show = (n) => (place >= 0 ? String(Math.round(n / 10 ** place) * 10 ** place) : n.toFixed(-place));
    return [show(y), show(U)];
  }
  const withU = (y, u, unit) => {
    const [value, U] = rounded(Number(y), K * Number(u));
    return `${value}${NBSP}±${NBSP}${U}${unit && unit !== "1" ? NBSP + unit : ""}`;
  };
  const UNITS = { "kvar.h": "kvarh", "kV.A": "kVA", Cel: "°C" };

  function nameOf(measurand) {
    if (has(measurand)) return `${say(measurand)} (${measurand})`;
    const parts = measurand.split(".");
    for (let n = parts.length - 1; n > 0; n--) {
      const base = parts.slice(0, n).join(".");
      if (has(base)) return `${say(base)} ${parts.slice(n).map((p) => word(p).replace(/^l(?=[123]$)/, "L")).join(" ")} (${measurand})`;
    }
    return measurand;
  }
  const flagsOf = (flags) => and((flags ?? []).map(word));

  // ---- what is in the bundle --------------------------------------------------------------------------------

  const ofType = (...types) => [...records].filter(([, r]) => types.includes(r.type));
  const inside = (us) => bundle.from_us <= us && us < bundle.to_us;
  const polls = () => ofType("reading", "gap").filter(([, r]) => r.instrument === bundle.instrument);
  const readings = () => polls().filter(([, r]) => r.type === "reading" && inside(r.due_us));
  const gaps = () => polls().filter(([, r]) => r.type === "gap" && r.from_us < bundle.to_us && r.to_us >= bundle.from_us);

  function unitOf(measurand) {
    for (const [, record] of ofType("configuration")) {
      const about = record.body.instruments?.[bundle.instrument];
      const profile = typeof about?.profile === "string" ? record.body.profiles?.[about.profile] : null;
      for (const query of profile?.queries ?? []) for (const point of query.points ?? []) if (point.measurand === measurand) return UNITS[point.unit] ?? point.unit;
    }
    return "";
  }

  function period() {  // what is shown: the period asked for, no wider than the data
    const times = [...readings().map(([, r]) => r.utc_us), ...gaps().flatMap(([, g]) => [g.from_us, g.to_us])];
    return times.length ? [Math.max(bundle.from_us, Math.min(...times)), Math.min(bundle.to_us, Math.max(...times))] : [bundle.from_us, bundle.to_us];
  }

  // ---- the parts of the page --------------------------------------------------------------------------------

  function header() {
    const reach = bundle && B.disclosed(bundle, polls());
    const button = (text, number, lang) => el("button", { type: "button", id: `in-${lang}`, lang, "aria-pressed": String(view.language === number), onclick: () => { view.language = number; draw(); } }, text);
    return [
      el("div", { class: "bar" },
        el("p", { class: "quiet" }, `Suyuan 溯源 · ${say("title")}`),
        el("div", { class: "row noprint", role: "group", "aria-label": say("language") }, button("中文", 1, "zh-CN"), button("English", 0, "en"))),
      bundle && el("h1", {}, bundle.instrument),
      bundle && facts([say("period"), [moment(bundle.from_us), ` ${DASH} `, moment(bundle.to_us)]],
        reach.whole ? null : [say("covered"), [icon("warn"), " ", moment(reach.covered[0]), ` ${DASH} `, moment(reach.covered[1])]], [say("log"), el("span", { class: "mono" }, bundle.origin)]),
    ].filter(Boolean);
  }

  // Empty, or that the log begins or ends within the period: what comes of "100 %" has to say of what.
  function uncovered() {
    const { covered: [from, to], whole } = B.disclosed(bundle, polls());
    const where = [from > bundle.from_us ? say("before_first") : "", to < bundle.to_us ? say("after_last") : ""].filter(Boolean);
    return whole ? "" : say("uncovered", { instrument: bundle.instrument, from: local(from), to: local(to), where: and(where) });
  }

  const icon = (kind) => el("span", { class: `icon ${kind}`, "aria-hidden": "true" }, { good: "✔", bad: "✘", warn: "▲", info: "○" }[kind]);

  function verdict() {
    const { report } = view;
    const box = (kind, mark, title, ...content) => el("div", { class: `verdict ${kind}`, id: "verdict", role: "status", "aria-live": "polite", tabindex: "-1" }, el("strong", {}, icon(mark), ` ${title}`), ...content);
    if (failure) return box("no", "bad", say("no"), el("p", {}, say("damaged") + colon() + failure));
    if (view.busy) return box("", "info", say("working"));
    if (view.problem) return box("unable", "warn", say("policy_wrong"), el("p", { id: "policy-wrong" }, say("policy_wrong_why"), " ", el("span", { lang: "en", class: "mono" }, view.problem)));
    if (!report) return box("", "info", say("waiting"), el("p", {}, say("waiting_why")));
    if (report.findings.some((f) => f.code === "unsupported")) return box("unable", "warn", say("unable"), el("p", {}, say("unable_why")));
    const found = report.findings.map((f) => el("li", {}, icon(f.severity === "error" ? "bad" : "warn"),
      [f.entry === null ? "" : say("at_entry", { entry: f.entry }), f.where].filter(Boolean).join(", "), f.entry === null && !f.where ? "" : colon(),
      say(`f_${f.code}`, f.params), el("span", { class: "quiet small" }, ` [${f.code}] `), el("span", { class: "quiet small", lang: "en" }, f.what)));
    const more = Math.max(0, found.length - 50);
    const list = found.length ? el("ul", { class: "checks" }, found.slice(0, 50), more ? el("li", {}, `+ ${more}`) : null) : null;
    if (!report.ok) return box("no", "bad", say("no"), el("p", {}, say("no_why")), list);
    const item = (mark, ...content) => el("li", {}, icon(mark), ...content);
    const seen = new Set(report.cosigned.map((c) => c.name));
    return box("yes", "good", say("yes"), el("p", {}, say("yes_why")), el("ul", { class: "checks" },
      item("good", say("signer") + colon(), el("code", {}, report.signer.vkey)),
      [...seen].map((name) => {
        const best = report.cosigned.filter((c) => c.name === name).sort((a, b) => b.size - a.size)[0];
        return item("good", say("cosigners") + colon(), say("cosigned", { name, size: best.size, at: local(best.at * 1e6) }));
      }),
      seen.size ? null : item("warn", say("cosigners") + colon() + say("no_cosigners")),
      item("good", say("included", { count: report.records.size, size: report.size })),
      item("good", say("complete", { ...report.polls, first: report.disclosed.numbers?.[0] ?? DASH, last: report.disclosed.numbers?.[1] ?? DASH })),
      uncovered() ? item("warn", uncovered()) : null, numbers(report, item)), list, el("p", { class: "small" }, say("not_proven")));
  }

  // Energies and events with numbers are complete, or the verdict would be no; those without are another thing.
  function numbers(report, item) {
    const all = [...report.records.values()], rows = all.filter((r) => r.type === "event" || (r.type === "aggregate" && (r.supersedes ?? null) === null));
    const count = (type) => rows.filter((r) => r.type === type && (r.number ?? null) !== null).length;
    const energies = count("aggregate"), events = count("event");
    const older = rows.some((r) => (r.number ?? null) === null) || !all.some((r) => r.type === "seal" && r.events !== undefined);
    return [energies || events ? item("good", say("numbered", { energies, events })) : null, older ? item("warn", say("unnumbered")) : null];
  }

  function ask() {
    const text = el("textarea", { id: "policy", spellcheck: "false", autocomplete: "off", "aria-invalid": view.problem ? "true" : null, "aria-describedby": view.problem ? "policy-wrong policy-help" : "policy-help", oninput: (e) => { view.policy = e.target.value; } });
    text.value = view.policy;
    const file = el("input", { type: "file", onchange: async (e) => { if (e.target.files[0]) { view.policy = await e.target.files[0].text(); await check(); } } });
    return el("form", { class: "noprint", onsubmit: (e) => { e.preventDefault(); check(); } },
      el("label", { for: "policy" }, say("key_label")),
      el("p", { id: "policy-help", class: "quiet small" }, say("key_help")), text,
      el("div", { class: "row" }, el("button", { class: "main", type: "submit" }, say("verify")), el("label", { class: "file" }, say("key_file"), file)));
  }

  async function check() {
    view.report = null;
    view.problem = "";
    view.busy = true;
    place("verdict", verdict());
    try {
      const policy = await B.parsePolicy(view.policy);
      view.report = await B.verify(data, policy);
    } catch (error) {
      view.problem = error.message;
    }
    view.busy = false;
    draw();
    document.getElementById(view.problem ? "policy" : "verdict").focus();
  }

  function overview() {
    const done = readings().length, missed = gaps().reduce((n, [, g]) => n + g.last - g.first + 1, 0), due = done + missed;
    const cards = [el("div", { class: "card" }, say("polls"), el("b", {}, say("polls_card", { received: done, due, share: due ? (100 * done / due).toPrecision(4).replace(/\.?0+$/, "") : DASH })),
      uncovered() ? el("span", { class: "small" }, icon("warn"), ` ${uncovered()}`) : null)];
    for (const [measurand, sum] of energySums()) {
      cards.push(el("div", { class: "card" }, say("energy_sum") + colon() + nameOf(measurand), el("b", {}, withU(sum.value, sum.u, UNITS[sum.unit] ?? sum.unit)),
        el("span", { class: "quiet small" }, moment(sum.from), ` ${DASH} `, moment(sum.to), ", k = 2")));
    }
    return section("overview", say("overview"), el("div", { class: "cards" }, cards));
  }

  const live = () => {
    const all = ofType("aggregate"), gone = new Map(all.filter(([, a]) => (a.supersedes ?? null) !== null).map(([i, a]) => [a.supersedes, i]));
    return { all, gone };
  };

  // Contributions of one source add with their sign, independent parts as squares.
  function energySums() {
    const sums = new Map(), { all, gone } = live();
    for (const [index, a] of all) {
      if (gone.has(index) || a.value === null || a.instruments.length !== 1 || a.from_us < bundle.from_us || a.to_us > bundle.to_us) continue;
      const sum = sums.get(a.measurand) ?? { value: 0, named: {}, rest: 0, unit: a.unit, from: a.from_us, to: a.to_us };
      sum.value += Number(a.value);
      sum.rest += Number(a.independent);
      for (const [source, c] of Object.entries(a.contributions)) sum.named[source] = (sum.named[source] ?? 0) + Number(c);
      sum.from = Math.min(sum.from, a.from_us);
      sum.to = Math.max(sum.to, a.to_us);
      sums.set(a.measurand, sum);
    }
    for (const sum of sums.values()) sum.u = Math.sqrt(sum.rest + Object.values(sum.named).reduce((n, c) => n + c * c, 0));
    return [...sums].filter(([, sum]) => sum.value !== 0);
  }

  function results() {
    const rows = readings(), names = [...new Set(rows.flatMap(([, r]) => [...Object.keys(r.results), ...Object.keys(r.indications), ...Object.keys(r.missing)]))];
    if (!names.length) return section("results", say("results"), el("p", {}, say("none")));
    if (!names.includes(view.measurand)) view.measurand = names.find((n) => n.startsWith("power.active")) ?? names[0];
    const measurand = view.measurand, unit = unitOf(measurand);
    const choose = el("select", { id: "measurand", onchange: (e) => { view.measurand = e.target.value; view.page = 0; place("results", results()); document.getElementById("measurand").focus(); } },
      names.map((name) => el("option", { value: name, selected: name === measurand }, nameOf(name))));
    const points = [], holes = gaps().map(([, g]) => [g.from_us / 1e6, g.to_us / 1e6]);
    let before = null, any = false;
    for (const [, r] of polls()) {
      if (r.type === "gap") { points.push(null); continue; }
      if (!inside(r.due_us)) continue;
      const stated = r.results[measurand], value = stated?.[0] ?? r.indications[measurand];
      if (value === undefined || (before !== null && r.utc_us < before)) { points.push(null); continue; }
      before = r.utc_us;
      any = any || Boolean(stated);
      points.push({ t: r.utc_us / 1e6, y: Number(value), U: stated ? K * Number(stated[1]) : null });
    }
    const there = points.filter(Boolean);
    const [from, to] = period().map((us) => us / 1e6);
    const alt = there.length ? say("chart_alt", { measurand: nameOf(measurand), from: local(from * 1e6), to: local(to * 1e6), unit,
      low: Math.min(...there.map((p) => p.y)), high: Math.max(...there.map((p) => p.y)) }) : "";
    const start = view.page * PAGE, shown = rows.slice(start, start + PAGE), many = measurand.includes("energy.");
    const turn = (step, name, able) => el("button", { type: "button", id: name, disabled: !able, onclick: () => {
      view.page += step;
      place("results", results());
      document.querySelector("#results table").scrollIntoView({ block: "nearest" });
      document.querySelector(`#${name}:enabled, #${step > 0 ? "earlier" : "later"}:enabled`)?.focus({ preventScroll: true });
    } }, say(name));
    return section("results", say("results"),
      el("div", { class: "row noprint" }, el("label", { for: "measurand" }, say("measurand")), choose),
      el("h3", {}, [nameOf(measurand), unit].filter(Boolean).join(", ")),
      there.length ? el("figure", {}, DRAW.chart(points, holes, from, to, alt, clock, innerWidth < 560), el("figcaption", { class: "quiet small" }, any ? say("band") : say("only_indication"))) : null,
      many && any ? el("p", { class: "quiet small" }, say("register")) : null,
      table(say("table_caption", { measurand: nameOf(measurand), unit: unit || say("no_unit"), first: Math.min(start + 1, rows.length), last: start + shown.length, count: rows.length }),
        [[say("time")], [say("number"), "n"], [say("indication"), "n"], [say("result"), "n"], [say("flags")], [say("entry"), "n"]],
        shown.map(([index, r]) => {
          const stated = r.results[measurand], why = r.missing[measurand];
          return el("tr", { class: why ? "gap" : null },
            el("td", { class: "t" }, moment(r.utc_us, true)), el("td", { class: "n" }, String(r.number)), el("td", { class: "n" }, r.indications[measurand] ?? DASH),
            el("td", { class: "n" }, stated ? withU(...stated, "") : why ? `▲ ${word(why)}` : say("no_result")),
            el("td", { class: "w" }, flagsOf(r.flags)), el("td", { class: "n" }, String(index)));
        })),
      rows.length > PAGE ? el("div", { class: "row noprint" }, turn(-1, "earlier", view.page > 0), turn(1, "later", start + PAGE < rows.length)) : null);
  }

  function events() {
    const rows = [];
    for (const [index, r] of gaps()) rows.push([index, r.from_us, `▲${NBSP}${say("gap")}`, say("polls_missed", { first: r.first, last: r.last, reason: word(r.reason) }), true]);
    for (const [index, r] of ofType("event")) rows.push([index, r.utc_us, word(r.kind), [...Object.entries(r.detail ?? {}).map(([k, v]) => `${k}: ${v}`), inside(r.utc_us) ? "" : say("outside")].filter(Boolean).join("; "), false]);
    for (const [index, r] of ofType("advice")) rows.push([index, r.utc_us, `▲${NBSP}${say("advice")}`, r.reason, true]);
    rows.sort((a, b) => a[0] - b[0]);
    return section("events", say("events"), rows.length
      ? table(say("events"), [[say("time")], [say("kind")], [say("detail")], [say("entry"), "n"]],
        rows.map(([index, us, kind, detail, bad]) => el("tr", { class: bad ? "gap" : null }, el("td", { class: "t" }, moment(us)), el("th", { scope: "row" }, kind), el("td", { class: "w" }, detail), el("td", { class: "n" }, String(index)))))
      : el("p", {}, `✔ ${say("no_events")}`));
  }

  function energies() {
    const { all, gone } = live();
    if (!all.length) return section("energies", say("energies"), el("p", {}, say("no_energies")));
    const body = table(`${say("energies")}, k = 2`, [[say("from")], [say("to")], [say("measurand")], [say("result"), "n"], [say("missed"), "n"], [say("flags")], [say("entry"), "n"]],
      all.map(([index, a]) => el("tr", {}, el("td", { class: "t" }, moment(a.from_us)), el("td", { class: "t" }, moment(a.to_us)), el("td", { class: "w" }, nameOf(a.measurand)),
        el("td", { class: "n" }, a.value === null ? say("no_result") : withU(a.value, a.u, UNITS[a.unit] ?? a.unit)), el("td", { class: "n" }, String(a.missing)),
        el("td", { class: "w" }, [flagsOf(a.flags), gone.has(index) ? say("superseded", { by: gone.get(index) }) : "", a.to_us <= bundle.from_us || a.from_us >= bundle.to_us ? say("outside") : ""].filter(Boolean).join("; ")), el("td", { class: "n" }, String(index)))));
    return section("energies", say("energies"), all.length > 40 ? el("details", {}, el("summary", {}, say("energies") + colon() + all.length), body) : body);
  }

  function calibration() {
    const parts = [];
    const documents = ofType("document").map(([index, d]) => ({ index, ...d }));
    for (const [index, state] of ofType("calibration_state")) {
      const body = state.body, certificates = body.certificates ?? [];
      parts.push(el("h3", {}, `${say("state")} · ${say("at_entry", { entry: index })}`),
        facts([say("valid"), `${body.valid_from ?? ""} ${DASH} ${body.valid_until ?? ""}`], [say("ratio"), `${body.ratio?.ct ?? "1"} / ${body.ratio?.pt ?? "1"}`],
          body.flags?.length ? [say("flags"), flagsOf(body.flags)] : null, [say("digest"), el("code", {}, state.digest)]));
      parts.push(certificates.length
        ? table(say("certificate"), [[say("certificate")], [say("of_instrument")], [say("performed")], [say("digest")]],
          certificates.map((c) => el("tr", {}, el("th", { scope: "row" }, c.id), el("td", {}, c.instrument), el("td", {}, c.performed), el("td", {}, el("code", {}, c.digest || DASH)))))
        : el("p", {}, `▲ ${say("class_only")}`));
      const sources = Object.entries(body.sources ?? {});
      if (sources.length) {
        parts.push(el("details", {}, el("summary", {}, say("sources") + colon() + sources.length),
          table(say("sources"), [[say("kind")], [say("owner")], [say("quantity")], ["id"]], sources.map(([id, s]) => {
            const kind = s.kind ?? id.split(":")[0];
            return el("tr", {}, el("th", { scope: "row" }, word(kind)), el("td", {}, [s.owner, s.epoch].filter(Boolean).join(" · ")), el("td", {}, s.quantity ?? ""), el("td", {}, el("code", {}, id)));
          }))));
      }
    }
    if (documents.length) {
      parts.push(el("h3", {}, say("document")), table(say("document"), [[say("document")], [say("digest")], [say("carried")], [say("entry"), "n"]], documents.map((d) => {
        const file = carried.get(d.digest);
        const link = file ? el("a", { href: URL.createObjectURL(new Blob([file.data], { type: "application/octet-stream" })), download: file.name }, say("save", { name: file.name })) : say("not_carried");
        return el("tr", {}, el("th", { scope: "row" }, d.name), el("td", {}, el("code", {}, d.digest)), el("td", {}, link), el("td", { class: "n" }, String(d.index)));
      })));
    }
    return section("calibration", say("calibration"), ...parts, el("p", { class: "quiet small" }, say("chain")));
  }

  // What the configurations here tell of other instruments: in logs of this version nothing.
  function others() {
    const told = ofType("configuration").flatMap(([, c]) => (Array.isArray(c.body?.instruments) ? c.body.instruments : Object.keys(c.body?.instruments ?? {})));
    const names = [...new Set(told)].filter((name) => name !== bundle.instrument);
    return names.length ? say("others_told", { names: and(names) }) : say("others_hidden");
  }

  function evidence() {
    const note = B.parseNote(bundle.checkpoint), head = B.parseCheckpoint(note.text);
    const first = records.get(0), seals = ofType("seal");
    return section("evidence", say("evidence"),
      facts([say("origin"), el("code", {}, head.origin)], [say("size"), String(head.size)],
        [say("disclosed"), say("disclosed_text", { count: records.size, hashes: bundle.hashes.length })], [say("others"), others()], [say("root"), el("code", {}, B.hex(head.root))],
        first ? [say("software"), first.software] : null),
      el("h3", {}, say("checkpoint")), el("pre", { tabindex: "0" }, bundle.checkpoint),
      bundle.receipts.length ? [el("h3", {}, say("receipts")), bundle.receipts.map((r) => el("pre", { tabindex: "0" }, r.note))] : null,
      first?.keys ? [el("h3", {}, say("keys")), el("ul", {}, first.keys.map((key) => el("li", {}, el("code", {}, fingerprints.get(key) ?? ""))))] : null,
      seals.length ? table(say("clock"), [[say("time")], [say("clock")], [say("entry"), "n"]], seals.map(([index, s]) =>
        el("tr", {}, el("td", { class: "t" }, moment(s.utc_us)), el("td", {}, `${s.clock} · ${s.clock_error_us === null ? DASH : `± ${s.clock_error_us / 1000} ms`}`), el("td", { class: "n" }, String(index))))) : null);
  }

  // ---- putting it together ----------------------------------------------------------------------------------

  const place = (id, node) => document.getElementById(id).replaceWith(node);

  function draw() {
    const lang = view.language ? "zh-CN" : "en", focused = document.activeElement?.id;
    document.documentElement.lang = lang;
    document.querySelector(".skip").textContent = say("skip");
    document.title = bundle ? `${bundle.instrument} · ${say("title")} · ${bundle.origin}` : say("title");
    document.getElementById("top").replaceChildren(...header());
    const parts = [section("verification", say("verification"), verdict(), failure ? null : ask())];
    if (!failure) parts.push(overview(), results(), events(), energies(), calibration(), evidence());
    parts.push(el("footer", { class: "quiet small" }, say("footer")));
    document.getElementById("main").replaceChildren(...parts.filter(Boolean));
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }

  const data = globalThis.SuyuanPage.bytes(document.getElementById("bundle").textContent);
  const carried = new Map(), fingerprints = new Map();
  try {
    if (!data) throw new B.Refused("container", "characters that a bundle has not");
    bundle = await B.open(data);
    B.parseCheckpoint(B.parseNote(bundle.checkpoint).text);
    ({ records } = await B.readAll(bundle));
    for (const file of bundle.files) carried.set(B.hex(await B.sha256(file.data)), file);
    for (const key of records.get(0)?.keys ?? []) fingerprints.set(key, `${key.split("+")[0]} · ${await B.fingerprint(key)}`);
  } catch (error) {
    failure = error.message;
  }
  draw();
})();
