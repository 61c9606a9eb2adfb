// Points in a plane. The nearest to the pointer, or where the arrow keys went, shows its small picture.
const SIDE = 28, SIZE = 560, MARGIN = 24, SHOWN = 84;

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "w w-map";
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIZE;
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", "Map of codes. Arrow keys go from point to point, Enter chooses.");
  const said = document.createElement("p");
  said.className = "w-said";
  said.setAttribute("aria-live", "polite");
  root.append(canvas, said);
  el.append(root);
  const pen = canvas.getContext("2d");
  const sheet = new Image();
  sheet.onload = show;
  let hovered = -1;

  const spot = ([x, y]) => [MARGIN + x * (SIZE - 2 * MARGIN), MARGIN + (1 - y) * (SIZE - 2 * MARGIN)];
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function show() {
    const points = model.get("points");
    const colours = model.get(dark.matches ? "dark_colours" : "colours");
    const look = getComputedStyle(root);
    pen.clearRect(0, 0, SIZE, SIZE);
    pen.globalAlpha = 0.65;
    for (const point of points) {
      const [x, y] = spot(point);
      pen.fillStyle = colours[point[2] % colours.length];
      pen.beginPath();
      pen.arc(x, y, 4, 0, 7);
      pen.fill();
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = pen.fillStyle = look.getPropertyValue("--w-ink").trim();
    pen.font = "600 18px system-ui, sans-serif";
    for (const [px, py, name] of model.get("extra")) {
      const [x, y] = spot([px, py]);
      pen.lineWidth = 2.5;
      pen.beginPath();
      pen.moveTo(x - 7, y - 7);
      pen.lineTo(x + 7, y + 7);
      pen.moveTo(x + 7, y - 7);
      pen.lineTo(x - 7, y + 7);
      pen.stroke();
      pen.fillText(name, x + 10, y - 8);
    }
    const at = hovered >= 0 ? hovered : model.get("chosen");
    const point = points[at];
    if (!point) return;
    const [x, y] = spot(point);
    pen.lineWidth = 2.5;
    pen.beginPath();
    pen.arc(x, y, 8, 0, 7);
    pen.stroke();
    const left = x + 14 + SHOWN > SIZE ? x - 14 - SHOWN : x + 14, top = Math.max(0, Math.min(SIZE - SHOWN, y - SHOWN / 2));
    const columns = model.get("columns");
    pen.imageSmoothingEnabled = false;
    if (sheet.complete && sheet.naturalWidth) {
      pen.drawImage(sheet, (at % columns) * SIDE, Math.floor(at / columns) * SIDE, SIDE, SIDE, left, top, SHOWN, SHOWN);
      pen.lineWidth = 1.5;
      pen.strokeRect(left, top, SHOWN, SHOWN);
    }
    said.textContent = `Digit ${point[2]}, test image ${at}`;
  }

  function choose() {
    if (hovered < 0) return;
    model.set("chosen", hovered);
    model.save_changes();
  }
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * SIZE, y = ((event.clientY - box.top) / box.height) * SIZE;
    let best = -1, least = 24;
    model.get("points").forEach((point, number) => {
      const [px, py] = spot(point), far = Math.hypot(px - x, py - y);
      if (far < least) [best, least] = [number, far];
    });
    if (best !== hovered) {
      hovered = best;
      show();
    }
  });
  canvas.addEventListener("click", choose);
  canvas.addEventListener("pointerleave", () => {
    hovered = -1;
    show();
  });
  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose();
      return;
    }
    const move = MOVES[event.key];
    if (!move) return;
    event.preventDefault();
    const points = model.get("points");
    const from = points[hovered >= 0 ? hovered : Math.max(0, model.get("chosen"))];
    if (!from) return;
    const [x, y] = spot(from);
    // The nearest ahead, those aside counting as farther.
    let best = -1, least = Infinity;
    points.forEach((point, number) => {
      const [px, py] = spot(point), dx = px - x, dy = py - y;
      const ahead = dx * move[0] + dy * move[1], aside = Math.abs(dx * move[1]) + Math.abs(dy * move[0]);
      if (ahead > 0.5 && ahead + 2 * aside < least) [best, least] = [number, ahead + 2 * aside];
    });
    if (best >= 0) {
      hovered = best;
      show();
    }
  });
  const load = () => { sheet.src = model.get("sheet"); show(); };
  const own = ["points", "extra", "chosen", "colours", "columns"].map((name) => `change:${name}`);
  for (const name of own) model.on(name, show);
  model.on("change:sheet", load);
  dark.addEventListener("change", show);
  load();
  return () => {
    dark.removeEventListener("change", show);
    for (const name of own) model.off(name, show);
    model.off("change:sheet", load);
  };
}
export default { render };
