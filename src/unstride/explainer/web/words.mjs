// Steps and cells in words and written-out products.

import { show, source, target } from "./compute.mjs";
import { connected } from "./state.mjs";
import { nameOf, related } from "./views.mjs";
import { say } from "./texts.mjs";

export const VIEW_NAMES = {
  scatter: "Scatter", grid: "Sliding kernel", matrix: "Matrix", overlap: "Overlap", gradient: "Gradient",
};

const signed = (value) => (value < 0 ? `(${show(value)})` : show(value));
const times = (a, b) => `${show(a)}·${signed(b)}`;
export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
const at = (t, kind, index) => nameOf(t, { kind, index });
const bias = (t) => (t.bias ? ` + ${signed(t.bias)} (bias)` : "");

/** One line about the view as a whole. */
export function about(t, view) {
  const s = [...new Set(t.geometry.stride)].join(" and ");
  return {
    scatter: t.up
      ? `Every input cell lays a copy of the kernel, times its value, onto the result; the copies stand ${s} apart (the stride) and add up where they overlap.`
      : "Seen from the input: every cell adds its value, each time through another tap, to the result cells that read it.",
    grid: t.up
      ? `The same result by sliding: the input's cells with ${zeros(t)} between them and zeros around, and the kernel flipped (turned by 180°), one cell a step.`
      : `The kernel, not flipped, steps over the padded input, ${s} cells a step; each stop makes one cell of the result.`,
    matrix: t.up
      ? "A row for each cell of the result, a column for each of the input. It is the transpose of the convolution's matrix with this kernel: read its columns and you read the rows of that one."
      : "A row for each cell of the result, a column for each of the input. The transposed convolution's matrix is this one, transposed.",
    overlap: evenness(t),
    gradient: `The gradient with respect to the input is the ${t.up ? "plain" : "transposed"} convolution of the upstream gradient, with the same kernel. With respect to a tap it is the sum of upstream cells times the input cells that the tap met.`,
  }[view];
}

function zeros(t) {
  const counts = [...new Set(t.geometry.stride)].map((s) => s - 1);
  return counts.length === 1 ? (counts[0] ? plural(counts[0], "zero") : "no zeros") : `${counts.join(" and ")} zeros`;
}

/** The cause of a checkerboard, or why there is none. */
export function evenness(t) {
  if (!t.up) return say("evenness", "convolution", { taps: t.w.length });
  const axes = t.rank === 1 ? [1] : [0, 1];
  let parts = axes.map((a) => {
    const [taps, values] = [t.phases[a], { k: t.k[a], s: t.s[a] }];
    return new Set(taps).size === 1 ? say("evenness", "even", { taps: taps[0], ...values }) : say("evenness", "uneven", { taps: taps.join(", "), ...values });
  });
  if (new Set(parts).size === 1) parts = [say("evenness", t.rank > 1 ? "each" : "the", { words: parts[0] })];
  else parts = parts.map((words, axis) => say("evenness", "axis", { axis, words }));
  return [...parts, say("evenness", t.even ? "none" : "checkerboard")].join(" ");
}

/** This step in a sentence, which a screen reader reads too. */
export function sentence(t, view, step, steps, spot) {
  if (!step) return `Step 0 of ${steps}. Nothing is done yet: play, or step forward.`;
  const head = `Step ${step} of ${steps}. `;
  if (!spot) return `${head}${about(t, view)}`;
  const value = (values) => show(values[spot.index]);
  const name = nameOf(t, spot);
  if (view === "scatter") {
    if (!t.up) return `${head}Input cell ${name} = ${value(t.x)} adds to ${plural(t.bySource[spot.index].length, "cell")} of the result.`;
    return `${head}${name} = ${value(t.x)}: a copy of the kernel, times ${value(t.x)}, is added from ${corner(t, spot.index)} on.`;
  }
  if (view === "grid") {
    const count = t.byTarget[spot.index].length;
    const rest = t.w.length - count;
    return `${head}The kernel covers ${plural(count, "input cell")}${rest ? ` and ${plural(rest, "zero")}` : ""}: ${name} = ${value(t.y)}.`;
  }
  if (view === "matrix") return `${head}Row ${spot.index} times the input: ${name} = ${value(t.y)}.`;
  if (view === "overlap") return `${head}Input cell ${name} adds a term to ${plural(t.bySource[spot.index].length, "cell")}.`;
  return spot.kind === "source"
    ? `${head}The gradient with respect to ${name} is ${value(t.gx)}.` : `${head}The gradient with respect to tap ${name} is ${value(t.gw)}.`;
}

function corner(t, small) {
  const [r, c] = [Math.floor(small / t.n[1]) * t.s[0], (small % t.n[1]) * t.s[1]];
  return t.rank === 1 ? `place ${c} of the full grid` : `row ${r}, column ${c} of the full grid`;
}

