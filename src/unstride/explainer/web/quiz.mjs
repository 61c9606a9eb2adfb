// The quiz's part of the page.

import { KINDS, question } from "./questions.mjs";
import { h } from "./element.mjs";
import { toHash } from "./state.mjs";

const sentence = (text) => text[0].toUpperCase() + text.slice(1);

export class Quiz {
  /** `on`: show(state, spot) opens a case in the explorer; announce(text). */
  constructor(on) {
    this.on = on;
    this.asked = 0;
    this.right = 0;
    this.body = h("div", { class: "us-question" });
    this.score = h("span", { class: "us-soft us-score" });
    this.element = h("section", { class: "us-card us-quiz", "aria-label": "Quiz" }, h("div", { class: "us-row-head" }, h("h2", {}, "Quiz"), this.score), this.body);
    this.body.append(
      h("p", {}, "Sizes, single cells, geometries that fit, overlaps, checkerboards: every answer is computed, and a wrong one is explained."),
      h("button", { type: "button", class: "us-button", onclick: () => this.next(true) }, "Ask me something"),
    );
  }

  next(focus) {
    const q = question(KINDS[this.asked % KINDS.length]);
    this.asked += 1;
    this.q = q;
    const feedback = h("div", { class: "us-feedback", role: "status" });
    const name = `us-choice-${this.asked}`;
    const input = q.options ? null : h("input", { class: "us-answer", inputmode: "numeric", autocomplete: "off", "aria-label": "Your answer" });
    const choices = q.options?.map((text, i) => h("label", { class: "us-choice" }, h("input", { type: "radio", name, value: i }), text));
    const submit = h("button", { type: "submit", class: "us-button" }, "Check");
    const form = h(
      "form", {
        onsubmit: (event) => {
          event.preventDefault();
          const value = input ? input.value.trim().replace("−", "-").replace(",", ".") : form.querySelector("input:checked")?.value;
          this.check(value, feedback, form);
        },
      },
      input ?? h("div", { class: "us-choices", role: "radiogroup", "aria-label": "Your answer" }, ...choices), submit,
    );
    this.body.replaceChildren(
      h("p", { class: "us-ask", tabindex: "-1", "data-kind": q.kind, "data-case": toHash(q.state, null), "data-spot": q.spot?.index ?? "", "data-cases": JSON.stringify(q.cases?.map((c) => toHash(c, null)) ?? []) }, q.text),
      ...(q.tables ? [h("div", { class: "us-tables" }, table("Input", q.state.x, "input"), table("Kernel", q.state.kernel, "kernel"))] : []),
      form, feedback,
    );
    if (focus) this.body.querySelector(".us-ask").focus({ preventScroll: true });
  }

  check(value, feedback, form) {
    const given = Number(value);
    if (value === undefined || value === "" || !Number.isFinite(given)) {
      feedback.textContent = this.q.options ? "Pick one of the four." : `'${value}' is no number.`;
      return;
    }
    const right = given === this.q.answer;
    this.right += right;
    for (const element of form.elements) element.disabled = true;
    const words = right ? `${sentence(this.q.right)}.` : sentence(this.q.wrong(given));
    feedback.replaceChildren(
      h("p", {}, h("strong", { class: right ? "us-yes" : "us-no" }, right ? "Right. " : "Not quite. "), words),
      h("div", { class: "us-buttons" },
        h("button", { type: "button", class: "us-small", onclick: () => this.on.show(this.q.state, this.q.spot) }, "Show it above"),
        h("button", { type: "button", class: "us-button", onclick: () => this.next(true) }, "Next question")),
    );
    this.score.textContent = `${this.right} of ${this.asked} right`;
    feedback.querySelector(".us-button").focus({ preventScroll: true });
  }
}

function table(title, rows, look) {
  return h("table", { class: `us-table us-${look}` }, h("caption", {}, title), ...rows.map((row) => h("tr", {}, ...row.map((v) => h("td", {}, String(v))))));
}
