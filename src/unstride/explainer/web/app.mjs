// The explorer: the parts put together around one state.

import { PALETTES } from "./colors.mjs";
import { shapeOf, trace } from "./compute.mjs";
import { Controls } from "./controls.mjs";
import { NAMES } from "./conventions.mjs";
import { h } from "./element.mjs";
import { History } from "./history.mjs";
import { save } from "./export.mjs";
import { tuple } from "./geometry.mjs";
import { Player } from "./player.mjs";
import { program } from "./programs.mjs";
import { Quiz } from "./quiz.mjs";
import { scene } from "./views.mjs";
import { Stage } from "./stage.mjs";
import { DEFAULT, fromHash, normalized, refusal, toHash, VIEWS, withRank } from "./state.mjs";
import { about, sentence, sizeNote, sizes, VIEW_NAMES, written } from "./words.mjs";

let count = 0;
/** A cell's name, and where a product goes, are not broken. */
const whole = (text) => text.replace(/\[(\d+), /g, "[$1,\u00a0").replaceAll(" += ", "\u00a0+=\u00a0");

export class Explorer {
  /** Options: state, presets [{name, title, note, state}], onState(state), hash (keep the page's hash), dark (a function). */
  constructor(root, options = {}) {
    this.options = options;
    this.id = `us${++count}`;
    this.root = root;
    this.presets = options.presets ?? [];
    this.framework = "keras";
    this.spot = null;
    root.classList.add("us");
    root.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab's own keys stay out of here
    root.addEventListener("keydown", (event) => event.stopPropagation());
    this.stage = new Stage({ spot: (spot) => this.look(spot), edit: (name, index, value) => this.edit(name, index, value) });
    this.controls = new Controls({ change: (state, more) => this.apply(state, { more }) });
    this.controls.id = this.id;
    this.player = new Player({ step: (step) => this.go(step), steps: () => this.scene.steps, now: () => this.step, pace: (time) => this.stage.pace(time) });
    this.quiz = new Quiz({ show: (state, spot) => this.visit(state, spot), announce: (text) => this.announce(text) });
    this.build();
    this.setTheme();
    this.open(options);
    this.paper = [["beforeprint", () => this.print(true)], ["afterprint", () => this.print(false)]];
    for (const [event, act] of this.paper) addEventListener(event, act);
  }

  open({ state, hash }) {
    let trouble = "";
    try {
      this.first = normalized(state ?? DEFAULT);
    } catch (error) {
      trouble = `This state could not be shown: ${error.message}.`;
      this.first = normalized(DEFAULT);
    }
    this.apply(this.first, { quiet: true });
    this.say(trouble);
    if (!hash) return;
    this.history = new History((text) => this.visitLink(text), () => toHash(this.get()));
    if (location.hash) this.visitLink(location.hash);
  }

  /** Show the state in an address, from a link or the browser's history; the first state if it has none. */
  visitLink(text) {
    this.player.stop();
    try {
      const state = fromHash(text) ?? this.first;
      if (toHash(state) !== toHash(this.get())) this.apply(state, { quiet: true });
    } catch (error) {
      this.say(`This link could not be opened: ${error.message}.`);
    }
  }

  // --- the state

  get() {
    return { ...this.state, step: this.step === this.scene.steps ? null : this.step };
  }

  /**
   * Show a legal state, at its step (null: the last); without one, where everything was done it is again, and elsewhere
   * the step stays, or begins at 0 in another view. `quiet`: nobody is told, because it comes from outside. `more`: it goes on with the
   * change before.
   */
  apply({ step, ...state }, { quiet = false, spot = null, more = false } = {}) {
    let next = state;
    let t = trace(next);
    if (next.gradient && next.gradient.length !== t.y.length) {
      next = { ...next, gradient: null };
      t = trace(next);
    }
    const stays = this.scene && this.state.view === next.view && this.state.map === next.map;
    const kept = this.scene && this.step === this.scene.steps ? null : stays ? this.step : 0;
    const asked = step === undefined ? kept : step;
    this.state = next;
    this.t = t;
    this.scene = scene(t, next.view);
    this.step = Math.min(asked ?? this.scene.steps, this.scene.steps);
    this.spot = spot;
    this.stage.step = this.step;
    this.stage.spot = spot;
    this.controls.show(this.state);
    this.stage.show(this.scene, t);
    this.player.show();
    this.render();
    this.frame();
    if (!quiet) this.report(more ? "more" : "change");
    this.say("");
  }

  /** Pass the state on, and keep it in the address: not in every frame. */
  report(kind) {
    this.history?.add(kind, toHash(this.get()));
    clearTimeout(this.telling);
    this.telling = setTimeout(() => this.options.onState?.(this.get()), 150);
  }

  edit(name, index, value) {
    const number = value === "" ? NaN : Number(value);
    if (!Number.isFinite(number) || Math.abs(number) > 1e6) {
      this.say(Number.isFinite(number) ? "Numbers up to a million, please." : `'${value}' is no number; the cell keeps its value.`);
      this.stage.update(this.step, this.spot);
      return;
    }
    if (name === "gradient") {
      const gradient = [...this.t.g];
      gradient[index] = number;
      this.apply({ ...this.state, gradient, step: this.step });
      return;
    }
    const columns = shapeOf(this.state[name]).at(-1);
    const grid = structuredClone(this.state[name]);
    if (Array.isArray(grid[0])) grid[Math.floor(index / columns)][index % columns] = number;
    else grid[index] = number;
    this.apply({ ...this.state, [name]: grid, step: this.step });
  }

  go(step) {
    this.step = step;
    this.spot = null;
    this.frame();
    this.report("step");
  }

  look(spot) {
    if (this.player.playing && !spot) return;
    this.spot = spot;
    this.frame();
  }

  visit(state, spot) {
    this.player.stop();
    this.apply({ ...normalized(state), step: null }, { spot });
    this.main.scrollIntoView({ block: "start", behavior: "auto" });
  }

  /** Draw the parts that change with the step. */
  frame() {
    const { at } = this.stage.update(this.step, this.spot);
    const words = sentence(this.t, this.state.view, this.step, this.scene.steps, this.scene.spotOf(this.step));
    if (this.spoken !== words) this.sentence.textContent = whole(words);
    this.spoken = words;
    const detail = written(this.t, this.state.view, at);
    this.inspector.toggleAttribute("data-empty", !detail);
    const parts = detail ?? { title: "Point at a cell, or move to it with the arrow keys", symbols: "and see what it is made of, each product written out.", numbers: "" };
    for (const [i, text] of [parts.title, parts.symbols, parts.numbers].entries()) {
      this.inspector.children[i].textContent = whole(text);
    }
    this.player.frame(this.step, this.scene.steps, words);
    if (!this.player.playing || this.player.rate <= 1) this.announce(this.spot && detail ? `${detail.title}. ${detail.numbers}` : words);
  }

  announce(text) {
    clearTimeout(this.announcing);
    this.announcing = setTimeout(() => { this.live.textContent = text; }, 250);
  }

  say(text) {
    this.notice.textContent = text;
    this.notice.hidden = !text;
  }

  // --- the page

  build() {
    const id = this.id;
    this.live = h("div", { class: "us-live", role: "status", "aria-live": "polite" });
    this.notice = h("p", { class: "us-notice", role: "alert", hidden: true });
    this.sentence = h("p", { class: "us-sentence" });
    this.about = h("p", { class: "us-about" });
    this.inspector = h("div", { class: "us-inspector", role: "region", "aria-label": "What the cell is made of", tabindex: "0" }, h("p", { class: "us-strong" }), h("p", { class: "us-symbols" }), h("p", { class: "us-numbers" }));
    this.tabs = h("div", { class: "us-tabs", role: "tablist", "aria-label": "View" }, ...VIEWS.map((view) => h("button", {
      type: "button", role: "tab", id: `${id}-tab-${view}`, "aria-controls": `${id}-view`, "data-view": view,
      onclick: () => this.apply({ ...this.state, view }),
    }, VIEW_NAMES[view])));
    arrows(this.tabs, (tab) => tab.click());
    const head = h("div", { class: "us-steps" }, this.player.element, h("div", { class: "us-says" }, this.sentence, this.inspector));
    this.note = h("p", { class: "us-note", hidden: true });
    this.main = h(
      "section", { class: "us-main", "aria-label": "Explanation" }, this.tabs,
      h("div", { id: `${id}-view`, role: "tabpanel", class: "us-view" }, this.about, this.note, head, this.stage.element),
    );
    this.example = h("select", { id: `${id}-example`, onchange: () => this.load(this.example.value) });
    this.example.append(h("option", { value: "" }, "your own"), ...this.presets.map((p) => h("option", { value: p.name }, p.title)));
    const top = h(
      "div", { class: "us-top" },
      this.presets.length ? h("div", { class: "us-pick" }, h("label", { for: `${id}-example` }, "Example"), this.example) : null,
      this.segmented("map", "Map", [["conv_transpose", "transposed"], ["conv", "convolution"]], (value) => ({ ...this.state, map: value, output_padding: value === "conv" ? null : this.state.output_padding, gradient: null })),
      this.segmented("rank", "Axes", [["1", "1-D"], ["2", "2-D"]], (value) => withRank(this.state, Number(value))),
      h("div", { class: "us-actions", role: "group", "aria-label": "Share and save" }, ...[["link", "Copy link"], ["svg", "SVG"], ["png", "PNG"], ["gif", "GIF"]].filter(([what]) => what !== "link" || this.options.hash).map(([what, text]) => h(
        "button", { type: "button", class: "us-small", "data-save": what, "aria-label": what === "link" ? text : `Save as ${text}`, onclick: (event) => this.save(what, event.currentTarget) }, text,
      ))),
    );
    this.size = h("section", { class: "us-card us-size", "aria-label": "Size" });
    this.code = h("section", { class: "us-card us-codes", "aria-label": "In each framework" });
    this.root.replaceChildren(top, this.notice, h("div", { class: "us-body" }, this.main, this.controls.element), h("div", { class: "us-below" }, this.size, this.code), this.quiz.element, this.live);
    this.buildCode();
  }

  segmented(name, legend, choices, next) {
    const inputs = choices.map(([value, text]) => {
      const input = h("input", { type: "radio", name: `${this.id}-${name}`, id: `${this.id}-${name}-${value}`, value });
      input.addEventListener("change", () => {
        const state = next(value);
        const reason = refusal(state);
        if (reason) {
          this.render();
          this.say(`Not possible with this setting: ${reason}.`);
        } else this.apply(state);
      });
      return h("span", {}, input, h("label", { for: input.id }, text));
    });
    return h("fieldset", { class: "us-segmented", "data-name": name }, h("legend", {}, legend), ...inputs);
  }

  load(name) {
    const preset = this.presets.find((p) => p.name === name);
    if (!preset) return;
    this.player.stop();
    this.controls.linked = true;
    this.apply(normalized(preset.state));
  }

  /** Draw the parts that change with the state, not with the step. */
  render() {
    const { state, t } = this;
    for (const tab of this.tabs.children) {
      const on = tab.dataset.view === state.view;
      tab.setAttribute("aria-selected", String(on));
      tab.tabIndex = on ? 0 : -1;
      if (on) this.main.lastElementChild.setAttribute("aria-labelledby", tab.id);
    }
    this.about.textContent = about(t, state.view);
    this.root.querySelector(`#${this.id}-map-${state.map}`).checked = true;
    this.root.querySelector(`#${this.id}-rank-${t.rank}`).checked = true;
    const same = ({ state: other }) => {
      const whole = normalized(other);
      return ["map", "x", "kernel", "stride", "padding", "output_padding", "dilation", "bias"].every((key) => JSON.stringify(whole[key]) === JSON.stringify(state[key]));
    };
    const preset = this.presets.find(same);
    this.example.value = preset?.name ?? "";
    this.note.textContent = preset?.note ?? "";
    this.note.hidden = !preset;
    const rows = sizes(state);
    const names = rows.length === 1 ? [""] : ["Rows", "Columns"];
    const alike = new Set(rows.map((row) => row.letters)).size === 1; // the axes' ends may be written in two ways
    const axis = (a) => (names[a] ? h("span", { class: "us-axis" }, names[a]) : null);
    this.size.replaceChildren(
      h("h2", {}, "Size of the result"),
      ...rows.flatMap((row, a) => [
        alike && a ? null : h("p", { class: "us-formula" }, alike ? null : axis(a), row.letters),
        h("p", { class: "us-formula us-filled" }, axis(a), `${row.numbers} = `, h("strong", {}, String(row.result))),
      ]).filter(Boolean),
      h("p", { class: "us-soft" }, sizeNote(rows, state.map)),
    );
    this.renderCode();
  }

  buildCode() {
    const id = this.id;
    this.codeTabs = h("div", { class: "us-tabs us-small-tabs", role: "tablist", "aria-label": "Framework" }, ...Object.keys(NAMES).map((name) => h("button", {
      type: "button", role: "tab", "data-framework": name, id: `${id}-code-${name}`, "aria-controls": `${id}-code`,
      onclick: () => { this.framework = name; this.renderCode(); },
    }, NAMES[name])));
    arrows(this.codeTabs, (tab) => tab.click());
    this.verdict = h("div", { class: "us-verdict" });
    this.program = h("pre", { tabindex: "0", role: "region", "aria-label": "Program" }, h("code"));
    const copy = h("button", { type: "button", class: "us-small us-copy", onclick: () => this.copy(this.program.textContent, copy) }, "Copy");
    this.code.append(h("h2", {}, "The same in each framework"), this.codeTabs, h("div", { id: `${id}-code`, role: "tabpanel" }, this.verdict, h("div", { class: "us-program" }, this.program, copy)));
  }

  renderCode() {
    const { framework, t } = this;
    for (const tab of this.codeTabs.children) {
      const on = tab.dataset.framework === framework;
      tab.setAttribute("aria-selected", String(on));
      tab.tabIndex = on ? 0 : -1;
      if (on) this.code.querySelector("[role=tabpanel]").setAttribute("aria-labelledby", tab.id);
    }
    const { code, setting } = program(t, framework);
    this.program.firstElementChild.textContent = code;
    const lines = [];
    if (setting?.reason) {
      lines.push(h("p", {}, h("strong", { class: "us-no" }, "Not in one call: "), `${setting.reason}.`), h("p", { class: "us-soft" }, `Instead: ${setting.recipe}.`));
    } else if (setting) {
      const args = Object.entries(setting.arguments).map(([name, value]) => h("span", { class: "us-arg" }, `${name}=${tuple(value)}`));
      lines.push(h("p", {}, h("strong", { class: "us-yes" }, "One call: "), h("code", {}, setting.call)), h("p", { class: "us-args" }, ...args));
    } else lines.push(h("p", {}, framework === "numpy" ? "The definition, in loops." : "Every setting is one call."));
    this.verdict.replaceChildren(...lines);
  }

  async copy(text, button) {
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = h("textarea", { class: "us-live" }, text);
      this.root.append(area);
      area.select();
      done = document.execCommand("copy");
      area.remove();
      button.focus();
    }
    const was = button.dataset.was ?? button.textContent;
    button.dataset.was = was;
    button.textContent = done ? "Copied" : "Not allowed here";
    this.announce(done ? "Copied." : "The browser does not allow copying here.");
    setTimeout(() => { button.textContent = was; }, 1500);
  }

  async save(what, button) {
    if (what === "link") {
      this.history.replace(toHash(this.get()));
      await this.copy(location.href, button);
      return;
    }
    this.player.stop();
    const was = button.textContent;
    button.disabled = true;
    const name = `unstride-${this.state.map === "conv" ? "conv" : "conv-transpose"}-${this.state.view}`;
    try {
      await save(what, name, this.t, this.state.view, this.step, this.palette, (done) => { button.textContent = `${Math.round(done * 100)}%`; });
      this.announce(`${name}.${what} is saved.`);
    } catch (error) {
      this.say(`The ${what.toUpperCase()} could not be made: ${error.message}`);
    }
    button.disabled = false;
    button.textContent = was;
    button.focus();
  }

  /** For paper: light colours, and boards no wider than a sheet; and back. */
  print(on) {
    this.printing = on;
    this.setTheme();
    if (on ? !this.step : this.blank) { // nothing is done at step 0: paper has all of it
      this.blank = on;
      this.step = on ? this.scene.steps : 0;
      this.frame();
    }
    this.stage.print(on);
  }

  setTheme() {
    const dark = !this.printing && (this.options.dark ? this.options.dark() : matchMedia("(prefers-color-scheme: dark)").matches);
    this.palette = PALETTES[dark ? "dark" : "light"];
    this.root.dataset.theme = dark ? "dark" : "light";
    for (const [name, value] of Object.entries(this.palette)) {
      const [fill, text] = Array.isArray(value) ? value : [value, null];
      this.root.style.setProperty(`--us-${name}`, fill);
      if (text) this.root.style.setProperty(`--us-${name}-text`, text);
    }
    this.stage.theme(this.palette);
  }

  destroy() {
    this.player.stop();
    this.history?.destroy();
    for (const [event, act] of this.paper) removeEventListener(event, act);
    clearTimeout(this.telling);
    clearTimeout(this.announcing);
    this.stage.destroy();
  }
}

/** Left and right move among the tabs of a list, as in every tab list. */
function arrows(list, choose) {
  list.addEventListener("keydown", (event) => {
    const tabs = [...list.children];
    const at = tabs.indexOf(event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const tab = tabs[(to + tabs.length) % tabs.length];
    choose(tab);
    tab.focus();
  });
}
