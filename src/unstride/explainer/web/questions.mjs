// The quiz's questions: drawn at random, answered by computing, wrong answers explained from the trace.

import MISTAKES from "../shared/mistakes.json" with { type: "json" };
import { place, show, trace } from "./compute.mjs";
import { connected, normalized, refusal } from "./state.mjs";
import { say } from "./texts.mjs";
import { evenness, plural, sizes, written } from "./words.mjs";

export const KINDS = ["size", "cell", "fit", "most", "checkerboard"];

const between = (random, low, high) => low + Math.floor(random() * (high - low + 1));
const digits = (random, rows, columns) => Array.from({ length: rows }, () => Array.from({ length: columns }, () => between(random, 0, 5)));
const shuffled = (random, list) => list.map((one) => [random(), one]).sort(([a], [b]) => a - b).map(([, one]) => one);
const line = (length) => Array(length).fill(1);

/** A question of a kind: text, state (the case), answer, and options where it is a choice; wrong(given) explains. */
export function question(kind, random = Math.random) {
  for (;;) {
    const drawn = { size, cell, fit, most, checkerboard }[kind](random);
    if (drawn) return { kind, ...drawn };
  }
}

function oneAxis(random, most = 3) {
  const k = between(random, 1, 5);
  return {
    n: between(random, 2, 8), k, s: between(random, 1, most), d: random() < 0.25 ? 2 : 1,
    p: between(random, 0, Math.min(2, k - 1)),
  };
}

const stateOf = ({ n, k, s, d, p, op = null }, view = "scatter") => ({
  map: "conv_transpose", x: line(n), kernel: line(k), stride: [s], padding: typeof p === "string" ? p : [p],
  output_padding: op === null ? null : [op], dilation: [d], view,
});

const legal = (state) => (refusal({ gradient: null, bias: 0, ...state }) === null ? normalized(state) : null);

/** As `_words` of quiz.py says it. */
function setting({ k, s, d, p, op }) {
  const parts = [["kernel", { k }], ["stride", { s }], [typeof p === "string" ? "named" : "padding", { p }]];
  if (op) parts.push(["extra", { extra: op }]);
  if (d > 1) parts.push(["dilation", { d }]);
  return parts.map(([name, values]) => say("setting", name, values)).join(", ");
}

function size(random) {
  const a = oneAxis(random);
  const name = ["same", "valid", null][between(random, 0, 2)];
  if (name && random() < 0.6) Object.assign(a, { p: name, d: 1, op: null });
  else if (random() < 0.3 && a.s > 1) a.op = between(random, 1, a.s - 1);
  const state = legal(stateOf(a));
  if (!state) return null;
  const answer = connected(state).out[0];
  const { n, k, s, d } = a;
  const named = typeof a.p === "string";
  const [K, op, p] = [(k - 1) * d + 1, a.op ?? 0, named ? NaN : a.p]; // NaN: no mistake is made with what a name hides
  const parts = { full: named ? NaN : (n - 1) * s + K, conv: Math.floor((n + 2 * (named ? 0 : p) - K) / s) + 1, ns: n * s, size: answer, one: 1, k, s, p, op, K };
  const guesses = MISTAKES.size.map(([why, terms]) => [
    Object.entries(terms).reduce((sum, [part, times]) => sum + times * parts[part], 0), say("size", why, { n, k, K, extra: op, steps: n - 1 }),
  ]);
  const [row] = sizes(state);
  return {
    text: say("size", "ask", { input: say("size", "line", { n }), setting: setting(a) }), state, answer, spot: null,
    wrong: (given) => explained(given, guesses.filter(([value]) => value > 0 && value !== answer), `${row.letters} = ${row.numbers} = ${answer}`),
    right: `${row.letters} = ${row.numbers} = ${answer}`,
  };
}

function explained(given, guesses, right) {
  const seen = guesses.find(([value]) => value === given);
  return `${seen ? `${show(given)}: ${seen[1]}. ` : ""}It is ${right}.`;
}

