// A geometry in each framework's arguments, or why one call is not enough. The tests compare it with conventions.py and settings.py.

import FORMS from "../shared/programs.json" with { type: "json" };
import { convolution, convSize, fullSize, geometry, outputSize, split, tuple, withCrops } from "./geometry.mjs";
import { say } from "./texts.mjs";

/** Every framework's name by the key that it has in `unstride.explain(...).code(...)`. */
export const NAMES = Object.fromEntries(Object.entries(FORMS.frameworks).map(([key, { name }]) => [key, name]));

const fill = (g, value) => g.kernel_size.map(() => value);
const equal = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const plus = (crops) => crops.map(([b, e]) => [b + 0, e + 0]); // -0 is 0
const sameCrops = (a, b) => equal(plus(a), plus(b));
const isUncropped = (crops) => crops.every(([b, e]) => b === 0 && e === 0);

/** One framework's call and arguments for a trace's setting; a reason and a recipe where one call is not enough. */
export function setting(t, framework) {
  const outcome = t.up ? express(t.geometry, framework, t.small) : expressConv(t.asked, framework, t.big);
  const { function: name } = FORMS.frameworks[framework];
  const call = (name[t.map] ?? name).replace("${rank}", t.rank).replace("$Transpose", t.up ? "Transpose" : "");
  return { framework, call, ...outcome };
}

/** {arguments} where one call does it; {reason, recipe, arguments, crops} where it needs a crop after, or more. */
function express(g, framework, size) {
  return { torch, keras, tensorflow, jax, onnx }[framework](g, size);
}

function thenCrop(reason, call, args, crops) {
  const recipe =
    `${call}, without bias; then crop ${tuple(crops)} (begin, end), with zeros added where negative; then the bias`;
  return { reason, recipe, arguments: args, crops };
}

function torch(g) {
  const oneCall = g.crops.every(([b, e], i) => b >= 0 && b - e >= 0 && b - e < Math.max(g.stride[i], g.dilation[i]));
  const padding = g.crops.map(([b, e]) => (oneCall ? b : Math.max(Math.min(b, e), 0)));
  const output_padding = g.crops.map(([b, e]) => (oneCall ? b - e : 0));
  const args = {
    kernel_size: g.kernel_size, stride: g.stride, padding, output_padding, groups: 1, dilation: g.dilation,
  };
  if (oneCall) return { arguments: args };
  const left = g.crops.map(([b, e], i) => [b - padding[i], e - padding[i]]);
  if (isUncropped(left)) return { arguments: args };
  return thenCrop(
    `its crops are (p, p - op) with 0 <= op < max(stride, dilation); these are ${tuple(g.crops)}`,
    `conv_transpose with padding ${tuple(padding)}`, args, left,
  );
}

function keras(g) {
  if (Math.max(...g.stride) > 1 && Math.max(...g.dilation) > 1) {
    const recipe = `unstride.keras.Conv${g.rank}DTranspose(padding=${tuple(g.crops)}, groups=1, ...)`;
    return { reason: say("settings", "both"), recipe };
  }
  const args = (padding, output_padding) => ({
    kernel_size: g.kernel_size, strides: g.stride, padding, output_padding, dilation_rate: g.dilation,
  });
  const candidates = [
    ["valid", null],
    ["same", null],
    ["valid", g.crops.map(([, e]) => 0 - e)],
    ["same", g.crops.map(([b, e], i) => g.spans[i] - (g.spans[i] % 2) - b - e)],
  ];
  for (const [padding, extra] of candidates) {
    if (extra !== null && !extra.every((op, i) => op >= 0 && op < g.stride[i])) continue;
    const { kernel_size, stride, dilation } = g;
    const meant = geometry({ kernel_size, stride, padding, output_padding: extra, dilation });
    if (sameCrops(meant.crops, g.crops)) return { arguments: args(padding, extra) };
  }
  return thenCrop(
    `no 'valid' or 'same' with output_padding below the stride crops ${tuple(g.crops)}`,
    "the layer with padding='valid', output_padding=0", args("valid", fill(g, 0)), g.crops,
  );
}

