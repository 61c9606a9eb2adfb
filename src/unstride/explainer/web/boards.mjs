// The boards: the cells of one panel. Their elements are made once for a shape; a frame changes only the text, class and
// colour of the cells that differ from the frame before.

import { cellColors, denseColor } from "./colors.mjs";
import { h } from "./element.mjs";

export const GAP = 2;

/** How wide a cell is at least in which that many signs are to be read. */
export const leastWidth = (signs) => Math.ceil(signs * 6.1 + 6);

function frameElements(panel, grid) {
  const window = h("div", { class: "us-window", hidden: true });
  const crop = panel.crop ? h("div", { class: "us-crop" }) : null;
  grid.append(window, ...(crop ? [crop] : []));
  const place = (element, [r, c, rows, columns], cell, wide) => {
    element.style.transform = `translate(${c * (wide + GAP) - GAP}px, ${r * (cell + GAP) - GAP}px)`;
    element.style.width = `${columns * (wide + GAP) + GAP}px`;
    element.style.height = `${rows * (cell + GAP) + GAP}px`;
  };
  return { window, crop, place };
}

function shell(panel) {
  const title = h("figcaption", { class: "us-title" }, panel.title);
  const role = panel.mini ? "presentation" : "grid"; // the small copies are pictures
  const grid = h("div", { class: "us-grid", role, "aria-label": panel.title, "data-panel": panel.id });
  if (panel.mini) grid.removeAttribute("aria-label");
  else if (!panel.edit) grid.setAttribute("aria-readonly", "true");
  const scroll = h("div", { class: "us-scroll" }, grid);
  const sign = panel.before ? h("span", { class: "us-sign", "aria-hidden": "true" }, panel.before) : null;
  // The heads of joined panels stay in sight while their rows scroll: the signs stand there.
  const head = panel.joined ? h("div", { class: "us-head" }, sign, title) : null;
  const parts = head ? [head, scroll] : [sign, title, scroll];
  const figure = h("figure", { class: "us-panel", "data-panel": panel.id }, ...parts);
  return { panel, head, title, grid, scroll, figure, longest: 1 };
}

/** A board whose cells are elements that can be focused. */
export function cellBoard(panel) {
  const board = shell(panel);
  const { rows, columns, count } = panel;
  board.cells = [];
  for (let r = 0; r < rows; r++) {
    const row = h("div", { role: panel.mini ? null : "row", class: "us-row" });
    for (let c = 0; c < columns; c++) {
      const cell = h("div", { class: "us-cell", "data-i": r * columns + c });
      if (!panel.mini) {
        cell.setAttribute("role", "gridcell");
        cell.tabIndex = -1;
      }
      board.cells.push(cell);
      row.append(cell);
    }
    board.grid.append(row);
  }
  if (!panel.mini) board.cells[0].tabIndex = 0;
  const frames = frameElements(panel, board.grid);
  const was = { text: Array(count).fill(null), look: Array(count).fill(null), heat: Array(count).fill(null), palette: null, frame: "" };
  let current = 0;
  board.rove = (index) => {
    board.cells[current].tabIndex = -1;
    current = index;
    board.cells[current].tabIndex = 0;
  };
  board.focus = (index) => board.cells[index].focus({ preventScroll: false });
  board.forget = (index) => { was.text[index] = null; };
  board.size = (cell, wide = cell) => {
    [board.cell, board.wide, board.pitch] = [cell, wide, [cell + GAP, wide + GAP]];
    board.grid.style.setProperty("--cell", `${cell}px`);
    board.grid.style.setProperty("--wide", `${wide}px`);
    board.grid.style.setProperty("--columns", columns);
    const font = Math.min(Math.max(cell * 0.42, Math.min(cell - 5, 9)), 17, (wide - 4) / (0.66 * Math.max(board.longest, panel.joined ? 1 : 2)));
    board.grid.style.setProperty("--font", `${font.toFixed(1)}px`);
    if (frames.crop) frames.place(frames.crop, panel.crop, cell, wide);
    was.frame = "";
  };
  board.draw = (palette, editing) => {
    const p = board.panel;
    for (let i = 0; i < count; i++) {
      const look = p.mark[i] ? `${p.look[i]} mark${p.mark[i]}` : p.look[i];
      if (look !== was.look[i]) {
        board.cells[i].className = `us-cell ${look}`;
        was.look[i] = look;
      }
      if (i !== editing && p.text[i] !== was.text[i]) {
        board.cells[i].textContent = p.text[i];
        was.text[i] = p.text[i];
        if (p.text[i].length > board.longest) {
          board.longest = p.text[i].length;
          const wide = Math.max(board.wide, leastWidth(board.longest));
          board.size(p.joined ? board.cell : wide, wide);
        }
      }
      const heat = p.look[i] === "heat" ? p.level[i] : p.look[i] === "cold" ? -p.level[i] - 1 : null;
      if (heat !== was.heat[i] || (heat !== null && palette !== was.palette)) {
        const [fill, text] = heat === null ? ["", ""] : cellColors(palette, p.look[i], p.level[i]);
        board.cells[i].style.background = fill;
        board.cells[i].style.color = text;
        was.heat[i] = heat;
      }
    }
    was.palette = palette;
    const frame = String(p.frame);
    if (frame !== was.frame) {
      frames.window.hidden = !p.frame;
      if (p.frame) frames.place(frames.window, p.frame, board.cell, board.wide);
      was.frame = frame;
    }
  };
  return board;
}

