// The operation on small cases, from the one list of connections: small cell i and tap j meet in full cell i*s + j*d.
// One axis is treated as two, the first of length 1, so that everything below has rows and columns.

import { connect, fullSize, product } from "./geometry.mjs";

const two = (values, filler) => (values.length === 1 ? [filler, values[0]] : values);

export const shapeOf = (value) => (Array.isArray(value[0]) ? [value.length, value[0].length] : [value.length]);

/** All numbers of the views, for one map, input and kernel (nested lists of 1 or 2 axes). */
export function trace({ map, x, kernel, stride, padding, output_padding, dilation, bias = 0, gradient = null }) {
  const size = shapeOf(x);
  const kernel_size = shapeOf(kernel);
  const fields = { kernel_size, stride, padding, output_padding, dilation };
  const { asked, geometry: g, small, big } = connect(map, size, fields);
  const up = map !== "conv";
  const t = {
    map, up, title: up ? "Transposed convolution" : "Convolution", rank: size.length, asked, geometry: g, setting: { map, x, kernel, stride, padding, output_padding, dilation },
    size, kernel_size, out: up ? big : small, small, big,
    full: fullSize(g, small), s: two(g.stride, 1), d: two(g.dilation, 1), k: two(kernel_size, 1), K: two(g.spans, 1),
    n: two(small, 1), L: two(big, 1), crops: two(g.crops, [0, 0]), F: two(fullSize(g, small), 1),
    x: x.flat(), w: kernel.flat(),
  };
  t.src = up ? t.n : t.L; // rows and columns of the input, and of the result
  t.dst = up ? t.L : t.n;
  t.pairs = pairs(t);
  t.bySource = group(t.pairs, product(t.src), up ? "small" : "big");
  t.byTarget = group(t.pairs, product(t.dst), up ? "big" : "small");
  t.byTap = group(t.pairs, t.w.length, "tap");
  t.bias = bias;
  t.bare = sums(t, t.byTarget, (p) => t.x[source(t, p)] * t.w[p.tap]);
  t.y = t.bare.map((value) => value + bias);
  t.terms = t.byTarget.map((list) => list.length);
  t.response = sums(t, t.byTarget, (p) => t.w[p.tap]); // the result for an input of ones
  // Taps that reach the cells r, r + s, ...: where these counts differ, so do the cells, in a checkerboard.
  t.phases = t.k.map((taps, axis) => (t.up ? phaseCounts(taps, t.s[axis], t.d[axis], t.crops[axis][0]) : [taps]));
  t.even = t.phases.every((counts) => new Set(counts).size === 1);
  t.g = gradient ?? t.y.map(() => 1);
  t.gx = sums(t, t.bySource, (p) => t.g[target(t, p)] * t.w[p.tap]);
  t.gw = sums(t, t.byTap, (p) => t.g[target(t, p)] * t.x[source(t, p)]);
  return t;
}

export const source = (t, pair) => (t.up ? pair.small : pair.big);
export const target = (t, pair) => (t.up ? pair.big : pair.small);

/** Every small cell with every tap, and the full and the big cell where they meet; big is -1 outside the grid. */
function pairs(t) {
  const list = [];
  for (let i = 0; i < t.n[0]; i++) for (let j = 0; j < t.n[1]; j++)
    for (let a = 0; a < t.k[0]; a++) for (let b = 0; b < t.k[1]; b++) {
      const row = i * t.s[0] + a * t.d[0];
      const column = j * t.s[1] + b * t.d[1];
      const r = row - t.crops[0][0];
      const c = column - t.crops[1][0];
      const inside = r >= 0 && r < t.L[0] && c >= 0 && c < t.L[1];
      list.push({
        small: i * t.n[1] + j, tap: a * t.k[1] + b, full: [row, column], big: inside ? r * t.L[1] + c : -1,
      });
    }
  return list;
}

function phaseCounts(k, s, d, begin) {
  const counts = Array(s).fill(0);
  for (let j = 0; j < k; j++) counts[(((j * d - begin) % s) + s) % s] += 1;
  return counts;
}

function group(list, count, key) {
  const groups = Array.from({ length: count }, () => []);
  for (const pair of list) if (pair.big >= 0) groups[pair[key]].push(pair);
  return groups;
}

const sums = (t, groups, term) => groups.map((list) => list.reduce((sum, pair) => sum + term(pair), 0));

/** The matrix of the map: a row for each cell of the result, a column for each of the input. */
export function matrix(t) {
  const columns = product(t.src);
  const values = new Float64Array(product(t.dst) * columns);
  for (const pair of t.pairs) if (pair.big >= 0) values[target(t, pair) * columns + source(t, pair)] += t.w[pair.tap];
  return { rows: product(t.dst), columns, values };
}

/** The cells of the full grid before the crop, C order. For conv: the input with its padding. */
export function fullGrid(t) {
  const full = new Float64Array(product(t.F));
  if (t.up) {
    for (const p of t.pairs) full[p.full[0] * t.F[1] + p.full[1]] += t.x[p.small] * t.w[p.tap];
  } else {
    for (let r = 0; r < t.F[0]; r++) for (let c = 0; c < t.F[1]; c++) full[r * t.F[1] + c] = bigValue(t, t.x, r, c);
  }
  return full;
}

/** The value of a big grid at cell (r, c) of the full one; 0 outside. */
function bigValue(t, values, r, c) {
  const [row, column] = [r - t.crops[0][0], c - t.crops[1][0]];
  return row >= 0 && row < t.L[0] && column >= 0 && column < t.L[1] ? values[row * t.L[1] + column] : 0;
}

/**
 * The grid that the kernel steps over, one cell of the result a step.
 * conv_transpose: s - 1 zeros between the input's cells, K - 1 - crop around them, the kernel flipped, steps of 1.
 * conv: the padded input, the kernel as it is, steps of s.
 */
export function slidingGrid(t) {
  if (!t.up) {
    const cells = Array.from(fullGrid(t), (value, index) => {
      const [r, c] = [Math.floor(index / t.F[1]) - t.crops[0][0], (index % t.F[1]) - t.crops[1][0]];
      const inside = r >= 0 && r < t.L[0] && c >= 0 && c < t.L[1];
      return { value, source: inside ? r * t.L[1] + c : -1 };
    });
    return { rows: t.F[0], columns: t.F[1], cells, step: t.s };
  }
  const rows = t.L[0] + t.K[0] - 1;
  const columns = t.L[1] + t.K[1] - 1;
  const cells = [];
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) {
    const i = r - (t.K[0] - 1 - t.crops[0][0]);
    const j = c - (t.K[1] - 1 - t.crops[1][0]);
    const on = i % t.s[0] === 0 && j % t.s[1] === 0 && i >= 0 && j >= 0 && i / t.s[0] < t.n[0] && j / t.s[1] < t.n[1];
    const index = on ? (i / t.s[0]) * t.n[1] + j / t.s[1] : -1;
    cells.push({ value: on ? t.x[index] : 0, source: index });
  }
  return { rows, columns, cells, step: [1, 1] };
}

/** "(2, 0)" of a flat index, or "2" where there is one axis. */
export function place(t, index, columns) {
  return t.rank === 1 ? `${index}` : `${Math.floor(index / columns)}, ${index % columns}`;
}

/** A number as the cells show it: at most four significant digits, a true minus. */
export function show(value) {
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value).replace("-", "−");
  return String(Number(value.toPrecision(4))).replace("-", "−");
}
