// Each view as panels of cells: the grids side by side, and the look of every cell after a step.
// Both the page (stage.mjs) and the exported files (figure.mjs) draw from these.

import { matrix, place, show, slidingGrid, source, target } from "./compute.mjs";
import { product } from "./geometry.mjs";

const MOST_CELLS = 1700; // of a panel whose cells show their numbers; with more it is drawn in small

const size = ([rows, columns], rank) => (rank === 1 ? `${columns}` : `${rows}×${columns}`);

/**
 * A panel: `cells` of `look`, `text`, `level` (0 to 1 where a heat map), `mark` (0, 1 lit, 2 the one in question).
 * `deaf(spot)`: whether a spot marks nothing here. `kind` of its cells: source, target, tap, frame (of the full grid), slide, entry.
 * Panels that are `joined` are one product: they scroll as one, and their rows are equally high.
 */
function panel(id, title, rows, columns, kind, options = {}) {
  const count = rows * columns;
  return {
    id, title, rows, columns, kind, count, before: "", edit: null, frame: null, note: "", spot: (index) => ({ kind, index }),
    text: Array(count).fill(""), look: Array(count).fill("wait"), level: new Float64Array(count),
    mark: new Uint8Array(count), paint: () => {}, deaf: () => false, joined: false, dense: count > MOST_CELLS, ...options,
  };
}

/** The panels of a view, how many steps it has, and `draw(step, spot)`, which fills them. */
export function scene(t, view) {
  const s = { t, view, ...{ scatter, grid, matrix: matrixView, overlap, gradient }[view](t) };
  s.draw = (step, spot) => {
    const at = spot ?? s.spotOf(step);
    const lit = related(t, at);
    for (const p of s.panels) {
      p.mark.fill(0);
      p.paint(step, at);
      marks(t, p, at, lit);
    }
    return { at, lit };
  };
  return s;
}

/** The pairs that a spot takes part in, and the cells that they connect. */
export function related(t, spot) {
  if (!spot) return { pairs: [], source: new Set(), target: new Set(), tap: new Set() };
  let list = { source: t.bySource, target: t.byTarget, tap: t.byTap }[spot.kind]?.[spot.index] ?? [];
  if (spot.kind === "entry") list = t.byTarget[spot.target].filter((p) => source(t, p) === spot.source);
  return {
    pairs: list,
    source: new Set(list.map((p) => source(t, p))), target: new Set(list.map((p) => target(t, p))),
    tap: new Set(list.map((p) => p.tap)),
  };
}

function marks(t, p, at, lit) {
  if (!at || p.deaf(at)) return;
  if (p.kind === "entry") { // the matrix has too many cells to ask each
    for (const pair of lit.pairs) p.mark[target(t, pair) * p.columns + source(t, pair)] = 1;
    if (at.kind === "entry") p.mark[at.index] = 2;
    return;
  }
  p.spots ??= Array.from({ length: p.count }, (_, i) => p.spot(i));
  for (let i = 0; i < p.count; i++) {
    const of = p.spots[i];
    if (!of) continue;
    if (of.kind === at.kind && of.index === at.index) p.mark[i] = 2;
    else if (at.kind === "entry" && ((of.kind === "source" && of.index === at.source) || (of.kind === "target" && of.index === at.target))) {
      p.mark[i] = 1;
    } else if (lit[of.kind]?.has(of.index)) p.mark[i] = 1;
  }
}

// --- panels that several views share

/** How a panel is painted whose cells all show their values, at every step. */
const always = (look, value) => function paint() {
  for (let i = 0; i < this.count; i++) [this.text[i], this.look[i]] = [show(value(i)), look];
};

/** And one whose cells appear one a step, after step `from`. */
const oneByOne = (values, from = 0) => function paint(step) {
  for (let i = 0; i < this.count; i++) [this.text[i], this.look[i]] = i < step - from ? [show(values[i]), "result"] : ["", "wait"];
};

function inputPanel(t, options = {}) {
  const [rows, columns] = t.src;
  return panel("x", `Input, ${size(t.src, t.rank)}`, rows, columns, "source", {
    edit: "x", paint: always("input", (i) => t.x[i]), ...options,
  });
}

