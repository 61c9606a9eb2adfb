// The controls: each computes the state after a change, so that an invalid change is refused with a reason.

import { shapeOf } from "./compute.mjs";
import { h } from "./element.mjs";
import { movement } from "./pointer.mjs";
import { filled, LIMITS, refusal, resized } from "./state.mjs";

const MODES = [["number", "Numbers"], ["pairs", "Pairs"], ["valid", "valid"], ["same", "same"]];

const paddingMode = (state) => {
  if (typeof state.padding === "string") return state.padding;
  return state.padding.some(Array.isArray) ? "pairs" : "number";
};

function withMode(state, mode) {
  const rank = shapeOf(state.x).length;
  if (mode === "valid" || mode === "same") return { ...state, padding: mode };
  const now = typeof state.padding === "string" ? Array(rank).fill(0) : state.padding;
  const pairs = now.map((p) => (Array.isArray(p) ? p : [p, p]));
  const output_padding = state.output_padding?.some((p) => p > 0) ? state.output_padding : null;
  return { ...state, output_padding, padding: mode === "pairs" ? pairs : pairs.map(([b]) => b) };
}

const noExtra = "A convolution has no output padding: the size of its result follows from the input. It belongs to the transposed convolution, which must choose among the sizes that a convolution maps to one.";

/** The fields of the setting: `get` one axis's value, `set` all; `of` is a reason to disable the control. */
const FIELDS = [
  {
    id: "size", label: "Input", low: 1, high: LIMITS.size, get: (s, a) => shapeOf(s.x)[a],
    set: (s, values) => ({ ...s, x: resized(s.x, values) }),
  },
  {
    id: "kernel", label: "Kernel k", low: 1, high: LIMITS.kernel, get: (s, a) => shapeOf(s.kernel)[a],
    set: (s, values) => ({ ...s, kernel: resized(s.kernel, values) }),
  },
  { id: "stride", label: "Stride s", low: 1, high: LIMITS.stride, get: (s, a) => s.stride[a], set: (s, stride) => ({ ...s, stride }) },
  {
    id: "dilation", label: "Dilation d", low: 1, high: LIMITS.dilation, get: (s, a) => s.dilation[a],
    set: (s, dilation) => ({ ...s, dilation }),
  },
  {
    id: "padding", label: "Padding p", low: LIMITS.low, high: LIMITS.high, when: (s) => paddingMode(s) === "number",
    get: (s, a) => s.padding[a], set: (s, padding) => ({ ...s, padding }),
  },
  {
    id: "begin", label: "Begin b", low: LIMITS.low, high: LIMITS.high, when: (s) => paddingMode(s) === "pairs",
    get: (s, a) => s.padding[a][0], set: (s, values) => ({ ...s, padding: s.padding.map(([, e], a) => [values[a], e]) }),
  },
  {
    id: "end", label: "End e", low: LIMITS.low, high: LIMITS.high, when: (s) => paddingMode(s) === "pairs",
    get: (s, a) => s.padding[a][1], set: (s, values) => ({ ...s, padding: s.padding.map(([b], a) => [b, values[a]]) }),
  },
  {
    // In front of 0 stands None, which with "valid" and "same" means something else.
    id: "extra", label: "Output padding", low: -1, high: LIMITS.extra, of: (s) => (s.map === "conv" ? noExtra : null),
    get: (s, a) => (s.output_padding === null ? (typeof s.padding === "string" ? -1 : 0) : s.output_padding[a]),
    set: (s, values) => {
      const none = values.some((v) => v < 0) || (typeof s.padding !== "string" && values.every((v) => v === 0));
      return { ...s, output_padding: none ? null : values };
    },
    text: (v) => (v < 0 ? "None" : String(v)),
  },
];

const floorOf = (field, state) => (field.id === "extra" && typeof state.padding !== "string" ? 0 : field.low);

export class Controls {
  /** `on`: change(state, more) applies a legal state (more: a key is held down); why(reason or "") shows or clears a reason; reset() undoes typing. */
  constructor(on) {
    this.on = on;
    this.linked = true;
    this.element = h("section", { class: "us-controls", "aria-label": "Setting" });
    const moved = movement();
    this.element.addEventListener("pointermove", (event) => moved(event) && event.pointerType !== "touch" && this.hint(event.target));
    this.element.addEventListener("focusin", (event) => this.hint(event.target));
    this.why = h("p", { class: "us-why", role: "status" });
  }

