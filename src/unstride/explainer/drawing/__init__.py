"""Pictures of a trace: SVG, PNG and GIF; of one step, of all of them in motion, or of the whole for print.

SVG needs nothing but NumPy. PNG and GIF need Pillow.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..._files import check_ending, write_bytes
from ...geometry import GeometryError
from ..numbers import Numbers
from . import page, vector
from .palette import THEMES
from .scene import Scene
from .still import whole
from .views import View

if TYPE_CHECKING:
    from .raster import Artist

PathLike = str | os.PathLike[str]

FORMATS: dict[str, tuple[tuple[str, ...], str]] = {
    "svg": ((".svg",), "an SVG drawing"),
    "png": ((".png",), "a PNG picture"),
    "gif": ((".gif",), "a GIF animation"),
}
"""File endings of each format, and its description."""

SECONDS_PER_STEP = 1.0
MOST_PIXELS = 200_000_000  # of a picture


def svg(
    trace: Numbers,
    path: PathLike | None = None,
    *,
    view: str = "scatter",
    theme: str = "auto",
    step: int | None = None,
    animate: bool = True,
    width: float | None = None,
) -> str:
    """A drawing as the text of an SVG file.

    Parameters
    ----------
    trace : Trace
    path : path, optional
        Where to write it too; the name ends with .svg.
    view : {"scatter", "grid", "matrix", "overlap", "gradient"}
    theme : {"auto", "light", "dark"}
        "auto" follows the viewer's system.
    step : int, optional
        Draw this step of `trace.steps(view)` alone. The drawing shows the step's `number`.
    animate : bool
        Without `step`: all steps in motion (True; the last one where motion is unwanted), or the whole on one still
        page (False).
    width : float, optional
        Of steps: the most that the drawing is to be wide. Grids that do not fit next to one another stand one below
        the other; one that is wider by itself makes the drawing as wide. Default: what looks best.

    Raises
    ------
    GeometryError
        An argument is none of these.
    ValueError
        `path` ends as another format does.
    OSError
        `path` cannot be written.

    Examples
    --------
    >>> from unstride.explainer import drawing, explain
    >>> picture = drawing.svg(explain([1, 2], [3, 4], stride=2), view="grid")
    >>> picture.startswith("<svg"), "Output cell (3): the window" in picture
    (True, True)
    """
    _check_path(path, "svg")
    _check_choice("theme", theme, ("auto", *THEMES))
    text = vector.svg(_scene(trace, view, step, animate, width), theme, SECONDS_PER_STEP)
    _write(path, text.encode())
    return text


def beginning(trace: Numbers, *, view: str = "scatter", theme: str = "auto", width: float | None = None) -> str:
    """Step 0 of a view, "scatter" or "grid", as `svg` draws the steps after it: the results are blank."""
    _check_choice("view", view, ("scatter", "grid"))
    _check_choice("theme", theme, ("auto", *THEMES))
    return vector.svg(page.steps(View(trace, view, begins=True), width).only(0), theme, SECONDS_PER_STEP)


def png(
    trace: Numbers,
    path: PathLike | None = None,
    *,
    view: str = "scatter",
    theme: str = "light",
    step: int | None = None,
    scale: float = 2,
) -> bytes:
    """A picture as the content of a PNG file: of one step, or (None) of the whole on one page.

    `scale` is how many pixels a unit of the drawing takes: 1 suits screens, 3 print (a file says its size in print).
    The other arguments and the errors are those of `svg`; ModuleNotFoundError if there is no Pillow.
    """
    _check_path(path, "png")
    artist = _artist(theme, scale)
    from . import raster

    scene = _scene(trace, view, step, animate=False)
    if scene.width * scene.height * scale**2 > MOST_PIXELS:
        raise GeometryError(
            f"scale is {scale}: the picture would have {scene.width * scene.height * scale**2:,.0f} pixels; expected "
            f"at most {MOST_PIXELS:,}, here a scale up to {math.sqrt(MOST_PIXELS / scene.width / scene.height):.1f}"
        )
    content = raster.png(artist.image(scene, 0), scale)
    _write(path, content)
    return content


def gif(
    trace: Numbers,
    path: PathLike | None = None,
    *,
    view: str = "scatter",
    theme: str = "light",
    seconds_per_step: float = SECONDS_PER_STEP,
) -> bytes:
    """An animation of all steps as the content of a GIF file: one frame a step; the last one stays longer.

    The other arguments and the errors are those of `svg`; ModuleNotFoundError if there is no Pillow.
    """
    _check_path(path, "gif")
    artist = _artist(theme, 1)
    from .animated import animation, palette_of

    if not (_is_number(seconds_per_step) and 0.02 <= seconds_per_step <= 600):
        raise GeometryError(f"seconds_per_step is {seconds_per_step!r}; expected a number from 0.02 to 600")
    scene = _scene(trace, view, None, animate=True)
    count = len(scene.frames)
    samples = [artist.image(scene, index) for index in dict.fromkeys((0, count // 2, count - 1))]
    seconds = [float(seconds_per_step)] * count
    seconds[-1] *= 1 + vector.HOLD
    theirs = THEMES[theme]
    colours = [theirs.paper, *(theirs.colour(role) for role in sorted(scene.roles()))]
    content = animation(artist.images(scene), palette_of(colours, samples), seconds)
    _write(path, content)
    return content


def _scene(trace: Numbers, name: str, step: int | None, animate: bool, width: float | None = None) -> Scene:
    _check_choice("view", name, trace.views)
    view = View(trace, name)
    if step is None:
        return page.steps(view, width) if animate else whole(view)
    count = len(view.steps)
    if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step < count:
        raise GeometryError(f"step is {step!r}; expected 0 to {count - 1}: view {name!r} has {count} steps")
    return page.steps(view, width).only(step)


def _artist(theme: str, scale: float) -> Artist:
    """The painter of PNG and GIF; an error if Pillow is missing or cannot draw text."""
    _check_choice("theme", theme, tuple(THEMES))
    if not (_is_number(scale) and 0.1 <= scale <= 100):
        raise GeometryError(f"scale is {scale!r}; expected a number from 0.1 to 100")
    try:
        from PIL import features

        from .raster import Artist
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "PIL":
            raise
        raise ModuleNotFoundError(
            'PNG and GIF need Pillow: pip install "unstride[app]". SVG needs nothing', name="PIL"
        ) from None
    if not features.check("freetype2"):
        raise ModuleNotFoundError(
            "this Pillow was built without FreeType, which draws the numbers; install one from PyPI", name="PIL"
        )
    return Artist(THEMES[theme], scale)


def _check_path(path: PathLike | None, kind: str) -> None:
    if path is not None:
        check_ending(path, FORMATS[kind][0], FORMATS[kind][1])


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise GeometryError(f"{name} is {value!r}; expected one of {', '.join(map(repr, choices))}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _write(path: PathLike | None, content: bytes) -> None:
    if path is not None:
        write_bytes(Path(path), content)
