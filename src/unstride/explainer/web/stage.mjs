// The stage: a scene's boards side by side, with their pointer, focus and keys.

import { cellBoard, denseBoard, GAP, leastWidth } from "./boards.mjs";
import { h } from "./element.mjs";
import { movement } from "./pointer.mjs";
import { label } from "./words.mjs";

const SHEET = [690, 900]; // CSS pixels: A4 without margins of 12 mm has 703 by 1032, Letter 725 by 965
const MUCH = 1.35; // sheets: up to this height a grid is shrunk to one
const BELOW = 600; // CSS pixels left below the top of the page

/** How high the panels are with cells of a size, and in how many rows, each as wide as `width`. */
function flow(boards, cell, width) {
  let [sum, rows, row, left] = [0, 0, 0, 0];
  for (const { panel, longest } of boards) {
    const wide = Math.max(panel.columns * (Math.max(cell, leastWidth(longest)) + GAP), Math.min(7.2 * panel.title.length, 225) - (panel.id === "kernel" ? 40 : 0)) + (panel.before ? 40 : 4);
    if (wide > left) [sum, rows, row, left] = [sum + row, rows + 1, 0, width + 14];
    left -= wide + 14;
    row = Math.max(row, panel.rows * (cell + GAP) + 44);
  }
  return [sum + row, rows];
}

export class Stage {
  /** `on`: spot(spot or null), edit(name, index, value or the text that is no number). */
  constructor(on) {
    this.on = on;
    this.element = h("div", { class: "us-stage" });
    this.boards = [];
    this.key = "";
    this.editing = null;
    const e = this.element;
    const moved = movement();
    e.addEventListener("pointermove", (event) => moved(event) && event.pointerType !== "touch" && this.point(event));
    e.addEventListener("pointerleave", (event) => moved(event) && this.on.spot(null));
    e.addEventListener("pointerdown", (event) => { this.wasFocused = event.target.closest?.("[data-i]") === document.activeElement || this.isActive(event.target); });
    e.addEventListener("click", (event) => this.click(event));
    e.addEventListener("focusin", (event) => this.focused(event));
    e.addEventListener("focusout", () => this.on.spot(null));
    e.addEventListener("keydown", (event) => this.key_(event));
    this.observer = new ResizeObserver(() => this.printed || this.fit());
    this.observer.observe(e);
  }

  isActive(target) {
    const cell = target.closest?.("[data-i]");
    return Boolean(cell) && cell === cell.getRootNode().activeElement;
  }

  /** Show another scene; its elements are kept where the panels have the same shapes. */
  show(scene, t) {
    this.scene = scene;
    this.t = t;
    const key = JSON.stringify([scene.view, t.map, t.rank, scene.panels.map((p) => [p.id, p.rows, p.columns, p.dense, p.crop, p.edit])]);
    if (key !== this.key) this.build();
    this.key = key;
    this.boards.forEach((board, i) => {
      board.panel = scene.panels[i];
      board.title.textContent = board.panel.title;
      board.longest = 1;
      board.base = null;
    });
    scene.draw(scene.steps, null); // the final numbers are the longest, as a rule
    for (const board of this.boards) for (const text of board.panel.text) board.longest = Math.max(board.longest, text.length);
    this.fit();
  }

  build() {
    this.stop();
    this.boards = this.scene.panels.map((panel) => (panel.dense ? denseBoard(panel) : cellBoard(panel)));
    const figures = (which) => this.boards.filter(which).map((board) => board.figure);
    const [minis, joined] = [figures((board) => board.panel.mini), figures((board) => board.panel.joined)];
    this.strip = minis.length ? h("div", { class: "us-strip", role: "img", "aria-label": "All copies: their sum is the result" }, ...minis) : null;
    this.product = joined.length ? h("div", { class: "us-product" }, ...joined) : null;
    const rest = figures((board) => !board.panel.mini && !board.panel.joined);
    this.element.replaceChildren(...[this.product, ...rest, this.strip].filter(Boolean));
    this.element.dataset.view = this.scene.view;
  }