/** A board of many cells, drawn on a canvas, with one focusable cell that moves. */
export function denseBoard(panel) {
  const board = shell(panel);
  const { rows, columns, count } = panel;
  const canvas = h("canvas", { "aria-hidden": "true" });
  board.cursor = h("div", { role: "gridcell", class: "us-cursor", tabindex: "0", "data-i": "0" });
  board.grid.classList.add("us-dense");
  board.grid.setAttribute("aria-rowcount", rows);
  board.grid.setAttribute("aria-colcount", columns);
  board.grid.append(canvas, h("div", { role: "row" }, board.cursor));
  board.cells = [];
  board.rove = () => {};
  board.forget = () => {};
  board.move = (index) => {
    board.cursor.dataset.i = index;
    board.cursor.style.transform = `translate(${(index % columns) * board.wide}px, ${Math.floor(index / columns) * board.cell}px)`;
  };
  board.focus = (index) => {
    board.move(index);
    board.cursor.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  board.at = (event) => {
    const box = canvas.getBoundingClientRect();
    const [c, r] = [Math.floor((event.clientX - box.left) / board.wide), Math.floor((event.clientY - box.top) / board.cell)];
    return r >= 0 && r < rows && c >= 0 && c < columns ? r * columns + c : -1;
  };
  board.size = (cell, wide = cell) => {
    if (cell === board.cell && wide === board.wide) return;
    [board.cell, board.wide, board.pitch] = [cell, wide, [cell, wide]];
    board.base = null;
    [canvas.style.width, canvas.style.height] = [`${columns * wide}px`, `${rows * cell}px`];
    [board.cursor.style.width, board.cursor.style.height] = [`${wide}px`, `${cell}px`];
    board.move(Number(board.cursor.dataset.i));
  };
  /** The cells without their marks, on a canvas that is kept while they look the same. */
  const base = (palette, scale) => {
    const p = board.panel;
    const key = `${scale} ${p.kind === "entry" ? "" : p.look.join()} ${p.look.includes("heat") ? p.level.join() : ""}`;
    if (board.base?.key === key) return board.base;
    board.base = document.createElement("canvas");
    board.base.key = key;
    for (const c of [board.base, canvas]) [c.width, c.height] = [columns * board.wide * scale, rows * board.cell * scale];
    const context = board.base.getContext("2d");
    context.scale(scale, scale);
    context.fillStyle = palette.blank[0];
    context.fillRect(0, 0, columns * board.wide, rows * board.cell);
    for (let i = 0; i < count; i++) {
      if (p.look[i] === "blank") continue;
      context.fillStyle = denseColor(palette, p.look[i], p.level[i]);
      context.fillRect(...rect(i));
    }
    return board.base;
  };
  const rect = (index) => [(index % columns) * board.wide, Math.floor(index / columns) * board.cell, board.wide, board.cell];
  board.draw = (palette) => {
    const { cell, wide } = board;
    const scale = Math.min(globalThis.devicePixelRatio || 1, 2);
    const p = board.panel;
    const under = base(palette, scale);
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(under, 0, 0);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.fillStyle = palette.main;
    for (let i = 0; i < count; i++) if (p.mark[i]) context.fillRect(...rect(i));
    if (p.frame) {
      const [r, c, high, across] = p.frame;
      context.strokeStyle = palette.accent;
      context.lineWidth = 2;
      context.strokeRect(c * wide + (across > 1 ? 1 : -1), r * cell - 1, across * wide - (across > 1 ? 2 : -2), high * cell + 2);
    }
  };
  return board;
}