function kernelPanel(t, flipped = false, options = {}) {
  const [rows, columns] = t.k;
  const of = (i) => (flipped ? t.w.length - 1 - i : i);
  const title = `Kernel, ${flipped ? "flipped" : size(t.k, t.rank)}`;
  return panel("kernel", title, rows, columns, "tap", {
    before: "×", edit: flipped ? null : "kernel", spot: (index) => ({ kind: "tap", index: of(index) }),
    paint: always("kernel", (i) => t.w[of(i)]), ...options,
  });
}

function resultPanel(t, title, before, values, options = {}) {
  const [rows, columns] = t.dst;
  return panel("y", title, rows, columns, "target", { before, paint: oneByOne(values), ...options });
}

/** The full grid, extended where the crop adds cells: the place of every cell of the panel. */
function frameOf(t) {
  const low = t.crops.map(([b]) => Math.min(b, 0));
  const high = t.F.map((F, a) => Math.max(F, t.crops[a][0] + t.L[a]));
  const rows = high[0] - low[0];
  const columns = high[1] - low[1];
  const cells = Array.from({ length: rows * columns }, (_, index) => {
    const at = [Math.floor(index / columns) + low[0], (index % columns) + low[1]];
    const inFull = at.every((v, a) => v >= 0 && v < t.F[a]);
    const cell = at.map((v, a) => v - t.crops[a][0]);
    const inBig = cell.every((v, a) => v >= 0 && v < t.L[a]);
    return { inFull, big: inBig ? cell[0] * t.L[1] + cell[1] : -1 };
  });
  const index = ([r, c]) => (r - low[0]) * columns + (c - low[1]);
  const cropped = t.crops.some(([b, e]) => b !== 0 || e !== 0);
  const window = [t.crops[0][0] - low[0], t.crops[1][0] - low[1], t.L[0], t.L[1]];
  return { rows, columns, cells, index, low, cropped, window };
}

/** A panel of the frame's cells. */
function framePanel(t, f, id, title, options) {
  const spot = (index) => (f.cells[index].big >= 0 ? { kind: "target", index: f.cells[index].big } : null);
  return panel(id, title, f.rows, f.columns, "frame", { spot, crop: f.cropped ? f.window : null, ...options });
}

/** The frame without numbers, and `products` in it. */
function lay(p, f, products) {
  p.text.fill("");
  f.cells.forEach((cell, i) => { p.look[i] = cell.inFull ? (cell.big >= 0 ? "wait" : "cropped") : "extension"; });
  for (const { at, value } of products) {
    p.text[at] = show(value);
    p.look[at] = f.cells[at].big >= 0 ? "fresh" : "fresh cropped";
  }
}

// --- the views

function scatter(t) {
  const sources = product(t.src);
  const spotOf = (step) => (step > 0 ? { kind: "source", index: Math.min(step, sources) - 1 } : null);
  const steps = sources;
  const panels = [inputPanel(t), kernelPanel(t)];
  if (!t.up) {
    const [rows, columns] = t.dst;
    const common = (id, title, before, value) => panel(id, title, rows, columns, "target", { before, paint: value });
    panels.push(common("copy", "What it adds", "→", function paint(step, at) {
      this.text.fill("");
      this.look.fill("wait");
      if (at?.kind !== "source") return;
      for (const p of t.bySource[at.index]) {
        [this.text[p.small], this.look[p.small]] = [show(t.x[p.big] * t.w[p.tap]), "fresh"];
      }
    }));
    panels.push(common("sum", `Sum so far, ${size(t.dst, t.rank)}`, "+", function paint(step) {
      const sum = new Float64Array(this.count);
      for (let i = 0; i < step; i++) for (const p of t.bySource[i]) sum[p.small] += t.x[p.big] * t.w[p.tap];
      for (let i = 0; i < this.count; i++) this.text[i] = show(sum[i] + (step === steps ? t.bias : 0));
      this.look.fill("result");
    }));
    return { panels, steps, spotOf };
  }
  const f = frameOf(t);
  const byCell = Array.from({ length: sources }, () => []);
  for (const p of t.pairs) byCell[p.small].push({ at: f.index(p.full), value: t.x[p.small] * t.w[p.tap] });
  const shape = f.cropped ? `${size(t.F, t.rank)} cropped to ${size(t.L, t.rank)}` : size(t.L, t.rank);
  // A large grid is shown once: the frame on the sum shows where the copy went.
  if (f.columns <= 18) panels.push(framePanel(t, f, "copy", "This copy", {
    before: "→",
    paint(step, at) {
      const of = at?.kind === "source" ? at.index : Math.min(step, sources) - 1;
      lay(this, f, byCell[of] ?? []);
      this.frame = of < 0 ? null : [...origin(t, f, of), t.K[0], t.K[1]];
    },
  }));
  panels.push(framePanel(t, f, "sum", `Sum, ${shape}`, {
    before: f.columns <= 18 ? "+" : "→",
    paint(step) {
      lay(this, f, []);
      const sum = new Float64Array(this.count);
      const reached = new Uint8Array(this.count);
      for (let s = 0; s < step; s++) for (const { at, value } of byCell[s]) [sum[at], reached[at]] = [sum[at] + value, 1];
      const end = step >= sources;
      for (let i = 0; i < this.count; i++) {
        const kept = f.cells[i].big >= 0;
        if (!reached[i] && !(end && kept)) continue;
        this.text[i] = show(sum[i] + (end && kept ? t.bias : 0));
        this.look[i] = f.cells[i].inFull ? (kept ? "result" : "result cropped") : "extension";
      }
      this.frame = step > 0 ? [...origin(t, f, Math.min(step, sources) - 1), t.K[0], t.K[1]] : null;
    },
  }));
  if (sources <= 9 && f.columns <= 9 && f.rows <= 9) panels.push(...strip(t, f, byCell));
  return { panels, steps, spotOf };
}