  /** Cell sizes that fit the width, and the longest number. */
  fit(width = this.element.clientWidth) {
    if (!width || !this.scene) return;
    const plain = this.boards.filter((board) => !board.panel.dense && !board.panel.mini && !board.panel.joined);
    const widest = Math.max(1, ...plain.map((board) => Math.max(board.panel.columns, Math.min(board.panel.rows, 14))));
    let wanted = widest <= 5 ? 46 : widest <= 8 ? 38 : widest <= 12 ? 32 : widest <= 18 ? 27 : 23;
    // Smaller cells where all panels are then side by side, or at least in sight at once.
    const sizes = Array.from({ length: Math.max(wanted - 21, 0) }, (_, less) => wanted - less).map((cell) => [cell, ...flow(plain, cell, width)]);
    const rooms = this.rooms();
    const fits = [([cell, high, rows]) => rows === 1 && cell >= 24 && high <= rooms[1], ...rooms.map((room) => ([, high]) => high <= room)];
    wanted = fits.map((fit) => sizes.find(fit)).find(Boolean)?.[0] ?? wanted;
    if (this.product) wanted = Math.min(wanted, Math.max(this.fitProduct(width), 24));
    for (const board of plain) {
      const room = Math.floor((width - 6) / board.panel.columns) - GAP;
      board.size(Math.max(Math.min(wanted, Math.max(room, 20)), leastWidth(board.longest)));
    }
    for (const board of this.boards) {
      const { columns, dense, joined } = board.panel;
      if (dense && !joined) board.size(Math.min(Math.max(Math.floor((width - 6) / columns), 2), 12));
      if (board.panel.mini) board.size(Math.max(board.panel.columns <= 6 ? 26 : 22, Math.ceil(board.longest * 5.6 + 5)));
    }
    // The strip has no cells to focus: where it scrolls, the keys must reach it.
    if (this.strip) this.strip.tabIndex = this.strip.scrollWidth > this.strip.clientWidth + 1 ? 0 : -1;
    this.followed = null;
    this.update(this.step ?? 0, this.spot ?? null);
  }

  /** How much of the window is left for the panels, below the page's top and below the player. */
  rooms() {
    if (this.printed) return [BELOW, BELOW];
    const top = this.element.getBoundingClientRect().top;
    const player = this.element.parentElement?.querySelector(".us-player").getBoundingClientRect().top ?? top;
    return [innerHeight - top - scrollY, innerHeight - top + player - 16];
  }

  /** Fit the boards to an upright sheet of A4 or Letter, or back to the screen. */
  print(on) {
    this.printed = on;
    this.element.classList.toggle("us-printed", on);
    this.fit(on ? SHEET[0] : undefined);
    for (const part of [this.product, ...this.boards.filter((board) => !board.panel.joined).map((board) => board.figure)]) {
      if (!part) continue;
      part.style.zoom = "";
      part.style.width = on ? "max-content" : "";
      const [wide, high] = [part.offsetWidth / SHEET[0], part.offsetHeight / SHEET[1]];
      const by = Math.max(wide, high <= MUCH ? high : 1, 1); // a grid that is much higher goes over several sheets
      if (on && by > 1) part.style.zoom = 1 / by;
      part.classList.toggle("us-whole", on && high / by <= 1);
    }
  }

  /** The cells of matrix, input and result: equally high, so that rows stand side by side; returns how high. */
  fitProduct(width) {
    const [big, ...columns] = this.boards.filter((board) => board.panel.joined);
    this.product.style.paddingBottom = "";
    this.lifted = 0;
    columns[0].figure.style.top = "";
    const most = Math.max(big.panel.rows, big.panel.columns);
    const left = width - columns.reduce((sum, board) => sum + Math.max(leastWidth(board.longest), board.head.scrollWidth) + 12, 0) - 12;
    if (big.panel.dense) {
      const cell = Math.min(Math.max(Math.floor(left / big.panel.columns), 2), 12);
      big.size(cell);
      for (const board of columns) board.size(cell, Math.max(cell, 24));
      return 38;
    }
    const room = Math.floor(left / big.panel.columns) - GAP;
    const high = (height) => Math.floor((height - 40) / most) - GAP;
    let cell = 0;
    if (this.printed) cell = Math.min(26, high(BELOW) >= 13 ? high(BELOW) : Math.max(high(SHEET[1]), 11));
    else {
      const all = high(parseFloat(getComputedStyle(this.product).maxHeight)); // so that nothing scrolls
      cell = Math.min(38, Math.max(room, 24), all >= 22 ? all : 26);
    }
    big.size(cell, Math.max(Math.min(Math.max(cell, 16), Math.max(room, 14)), leastWidth(big.longest)));
    for (const board of columns) board.size(cell, Math.max(cell, leastWidth(board.longest)));
    return cell;
  }

