// The explorer's state: one plain object with Python's names (step: 0 is the beginning, null the last). Its checks, and its form as a URL's hash.

import { shapeOf } from "./compute.mjs";
import { connect, GeometryError } from "./geometry.mjs";
import LIMITS from "../shared/limits.json" with { type: "json" };

export const VIEWS = ["scatter", "grid", "matrix", "overlap", "gradient"];

export const DEFAULT = Object.freeze({
  map: "conv_transpose", x: [[0, 1], [2, 3]], kernel: [[0, 1], [2, 3]], stride: [2, 2], padding: [0, 0],
  output_padding: null, dilation: [1, 1], bias: 0, gradient: null, view: "scatter", step: 0,
});

const both = (value, rank) => (Array.isArray(value) ? value : Array(rank).fill(value));

/** A whole, legal state from a partial one (Python's, a URL's, a preset's), or an Error with the reason. */
export function normalized(raw) {
  const state = { ...DEFAULT, ...raw };
  if (state.map !== "conv" && state.map !== "conv_transpose") {
    throw new GeometryError(`map is '${state.map}'; expected 'conv_transpose' or 'conv'`);
  }
  if (!VIEWS.includes(state.view)) throw new GeometryError(`view is '${state.view}'; expected ${VIEWS.join(", ")}`);
  const rank = rows("x", state.x);
  if (rows("kernel", state.kernel) !== rank) throw new GeometryError("x and kernel have different numbers of axes");
  for (const name of ["stride", "dilation"]) state[name] = both(raw[name] ?? 1, rank);
  if (typeof state.padding !== "string") {
    state.padding = both(raw.padding ?? 0, rank);
    if (state.padding.some(Array.isArray)) state.padding = state.padding.map((entry) => both(entry, 2));
  }
  if (state.output_padding !== null) state.output_padding = both(state.output_padding, rank);
  if (state.map === "conv") state.output_padding = null;
  state.bias ??= 0;
  if (!Number.isFinite(state.bias)) throw new GeometryError(`bias is ${state.bias}; expected a number`);
  const reason = refusal(state);
  if (reason) throw new GeometryError(reason);
  const count = connected(state).out.reduce((all, n) => all * n, 1);
  if (state.gradient && (state.gradient.length !== count || !state.gradient.every(Number.isFinite))) state.gradient = null;
  if (state.step !== null && (!Number.isInteger(state.step) || state.step < 0)) state.step = 0;
  return state;
}

function rows(name, value) {
  const nested = Array.isArray(value) && value.length && Array.isArray(value[0]);
  const list = nested ? value : [value];
  const width = Array.isArray(list[0]) ? list[0].length : 0;
  if (!width || !list.every((row) => Array.isArray(row) && row.length === width && row.every(Number.isFinite))) {
    throw new GeometryError(`${name} is not a row, or equally long rows, of numbers`);
  }
  return nested ? 2 : 1;
}

export function connected(state) {
  const { map, stride, padding, output_padding, dilation } = state;
  const link = connect(map, shapeOf(state.x), { kernel_size: shapeOf(state.kernel), stride, padding, output_padding, dilation });
  return { ...link, out: map === "conv" ? link.small : link.big };
}

/** Why this state cannot be shown, in a sentence; null if it can. */
export function refusal(state) {
  const limits = [
    ["the input", shapeOf(state.x), LIMITS.size, "cells"], ["the kernel", shapeOf(state.kernel), LIMITS.kernel, "taps"],
    ["the stride", state.stride, LIMITS.stride, "cells"], ["the dilation", state.dilation, LIMITS.dilation, "cells"],
  ];
  for (const [name, values, most, what] of limits) {
    for (const value of values) {
      if (!Number.isInteger(value) || value < 1) return `${name} must be at least 1 along each axis, and is ${value}`;
      if (value > most) return `${name} can be at most ${most} ${what} along an axis here, so that the numbers stay legible`;
    }
  }
  const numbers = typeof state.padding === "string" ? [] : state.padding.flat();
  if (numbers.some((p) => !Number.isInteger(p))) return "padding is made of whole numbers";
  if (numbers.some((p) => p < LIMITS.low || p > LIMITS.high)) {
    return `padding can be ${LIMITS.low} to ${LIMITS.high} here`.replace("-", "−");
  }
  if (state.output_padding?.some((p) => p > LIMITS.extra)) return `output padding can be 0 to ${LIMITS.extra} here`;
  try {
    const { out } = connected(state);
    if (out.some((n) => n === 0)) return "the padding would crop every cell of the result; use less padding";
    if (out.some((n) => n > LIMITS.result)) {
      return `the result would be ${out.join("×")}; up to ${LIMITS.result} cells an axis stay legible here`;
    }
  } catch (error) {
    if (error instanceof GeometryError) return error.message;
    throw error;
  }
  return null;
}

