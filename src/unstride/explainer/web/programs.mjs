// Programs to copy: the setting on the page in each framework, with its numbers. codegen/ writes the same in Python; the tests compare them letter by letter.

import FORMS from "../shared/programs.json" with { type: "json" };
import { setting } from "./conventions.mjs";
import { tuple, wrapped } from "./geometry.mjs";

const WIDTH = 88;

/** The program for one framework ("keras" ... "onnx", "numpy", "unstride"), and the setting that is its call's. */
export function program(t, framework) {
  const nearest = ["numpy", "unstride"].includes(framework) ? null : setting(t, framework);
  return { code: `${lines(t, framework, nearest && portable(nearest, t)).join("\n")}\n`, setting: nearest };
}

/** The setting, or the recipe that runs everywhere, where the call needs a GPU or another backend. */
function portable(nearest, t) {
  if (!t.up || !nearest.arguments) return nearest;
  const { crops, dilation, spans } = t.geometry;
  if (nearest.framework === "tensorflow" && Math.max(...dilation) > 1) {
    return { ...nearest, arguments: null, reason: nearest.reason ?? FORMS["no cpu"], crops };
  }
  if (nearest.framework === "keras" && !nearest.reason && nearest.arguments.padding === "same" && spans.some((K, i) => K % 2 === 0 && nearest.arguments.output_padding?.[i] === 0)) {
    const plain = { ...nearest.arguments, padding: "valid", output_padding: spans.map(() => 0) };
    return { ...nearest, arguments: plain, reason: FORMS["even same"], recipe: FORMS["even same recipe"], crops };
  }
  return nearest;
}

const filled = (form, values) => form.replace(/\$(\w+)|\$\{(\w+)\}/g, (_, bare, braced) => values[bare ?? braced]);

function lines(t, framework, nearest) {
  const form = FORMS.frameworks[framework];
  const bias = t.bias ? real(t.bias) : null;
  const ownBias = form.bias && bias && !nearest?.reason ? filled(form.bias, { bias }) : null;
  const stretch = nearest && !nearest.arguments;
  const around = framework === "numpy" ? t.asked.crops : nearest?.reason ? nearest.crops ?? t.asked.crops : t.size.map(() => [0, 0]);
  const values = {
    rank: t.rank, op: t.map, _transpose: t.up ? "_transpose" : "", function: nearest?.call, stride: tuple(t.geometry.stride),
    dilation: tuple(t.geometry.dilation), full_size: tuple(t.up ? t.full : t.out), own_bias: ownBias ?? "",
    any_size: ["1", "1", ...t.size.map(() => "None")].join(", "),
  };
  if (form.call) {
    const args = ARGUMENTS[framework](t, nearest?.arguments ?? {}, { ownBias, stretch });
    values.call = call(filled(form.call.function ?? "$function", values), filled(form.call[""], values), args);
  }
  const array = (name, rows) => {
    const [before, after] = form.array.split("$");
    const line = `${name} = ${before}${literal(rows)}${after}`;
    if (line.length <= WIDTH || !Array.isArray(rows[0])) return [line];
    return [`${name} = ${before}[`, ...rows.map((row) => `    ${literal(row)},`), `]${after}`];
  };
  const excuse = () => {
    const recipe = stretch ? FORMS.dilated[t.map] : nearest.recipe;
    const words = filled(FORMS.excuse, { framework: form.name, reason: nearest.reason, recipe });
    return ["", ...wrapped(words, (line) => line.length <= WIDTH - 2).map((line) => `# ${line}`)];
  };
  const kernel = () => {
    const zeros = form.zeros.replace("$", tuple(t.geometry.spans));
    return FORMS.stretch.map((line) => filled(line, { zeros, steps: t.geometry.dilation.map((d) => `::${d}`).join(", ") }));
  };
  const [x, w, y] = [t.size, t.kernel_size, t.out].map((size) => size.join("×"));
  return [
    filled(FORMS.head, { name: t.title, framework: form.name, input: x, kernel: w, output: y }),
    "", ...form.imports, "", ...array("x", t.setting.x), ...array("kernel", t.setting.kernel),
    ...(form.setup ?? []).map((line) => filled(line, values)), ...(nearest?.reason ? excuse() : []), "", ...(stretch ? kernel() : []),
    ...(t.up ? [] : resized("x", t.size, around.map(([b, e]) => [-b, -e]), form.pad)),
    ...(form.program[t.map] ?? form.program).map((line) => filled(line, values)),
    ...(t.up ? resized("y", t.out.map((n, i) => n + around[i][0] + around[i][1]), around, form.pad) : []),
    ...(bias && !ownBias ? [`y = y + ${bias}`] : []), ...(form.end ?? []), "print(y)",
  ];
}

