// Two pictures over each other. The slider is a real one, so that the keyboard and screen readers have it.
function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "w w-compare";
  const stage = document.createElement("div");
  stage.className = "w-stage";
  const after = document.createElement("img"), before = document.createElement("img");
  before.className = "w-before";
  const bar = document.createElement("div");
  bar.className = "w-line";
  const names = [document.createElement("span"), document.createElement("span")];
  names[0].className = "w-name w-left";
  names[1].className = "w-name w-right";
  stage.append(after, before, bar, ...names);
  const slider = document.createElement("input");
  slider.type = "range";
  slider.min = 0;
  slider.max = 100;
  slider.step = 0.5;
  root.append(stage, slider);
  el.append(root);

  function place() {
    const at = model.get("position");
    stage.style.setProperty("--at", `${at}%`);
    slider.value = at;
    names[0].hidden = at < 12;
    names[1].hidden = at > 88;
  }
  function pictures() {
    before.src = model.get("before");
    after.src = model.get("after");
    for (const image of [before, after]) {
      image.width = model.get("width");
      image.height = model.get("height");
      image.draggable = false;
    }
    before.alt = `${model.get("before_name")}: ${model.get("alt")}`;
    after.alt = `${model.get("after_name")}: ${model.get("alt")}`;
    stage.style.aspectRatio = `${model.get("width")} / ${model.get("height")}`;
    stage.style.maxWidth = `${model.get("width")}px`;
    slider.style.maxWidth = `${model.get("width")}px`;
    names[0].textContent = model.get("before_name");
    names[1].textContent = model.get("after_name");
    slider.setAttribute("aria-label", `How much is ${model.get("before_name")}, the rest ${model.get("after_name")}`);
    place();
  }
  let shown = false;
  function move(at, final) {
    model.set("position", Math.max(0, Math.min(100, at)));
    place();
    if (final) model.save_changes();
  }
  slider.addEventListener("input", () => move(Number(slider.value), false));
  slider.addEventListener("change", () => move(Number(slider.value), true));
  const by = (event) => {
    const box = stage.getBoundingClientRect();
    return (100 * (event.clientX - box.left)) / box.width;
  };
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    shown = true;
    move(by(event), false);
  });
  stage.addEventListener("pointermove", (event) => shown && move(by(event), false));
  for (const name of ["pointerup", "pointercancel"]) {
    stage.addEventListener(name, () => {
      if (shown) model.save_changes();
      shown = false;
    });
  }
  const own = ["before", "after", "before_name", "after_name", "width", "height", "alt"].map((name) => `change:${name}`);
  for (const name of own) model.on(name, pictures);
  model.on("change:position", place);
  pictures();
  return () => {
    for (const name of own) model.off(name, pictures);
    model.off("change:position", place);
  };
}
export default { render };
