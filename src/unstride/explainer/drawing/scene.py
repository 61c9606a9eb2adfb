"""A picture as plain data: shapes by role of colour, frame by frame. Rendered as SVG text and as pixels.

Coordinates are pixels at scale 1, y downwards. A shape that stays from one frame to the next is the same object in
both; it is written once and shown as long as it stays.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

FILLS, OVERLAYS, LINES, FRAMES, TEXT = range(5)
"""The layers, from the lowest."""

Point = tuple[float, float]


class Box(NamedTuple):
    """A rectangle. `fill` and `stroke` are roles of `palette`, "" for none; the stroke is inside the rectangle."""

    x: float
    y: float
    width: float
    height: float
    fill: str = ""
    stroke: str = ""
    thick: float = 1.0
    dashed: bool = False
    hatched: bool = False
    layer: int = FILLS


class Label(NamedTuple):
    """One line of text; (x, y) is the middle, the start or the end of its baseline."""

    x: float
    y: float
    text: str
    size: float
    ink: str = "ink"
    anchor: str = "middle"
    layer: int = TEXT


class Lines(NamedTuple):
    """Lines, each from point to point."""

    lines: tuple[tuple[Point, ...], ...]
    ink: str = "ink"
    thick: float = 1.0
    layer: int = LINES


Shape = Box | Label | Lines


class Life(NamedTuple):
    """A shape and the frames, from `start` to before `stop`, that show it."""

    shape: Shape
    start: int
    stop: int


@dataclass(frozen=True)
class Scene:
    """`still` is in every frame; each frame adds its own. Painted by layer, then in order."""

    width: int
    height: int
    title: str
    captions: tuple[str, ...]
    still: tuple[Shape, ...]
    frames: tuple[tuple[Shape, ...], ...]

    def frame(self, index: int) -> list[Shape]:
        """All shapes of one frame, in the order of painting."""
        return sorted((*self.still, *self.frames[index]), key=_layer)

    def only(self, index: int) -> Scene:
        """The scene of that frame alone."""
        return Scene(self.width, self.height, self.title, (self.captions[index],), self.still, (self.frames[index],))

    def roles(self) -> set[str]:
        """The colours that it uses, all frames together."""
        shapes = {id(shape): shape for shape in itertools.chain(self.still, *self.frames)}.values()
        used = {role for s in shapes for role in ((s.fill, s.stroke) if isinstance(s, Box) else (s.ink,)) if role}
        return used | {"hatch" for s in shapes if isinstance(s, Box) and s.hatched}

    def lives(self) -> list[Life]:
        """Every shape once for each run of frames that shows it, in the order of painting."""
        last = len(self.frames)
        lives = [Life(shape, 0, last) for shape in self.still]
        since: dict[int, Life] = {}
        for index, frame in enumerate(self.frames):
            now = {id(shape): shape for shape in frame}  # by identity: hashing a million tuples takes seconds
            for key in [key for key in since if key not in now]:
                lives.append(since.pop(key)._replace(stop=index))
            for key, shape in now.items():
                if key not in since:
                    since[key] = Life(shape, index, last)
        lives += since.values()
        return sorted(lives, key=lambda life: (life.shape.layer, life.start, life.stop))


def _layer(shape: Shape) -> int:
    return shape.layer
