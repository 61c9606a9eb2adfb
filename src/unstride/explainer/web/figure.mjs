// A step of a view as a picture: rectangles and texts, as SVG.

import { cellColors, denseColor } from "./colors.mjs";
import { show } from "./compute.mjs";
import { wrapped } from "./geometry.mjs";
import { scene } from "./views.mjs";
import { sentence, sizes, VIEW_NAMES } from "./words.mjs";

const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif";
const MARGIN = 24;
const WIDEST = 1000;
const widthOf = (text, size) => text.length * size * 0.62;

/** Where the panels of a view stand; the same for all of its steps. */
function arranged(s) {
  s.draw(s.steps, null);
  const longest = Math.max(...s.panels.flatMap((p) => (p.dense ? [1] : p.text.map((text) => text.length))));
  const most = Math.max(...s.panels.map((p) => (p.dense ? 1 : p.columns)));
  const cell = Math.max(most > 24 ? 20 : most > 12 ? 26 : 34, Math.ceil(longest * 6.8 + 6));
  const joined = s.panels.filter((p) => p.joined);
  const rows = Math.max(0, ...joined.map((p) => p.rows));
  /** How high and how wide a cell is: the rows of joined panels are equally high. */
  const sides = (p) => {
    if (p.dense) {
      const side = Math.max(2, Math.min(6, Math.floor(700 / (p.joined ? joined[0] : p).columns)));
      return [side, p.columns === 1 ? 14 : side];
    }
    if (p.joined && rows > 40) return [Math.min(cell, 20), Math.max(20, Math.ceil(longest * 6.8 + 6))];
    const side = p.mini ? Math.max(20, Math.ceil(longest * 6 + 5)) : cell;
    return [side, side];
  };
  const boxes = s.panels.map((p) => {
    const [side, wide] = sides(p);
    const lead = p.before ? Math.max(26, widthOf(p.before, 20) + 12) : 0;
    return { side, wide, lead, width: lead + Math.max(p.columns * wide, widthOf(p.title, 13)), height: 24 + p.rows * side };
  });
  let [x, y, low, width] = [MARGIN, MARGIN + 44, 0, 0];
  boxes.forEach((box, n) => {
    const first = s.panels[n].mini && !s.panels[n - 1].mini;
    if (x > MARGIN && !s.panels[n].joined && (first || x + box.width > WIDEST)) [x, y] = [MARGIN, y + low + 22];
    if (x === MARGIN) low = 0;
    Object.assign(box, { x, y });
    low = Math.max(low, box.height);
    x += box.width + 22;
    width = Math.max(width, x - 22);
  });
  return { boxes, width: Math.max(width + MARGIN, 420), bottom: y + low };
}

/** { width, height, shapes } of one step. */
export function figure(t, view, step, palette, s = scene(t, view), layout = arranged(s)) {
  const shapes = [];
  const rect = (x, y, w, h, fill, more = {}) => shapes.push({ kind: "rect", x, y, w, h, fill, ...more });
  const text = (x, y, words, size, color, more = {}) => shapes.push({ kind: "text", x, y, words, size, color, ...more });
  const { boxes, width, bottom } = layout;
  s.draw(step, null);
  const setting = `stride ${t.geometry.stride.join("×")}, crop ${t.asked.crops.map((ends) => `(${ends.map(show).join(", ")})`).join(" ")}, dilation ${t.geometry.dilation.join("×")}`;
  text(MARGIN, MARGIN + 12, `${t.title}: ${VIEW_NAMES[view].toLowerCase()}`, 17, palette.ink, { bold: true });
  text(MARGIN, MARGIN + 30, t.up ? setting : setting.replace("crop", "padding"), 12, palette.soft);
  s.panels.forEach((p, n) => {
    const { x: left, y: top, side, wide, lead } = boxes[n];
    const x = left + lead;
    const y = top + 24;
    if (lead) text(left + (lead - 10) / 2, y + Math.min(p.rows * side, 200) / 2 + 7, p.before, 20, palette.soft, { middle: true });
    text(x, top + 15, p.title, 13, palette.ink, { bold: true });
    if (p.dense) rect(x, y, p.columns * wide, p.rows * side, palette.blank[0]);
    for (let i = 0; i < p.count; i++) {
      const [r, c] = [Math.floor(i / p.columns), i % p.columns];
      const [cx, cy] = [x + c * wide, y + r * side];
      if (p.dense) {
        if (p.look[i] !== "blank") rect(cx, cy, wide, side, p.mark[i] ? palette.main : denseColor(palette, p.look[i], p.level[i]));
        continue;
      }
      const [fill, color] = cellColors(palette, p.look[i], p.level[i]);
      const loose = /cropped|extension|pad/.test(p.look[i]);
      rect(cx + 1, cy + 1, wide - 2, side - 2, fill, loose ? { stroke: palette.line, line: 1, dash: "3 2", r: 3 } : { r: 3 });
      if (p.mark[i]) rect(cx + 2, cy + 2, wide - 4, side - 4, "none", { stroke: palette.main, line: p.mark[i] === 2 ? 3 : 1.75, r: 3 });
      if (p.text[i]) {
        const size = Math.min(side * 0.42, 16, (wide - 5) / (0.66 * p.text[i].length));
        text(cx + wide / 2, cy + side / 2 + size * 0.36, p.text[i], size, color, { middle: true });
      }
    }
    if (p.crop) {
      const [r, c, rows, columns] = p.crop;
      rect(x + c * side, y + r * side, columns * side, rows * side, "none", { stroke: palette.ink, line: 1.5, dash: "5 3", r: 3 });
    }
    if (p.frame) {
      const [r, c, rows, columns] = p.frame;
      rect(x + c * wide, y + r * side, columns * wide, rows * side, "none", { stroke: palette.accent, line: 3, r: 4 });
    }
  });
  const words = sentence(t, view, step, s.steps, s.spotOf(step));
  const size = sizes(t.setting).map((row) => `${row.numbers} = ${row.result}`);
  const lines = [...wrapped(words, (line) => widthOf(line, 14) <= width - 2 * MARGIN).map((line) => [line, 14, palette.ink]), ...[...new Set(size)].map((line) => [`Size: ${line}`, 12, palette.soft])];
  lines.forEach(([line, points, color], i) => text(MARGIN, bottom + 30 + i * 20, line, points, color));
  // Room for the longest caption of all steps, so that every frame of an animation has one size.
  return { width: Math.ceil(width), height: Math.ceil(bottom + 30 + 20 * (3 + new Set(size).size)), shapes, background: palette.paper };
}

const escaped = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const short = (value) => String(Math.round(value * 100) / 100);

export function svg({ width, height, shapes, background }, title) {
  const parts = shapes.map((s) => {
    if (s.kind === "rect") {
      const line = s.stroke ? ` stroke="${s.stroke}" stroke-width="${s.line}"${s.dash ? ` stroke-dasharray="${s.dash}"` : ""}` : "";
      return `<rect x="${short(s.x)}" y="${short(s.y)}" width="${short(s.w)}" height="${short(s.h)}" fill="${s.fill}"${s.r ? ` rx="${s.r}"` : ""}${line}/>`;
    }
    const style = `${s.middle ? ' text-anchor="middle"' : ""}${s.bold ? ' font-weight="600"' : ""}`;
    return `<text x="${short(s.x)}" y="${short(s.y)}" font-size="${short(s.size)}" fill="${s.color}"${style}>${escaped(s.words)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" font-family="${FONT}"><title>${escaped(title)}</title><rect width="${width}" height="${height}" fill="${background}"/>\n${parts.join("\n")}\n</svg>\n`;
}

export { arranged };
