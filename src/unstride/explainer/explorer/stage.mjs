// The stage: a scene's boards side by side, with their pointer, focus and keys.

import { cellBoard, denseBoard, GAP } from "./boards.mjs";
import { h } from "./element.mjs";
import { movement } from "./pointer.mjs";
import { label } from "./words.mjs";

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
    this.observer = new ResizeObserver(() => this.fit());
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
    const minis = this.boards.filter((board) => board.panel.mini).map((board) => board.figure);
    const strip = minis.length ? h("div", { class: "us-strip", role: "img", "aria-label": "All copies: their sum is the result" }, ...minis) : null;
    this.strip = strip;
    this.element.replaceChildren(...this.boards.filter((board) => !board.panel.mini).map((board) => board.figure), ...(strip ? [strip] : []));
    this.element.dataset.view = this.scene.view;
  }

  /** Cell sizes that fit the width, and the longest number. */
  fit() {
    const width = this.element.clientWidth;
    if (!width || !this.scene) return;
    const plain = this.boards.filter((board) => !board.panel.dense && !board.panel.mini);
    const widest = Math.max(1, ...plain.map((board) => Math.max(board.panel.columns, Math.min(board.panel.rows, 14))));
    let wanted = widest <= 5 ? 46 : widest <= 8 ? 38 : widest <= 12 ? 32 : widest <= 18 ? 27 : 23;
    // All panels in one row, if their cells are then still large enough.
    const taken = plain.reduce((sum, board) => sum + (board.panel.before ? 34 : 0) + 15 + 2 * board.panel.columns, 0);
    const row = Math.floor((width - taken) / plain.reduce((sum, board) => sum + board.panel.columns, 0));
    if (row >= 26) wanted = Math.min(wanted, row);
    for (const board of this.boards) {
      const { columns, dense } = board.panel;
      if (board.panel.mini) {
        board.size(Math.max(board.panel.columns <= 6 ? 26 : 22, Math.ceil(board.longest * 5.6 + 5)));
        continue;
      }
      const room = Math.floor((width - 6) / columns) - (dense ? 0 : GAP);
      const cell = dense ? Math.min(Math.max(room, 2), 12) : Math.max(Math.min(wanted, Math.max(room, 20)), Math.ceil(board.longest * 6.1 + 6));
      board.size(cell);
    }
    for (const board of this.boards) board.scrolls = board.scroll.scrollHeight > board.scroll.clientHeight + 1;
    // The strip has no cells to focus: where it scrolls, the keys must reach it.
    if (this.strip) this.strip.tabIndex = this.strip.scrollWidth > this.strip.clientWidth + 1 ? 0 : -1;
    this.update(this.step ?? 0, this.spot ?? null);
  }

  update(step, spot) {
    if (!this.scene) return null;
    this.step = step;
    this.spot = spot;
    const found = this.scene.draw(step, spot);
    for (const board of this.boards) board.draw(this.palette, this.editing?.board === board ? this.editing.index : -1);
    return found;
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

  /** How long a step takes: what moves is there before the next. */
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