  hint(target) {
    const reason = target.closest?.("[data-reason]")?.dataset.reason;
    if (reason) this.say(reason);
    else if (!target.closest?.(".us-why")) this.say("");
  }

  say(reason) {
    if (this.why.textContent !== reason) this.why.textContent = reason;
    this.why.classList.toggle("us-on", Boolean(reason));
  }

  show(state) {
    const rank = shapeOf(state.x).length;
    const uneven = rank === 2 && FIELDS.some((f) => (!f.when || f.when(state)) && f.get(state, 0) !== f.get(state, 1));
    if (uneven) this.linked = false;
    const key = JSON.stringify([rank, this.linked, paddingMode(state), state.map]);
    if (key !== this.key) this.build(state, rank);
    this.key = key;
    this.state = state;
    for (const update of this.updates) update(state);
  }

  build(state, rank) {
    this.updates = [];
    const active = this.element.contains(this.element.getRootNode().activeElement) && this.element.getRootNode().activeElement?.id;
    const axes = rank === 1 ? [null] : this.linked ? [null] : [0, 1];
    const head = rank === 1 ? [] : [this.linker()];
    const names = axes.length === 2 ? [h("div", { class: "us-axes", "aria-hidden": "true" }, h("span", {}, "rows"), h("span", {}, "columns"))] : [];
    const rows = FIELDS.filter((f) => !f.when || f.when(state)).map((field) => this.row(field, axes));
    const at = rows.findIndex((row) => ["padding", "begin", "extra"].includes(row.dataset.field));
    rows.splice(at, 0, this.modes());
    this.element.classList.toggle("us-two", axes.length === 2);
    this.element.replaceChildren(h("h2", {}, "Setting"), ...head, ...names, ...rows, this.biasRow(), this.why, this.fillers());
    if (active) this.element.querySelector(`#${active}`)?.focus();
  }

  linker() {
    const box = h("input", { type: "checkbox", id: "us-linked" });
    box.checked = this.linked;
    box.addEventListener("change", () => {
      if (!box.checked) {
        this.linked = false;
        this.key = "";
        this.show(this.state);
        return;
      }
      let next = this.state;
      for (const f of FIELDS) if (!f.when || f.when(next)) next = f.set(next, [f.get(next, 0), f.get(next, 0)]);
      const reason = refusal(next);
      if (reason) {
        box.checked = false;
        this.say(`The axes cannot be made alike: ${reason}.`);
        return;
      }
      this.linked = true;
      this.on.change(next);
    });
    return h("label", { class: "us-check" }, box, "Rows and columns alike");
  }

  row(field, axes) {
    const steppers = axes.map((axis) => this.stepper(field, axis));
    return h("div", { class: "us-field", "data-field": field.id }, h("span", { class: "us-label" }, field.label), ...steppers);
  }

  /** The state with this value on this axis (null: on all), and why it is refused. */
  tried(field, axis, value) {
    const rank = shapeOf(this.state.x).length;
    const values = Array.from({ length: rank }, (_, a) => (axis === null || a === axis ? value : field.get(this.state, a)));
    if (field.id === "extra" && axis !== null && value >= 0) values.forEach((v, a) => { values[a] = Math.max(v, 0); });
    const blocked = field.of?.(this.state);
    if (blocked) return { reason: blocked };
    if (!Number.isInteger(value)) return { reason: `${field.label} is a whole number` };
    const low = floorOf(field, this.state);
    if (value < low) return { reason: low === 1 ? `${field.label} is at least 1` : `${field.label} is at least ${String(low).replace("-", "−")} here` };
    if (value > field.high) return { reason: `${field.label} is at most ${field.high} here, so that the numbers stay legible` };
    const next = field.set(this.state, values);
    return { next, reason: refusal(next) };
  }

