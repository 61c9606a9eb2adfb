// Play, pause, step and scrub.

import { h } from "./element.mjs";

const RATES = [[1, "slow"], [3, "normal"], [10, "fast"], [30, "faster"], [60, "fastest"]];
const icon = (path) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
};
const PLAY = "M4 2.5v11l9-5.5z";
const PAUSE = "M4 2.5h3v11H4zM9 2.5h3v11H9z";

export class Player {
  /** `on`: step(n) goes there; steps() and now() say how many there are and which it is; pace(ms) a step. */
  constructor(on) {
    this.on = on;
    this.playing = false;
    this.chosen = false;
    const button = (label, path, act, extra = "") => h("button", { type: "button", class: `us-icon ${extra}`, "aria-label": label, title: label, onclick: act }, icon(path));
    this.toggle = button("Play", PLAY, () => (this.playing ? this.stop() : this.play()), "us-play");
    this.range = h("input", { type: "range", min: "0", step: "1", "aria-label": "Step", oninput: () => { this.stop(); this.on.step(Number(this.range.value)); } });
    this.count = h("output", { class: "us-count" });
    this.speed = h("select", { "aria-label": "Speed", onchange: () => { this.chosen = true; this.restart(); } }, ...RATES.map(([rate, name]) => h("option", { value: rate }, name)));
    this.speed.value = "3";
    this.element = h(
      "div", { class: "us-player", role: "group", "aria-label": "Steps" },
      button("To the beginning", "M3 2.5h2v11H3zM13 2.5v11L6 8z", () => this.to(0)),
      button("Step back", "M11 2.5v11L3.5 8z", () => this.to(this.on.now() - 1)), this.toggle,
      button("Step forward", "M5 2.5v11L12.5 8z", () => this.to(this.on.now() + 1)),
      button("To the end", "M11 2.5h2v11h-2zM3 2.5v11L10 8z", () => this.to(this.on.steps())), this.range, this.count, this.speed,
    );
  }

  get rate() {
    return Number(this.speed.value);
  }

  /** Another scene: a long one plays faster, unless a speed was chosen. */
  show() {
    const steps = this.on.steps();
    this.range.max = steps;
    if (!this.chosen) this.speed.value = String(steps > 200 ? 30 : steps > 40 ? 10 : 3);
    this.on.pace(1000 / this.rate);
  }

  frame(step, steps, words) {
    if (Number(this.range.value) !== step) this.range.value = step;
    this.range.setAttribute("aria-valuetext", words);
    const text = `${step} / ${steps}`;
    if (this.count.textContent !== text) this.count.textContent = text;
    this.range.style.setProperty("--us-part", `${steps ? (100 * step) / steps : 0}%`);
  }

  to(step) {
    this.stop();
    this.on.step(Math.min(Math.max(step, 0), this.on.steps()));
  }

  play() {
    if (this.on.now() >= this.on.steps()) this.on.step(0);
    this.playing = true;
    this.face();
    this.restart();
    const tick = (time) => {
      if (!this.playing) return;
      this.request = requestAnimationFrame(tick);
      this.from ??= [time, this.on.now()];
      // Which step it is now follows from the clock: a slow frame skips steps, and does not slow the playing down.
      const due = this.from[1] + Math.floor(((time - this.from[0]) * this.rate) / 1000 + 0.01);
      const step = Math.min(due, this.on.steps());
      if (step !== this.on.now()) this.on.step(step);
      if (step >= this.on.steps()) this.stop();
    };
    this.request = requestAnimationFrame(tick);
  }

  restart() {
    this.from = null;
    this.on.pace(1000 / this.rate);
  }

  stop() {
    if (!this.playing) return;
    this.playing = false;
    cancelAnimationFrame(this.request);
    this.face();
  }

  face() {
    const label = this.playing ? "Pause" : "Play";
    this.toggle.setAttribute("aria-label", label);
    this.toggle.title = label;
    this.toggle.replaceChildren(icon(this.playing ? PAUSE : PLAY));
  }
}