function tensorflow(g, size) {
  const full = fullSize(g, size);
  const big = outputSize(g, size);
  const args = (padding, output_shape) => ({ strides: g.stride, dilations: g.dilation, padding, output_shape });
  const totals = full.map((F, i) => F - big[i]);
  const accepted = (pads) => {
    try {
      return equal(convSize(withCrops(g, pads), big), size);
    } catch {
      return false;
    }
  };
  if (sameCrops(totals.map((total) => [0, total]), g.crops) && accepted(g.crops.map(() => [0, 0]))) {
    return { arguments: args("VALID", big) };
  }
  const halves = big.every((L, i) => Math.ceil(L / g.stride[i]) === size[i]);
  if (sameCrops(totals.map(split), g.crops) && halves) return { arguments: args("SAME", big) };
  const pads = g.crops.map(([b, e]) => [Math.max(b, 0), Math.max(e, 0)]);
  const begun = pads.map(([b], i) => [b, totals[i] - b]);
  if (g.rank === 2 && sameCrops(begun, g.crops) && accepted(pads)) {
    return { arguments: args([[0, 0], ...pads, [0, 0]], big) };
  }
  return thenCrop(
    `none of its paddings crops ${tuple(g.crops)} at input size ${tuple(size)}`,
    "conv_transpose with 'VALID' to the full grid", args("VALID", full), g.crops,
  );
}

function jax(g) {
  const padding = g.crops.map(([b, e], i) => [g.spans[i] - 1 - b, g.spans[i] - 1 - e]);
  return { arguments: { strides: g.stride, padding, rhs_dilation: g.dilation, transpose_kernel: true } };
}

function onnx(g) {
  const args = (begins, ends, output_padding) => ({
    kernel_shape: g.kernel_size, strides: g.stride, pads: [...begins, ...ends], dilations: g.dilation, group: 1,
    output_padding,
  });
  if (g.crops.every(([b, e], i) => b >= 0 && -e < g.stride[i])) {
    const ends = g.crops.map(([, e]) => Math.max(e, 0));
    return { arguments: args(g.crops.map(([b]) => b), ends, g.crops.map(([, e]) => Math.max(0 - e, 0))) };
  }
  const none = fill(g, 0);
  return thenCrop(
    `its pads are not negative and its output_padding is below the stride; the crops are ${tuple(g.crops)}`,
    "ConvTranspose without pads", args(none, none, none), g.crops,
  );
}

/** The same for a plain convolution of a grid of `size`; zeros at the end that no window reaches do not count. */
function expressConv(g, framework, size) {
  const { kernel_size, stride, dilation, crops } = g;
  const [begins, none] = [crops.map(([b]) => b), fill(g, 0)];
  const [recipe, where] = [say("settings", "recipe"), say("settings", "where", { crops: tuple(crops) })];
  if (["keras", "tensorflow"].includes(framework) && Math.max(...stride) > 1 && Math.max(...dilation) > 1) {
    return { reason: say("settings", "both"), recipe, crops };
  }
  const sameWindows = (other) => {
    if (!other.every(([b], i) => b === begins[i])) return false;
    try {
      return equal(convSize(withCrops(g, other), size), convSize(g, size));
    } catch {
      return false;
    }
  };
  const zeros = crops.map(([b, e]) => [b, Math.max(e, 0)]);
  const same = convolution(size, { kernel_size, stride, padding: "same", dilation }).crops;
  const named = sameWindows(crops.map(() => [0, 0])) ? "valid" : sameWindows(same) ? "same" : null;
  const positive = Math.min(...begins) >= 0;
  const explicit = positive && sameWindows(zeros);
  const both = positive && sameWindows(begins.map((b) => [b, b]));
  const in2d = explicit && g.rank === 2; // takes explicit pads, where tf.nn.convolution takes names only
  const [possible, args, more] = {
    keras: [named, { kernel_size, strides: stride, padding: named ?? "valid", dilation_rate: dilation }],
    torch: [both, { kernel_size, stride, padding: both ? begins : none, dilation }],
    tensorflow: [
      named || in2d, { strides: stride, padding: named?.toUpperCase() ?? (in2d ? [[0, 0], ...zeros, [0, 0]] : "VALID"), dilations: dilation },
      !named && in2d && { call: "tf.nn.conv2d" },
    ],
    jax: [true, { window_strides: stride, padding: crops, rhs_dilation: dilation }],
    onnx: [explicit, { kernel_shape: kernel_size, strides: stride, pads: explicit ? [...begins, ...zeros.map(([, e]) => e)] : [...none, ...none], dilations: dilation }],
  }[framework];
  return { ...more, arguments: args, ...(possible ? {} : { reason: `${say("settings", framework)}; ${where}`, recipe, crops }) };
}
