// A GIF89a encoder: one palette for all frames, of every frame only the rectangle that changed.

/** `frames`: ImageData of one size; `delays`: hundredths of a second. Loops for ever. */
export class Gif {
  constructor(width, height) {
    Object.assign(this, { width, height, bytes: [], last: null, colors: new Map(), palette: [] });
  }

  /** Give the palette the colours of a picture, the most frequent first; call it for a few frames before the first `add`. */
  learn({ data }) {
    this.counts ??= new Map();
    for (let i = 0; i < data.length; i += 4) {
      const color = (data[i] << 16) | (data[i + 1] << 8) | data[i + 2];
      this.counts.set(color, (this.counts.get(color) ?? 0) + 1);
    }
  }

  start() {
    const frequent = [...this.counts].sort((a, b) => b[1] - a[1]).map(([color]) => color);
    // Shades of a text's edge that are close to a colour already taken add nothing.
    for (const color of frequent) {
      if (this.palette.length === 256) break;
      if (this.palette.every((other) => distance(color, other) > 140)) this.palette.push(color);
    }
    this.palette.forEach((color, index) => this.colors.set(color, index));
    const { bytes } = this;
    this.text("GIF89a");
    this.short(this.width);
    this.short(this.height);
    bytes.push(0xf7, 0, 0);
    for (let i = 0; i < 256; i++) {
      const color = this.palette[i] ?? 0;
      bytes.push(color >> 16, (color >> 8) & 255, color & 255);
    }
    bytes.push(0x21, 0xff, 11);
    this.text("NETSCAPE2.0");
    bytes.push(3, 1, 0, 0, 0);
  }

  text(words) {
    for (const letter of words) this.bytes.push(letter.charCodeAt(0));
  }

  short(value) {
    this.bytes.push(value & 255, value >> 8);
  }

  indexed({ data }) {
    const indices = new Uint8Array(data.length / 4);
    for (let i = 0, at = 0; i < data.length; i += 4, at++) {
      const color = (data[i] << 16) | (data[i + 1] << 8) | data[i + 2];
      let index = this.colors.get(color);
      if (index === undefined) {
        let best = Infinity;
        this.palette.forEach((other, n) => {
          const far = distance(color, other);
          if (far < best) [best, index] = [far, n];
        });
        this.colors.set(color, index);
      }
      indices[at] = index;
    }
    return indices;
  }

  add(image, delay) {
    const now = this.indexed(image);
    const box = this.last ? changed(this.last, now, this.width, this.height) : [0, 0, this.width, this.height];
    this.last = now;
    const [left, top, width, height] = box;
    const { bytes } = this;
    bytes.push(0x21, 0xf9, 4, 4);
    this.short(delay);
    bytes.push(0, 0, 0x2c);
    for (const value of box) this.short(value);
    bytes.push(0);
    const part = new Uint8Array(width * height);
    for (let r = 0; r < height; r++) part.set(now.subarray((top + r) * this.width + left, (top + r) * this.width + left + width), r * width);
    lzw(part, bytes);
  }

  end() {
    this.bytes.push(0x3b);
    return new Uint8Array(this.bytes);
  }
}

function distance(a, b) {
  const [r, g, blue] = [(a >> 16) - (b >> 16), ((a >> 8) & 255) - ((b >> 8) & 255), (a & 255) - (b & 255)];
  return 2 * r * r + 4 * g * g + 3 * blue * blue;
}

function changed(before, now, width, height) {
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let r = 0, i = 0; r < height; r++) for (let c = 0; c < width; c++, i++) {
    if (before[i] === now[i]) continue;
    left = Math.min(left, c);
    right = Math.max(right, c);
    top = Math.min(top, r);
    bottom = r;
  }
  return right < 0 ? [0, 0, 1, 1] : [left, top, right - left + 1, bottom - top + 1];
}

/** LZW as GIF has it: codes of 9 to 12 bits, least significant bit first, in blocks of at most 255 bytes. */
function lzw(indices, bytes) {
  const CLEAR = 256;
  const END = 257;
  bytes.push(8);
  let block = [];
  let held = 0;
  let bits = 0;
  let width = 9;
  let next = 258;
  let table = new Map();
  const emit = (code) => {
    held |= code << bits;
    bits += width;
    while (bits >= 8) {
      block.push(held & 255);
      held >>>= 8;
      bits -= 8;
      if (block.length === 255) flush();
    }
  };
  const flush = () => {
    if (block.length) bytes.push(block.length, ...block);
    block = [];
  };
  emit(CLEAR);
  let prefix = indices[0];
  for (let i = 1; i < indices.length; i++) {
    const key = (prefix << 8) | indices[i];
    const known = table.get(key);
    if (known !== undefined) {
      prefix = known;
      continue;
    }
    emit(prefix);
    if (next === 4096) {
      emit(CLEAR);
      table = new Map();
      [next, width] = [258, 9];
    } else {
      if (next === 1 << width) width += 1;
      table.set(key, next++);
    }
    prefix = indices[i];
  }
  emit(prefix);
  emit(END);
  if (bits) block.push(held & 255);
  flush();
  bytes.push(0);
}
