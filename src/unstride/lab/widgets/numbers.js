// Fields for whole or other numbers, in one line or as a table. (marimo's own are named by markup, which a screen reader
// would read out.)
function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "w w-numbers";
  el.append(root);
  let inputs = [], timer = 0;

  function build() {
    const columns = model.get("columns"), rows = model.get("rows"), values = model.get("values");
    const table = rows.some((name) => name);
    root.classList.toggle("w-table", table);
    root.style.setProperty("--count", columns.length);
    root.replaceChildren();
    if (table) {
      root.append(cell("span", "", ""), ...columns.map(([label]) => cell("span", "w-head", label)));
    }
    inputs = rows.map((row, at) => {
      if (table) root.append(cell("span", "w-row", row));
      return columns.map(([label, least, most, step], number) => {
        const input = document.createElement("input");
        Object.assign(input, { type: "number", min: least, max: most, step, value: values[at][number] });
        input.inputMode = Number.isInteger(step) ? "numeric" : "decimal";
        input.setAttribute("aria-label", table ? `${row}: ${label}` : label);
        const take = (final) => {
          const typed = input.valueAsNumber;
          const fits = Number.isFinite(typed) && typed >= least && typed <= most;
          input.setAttribute("aria-invalid", String(!fits));
          if (!fits && !final) return; // still being typed
          const before = model.get("values")[at][number];
          let next = Number.isFinite(typed) ? Math.max(least, Math.min(most, typed)) : before;
          if (Number.isInteger(step)) next = Math.round(next);
          if (final) {
            input.value = next;
            input.setAttribute("aria-invalid", "false");
          }
          if (next !== before) {
            model.set("values", model.get("values").map((line, y) => line.map((old, x) => (y === at && x === number ? next : old))));
          } else if (!timer) {
            return;
          }
          clearTimeout(timer);
          timer = final ? 0 : setTimeout(save, 350); // at once when the field is left: for a button, say
          if (final) save();
        };
        input.addEventListener("input", () => take(false));
        input.addEventListener("change", () => take(true));
        if (table) {
          root.append(input);
        } else {
          const around = cell("label", "", "");
          around.append(cell("span", "", label), input);
          root.append(around);
        }
        return input;
      });
    });
  }
  function save() {
    timer = 0;
    model.save_changes();
  }
  function cell(kind, name, text) {
    const made = document.createElement(kind);
    made.className = name;
    made.textContent = text;
    return made;
  }
  function fill() {
    model.get("values").forEach((line, at) => line.forEach((value, number) => {
      const input = inputs[at]?.[number];
      if (input && input !== input.getRootNode().activeElement) input.value = value;
    }));
  }
  model.on("change:values", fill);
  for (const name of ["change:columns", "change:rows"]) model.on(name, build);
  build();
  return () => {
    clearTimeout(timer);
    model.off("change:values", fill);
    for (const name of ["change:columns", "change:rows"]) model.off(name, build);
  };
}
export default { render };
