// Programs to copy: the setting on the page in each framework, with its numbers; after one that needs a recipe, it.

import { express, expressConv, isUncropped } from "./conventions.mjs";
import { tuple } from "./geometry.mjs";

const python = (value) => {
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  return Number.isInteger(value) ? `${value}.0` : String(value);
};
const call = (args) => Object.entries(args).map(([name, value]) => `${name}=${tuple(value)}`).join(", ");
const pick = (args, names) => Object.fromEntries(names.map((name) => [name, args[name]]));
const without = (value) => (value < 0 ? `${-value}` : "0");

/** Lines that crop (positive) and extend (negative) the spatial axes of `name`; `sign` -1 for padding before a conv. */
function trimmed(name, crops, first, pad) {
  const lines = [];
  const cuts = crops.map(([b, e]) => `${Math.max(b, 0)}:${e > 0 ? -e : ""}`.replace(/^0:$/, ":").replace(/^0:/, ":"));
  if (cuts.some((cut) => cut !== ":")) {
    lines.push(`${name} = ${name}[${(first ? [":", ":", ...cuts] : [":", ...cuts]).join(", ")}]`);
  }
  if (crops.some(([b, e]) => b < 0 || e < 0)) {
    const pairs = crops.map(([b, e]) => `(${without(b)}, ${without(e)})`);
    lines.push(`${name} = ${pad(name, (first ? ["(0, 0)", "(0, 0)", ...pairs] : ["(0, 0)", ...pairs, "(0, 0)"]).join(", "))}`);
  }
  return lines;
}

const negated = (crops) => crops.map(([b, e]) => [0 - b, 0 - e]);

/** The program for one framework ("keras" ... "onnx", "numpy", "unstride"), and why it is not a single call. */
export function snippet(t, rows, framework) {
  const parts = { numpy, unstride }[framework];
  if (parts) return { code: finished(t, parts(t, rows)), found: null };
  const found = t.up ? express(t.geometry, framework, t.small) : expressConv(t.asked, framework, t.big);
  const writer = { keras, torch, tensorflow, jax, onnx }[framework];
  return { code: finished(t, writer(t, rows, found)), found };
}

const finished = (t, lines) => {
  const all = [...lines];
  if (t.bias) all.splice(-1, 0, `y = y + ${python(t.bias)}`);
  return `${all.join("\n")}\n`;
};

const literal = (rows, how, shape) => `${how(python(rows))}.reshape(${tuple(shape).slice(1, -1)})`;

function torch(t, rows, found) {
  const first = (values, shape) => literal(values, (v) => `torch.tensor(${v})`, [1, 1, ...shape]);
  const pad = (name, pairs) => {
    const flat = pairs.match(/\d+/g).slice(4); // torch.nn.functional.pad starts with the last axis
    const back = [];
    for (let i = flat.length - 2; i >= 0; i -= 2) back.push(flat[i], flat[i + 1]);
    return `torch.nn.functional.pad(${name}, (${back.join(", ")}))`;
  };
  const lines = ["import torch", "", `x = ${first(rows.x, t.size)}`, `kernel = ${first(rows.kernel, t.kernel_size)}`];
  if (t.up) {
    const args = pick(found.arguments, ["stride", "padding", "output_padding", "dilation"]);
    lines.push(`y = torch.nn.functional.conv_transpose${t.rank}d(x, kernel, ${call(args)})`);
    lines.push(...trimmed("y", found.crops ?? [], true, pad));
  } else {
    if (found.crops) lines.push(...trimmed("x", negated(found.crops), true, pad));
    const args = { stride: t.geometry.stride, padding: found.arguments.padding, dilation: t.geometry.dilation };
    lines.push(`y = torch.nn.functional.conv${t.rank}d(x, kernel, ${call(args)})`);
  }
  return [...lines, "print(y[0, 0])"];
}