/** A cell with its contributors: { title, symbols, numbers } (the sum in names, and in numbers), or with the cells that it reaches. */
export function written(t, view, spot) {
  if (!spot) return null;
  const { pairs } = related(t, spot);
  const sum = (symbol, numbers, total, extra = "") => ({
    symbols: pairs.map(symbol).join(" + ") || "0",
    numbers: `${pairs.map(numbers).join(" + ") || "0"}${extra} = ${show(total)}`,
  });
  const x = (p) => at(t, "source", source(t, p));
  const y = (p) => at(t, "target", target(t, p));
  const k = (p) => at(t, "tap", p.tap);
  if (spot.kind === "entry") {
    const [to, from] = [at(t, "target", spot.target), at(t, "source", spot.source)];
    if (spot.tap === null) return { title: `Row ${spot.target}, column ${spot.source}: 0`, symbols: `${from} does not reach ${to}`, numbers: "" };
    const tap = at(t, "tap", spot.tap);
    return {
      title: `Row ${spot.target}, column ${spot.source}: ${tap} = ${show(t.w[spot.tap])}`,
      symbols: `${from} reaches ${to} through ${tap}`, numbers: `It adds ${times(t.x[spot.source], t.w[spot.tap])} = ${show(t.x[spot.source] * t.w[spot.tap])}`,
    };
  }
  const name = nameOf(t, spot);
  if (view === "gradient") {
    if (spot.kind === "source") {
      return { title: `Gradient with respect to ${name}`, ...sum((p) => `g${y(p).slice(1)}·${k(p)}`, (p) => times(t.g[target(t, p)], t.w[p.tap]), t.gx[spot.index]) };
    }
    if (spot.kind === "tap") {
      return { title: `Gradient with respect to ${name}`, ...sum((p) => `g${y(p).slice(1)}·${x(p)}`, (p) => times(t.g[target(t, p)], t.x[source(t, p)]), t.gw[spot.index]) };
    }
    return { title: `g${name.slice(1)} = ${show(t.g[spot.index])} arrives`, symbols: `It reaches ${pairs.map((p) => `${x(p)} through ${k(p)}`).join(", ") || "nothing"}`, numbers: "" };
  }
  if (view === "overlap" && spot.kind === "target") {
    return { title: `${name}: ${plural(pairs.length, "term")}`, symbols: pairs.map((p) => `${x(p)}·${k(p)}`).join(" + ") || "No input cell reaches it", numbers: `An input of ones makes it ${show(t.response[spot.index])}` };
  }
  if (spot.kind === "target") {
    return { title: `${name} = ${show(t.y[spot.index])}`, ...sum((p) => `${x(p)}·${k(p)}`, (p) => times(t.x[source(t, p)], t.w[p.tap]), t.y[spot.index], bias(t)) };
  }
  const value = spot.kind === "source" ? t.x[spot.index] : t.w[spot.index];
  const lost = spot.kind === "source" && t.up ? t.w.length - pairs.length : 0;
  const cut = lost ? `; ${plural(lost, "product")} cropped off` : "";
  return {
    title: `${name} = ${show(value)}, in ${plural(pairs.length, "product")}${cut}`,
    symbols: pairs.map((p) => `${y(p)} += ${times(t.x[source(t, p)], t.w[p.tap])}`).join("   ") || "It reaches no cell of the result",
    numbers: "",
  };
}

/** For each axis the size's formula in letters, the numbers put in, and the result. */
export function sizes(state) {
  const { asked, big, small } = connected(state);
  const { kernel_size, stride, dilation, ends } = asked;
  return kernel_size.map((k, a) => {
    const [s, d] = [stride[a], dilation[a]];
    if (state.map === "conv") {
      const [n, result] = [big[a], small[a]];
      const [b, e] = asked.crops[a].map(signed);
      return {
        letters: "⌊(n + b + e − (k − 1)·d − 1) / s⌋ + 1", result,
        numbers: `⌊(${n} + ${b} + ${e} − (${k} − 1)·${d} − 1) / ${s}⌋ + 1`,
      };
    }
    const [n, result] = [small[a], big[a]];
    const [b, e, op] = ends[a].map(signed);
    const [letters, numbers] = b === e ? ["2p", `2·${b}`] : ["b − e", `${b} − ${e}`];
    return {
      letters: `(n − 1)·s + (k − 1)·d + 1 − ${letters} + op`, result,
      numbers: `(${n} − 1)·${s} + (${k} − 1)·${d} + 1 − ${numbers} + ${op}`,
    };
  });
}

/** The letters of the formula explained. */
export function sizeNote(rows, map) {
  const start = "n cells in, k taps, stride s, dilation d";
  if (map === "conv") return `${start}; b and e: zeros put before and after. Rounding down leaves cells at the end unread.`;
  const ends = [
    rows.some((row) => row.letters.includes("2p")) ? "padding p, cropped at both ends" : "",
    rows.some((row) => row.letters.includes("− b")) ? "b and e, cropped at the beginning and the end" : "",
  ].filter(Boolean).join("; ");
  return `${start}; ${ends} (negative: added); output padding op, added at the end.`;
}

export const label = (t, p, index) => {
  const spot = p.spot(index);
  const where = t.rank === 1 ? `cell ${index % p.columns}` : `row ${Math.floor(index / p.columns)}, column ${index % p.columns}`;
  const looks = { cropped: "cropped off", extension: "added by the padding, no input reaches it", zero: "inserted zero", pad: "zero around", wait: "not computed yet", blank: "no connection" };
  const extra = Object.entries(looks).filter(([look]) => p.look[index].split(" ").includes(look)).map(([, words]) => words);
  return [p.title, where, spot && spot.kind !== "entry" ? nameOf(t, spot) : "", p.text[index] || "empty", ...extra].filter(Boolean).join(", ");
};