// --- the arguments of each framework's call, as in codegen/writers.py

const ARGUMENTS = {
  keras(t, args, { ownBias, stretch }) {
    const plain = { strides: t.geometry.stride, padding: "valid", ...(t.up ? { output_padding: t.size.map(() => 0) } : {}) };
    return { kernel_size: { raw: "kernel.shape" }, ...(stretch ? plain : shown(args, "kernel_size")), use_bias: ownBias !== null };
  },
  torch: (t, args, { ownBias }) => ({ ...biased(ownBias), ...shown(args, "kernel_size") }),
  tensorflow(t, args, { stretch }) {
    const { output_shape = t.full, ...named } = stretch ? { strides: t.geometry.stride, padding: "VALID" } : args;
    if (t.rank === 1) [named.strides] = named.strides;
    return undilated(t, { ...(t.up ? { output_shape: [1, ...output_shape, 1] } : {}), ...named }, "dilations");
  },
  jax(t, args) {
    const axes = t.rank === 1 ? "W" : "HW";
    return undilated(t, { ...args, ...(t.up ? {} : { dimension_numbers: [`N${axes}C`, `${axes}IO`, `N${axes}C`] }) }, "rhs_dilation");
  },
  onnx: (t, args) => shown(args, "kernel_shape"),
  unstride(t, _, { ownBias }) {
    const named = {};
    for (const [name, value, usual] of [["stride", t.geometry.stride, 1], ["padding", t.asked.crops, 0], ["dilation", t.geometry.dilation, 1]]) {
      const one = new Set(value.flat()).size === 1 ? value.flat()[0] : null; // one number says it all
      if (one !== usual) named[name] = one ?? value;
    }
    return { ...biased(ownBias), ...named, channels: null };
  },
};

const biased = (ownBias) => (ownBias ? { bias: { raw: ownBias } } : {});

function undilated(t, named, name) {
  if (Math.max(...t.geometry.dilation) === 1) delete named[name];
  return named;
}

/** The arguments that are not the default; without the kernel's size. */
function shown(args, size) {
  const usual = "dilation_rate" in args ? { ...FORMS.defaults, output_padding: null } : FORMS.defaults; // Keras's own
  const plain = ([name, value]) => name in usual && (Array.isArray(value) ? value : [value]).every((entry) => entry === usual[name]);
  return Object.fromEntries(Object.entries(args).filter((pair) => pair[0] !== size && !plain(pair)));
}

// --- as Python writes it

function call(name, first, named) {
  const value = (v) => v?.raw ?? (typeof v === "string" ? `"${v}"` : tuple(v));
  const parts = [first, ...Object.entries(named).map(([key, v]) => `${key}=${value(v)}`)];
  const line = `${name}(${parts.join(", ")})`;
  return line.length <= WIDTH - 4 ? line : [`${name}(`, ...parts.map((part) => `    ${part},`), ")"].join("\n");
}

/** Lines that crop the grid `name` of that size: zeros where a crop is negative, then the cells cut off. */
function resized(name, size, crops, pad) {
  const out = [];
  const pads = crops.map((ends) => ends.map((n) => Math.max(-n, 0)));
  if (pads.flat().some((n) => n)) out.push(`${name} = ${filled(pad, { name, pads: tuple(pads), reversed: tuple(pads.toReversed().flat()) })}`);
  if (crops.flat().some((n) => n > 0)) {
    const cuts = crops.map(([b, e], i) => `${Math.max(b, 0)}:${size[i] + pads[i][0] + pads[i][1] - Math.max(e, 0)}`);
    out.push(`${name} = ${name}[${cuts.join(", ")}]`);
  }
  return out;
}

const literal = (value) => (Array.isArray(value) ? `[${value.map(literal).join(", ")}]` : Number.isInteger(value) && Math.abs(value) < 1e15 ? String(value) : real(value));

/** A floating-point number as Python's repr. */
function real(value) {
  const [digits, power] = value.toExponential().split("e");
  if (power >= -4 && power < 16) return `${value}${Number.isInteger(value) ? ".0" : ""}`;
  return `${digits}e${power[0]}${power.slice(1).padStart(2, "0")}`;
}
