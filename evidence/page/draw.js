// A line with its ±U band as SVG: no library, no canvas, so that it prints and scales.
"use strict";
globalThis.SuyuanDraw = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const make = (tag, attributes, ...children) => {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };

  // Round steps (1, 2, 5 times a power of ten) that cut the range into some five parts.
  function ticks(low, high, wanted = 5) {
    const raw = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((n) => n * power).find((s) => s >= raw);
    const found = [];
    for (let n = Math.ceil(low / step); n * step <= high + step * 1e-9; n++) found.push(n * step);
    return { step, values: found };
  }

  const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];

  // points: [{t (s), y, U or null}] ascending, null where the line breaks; holes: [[t, t]].
  function chart(points, holes, from, to, alt, clock, narrow) {
    const width = narrow ? 420 : 960, height = narrow ? 260 : 320, left = 66, right = 12, top = 12, bottom = 30;
    const there = points.filter(Boolean);
    let low = Math.min(...there.map((p) => p.y - (p.U ?? 0))), high = Math.max(...there.map((p) => p.y + (p.U ?? 0)));
    if (!(high > low)) { const pad = Math.abs(high) * 0.01 || 1; low -= pad; high += pad; }
    const pad = (high - low) * 0.06;
    low -= pad; high += pad;
    const X = (t) => left + ((t - from) / (to - from || 1)) * (width - left - right);
    const Y = (y) => top + ((high - y) / (high - low)) * (height - top - bottom);
    const at = (x, y) => `${x.toFixed(1)},${y.toFixed(1)}`;
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": alt });
    for (const [a, b] of holes) {
      const x = X(Math.max(a, from)), end = Math.max(X(Math.min(b, to)), x + 2);
      svg.append(make("rect", { class: "hole", x, y: top, width: end - x, height: height - top - bottom }));
    }
    const scale = ticks(low, high), places = Math.max(0, -Math.floor(Math.log10(scale.step)));
    for (const y of scale.values) {
      svg.append(make("line", { class: "grid", x1: left, x2: width - right, y1: Y(y), y2: Y(y) }),
        make("text", { x: left - 6, y: Y(y) + 4, "text-anchor": "end" }, y.toFixed(Math.min(places, 6))));
    }
    const step = STEPS.find((s) => (to - from) / s <= (narrow ? 4 : 8)) ?? 604800, offset = -new Date(from * 1000).getTimezoneOffset() * 60;
    for (let t = Math.ceil((from + offset) / step) * step - offset; t <= to; t += step) {
      svg.append(make("line", { class: "grid", x1: X(t), x2: X(t), y1: top, y2: height - bottom }),
        make("text", { x: X(t), y: height - 10, "text-anchor": "middle" }, clock(t, step)));
    }
    let run = [];
    const draw = () => {
      if (run.length > 1) {
        if (run.every((p) => p.U !== null)) {
          const upper = run.map((p) => at(X(p.t), Y(p.y + p.U))), lower = run.map((p) => at(X(p.t), Y(p.y - p.U))).reverse();
          svg.append(make("polygon", { class: "band", points: [...upper, ...lower].join(" ") }));
        }
        svg.append(make("polyline", { class: "line", points: run.map((p) => at(X(p.t), Y(p.y))).join(" ") }));
      } else if (run.length) svg.append(make("circle", { class: "dot", cx: X(run[0].t), cy: Y(run[0].y), r: 3 }));
      run = [];
    };
    for (const point of points) { if (point) run.push(point); else draw(); }
    draw();
    return svg;
  }

  return { chart };
})();