/** All copies side by side, small: their sum is the result. */
function strip(t, f, byCell) {
  return byCell.map((cells, of) => framePanel(t, f, `copy${of}`, `${nameOf(t, { kind: "source", index: of })} = ${show(t.x[of])}`, {
    mini: true, before: of ? "+" : "", deaf: (at) => at.kind === "source" && at.index !== of,
    paint(step) { lay(this, f, step <= of ? [] : cells); },
  }));
}

/** Where the copy of a small cell begins in the frame. */
function origin(t, f, small) {
  const at = [Math.floor(small / t.n[1]) * t.s[0], (small % t.n[1]) * t.s[1]];
  return [at[0] - f.low[0], at[1] - f.low[1]];
}

function grid(t) {
  const slide = slidingGrid(t);
  const steps = product(t.dst);
  const ground = (i) => (slide.cells[i].source >= 0 ? "input" : t.up && between(t, i, slide) ? "zero" : "pad");
  const looks = slide.cells.map((_, i) => ground(i));
  const texts = slide.cells.map((cell) => show(cell.value));
  const shape = size([slide.rows, slide.columns], t.rank);
  const grid = panel("slide", `${t.up ? "Zero-spaced grid" : "Padded input"}, ${shape}`, slide.rows, slide.columns, "slide", {
    edit: null, spot: (index) => (slide.cells[index].source >= 0 ? { kind: "source", index: slide.cells[index].source } : null),
    paint(step, at) {
      for (let i = 0; i < this.count; i++) [this.text[i], this.look[i]] = [texts[i], looks[i]];
      const of = at?.kind === "target" ? at.index : Math.min(step, steps) - 1;
      this.frame = null;
      if (of < 0) return;
      const [r, c] = [Math.floor(of / t.dst[1]) * slide.step[0], (of % t.dst[1]) * slide.step[1]];
      this.frame = [r, c, t.K[0], t.K[1]];
    },
  });
  const title = `Result, ${size(t.dst, t.rank)}`;
  return {
    panels: [grid, kernelPanel(t, t.up), resultPanel(t, title, "→", t.y)], steps,
    spotOf: (step) => (step > 0 ? { kind: "target", index: Math.min(step, steps) - 1 } : null),
  };
}

/** Whether a cell of the zero-spaced grid is between input cells, not in the ring around them. */
function between(t, index, slide) {
  const at = [Math.floor(index / slide.columns), index % slide.columns];
  return at.every((v, a) => {
    const i = v - (t.K[a] - 1 - t.crops[a][0]);
    return i >= 0 && i <= (t.n[a] - 1) * t.s[a];
  });
}

