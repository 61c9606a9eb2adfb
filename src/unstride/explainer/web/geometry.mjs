// The geometry of geometry.py and conventions.py's plain convolution, in JavaScript: sizes, crops, errors.
// Per axis: K = (k-1)d + 1 cells spanned, F = (n-1)s + K cells filled, the big grid is full[b : F-e].

export class GeometryError extends Error {}

const span = (k, d) => (k - 1) * d + 1;
export const product = (sizes) => sizes.reduce((all, n) => all * n, 1);

/** A total crop in two, as Keras and TensorFlow split it: an extension wholly at the end. */
export function split(total) {
  const begin = Math.floor(Math.max(total, 0) / 2);
  return [begin, total - begin];
}

/** A tuple or a tuple of tuples, as Python prints it. */
export function tuple(value) {
  if (value === null || value === undefined) return "None";
  if (typeof value === "string") return `'${value}'`;
  if (typeof value === "boolean") return value ? "True" : "False";
  if (!Array.isArray(value)) return String(value);
  return value.length === 1 ? `(${tuple(value[0])},)` : `(${value.map(tuple).join(", ")})`;
}

/** The words of a text in lines, each as long as `fits(line)` allows. */
export function wrapped(text, fits) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (fits(longer)) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines.filter(Boolean);
}

function perAxis(name, value, rank, minimum) {
  const list = Array.isArray(value) ? value : Array(rank).fill(value);
  if (list.length !== rank) {
    throw new GeometryError(`${name} has ${list.length} entries; expected an int, or one int for each axis: ${rank}`);
  }
  list.forEach((entry, axis) => {
    if (!Number.isInteger(entry)) throw new GeometryError(`${name} of axis ${axis} is ${entry}; expected an integer`);
    if (minimum !== undefined && entry < minimum) {
      throw new GeometryError(`${name} of axis ${axis} is ${entry}; expected an integer of at least ${minimum}`);
    }
  });
  return list;
}

/**
 * The padding as it is written, [begin, end, output padding] an axis: the crops, and how much less is cropped.
 * A name means what it means in Keras, whose None is not 0: "same" is then n·s long, and "valid" at least that.
 */
function readEnds(padding, outputPadding, spans, stride) {
  const rank = spans.length;
  const named = typeof padding === "string";
  if (named && padding !== "valid" && padding !== "same") {
    throw new GeometryError(`padding is '${padding}'; expected 'valid', 'same', numbers or (begin, end) pairs`);
  }
  const given = outputPadding ?? null;
  const extra = given !== null || !named ? perAxis("output_padding", given ?? 0, rank, 0) : spans.map((K, i) => Math.max(stride[i] - K, 0));
  if (padding === "valid") return extra.map((op) => [0, 0, op]);
  if (named) return spans.map((K, i) => [...split(given === null ? Math.max(K - stride[i], 0) : K - (K % 2)), extra[i]]);
  const list = Array.isArray(padding) ? padding : Array(rank).fill(padding);
  if (list.length !== rank) {
    throw new GeometryError(`padding has ${list.length} entries; expected one number or pair for each of ${rank} axes`);
  }
  return list.map((entry, axis) => [...perAxis(`padding of axis ${axis}`, Array.isArray(entry) ? entry : [entry, entry], 2), extra[axis]]);
}

/** A geometry as geometry.py's Geometry: kernel_size, stride, dilation, crops, spans, a list entry an axis; `ends` as written. */
export function geometry({ kernel_size, stride = 1, padding = 0, output_padding = null, dilation = 1 }) {
  const rank = kernel_size.length;
  const k = perAxis("kernel_size", kernel_size, rank, 1);
  const s = perAxis("stride", stride, rank, 1);
  const d = perAxis("dilation", dilation, rank, 1);
  const spans = k.map((taps, i) => span(taps, d[i]));
  const ends = readEnds(padding, output_padding, spans, s);
  const crops = ends.map(([b, e, op]) => (padding === "same" ? split(b + e - op) : [b, e - op]));
  return { rank, kernel_size: k, stride: s, dilation: d, spans, ends, crops };
}

export const withCrops = (g, crops) => ({ ...g, crops });

export const fullSize = (g, size) => size.map((n, i) => (n - 1) * g.stride[i] + g.spans[i]);

/** The size of conv_transpose's result. */
export function outputSize(g, size) {
  const full = fullSize(g, perAxis("input size", size, g.rank, 1));
  return full.map((F, axis) => {
    const length = F - g.crops[axis][0] - g.crops[axis][1];
    if (length < 0) {
      throw new GeometryError(
        `the crop of axis ${axis} is ${tuple(g.crops[axis])}, more than the ${F} cells that the input fills; ` +
          "use less padding or a larger input",
      );
    }
    return length;
  });
}

/** The size of conv's result. */
export function convSize(g, size) {
  return perAxis("input size", size, g.rank, 1).map((big, axis) => {
    const [b, e] = g.crops[axis];
    const K = g.spans[axis];
    if (big + b + e < K) {
      throw new GeometryError(
        `the kernel spans ${K} cells along axis ${axis}, where the input with its padding has only ${big + b + e}; ` +
          "use more padding, a larger input or a smaller kernel",
      );
    }
    return Math.floor((big + b + e - K) / g.stride[axis]) + 1;
  });
}

/** The geometry of a plain convolution: "valid" pads nothing, "same" makes ceil(size / s) cells. */
export function convolution(size, fields) {
  const g = geometry({ ...fields, output_padding: null });
  if (typeof fields.padding !== "string") return g;
  if (fields.padding === "valid") return withCrops(g, g.crops.map(() => [0, 0]));
  const full = fullSize(g, size.map((big, i) => Math.ceil(big / g.stride[i])));
  return withCrops(g, full.map((F, i) => split(F - size[i])));
}

/** The geometry and both sizes of a map from `size`; the end crop is then the one that connects these sizes. */
export function connect(map, size, fields) {
  if (map === "conv") {
    const g = convolution(size, fields);
    const small = convSize(g, size);
    const fitted = fullSize(g, small).map((F, i) => [g.crops[i][0], F - g.crops[i][0] - size[i]]);
    return { asked: g, geometry: withCrops(g, fitted), small, big: size };
  }
  const g = geometry(fields);
  return { asked: g, geometry: g, small: size, big: outputSize(g, size) };
}