function cell(random) {
  const [s, k] = [between(random, 1, 2), between(random, 2, 3)];
  const p = between(random, 0, 1);
  const state = legal({
    map: "conv_transpose", x: digits(random, 2, 2), kernel: digits(random, k, k), stride: [s, s], padding: [p, p],
    output_padding: null, dilation: [1, 1], view: "scatter",
  });
  if (!state) return null;
  const t = trace(state);
  const busy = t.y.map((_, i) => i).filter((i) => t.terms[i] > 1 || (s === k && t.terms[i] === 1));
  if (!busy.length) return null;
  const index = busy[between(random, 0, busy.length - 1)];
  const spot = { kind: "target", index };
  const answer = t.y[index];
  const flipped = trace({ ...state, kernel: [...state.kernel].reverse().map((row) => [...row].reverse()) });
  const guesses = [[flipped.y[index], say("cell", "flipped")]];
  const r = Math.floor(index / t.L[1]);
  const c = index % t.L[1];
  if (p) {
    const full = trace({ ...state, padding: [0, 0] });
    guesses.push([full.y[r * full.L[1] + c], say("cell", "uncropped")]);
  }
  for (const pair of t.byTarget[index]) {
    const [product, input] = [t.x[pair.small] * t.w[pair.tap], `x[${place(t, pair.small, t.n[1])}]`];
    guesses.push([answer - product, say("cell", "missing", { cell: input, product: show(product) })]);
    guesses.push([product, say("cell", "alone", { cell: input })]);
  }
  const name = (at) => `y[${place(t, at, t.L[1])}]`;
  t.y.forEach((value, at) => Math.abs(Math.floor(at / t.L[1]) - r) + Math.abs((at % t.L[1]) - c) === 1 && guesses.push([value, say("cell", "neighbour", { cell: name(at) })]));
  const sum = written(t, "scatter", spot);
  const right = `${name(index)} = ${sum.symbols} = ${sum.numbers}`;
  return {
    text: say("cell", "ask", {
      setting: `${say("setting", "stride", { s })}, ${p ? say("setting", "padding", { p }) : say("setting", "unpadded")}`, cell: name(index),
    }),
    state, answer, spot, tables: true, right,
    wrong: (given) => explained(given, guesses.filter(([value]) => value !== answer), right),
  };
}

function fit(random) {
  const a = oneAxis(random);
  const first = legal(stateOf(a));
  if (!first) return null;
  const wanted = connected(first).out[0];
  const options = [{ a, state: first, size: wanted }];
  for (let i = 0; i < 200 && options.length < 4; i++) {
    const other = { ...oneAxis(random), n: a.n };
    const state = legal(stateOf(other));
    const length = state && connected(state).out[0];
    if (state && length !== wanted && Math.abs(length - wanted) < 8 && !options.some((o) => o.size === length)) options.push({ a: other, state, size: length });
  }
  if (options.length < 4) return null;
  options.sort(() => random() - 0.5);
  const answer = options.findIndex((o) => o.size === wanted);
  const words = (o) => setting(o.a);
  const why = (o) => {
    const [row] = sizes(o.state);
    return `${row.letters} = ${row.numbers} = ${o.size}`;
  };
  return {
    text: say("fit", "ask", { big: say("size", "line", { n: wanted }), small: a.n }), state: options[answer].state, answer, spot: null,
    options: options.map(words), cases: options.map((o) => o.state), right: why(options[answer]),
    wrong: (given) => `${say("fit", "makes", { size: options[given].size, formula: why(options[given]) })}. The one with ${words(options[answer])} makes ${wanted}: ${why(options[answer])}.`,
  };
}

function most(random) {
  const [k, s] = [[3, 2], [2, 1], [3, 1], [4, 3], [5, 3]][between(random, 0, 4)];
  const n = between(random, 2, 3);
  const state = legal({
    map: "conv_transpose", x: digits(random, n, n), kernel: digits(random, k, k), stride: [s, s], padding: [0, 0],
    output_padding: null, dilation: [1, 1], view: "overlap",
  });
  const t = trace(state);
  const highest = Math.max(...t.terms);
  const drawn = shuffled(random, [...t.y.keys()]);
  const best = drawn.find((i) => t.terms[i] === highest);
  const options = [best, ...drawn.filter((i) => t.terms[i] < highest).slice(0, 3)].sort((a, b) => a - b);
  const name = (i) => `y[${place(t, i, t.L[1])}]`;
  const inputs = (i) => t.byTarget[i].map((pair) => `x[${place(t, pair.small, t.n[1])}]`).join(", ");
  const says = (what, i) => say("most", what, { products: `${plural(t.terms[i], "product")}, from ${inputs(i)}` });
  return {
    text: say("most", "ask", { n, k, setting: `${say("setting", "stride", { s })}, ${say("setting", "unpadded")}` }), state,
    answer: options.indexOf(best), spot: { kind: "target", index: best }, options: options.map(name),
    right: says("right", best).replace(/\.$/, ""),
    wrong: (given) => `${says("wrong", options[given])} The answer is ${name(best)}. ${says("right", best)}`,
  };
}

function checkerboard(random) {
  const cases = [2, 3].flatMap((s) => [2, 3, 4, 5, 6, 7].filter((k) => k >= s).map((k) => {
    const state = legal(stateOf({ n: 5, k, s, d: 1, p: 0 }, "overlap"));
    return { state, t: trace(state), words: `${say("setting", "kernel", { k })}, ${say("setting", "stride", { s })}` };
  }));
  const wanted = random() < 0.5;
  const drawn = shuffled(random, cases);
  const good = drawn.find((o) => o.t.even === wanted);
  const options = [good, ...drawn.filter((o) => o.t.even !== wanted).slice(0, 3)].sort((a, b) => cases.indexOf(a) - cases.indexOf(b));
  return {
    text: say("checkerboard", wanted ? "even" : "uneven"), state: good.state, answer: options.indexOf(good), spot: null,
    options: options.map((o) => o.words), cases: options.map((o) => o.state), right: evenness(good.t).replace(/\.$/, ""),
    wrong: (given) => `${evenness(options[given].t)} The answer is ${good.words}. ${evenness(good.t)}`,
  };
}