// --- the URL's hash: x=0,1;2,3&k=0,1;2,3&s=2,2&p=1:0,1:0

const joined = (value) => value.map((row) => (Array.isArray(row) ? row.join(",") : row)).join(Array.isArray(value[0]) ? ";" : ",");

export function toHash(state, step = state.step ?? null) {
  const parts = [`map=${state.map}`, `x=${joined(state.x)}`, `k=${joined(state.kernel)}`, `s=${state.stride.join(",")}`];
  const padding = typeof state.padding === "string"
    ? state.padding : state.padding.map((p) => (Array.isArray(p) ? p.join(":") : p)).join(",");
  parts.push(`p=${padding}`);
  if (state.output_padding) parts.push(`op=${state.output_padding.join(",")}`);
  parts.push(`d=${state.dilation.join(",")}`, `view=${state.view}`);
  if (state.bias) parts.push(`bias=${state.bias}`);
  if (state.gradient) parts.push(`g=${state.gradient.join(",")}`);
  if (step !== 0) parts.push(`step=${step ?? "end"}`);
  return `#${parts.join("&")}`;
}

/** The state in a hash; null for an empty one; an Error with the reason for a damaged one. */
export function fromHash(hash) {
  const text = hash.replace(/^#/, "");
  if (!text.includes("=")) return null;
  let got;
  try {
    got = Object.fromEntries(text.split("&").map((part) => part.split("=").map(decodeURIComponent)));
  } catch {
    throw new GeometryError("the link's text is damaged");
  }
  const number = (name) => (word) => {
    if (word.trim() === "" || !Number.isFinite(Number(word))) {
      throw new GeometryError(`the link's ${name} holds '${word}', which is no number`);
    }
    return Number(word);
  };
  const list = (name, words) => words.split(",").map(number(name));
  const grid = (name) => (got[name].includes(";") ? got[name].split(";").map((row) => list(name, row)) : list(name, got[name]));
  const raw = {};
  if (got.map) raw.map = got.map;
  if (got.view) raw.view = got.view;
  if (got.x) raw.x = grid("x");
  if (got.k) raw.kernel = grid("k");
  // One row of a 2-D grid reads like a 1-D one: the other grid, or two strides, tell them apart.
  const axes = Math.max(...[raw.x, raw.kernel].map((v) => (v ? shapeOf(v).length : 1)), got.s ? got.s.split(",").length : 1);
  for (const name of ["x", "kernel"]) if (raw[name] && axes === 2 && !Array.isArray(raw[name][0])) raw[name] = [raw[name]];
  if (got.s) raw.stride = list("s", got.s);
  if (got.d) raw.dilation = list("d", got.d);
  if (got.op) raw.output_padding = list("op", got.op);
  if (got.bias) raw.bias = number("bias")(got.bias);
  if (got.g) raw.gradient = list("g", got.g);
  if (got.step) raw.step = got.step === "end" ? null : number("step")(got.step);
  if (got.p === "valid" || got.p === "same") raw.padding = got.p;
  else if (got.p) raw.padding = got.p.split(",").map((p) => (p.includes(":") ? p.split(":").map(number("p")) : number("p")(p)));
  return normalized(raw);
}

// --- changes

const filler = (r, c) => ((3 * r + 5 * c + 1) % 7) - (((r + c) % 3) === 2 ? 2 : 0);

/** `value` with another number of rows and columns: old cells stay, new ones get small numbers. */
export function resized(value, shape) {
  if (shape.length === 1) return Array.from({ length: shape[0] }, (_, c) => value[c] ?? filler(0, c));
  return Array.from({ length: shape[0] }, (_, r) => Array.from({ length: shape[1] }, (_, c) => value[r]?.[c] ?? filler(r, c)));
}

/** The same setting with 1 or 2 axes: the first row of two, or the one row as often as is needed. */
export function withRank(state, rank) {
  if (shapeOf(state.x).length === rank) return state;
  const grid = rank === 1 ? (v) => v[0] : (v) => v.map((_, r) => v.map((_, c) => v[(r + c) % v.length]));
  const axis = (v) => (Array.isArray(v) ? (rank === 1 ? v.slice(1) : [v[0], v[0]]) : v);
  return {
    ...state, x: grid(state.x), kernel: grid(state.kernel), stride: axis(state.stride), dilation: axis(state.dilation),
    padding: axis(state.padding), output_padding: axis(state.output_padding), gradient: null,
  };
}

export function filled(shape, how) {
  const next = {
    ones: () => 1, zeros: () => 0, random: () => Math.floor(Math.random() * 10),
    count: (index) => index,
  }[how];
  const width = shape[shape.length - 1];
  const row = (r) => Array.from({ length: width }, (_, c) => next(r * width + c));
  return shape.length === 1 ? row(0) : Array.from({ length: shape[0] }, (_, r) => row(r));
}

export { LIMITS };