function matrixView(t) {
  const m = matrix(t);
  const steps = m.rows;
  const taps = new Int32Array(m.rows * m.columns).fill(-1);
  for (const p of t.pairs) if (p.big >= 0) taps[target(t, p) * m.columns + source(t, p)] = p.tap;
  const entry = (i) => {
    const [row, column] = [Math.floor(i / m.columns), i % m.columns];
    return { kind: "entry", index: i, target: row, source: column, tap: taps[i] < 0 ? null : taps[i] };
  };
  const dense = m.rows * m.columns > MOST_CELLS;
  const big = panel("matrix", `Matrix, ${m.rows}×${m.columns}`, m.rows, m.columns, "entry", {
    joined: true, dense, spot: entry, text: Array.from(taps, (tap, i) => (tap >= 0 ? show(m.values[i]) : "")),
    look: Array.from(taps, (tap) => (tap >= 0 ? "kernel" : "blank")),
    paint(step, at) {
      const row = at?.kind === "target" ? at.index : at?.kind === "entry" ? at.target : -1;
      this.frame = row >= 0 ? [row, 0, 1, m.columns] : at?.kind === "source" ? [0, at.index, m.rows, 1] : null;
    },
  });
  // Beside a matrix that is drawn in small, the columns are drawn in small too: row by row they stand side by side.
  const column = inputPanel(t, { title: "Input", rows: m.columns, columns: 1, joined: true, dense, before: "·", edit: dense ? null : "x" });
  const result = resultPanel(t, "Result", t.bias ? `+ ${show(t.bias)} =` : "=", t.y, { rows: m.rows, columns: 1, joined: true, dense });
  return {
    panels: [big, column, result, kernelPanel(t, false, { before: "" })], steps,
    spotOf: (step) => (step > 0 ? { kind: "target", index: Math.min(step, steps) - 1 } : null),
  };
}

function overlap(t) {
  const sources = product(t.src);
  const most = Math.max(1, ...t.terms);
  const counts = panel("terms", `Terms in each cell, ${size(t.dst, t.rank)}`, t.dst[0], t.dst[1], "target", {
    before: "→",
    paint(step) {
      const count = new Uint16Array(this.count);
      if (step >= sources) count.set(t.terms);
      else for (let s = 0; s < step; s++) for (const p of t.bySource[s]) count[target(t, p)] += 1;
      for (let i = 0; i < this.count; i++) {
        [this.text[i], this.look[i], this.level[i]] = [String(count[i]), "heat", count[i] / most];
      }
    },
  });
  const highest = Math.max(1e-9, ...t.response.map(Math.abs));
  const response = panel("response", "An input of ones becomes", t.dst[0], t.dst[1], "target", {
    paint() {
      for (let i = 0; i < this.count; i++) {
        const value = t.response[i];
        [this.text[i], this.look[i], this.level[i]] = [show(value), value < 0 ? "cold" : "heat", Math.abs(value) / highest];
      }
    },
  });
  return {
    panels: [inputPanel(t), kernelPanel(t), counts, response], steps: sources,
    spotOf: (step) => (step > 0 && step < sources ? { kind: "source", index: step - 1 } : null),
  };
}

function gradient(t) {
  const sources = product(t.src);
  const steps = sources + t.w.length;
  const common = (id, title, [rows, columns], kind, values, from, options) => panel(id, title, rows, columns, kind, {
    deaf: (at) => at.kind !== kind && at.kind !== "target", paint: oneByOne(values, from), ...options,
  });
  const arriving = panel("g", `Upstream gradient, ${size(t.dst, t.rank)}`, t.dst[0], t.dst[1], "target", {
    edit: "gradient", paint: always("fresh", (i) => t.g[i]),
  });
  const panels = [
    arriving, kernelPanel(t), common("gx", "Gradient of the input", t.src, "source", t.gx, 0, { before: "→" }),
    inputPanel(t, { before: "" }), common("gw", "Gradient of the kernel", t.k, "tap", t.gw, sources, { before: "→" }),
  ];
  const spotOf = (step) => {
    if (step <= 0) return null;
    return step <= sources ? { kind: "source", index: step - 1 } : { kind: "tap", index: Math.min(step, steps) - sources - 1 };
  };
  return { panels, steps, spotOf };
}

export const nameOf = (t, spot) => {
  const columns = { source: t.src[1], target: t.dst[1], tap: t.k[1] }[spot.kind];
  return `${{ source: "x", target: "y", tap: "k" }[spot.kind]}[${place(t, spot.index, columns)}]`;
};
