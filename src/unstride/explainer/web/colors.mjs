// The colours, once: the page's custom properties, the dense matrix's canvas and the exported files use these.
// Hues from the Okabe-Ito set, which stay apart for colour-blind eyes; every text on its fill is above 4.5:1.

export const PALETTES = {
  light: {
    paper: "#ffffff", card: "#f5f7fa", ink: "#1a1f26", soft: "#535d69", line: "#d0d7de", accent: "#0a66a8", onAccent: "#ffffff",
    main: "#a3195b", good: "#0b6b45", bad: "#a8321a",
    input: ["#d9ebfb", "#0b3c66"], kernel: ["#fde4c6", "#673000"], result: ["#d5f0e1", "#0a472e"],
    fresh: ["#f9dbea", "#6b1546"], zero: ["#eceff3", "#545e6a"], pad: ["#f8f9fb", "#545e6a"], wait: ["#f1f3f6", "#535d69"],
    cropped: ["#ffffff", "#5d6773"], extension: ["#ffffff", "#535d69"], blank: ["#f5f7fa", "#535d69"],
    heat: ["#eef4fb", "#0a4f8f"], cold: ["#fdf1e6", "#8f3d00"],
  },
  dark: {
    paper: "#12161b", card: "#1b2128", ink: "#e9edf1", soft: "#a5b0bc", line: "#3a444f", accent: "#74bbf7", onAccent: "#0d1a26",
    main: "#ff8ac2", good: "#6fdba8", bad: "#ff9d7f",
    input: ["#143a5e", "#d3e9ff"], kernel: ["#5b3512", "#ffe0c2"], result: ["#114a33", "#cdf6e0"],
    fresh: ["#5e1f44", "#ffd9ed"], zero: ["#272f38", "#a9b4c0"], pad: ["#1b2128", "#a9b4c0"], wait: ["#20272f", "#a5b0bc"],
    cropped: ["#12161b", "#97a2ae"], extension: ["#12161b", "#a5b0bc"], blank: ["#1b2128", "#a5b0bc"],
    heat: ["#1b2a3a", "#9fd1ff"], cold: ["#33261a", "#ffbf85"],
  },
};

const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const hex = (rgb) => `#${rgb.map((v) => Math.round(v).toString(16).padStart(2, "0")).join("")}`;

/** The contrast of WCAG 2. */
export function contrast(one, other) {
  const light = (color) => {
    const [r, g, b] = channels(color).map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [a, b] = [light(one), light(other)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}

/** A level from 0 to 1 of a heat map as fill and text: the text is black or white, whichever is read more easily. */
export function heat(palette, level, look = "heat") {
  const [low, high] = palette[look].map(channels);
  const fill = hex(low.map((v, i) => v + (high[i] - v) * Math.min(Math.max(level, 0), 1)));
  return [fill, contrast(fill, "#ffffff") > contrast(fill, "#000000") ? "#ffffff" : "#000000"];
}

/** Fill and text of a cell. */
export function cellColors(palette, look, level) {
  const words = look.split(" ");
  if (words[0] === "heat" || words[0] === "cold") return heat(palette, level, words[0]);
  if (words.includes("cropped")) return palette.cropped;
  return palette[words[0]];
}

/** The colour of a cell that is drawn too small for a number: cells with a number are strong, the others pale. */
export function denseColor(palette, look, level) {
  const [fill, text] = cellColors(palette, look, level);
  return /blank|wait|zero|pad|extension|cropped|heat|cold/.test(look) ? fill : text;
}
