// A picture of few pixels, drawn as squares. Pointer and arrow keys choose one, if it lets them.
const SIZE = 336;

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "w w-pixels";
  const canvas = document.createElement("canvas");
  const said = document.createElement("p");
  said.className = "w-said";
  said.setAttribute("aria-live", "polite");
  root.append(canvas, said);
  el.append(root);
  let timer = 0;

  function colour(value, signed, theme) {
    if (!signed) {
      const grey = Math.round(255 * Math.max(0, Math.min(1, value)));
      return `rgb(${grey} ${grey} ${grey})`;
    }
    const share = `${Math.round(100 * Math.min(1, Math.abs(value)))}%`;
    return `color-mix(in srgb, ${value < 0 ? theme.minus : theme.plus} ${share}, ${theme.none})`;
  }

  function show() {
    const values = model.get("values"), marked = model.get("marked"), cell = model.get("cell");
    const choose = model.get("choose"), signed = model.get("signed"), counts = model.get("counts");
    const rows = values.length, columns = rows ? values[0].length : 0;
    if (!rows) return;
    // Numbers need more pixels than squares do.
    const side = Math.max(1, Math.floor(((counts ? 2 : 1) * SIZE) / Math.max(rows, columns)));
    const most = counts ? Math.max(1, ...values.flat()) : 1;
    canvas.style.imageRendering = counts ? "auto" : "";
    canvas.width = side * columns;
    canvas.height = side * rows;
    canvas.setAttribute("role", choose ? "application" : "img");
    canvas.setAttribute("aria-label", model.get("name") + (choose ? ". Arrow keys choose a pixel." : ""));
    canvas.tabIndex = choose ? 0 : -1;
    canvas.style.cursor = choose ? "crosshair" : "default";
    const look = getComputedStyle(root);
    const theme = {
      plus: look.getPropertyValue("--w-plus").trim(),
      minus: look.getPropertyValue("--w-minus").trim(),
      none: look.getPropertyValue("--w-none").trim(),
    };
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, canvas.width, canvas.height);
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1) {
        const value = values[row][column] / most;
        pen.fillStyle = colour(value, signed, theme);
        pen.fillRect(column * side, row * side, side, side);
        if (counts) { // white cells on white paper, too, have an edge
          pen.strokeStyle = "#8a929b";
          pen.lineWidth = 2;
          pen.strokeRect(column * side + 1, row * side + 1, side - 2, side - 2);
          pen.fillStyle = value > 0.5 ? "#000" : "#fff";
          pen.font = `600 ${Math.round(side * 0.5)}px system-ui, sans-serif`;
          pen.textAlign = "center";
          pen.textBaseline = "middle";
          pen.fillText(values[row][column], (column + 0.5) * side, (row + 0.52) * side);
        }
      }
    }
    if (marked.length) {
      // The outline of the marked ones: an edge wherever one is and its neighbour is not.
      const is = (row, column) => Boolean(marked[row]?.[column]);
      pen.strokeStyle = look.getPropertyValue("--w-mark").trim();
      pen.lineWidth = 2;
      pen.beginPath();
      for (let row = 0; row < rows; row += 1) {
        for (let column = 0; column < columns; column += 1) {
          if (!is(row, column)) continue;
          const [x, y] = [column * side, row * side];
          if (!is(row - 1, column)) { pen.moveTo(x, y); pen.lineTo(x + side, y); }
          if (!is(row + 1, column)) { pen.moveTo(x, y + side); pen.lineTo(x + side, y + side); }
          if (!is(row, column - 1)) { pen.moveTo(x, y); pen.lineTo(x, y + side); }
          if (!is(row, column + 1)) { pen.moveTo(x + side, y); pen.lineTo(x + side, y + side); }
        }
      }
      pen.stroke();
    }
    if (choose && cell.length) {
      pen.strokeStyle = look.getPropertyValue("--w-mark").trim();
      pen.lineWidth = counts ? 6 : 3;
      pen.strokeRect(cell[1] * side, cell[0] * side, side, side);
      const value = values[cell[0]]?.[cell[1]];
      said.textContent = `row ${cell[0]}, column ${cell[1]}: ${(counts ? value : value?.toFixed(3)) ?? ""}`;
    }
    said.hidden = !choose;
  }

  function select(row, column) {
    const values = model.get("values"), cell = model.get("cell");
    const next = [Math.max(0, Math.min(values.length - 1, row)), Math.max(0, Math.min(values[0].length - 1, column))];
    if (cell.length && next[0] === cell[0] && next[1] === cell[1]) return;
    model.set("cell", next);
    show();
    if (!timer) timer = setTimeout(() => { timer = 0; model.save_changes(); }, 60);
  }
  const at = (event) => {
    const box = canvas.getBoundingClientRect(), values = model.get("values");
    return [
      Math.floor(((event.clientY - box.top) / box.height) * values.length),
      Math.floor(((event.clientX - box.left) / box.width) * values[0].length),
    ];
  };
  for (const name of ["pointermove", "pointerdown"]) {
    canvas.addEventListener(name, (event) => model.get("choose") && select(...at(event)));
  }
  const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  canvas.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (!move || !model.get("choose")) return;
    event.preventDefault();
    const values = model.get("values"), cell = model.get("cell");
    const from = cell.length ? cell : [Math.floor(values.length / 2), Math.floor(values[0].length / 2)];
    select(from[0] + move[0], from[1] + move[1]);
  });
  const own = ["values", "marked", "cell", "choose", "signed", "counts", "name"].map((name) => `change:${name}`);
  for (const name of own) model.on(name, show);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", show);
  show();
  return () => {
    clearTimeout(timer);
    dark.removeEventListener("change", show);
    for (const name of own) model.off(name, show);
  };
}
export default { render };
