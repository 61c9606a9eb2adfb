"""A scene as pixels, by Pillow and the font that it brings."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from .palette import Theme
from .scene import Box, Label, Lines, Scene, Shape
from .vector import DASHES, HATCH

DPI = 96  # of a picture at scale 1, in print
FINER = 4  # slanted edges are drawn larger by this factor, then shrunk

# The font has no signs for mathematics: these are drawn, as lines through a square of 1 em with y = 0 on the baseline.
ABOVE, BELOW = 1.0, 0.35  # ems that letters reach from the baseline, at most
_MARGIN = 2  # pixels around a text, for letters that reach beyond their width
_WIDTH = 0.09
_DRAWN: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    "−": (((0.08, 0.33), (0.52, 0.33)),),
    "×": (((0.13, 0.12), (0.55, 0.54)), ((0.13, 0.54), (0.55, 0.12))),
    "→": (((0.08, 0.33), (0.86, 0.33)), ((0.62, 0.55), (0.87, 0.33), (0.62, 0.11))),
    "≥": (((0.1, 0.6), (0.5, 0.42), (0.1, 0.24)), ((0.1, 0.08), (0.5, 0.08))),
    "≤": (((0.5, 0.6), (0.1, 0.42), (0.5, 0.24)), ((0.1, 0.08), (0.5, 0.08))),
    "⌊": (((0.12, 0.75), (0.12, -0.12), (0.34, -0.12)),),
    "⌋": (((0.3, 0.75), (0.3, -0.12), (0.08, -0.12)),),
}
_ADVANCE = {"⌊": 0.36, "⌋": 0.42, "−": 0.6, "×": 0.68, "→": 0.95, "≥": 0.6, "≤": 0.6}


class Artist:
    """Draws scenes of one theme at one scale."""

    def __init__(self, theme: Theme, scale: float) -> None:
        self.theme = theme
        self.scale = scale

    def image(self, scene: Scene, index: int) -> Image.Image:
        return self._on(self._paper(scene), scene.frame(index))

    def images(self, scene: Scene) -> Iterator[Image.Image]:
        """All frames in turn. The shapes below all moving ones are drawn once."""
        moving = min((shape.layer for frame in scene.frames for shape in frame), default=0)
        below = [shape for shape in scene.still if shape.layer < moving]
        above = [shape for shape in scene.still if shape.layer >= moving]
        ground = self._on(self._paper(scene), sorted(below, key=_layer))
        for frame in scene.frames:
            yield self._on(ground.copy(), sorted((*above, *frame), key=_layer))

    def _paper(self, scene: Scene) -> Image.Image:
        size = self._pixels(scene.width), self._pixels(scene.height)
        return Image.new("RGB", size, self.theme.paper)

    def _pixels(self, length: float) -> int:
        return round(length * self.scale)

    def _on(self, image: Image.Image, shapes: Sequence[Shape]) -> Image.Image:
        draw = ImageDraw.Draw(image)
        for shape in shapes:
            if isinstance(shape, Label):
                self._label(image, shape)
            elif isinstance(shape, Lines):
                self._lines(draw, shape)
            else:
                self._box(image, draw, shape)
        return image

    def _box(self, image: Image.Image, draw: ImageDraw.ImageDraw, box: Box) -> None:
        left, top = self._pixels(box.x), self._pixels(box.y)
        right, bottom = self._pixels(box.x + box.width), self._pixels(box.y + box.height)
        if right <= left or bottom <= top:
            return
        if not box.stroke:
            draw.rectangle((left, top, right - 1, bottom - 1), self.theme.colour(box.fill))
            if box.hatched:
                image.paste(self.theme.colour("hatch"), (left, top), _hatching(right - left, bottom - top, self.scale))
            return
        thick = max(1, self._pixels(box.thick))
        colour = self.theme.colour(box.stroke)
        if not box.dashed:
            draw.rectangle((left, top, right - 1, bottom - 1), None, colour, thick)
            return
        dash, gap = (self._pixels(float(length)) for length in DASHES.split())
        for start in range(left, right, dash + gap):
            stop = min(start + dash, right) - 1
            draw.rectangle((start, top, stop, top + thick - 1), colour)
            draw.rectangle((start, bottom - thick, stop, bottom - 1), colour)
        for start in range(top, bottom, dash + gap):
            stop = min(start + dash, bottom) - 1
            draw.rectangle((left, start, left + thick - 1, stop), colour)
            draw.rectangle((right - thick, start, right - 1, stop), colour)

    def _lines(self, draw: ImageDraw.ImageDraw, lines: Lines) -> None:
        """They are level or upright."""
        thick = max(1, self._pixels(lines.thick))
        colour = self.theme.colour(lines.ink)
        for (x, y), (right, bottom) in lines.lines:
            left, top = self._pixels(x) - thick // 2, self._pixels(y) - thick // 2
            across, down = self._pixels(right) - self._pixels(x), self._pixels(bottom) - self._pixels(y)
            draw.rectangle((left, top, left + (across or thick) - 1, top + (down or thick) - 1), colour)

    def _label(self, image: Image.Image, label: Label) -> None:
        size = label.size * self.scale
        mask, width = _written(label.text, size)
        share = {"start": 0.0, "middle": 0.5, "end": 1.0}[label.anchor]
        x, y = label.x * self.scale - share * width, label.y * self.scale
        place = round(x) - _MARGIN, round(y) - round(ABOVE * size)
        image.paste(self.theme.colour(label.ink), place, mask)


def text_width(text: str, size: float) -> float:
    """The pixels that a text really takes."""
    return sum(_width(run, size) for run in _runs(text))


def png(image: Image.Image, scale: float) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True, dpi=(DPI * scale, DPI * scale))
    return file.getvalue()


def _layer(shape: Shape) -> int:
    return shape.layer


def _runs(text: str) -> list[str]:
    """The text in pieces: signs that are drawn, and the text between them."""
    runs: list[str] = []
    for character in text:
        if character in _DRAWN or not runs or runs[-1] in _DRAWN:
            runs.append(character)
        else:
            runs[-1] += character
    return runs


def _width(run: str, size: float) -> float:
    return _ADVANCE[run] * size if run in _DRAWN else _font(size).getlength(run)


@lru_cache(maxsize=64)
def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # `drawing` has asked for FreeType
    return font


@lru_cache(maxsize=8192)
def _written(text: str, size: float) -> tuple[Image.Image, float]:
    """The coverage of a line of text, which begins `_MARGIN` pixels from the left, and its width."""
    runs = _runs(text)
    widths = [_width(run, size) for run in runs]
    mask = Image.new("L", (math.ceil(sum(widths)) + 2 * _MARGIN, math.ceil((ABOVE + BELOW) * size)))
    draw = ImageDraw.Draw(mask)
    x, baseline = float(_MARGIN), round(ABOVE * size)
    for run, width in zip(runs, widths, strict=True):
        if run in _DRAWN:
            sign = _sign(run, size)
            mask.paste(sign, (round(x), baseline - round(ABOVE * size)))
        else:
            draw.text((x, baseline), run, 255, _font(size), "ls")
        x += width
    return mask, sum(widths)


@lru_cache(maxsize=256)
def _sign(character: str, size: float) -> Image.Image:
    """The coverage of a drawn sign, from `ABOVE` the baseline to `BELOW` it, in ems."""
    width, height = math.ceil(_ADVANCE[character] * size), math.ceil((ABOVE + BELOW) * size)
    fine = Image.new("L", (width * FINER, height * FINER))
    draw = ImageDraw.Draw(fine)
    em = size * FINER
    for line in _DRAWN[character]:
        points = [(x * em, round(ABOVE * size) * FINER - y * em) for x, y in line]
        draw.line(points, 255, max(1, round(_WIDTH * em)), "curve")
    return fine.resize((width, height), Image.Resampling.BOX)


@lru_cache(maxsize=256)
def _hatching(width: int, height: int, scale: float) -> Image.Image:
    fine = Image.new("L", (width * 2, height * 2))
    draw = ImageDraw.Draw(fine)
    step = HATCH * scale * 2 * 2**0.5
    for number in range(int((width + height) * 2 / step) + 1):
        start = number * step
        draw.line(((start, 0), (start - height * 2, height * 2)), 255, max(1, round(2 * scale * 2)))
    return fine.resize((width, height), Image.Resampling.BOX)
