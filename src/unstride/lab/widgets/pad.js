// A pad of 28x28 pixels. A stroke is a line of round dabs with soft edges, about as wide as MNIST's.
const SIDE = 28, RADIUS = 1.15, SOFT = 0.9, SHOWN = 10, KEPT = 20;

function render({ model, el }) {
  let pixels = read(), past = [], pen = { x: 14, y: 14 }, last = null, erasing = false, timer = 0;

  const root = document.createElement("div");
  root.className = "w w-pad";
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE * SHOWN;
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-roledescription", "drawing pad");
  canvas.setAttribute("aria-label", "Drawing pad, 28 by 28 pixels. Arrow keys move the pen, Shift and an arrow draw, Space makes a dot, Backspace erases one, Delete clears all.");
  const bar = document.createElement("div");
  bar.className = "w-bar";
  const clear = button("Clear", () => { remember(); pixels.fill(0); show(); save(); });
  const undo = button("Undo", () => { if (past.length) { pixels = past.pop(); show(); save(); } });
  const rubber = button("Eraser", () => { erasing = !erasing; rubber.setAttribute("aria-pressed", String(erasing)); });
  rubber.setAttribute("aria-pressed", "false");
  bar.append(clear, undo, rubber);
  root.append(canvas, bar);
  el.append(root);
  const draw2d = canvas.getContext("2d");

  function button(text, action) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", action);
    return made;
  }

  function read() {
    const given = model.get("pixels");
    const made = new Float32Array(SIDE * SIDE);
    if (given && given.length === made.length) made.set(given);
    return made;
  }

  function remember() {
    past.push(pixels.slice());
    if (past.length > KEPT) past.shift();
  }

  function dab(x, y) {
    for (let row = Math.max(0, Math.floor(y - 3)); row < Math.min(SIDE, y + 3); row += 1) {
      for (let column = Math.max(0, Math.floor(x - 3)); column < Math.min(SIDE, x + 3); column += 1) {
        const far = Math.hypot(column + 0.5 - x, row + 0.5 - y);
        const ink = 255 * Math.max(0, Math.min(1, 1 - (far - RADIUS) / SOFT));
        const at = row * SIDE + column;
        pixels[at] = erasing ? Math.min(pixels[at], 255 - ink) : Math.max(pixels[at], ink);
      }
    }
  }

  function line(from, to) {
    const steps = Math.max(1, Math.ceil(4 * Math.hypot(to.x - from.x, to.y - from.y)));
    for (let step = 0; step <= steps; step += 1) {
      dab(from.x + ((to.x - from.x) * step) / steps, from.y + ((to.y - from.y) * step) / steps);
    }
  }

  function show() {
    const image = new ImageData(SIDE, SIDE);
    for (let at = 0; at < pixels.length; at += 1) {
      image.data.set([pixels[at], pixels[at], pixels[at], 255], 4 * at);
    }
    const small = new OffscreenCanvas(SIDE, SIDE);
    small.getContext("2d").putImageData(image, 0, 0);
    draw2d.imageSmoothingEnabled = false;
    draw2d.drawImage(small, 0, 0, canvas.width, canvas.height);
    if (canvas.matches(":focus-visible")) {
      draw2d.strokeStyle = "#ffb000";
      draw2d.lineWidth = 2;
      draw2d.strokeRect((pen.x - 1) * SHOWN, (pen.y - 1) * SHOWN, 2 * SHOWN, 2 * SHOWN);
    }
  }

  // Not for every movement: what is drawn from it takes the page a moment.
  function save(now = true) {
    if (!now) {
      if (!timer) timer = setTimeout(() => save(), 120);
      return;
    }
    clearTimeout(timer);
    timer = 0;
    const whole = Array.from(pixels, Math.round);
    model.set("pixels", whole.some((value) => value > 0) ? whole : []);
    model.save_changes();
  }

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * SIDE, y: ((event.clientY - box.top) / box.height) * SIDE };
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    remember();
    last = place(event);
    dab(last.x, last.y);
    show();
    save(false);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) {
      const next = place(each);
      line(last, next);
      last = next;
    }
    show();
    save(false);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, () => {
      if (!last) return;
      last = null;
      save();
    });
  }
  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (move) {
      const next = { x: Math.max(1, Math.min(27, pen.x + move[0])), y: Math.max(1, Math.min(27, pen.y + move[1])) };
      if (event.shiftKey) {
        remember();
        line(pen, next);
        save(false);
      }
      pen = next;
    } else if (event.key === " " || event.key === "Backspace") {
      remember();
      const before = erasing;
      erasing = erasing || event.key === "Backspace";
      dab(pen.x, pen.y);
      erasing = before;
      save(false);
    } else if (event.key === "Delete") {
      clear.click();
    } else {
      return;
    }
    event.preventDefault();
    show();
  });
  canvas.addEventListener("focus", show);
  canvas.addEventListener("blur", show);
  const changed = () => {
    if (last || timer) return; // what is being drawn is newer
    pixels = read();
    show();
  };
  model.on("change:pixels", changed);
  show();
  return () => {
    clearTimeout(timer);
    model.off("change:pixels", changed);
  };
}
export default { render };