  stepper(field, axis) {
    const id = `us-${field.id}-${axis ?? "all"}`;
    const where = axis === null ? "" : axis === 0 ? ", rows" : ", columns";
    const less = h("button", { type: "button", class: "us-step", "aria-label": `${field.label}${where}: less`, tabindex: "-1", id: `${id}-less` }, "−");
    const more = h("button", { type: "button", class: "us-step", "aria-label": `${field.label}${where}: more`, tabindex: "-1", id: `${id}-more` }, "+");
    const input = h("input", { id, role: "spinbutton", inputmode: "numeric", autocomplete: "off", "aria-label": field.label + where });
    const text = field.text ?? ((value) => String(value).replace("-", "−"));
    const now = () => field.get(this.state, axis ?? 0);
    const go = (value, more = false) => {
      const { next, reason } = this.tried(field, axis, value);
      if (reason) this.say(reason);
      else this.on.change(next, more);
      input.value = text(now());
      return !reason;
    };
    less.addEventListener("click", () => go(now() - 1));
    more.addEventListener("click", () => go(now() + 1));
    input.addEventListener("change", () => {
      const typed = input.value.trim().replace("−", "-");
      if (field.id === "extra" && /^none$/i.test(typed)) go(floorOf(field, this.state));
      else if (typed === "" || !Number.isInteger(Number(typed))) {
        this.say(`${field.label} is a whole number; '${input.value}' is none`);
        input.value = text(now());
      } else go(Number(typed));
    });
    input.addEventListener("keydown", (event) => {
      const by = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (event.key === "Enter") input.dispatchEvent(new Event("change"));
      if (!by) return;
      event.preventDefault();
      go(now() + by, event.repeat);
    });
    this.updates.push((state) => {
      const value = field.get(state, axis ?? 0);
      input.value = text(value);
      input.setAttribute("aria-valuenow", value);
      input.setAttribute("aria-valuetext", text(value));
      input.setAttribute("aria-valuemin", floorOf(field, state));
      input.setAttribute("aria-valuemax", field.high);
      const blocked = field.of?.(state) ?? null;
      mark(input, blocked);
      mark(less, this.tried(field, axis, value - 1).reason);
      mark(more, this.tried(field, axis, value + 1).reason);
      input.readOnly = Boolean(blocked);
    });
    return h("div", { class: "us-stepper", role: "group", "aria-label": field.label + where }, less, input, more);
  }

  modes() {
    const inputs = MODES.map(([mode, name]) => {
      const input = h("input", { type: "radio", name: `us-mode-${this.id}`, value: mode, id: `us-mode-${mode}` });
      const text = h("label", { for: input.id, class: ["valid", "same"].includes(mode) ? "us-code" : "" }, name);
      input.addEventListener("change", () => {
        const next = withMode(this.state, mode);
        const reason = refusal(next);
        if (reason) {
          this.say(reason);
          this.show(this.state);
        } else this.on.change(next);
      });
      this.updates.push((state) => {
        input.checked = paddingMode(state) === mode;
        const reason = input.checked ? null : refusal(withMode(state, mode));
        mark(input, reason);
        mark(text, reason);
      });
      return h("span", {}, input, text);
    });
    return h("fieldset", { class: "us-modes us-segmented" }, h("legend", {}, "Padding"), ...inputs);
  }

  biasRow() {
    const input = h("input", { id: "us-bias", inputmode: "text", autocomplete: "off", "aria-label": "Bias" });
    input.addEventListener("change", () => {
      const value = Number(input.value.trim().replace("−", "-").replace(",", "."));
      if (input.value.trim() === "" || !Number.isFinite(value)) this.say(`The bias is a number; '${input.value}' is none`);
      else this.on.change({ ...this.state, bias: value });
      input.value = String(this.state.bias).replace("-", "−");
    });
    this.updates.push((state) => { input.value = String(state.bias).replace("-", "−"); });
    return h("div", { class: "us-field", "data-field": "bias" }, h("span", { class: "us-label" }, "Bias"), h("div", { class: "us-stepper us-single" }, input));
  }

  fillers() {
    const button = (what, how, text) => h("button", {
      type: "button", class: "us-small", "aria-label": `${what === "x" ? "Input" : "Kernel"}: ${text}`,
      onclick: () => this.on.change({ ...this.state, [what]: filled(shapeOf(this.state[what]), how) }),
    }, text);
    const group = (what, name) => h(
      "div", { class: "us-fill", role: "group", "aria-label": `Fill the ${name.toLowerCase()}` }, h("span", { class: "us-label" }, name),
      button(what, "count", "0 1 2…"), button(what, "random", "random"), button(what, "ones", "ones"),
    );
    return h("div", { class: "us-fillers" }, group("x", "Input"), group("kernel", "Kernel"));
  }
}

Controls.prototype.id = "";

function mark(element, reason) {
  if (reason) {
    element.setAttribute("aria-disabled", "true");
    element.dataset.reason = reason;
    element.title = reason;
  } else if (element.dataset.reason) {
    element.removeAttribute("aria-disabled");
    delete element.dataset.reason;
    element.removeAttribute("title");
  }
}