function keras(t, rows, found) {
  const last = (values, how, shape) => literal(values, (v) => `np.array(${v}, "float32")`, shape);
  const own = !found.arguments;
  const lines = ["import keras", "import numpy as np"];
  if (own) lines.push("import unstride.keras");
  lines.push("", `x = ${last(rows.x, "np.array", [1, ...t.size, 1])}`);
  lines.push(`kernel = ${last(rows.kernel, "np.array", [...t.kernel_size, 1, 1])}`);
  const pad = (name, pairs) => `keras.ops.pad(${name}, [${pairs}])`;
  const name = `${own ? "unstride." : ""}keras.layers.Conv${t.rank}D${t.up ? "Transpose" : ""}`
    .replace("unstride.keras.layers", "unstride.keras");
  let args;
  if (t.up) {
    args = own
      ? { kernel_size: t.kernel_size, strides: t.geometry.stride, padding: t.geometry.crops, dilation_rate: t.geometry.dilation }
      : found.arguments;
  } else {
    args = {
      kernel_size: t.kernel_size, strides: t.geometry.stride, padding: own ? t.asked.crops : found.arguments.padding,
      dilation_rate: t.geometry.dilation,
    };
    if (found.crops && !own) lines.push(...trimmed("x", negated(found.crops), false, pad));
  }
  lines.push(`layer = ${name}(1, ${call(args)}, use_bias=False)`, "layer.build(x.shape)", "layer.set_weights([kernel])");
  lines.push("y = layer(x)");
  if (t.up && found.crops) lines.push(...trimmed("y", found.crops, false, pad));
  return [...lines, "print(keras.ops.convert_to_numpy(y)[0, ..., 0])"];
}

const zeros = (values) => (Array.isArray(values) ? values.map(zeros) : 0);

/** A kernel with its dilation written into it, as zeros. */
const spaced = (values, [d, ...others]) => (Array.isArray(values)
  ? values.map((one) => spaced(one, others)).flatMap((one, i) => (i ? [...Array(d - 1).fill(zeros(one)), one] : [one]))
  : values);

function tensorflow(t, rows, found) {
  const last = (values, shape) => `tf.reshape(tf.constant(${python(values)}), ${tuple(shape)})`;
  const pad = (name, pairs) => `tf.pad(${name}, [${pairs}])`;
  const lines = ["import tensorflow as tf", "", `x = ${last(rows.x, [1, ...t.size, 1])}`];
  const written = t.up && t.geometry.dilation.some((d) => d > 1); // some processors' TensorFlow refuses to dilate
  const size = t.kernel_size.map((k, i) => (written ? (k - 1) * t.geometry.dilation[i] + 1 : k));
  const kernel = written ? spaced(rows.kernel, t.geometry.dilation) : rows.kernel;
  lines.push(`kernel = ${last(kernel, [...size, 1, 1])}${written ? "  # zeros in place of the dilation" : ""}`);
  if (t.up) {
    const { output_shape, strides, padding } = found.arguments;
    const args = { strides, padding };
    lines.push(`y = tf.nn.conv${t.rank}d_transpose(x, kernel, output_shape=${tuple([1, ...output_shape, 1])}, ${call(args)})`);
    lines.push(...trimmed("y", found.crops ?? [], false, pad));
  } else {
    if (found.crops) lines.push(...trimmed("x", negated(found.crops), false, pad));
    const once = !found.arguments; // strides and dilation together: all windows, of which every s-th stays
    const steps = once ? t.geometry.stride.map(() => 1) : t.geometry.stride;
    const stride = t.rank === 1 ? `stride=${steps[0]}` : call({ strides: steps });
    const args = call({ padding: once ? "VALID" : found.arguments.padding, dilations: t.geometry.dilation });
    lines.push(`y = tf.nn.conv${t.rank}d(x, kernel, ${stride}, ${args})`);
    if (once) lines.push(`y = y[:, ${t.geometry.stride.map((s) => `::${s}`).join(", ")}]  # every window, then those of the stride`);
  }
  return [...lines, "print(y[0, ..., 0].numpy())"];
}

