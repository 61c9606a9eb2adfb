// Pointer events without a movement. When cells move or scroll under one at rest, browsers send the events of entering and
// leaving, some also that of moving: whoever works with the keys would lose the cell they are on, or the reason they read.

/** A function of events that says of each whether the pointer has moved since the one before. */
export function movement() {
  let [x, y] = [null, null];
  return ({ clientX, clientY }) => {
    const moved = clientX !== x || clientY !== y;
    [x, y] = [clientX, clientY];
    return moved;
  };
}