  /** The row of the step, and the cells in it, into the part of the product that is seen. */
  follow() {
    const [big, column, result] = this.boards.filter((board) => board.panel.joined);
    const { product } = this;
    const { frame, mark } = big.panel;
    if (!product || !frame || frame[2] !== 1) return;
    const head = big.scroll.offsetTop;
    const whole = product.scrollHeight;
    const inWindow = innerHeight - product.getBoundingClientRect().top - 12; // the window may show less of it
    const height = inWindow > 110 ? Math.min(product.clientHeight, inWindow) : product.clientHeight;
    if (whole > product.clientHeight + 1) {
      // Where the window ends above the last rows, these can be scrolled up into it.
      const more = Math.max(product.clientHeight - height - 12, 0);
      product.style.paddingBottom = more ? `${more}px` : "";
      // The lower of the two stays at the top as long as possible; until then it does not move.
      const [high, low] = [big, column].map((board) => board.figure.offsetHeight);
      const [stay, stayInput] = [Math.max(low - high, 0), Math.max(high - low, 0)];
      const top = frame[0] * big.pitch[0];
      const read = Math.max(column.panel.mark.findIndex(Boolean), 0) * column.pitch[0];
      const [below, belowRead] = [big, column].map((board) => board.pitch[0] + head + 6 - height);
      const seen = (at, from, rest) => at >= from && at + rest <= from;
      const middle = (at) => at + head / 2 - height / 2;
      const within = (at, low, high) => Math.min(Math.max(at, low), high);
      let moved = Math.max(product.scrollTop - stay, 0);
      if (!seen(top, moved, below)) moved = seen(top, 0, below) ? 0 : Math.max(middle(top), 0);
      let to = stay + moved;
      if (!moved) to = Math.min(product.scrollTop, stay);
      // The first input cell that the row reads too: the input stays where this is to be seen, as far as the row allows it.
      const shift = () => Math.max(Math.min(to, this.lifted), to - stayInput);
      if (!seen(read, shift(), belowRead)) {
        this.lifted = within(middle(read), 0, Math.max(low + 6 - height, 0));
        if (!seen(read, shift(), belowRead)) to = moved ? within(this.lifted, stay + Math.max(top + below, 0), stay + top) : within(this.lifted, 0, stay);
        column.figure.style.top = `${-this.lifted}px`;
      }
      if (to !== product.scrollTop) product.scrollTop = to;
    }
    if (product.scrollWidth > product.clientWidth + 1) {
      const cells = Array.from({ length: big.panel.columns }, (_, c) => c).filter((c) => mark[frame[0] * big.panel.columns + c]);
      if (!cells.length) return;
      const room = product.clientWidth - result.figure.offsetWidth;
      const [left, right] = [cells[0] * big.pitch[1], (cells.at(-1) + 1) * big.pitch[1]];
      if (left < product.scrollLeft || right > product.scrollLeft + room) product.scrollLeft = Math.min(left - 8, (left + right - room) / 2);
    }
  }

  update(step, spot) {
    if (!this.scene) return null;
    this.step = step;
    this.spot = spot;
    const drawn = this.scene.draw(step, spot);
    for (const board of this.boards) board.draw(this.palette, this.editing?.board === board ? this.editing.index : -1);
    if (this.product && !spot && step !== this.followed) {
      this.follow();
      this.followed = step;
    }
    return drawn;
  }

  theme(palette) {
    this.palette = palette;
    for (const board of this.boards) board.base = null;
    if (this.scene) this.update(this.step ?? 0, this.spot ?? null);
  }

  // --- pointer, focus, keys

  hit(event) {
    const board = this.boards.find((b) => b.grid.contains(event.target));
    if (!board) return null;
    const index = board.panel.dense ? board.at(event) : Number(event.target.closest("[data-i]")?.dataset.i ?? -1);
    return index >= 0 ? { board, index } : null;
  }

  point(event) {
    const hit = this.hit(event);
    const spot = hit ? hit.board.panel.spot(hit.index) : null;
    if (JSON.stringify(spot) !== JSON.stringify(this.spot ?? null)) this.on.spot(spot);
  }