function jax(t, rows, found) {
  const last = (values, shape) => literal(values, (v) => `jnp.array(${v})`, shape);
  const lines = ["import jax", "import jax.numpy as jnp", "", `x = ${last(rows.x, [1, ...t.size, 1])}`];
  lines.push(`kernel = ${last(rows.kernel, [...t.kernel_size, 1, 1])}`);
  const axes = t.rank === 1 ? '("NWC", "WIO", "NWC")' : '("NHWC", "HWIO", "NHWC")';
  if (t.up) {
    lines.push("y = jax.lax.conv_transpose(", `    x, kernel, ${call(found.arguments)},`);
  } else {
    const args = call({ window_strides: t.geometry.stride, padding: found.arguments.padding, rhs_dilation: t.geometry.dilation });
    lines.push("y = jax.lax.conv_general_dilated(", `    x, kernel, ${args},`);
  }
  return [...lines, `    dimension_numbers=${axes},`, ")", "print(y[0, ..., 0])"];
}

function onnx(t, rows, found) {
  const first = (values, shape) => literal(values, (v) => `np.array(${v}, "float32")`, [1, 1, ...shape]);
  const pad = (name, pairs) => `np.pad(${name}, [${pairs}])`;
  const lines = ["import numpy as np", "import onnx", "import onnxruntime", "from onnx import helper", ""];
  lines.push(`x = ${first(rows.x, t.size)}`, `kernel = ${first(rows.kernel, t.kernel_size)}`);
  const args = t.up ? found.arguments : {
    kernel_shape: t.kernel_size, strides: t.geometry.stride, pads: found.arguments.pads,
    dilations: t.geometry.dilation, group: 1,
  };
  if (!t.up && found.crops) lines.push(...trimmed("x", negated(found.crops), true, pad));
  lines.push(
    "node = helper.make_node(", `    "${t.up ? "ConvTranspose" : "Conv"}", ["x", "kernel"], ["y"], ${call(args)},`, ")",
    "graph = helper.make_graph(", '    [node], "graph",',
    "    [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, value.shape)",
    '     for name, value in (("x", x), ("kernel", kernel))],',
    '    [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],', ")",
    'model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)',
    "session = onnxruntime.InferenceSession(model.SerializeToString())",
    'y, = session.run(None, {"x": x, "kernel": kernel})',
  );
  if (t.up) lines.push(...trimmed("y", found.crops ?? [], true, pad));
  return [...lines, "print(y[0, 0])"];
}

function numpy(t, rows) {
  const { stride, dilation } = t.geometry;
  const crops = t.geometry.crops;
  const lines = ["import itertools", "import numpy as np", "", `x = np.array(${python(rows.x)})`];
  lines.push(`kernel = np.array(${python(rows.kernel)})`);
  const term = "tuple(a * s + t * d - b for a, t, s, d, b in zip(i, j, stride, dilation, begin))";
  const begin = tuple(crops.map(([b]) => b));
  lines.push(`stride, dilation, begin = ${tuple(stride)}, ${tuple(dilation)}, ${begin}`, `y = np.zeros(${tuple(t.out)})`);
  lines.push(`for i in itertools.product(*map(range, ${t.up ? "x" : "y"}.shape)):`);
  lines.push("    for j in itertools.product(*map(range, kernel.shape)):", `        o = ${term}`);
  lines.push(`        if all(0 <= a < n for a, n in zip(o, ${t.up ? "y" : "x"}.shape)):`);
  lines.push(t.up ? "            y[o] += x[i] * kernel[j]" : "            y[i] += x[o] * kernel[j]");
  return [...lines, "print(y)"];
}

function unstride(t, rows) {
  const g = t.up ? t.geometry : t.asked;
  const args = { stride: g.stride };
  if (!isUncropped(g.crops)) args.padding = g.crops;
  if (g.dilation.some((d) => d > 1)) args.dilation = g.dilation;
  return [
    "import unstride as us", "", `x = ${python(rows.x)}`, `kernel = ${python(rows.kernel)}`,
    `y = us.${t.map}(x, kernel, ${call(args)}, channels=None)`, "print(y)",
  ];
}