  click(event) {
    const hit = this.hit(event);
    if (!hit || this.editing) return;
    if (hit.board.panel.dense) {
      hit.board.move(hit.index);
      hit.board.cursor.focus({ preventScroll: true });
    } else if (hit.board.panel.edit && (this.wasFocused || event.detail === 2)) this.edit(hit.board, hit.index);
  }

  focused(event) {
    const hit = event.target.dataset?.i === undefined ? null : this.ofFocus(event.target);
    if (!hit) return;
    const { board, index } = hit;
    board.rove(index);
    event.target.setAttribute("aria-label", label(this.t, board.panel, index) + (board.panel.edit ? ", editable" : ""));
    this.on.spot(board.panel.spot(index));
  }

  ofFocus(target) {
    const board = this.boards.find((b) => b.grid.contains(target));
    return board ? { board, index: Number(target.dataset.i) } : null;
  }

  key_(event) {
    if (this.editing || event.ctrlKey && !["Home", "End"].includes(event.key) || event.metaKey || event.altKey) return;
    const at = this.ofFocus(event.target);
    if (!at || event.target.dataset.i === undefined) return;
    const { board, index } = at;
    const { rows, columns, edit } = board.panel;
    const [row, column] = [Math.floor(index / columns), index % columns];
    const go = (r, c) => Math.min(Math.max(r, 0), rows - 1) * columns + Math.min(Math.max(c, 0), columns - 1);
    const moves = {
      ArrowLeft: () => go(row, column - 1), ArrowRight: () => go(row, column + 1), ArrowUp: () => go(row - 1, column),
      ArrowDown: () => go(row + 1, column), PageUp: () => go(row - 10, column), PageDown: () => go(row + 10, column),
      Home: () => (event.ctrlKey ? 0 : go(row, 0)), End: () => (event.ctrlKey ? rows * columns - 1 : go(row, columns - 1)),
    };
    if (moves[event.key]) {
      event.preventDefault();
      board.focus(moves[event.key]());
      if (board.panel.dense) this.focused({ target: board.cursor });
    } else if (edit && (event.key === "Enter" || event.key === "F2")) {
      event.preventDefault();
      this.edit(board, index);
    } else if (edit && /^[0-9.\-+]$/.test(event.key)) {
      event.preventDefault();
      this.edit(board, index, event.key);
    } else if (edit && (event.key === "Delete" || event.key === "Backspace")) {
      event.preventDefault();
      this.on.edit(edit, index, 0);
    }
  }

  edit(board, index, typed = null) {
    const cell = board.cells[index];
    const before = { x: this.t.x, kernel: this.t.w, gradient: this.t.g }[board.panel.edit][index];
    const input = h("input", { class: "us-edit", "aria-label": `${board.panel.title}: new value`, autocomplete: "off", spellcheck: "false" });
    input.value = typed ?? String(before);
    this.editing = { board, index };
    cell.replaceChildren(input);
    input.focus();
    if (typed === null) input.select();
    let over = false;
    const finish = (keep, next = null) => {
      if (over) return;
      over = true;
      const inside = input.getRootNode().activeElement === input;
      this.editing = null;
      board.forget(index);
      if (keep && input.value.trim() !== String(before)) this.on.edit(board.panel.edit, index, input.value.trim().replace("−", "-").replace(",", "."));
      else this.update(this.step, this.spot);
      if (inside || next !== null) board.focus(next ?? index);
    };
    const { columns, count } = board.panel;
    input.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape") finish(false);
      if (event.key === "Enter") finish(true, index + columns < count ? index + columns : index);
      if (event.key === "Tab") {
        const to = index + (event.shiftKey ? -1 : 1);
        if (to >= 0 && to < count) {
          event.preventDefault();
          finish(true, to);
        }
      }
      if (["Escape", "Enter"].includes(event.key)) event.preventDefault();
    });
    input.addEventListener("blur", () => finish(true));
  }

  /** The time of a step: movements end before the next one. */
  pace(time) {
    this.element.classList.toggle("us-swift", time < 60);
    this.element.style.setProperty("--us-pace", `${Math.round(Math.min(time * 0.7, 200))}ms`);
  }

  stop() {
    this.editing = null;
  }

  destroy() {
    this.observer.disconnect();
  }
}
