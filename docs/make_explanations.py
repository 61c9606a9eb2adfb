"""Make docs/explanations.md and its pictures: every example of the reading, in every view.

    python docs/make_explanations.py

needs nothing but the package, and Pillow for the one GIF. The same pictures come out in every run.
"""

from __future__ import annotations

from pathlib import Path

from unstride._files import write_text
from unstride.explainer import drawing
from unstride.explainer.presets import PRESETS, Preset
from unstride.explainer.trace import Trace

HERE = Path(__file__).parent
FOLDER = HERE / "explanations"
PAGE = HERE / "explanations.md"
EXAMPLES = ("worked-1", "worked-2", "example-1", "example-2", "example-3", "example-3-5x5", "example-4", "checkerboard")
README_GIF = FOLDER / "stride-2-padding-1.gif"

HEAD = """\
# Transposed convolution, step by step

The two worked examples and the four examples of the course reading that unstride grew from, each in five views, and a
checkerboard. The pictures move, unless your system asks for less motion, and are light or dark as your system is. Click
one to see it large. `python docs/make_explanations.py` makes this page.

```python
>>> import unstride as us
>>> trace = us.explain([[0, 1], [2, 3]], [[0, 1], [2, 3]], stride=2)
>>> print(trace)                                # in a terminal; the same pictures by
>>> trace.svg("steps.svg", view="scatter")      # .png(...) and .gif(...) too
```

* **scatter**: each input cell lays a copy of the kernel, times its value, on the full grid; the copies are summed, and
  the padding is cropped off.
* **grid**: the same numbers from the other side: the input spaced out with zeros, and the flipped kernel sliding over
  it, one cell at a time.
* **matrix**: the same as one product. The matrix is the transpose of that of the convolution with this kernel, hence
  the name.
* **overlap**: how many products each output cell is the sum of; where that is uneven, a checkerboard shows.
* **gradient**: the gradients with respect to the input, which is a convolution, to the kernel and to the bias.

Blue is input, orange is kernel, pink is a copy of the kernel, green is output. A thick frame marks what a step is
about; hatched cells are cropped off.
"""


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    known = {README_GIF}
    parts = [HEAD]
    for name in EXAMPLES:
        preset = PRESETS[name]
        trace = preset.trace()
        parts.append(section(preset, trace))
        for view in views(preset, trace):
            drawing.svg(trace, picture(preset, view), view=view)
            known.add(picture(preset, view))
        if has_sum(preset, trace):
            drawing.svg(trace, picture(preset, "sum"), view="scatter", animate=False)
            known.add(picture(preset, "sum"))
    drawing.gif(PRESETS["example-4"].trace(), README_GIF, view="scatter", seconds_per_step=1.2)
    for path in FOLDER.iterdir():
        if path not in known:
            path.unlink()
    write_text(PAGE, "\n".join(parts))


def section(preset: Preset, trace: Trace) -> str:
    lines = [f"## {preset.title}", "", preset.note, ""]
    lines += ["```", *dict.fromkeys(trace.size_formula), "```", ""]
    if has_sum(preset, trace):
        lines += [image(preset, "sum", "All copies and their sum"), ""]
    for view in views(preset, trace):
        lines += [f"### {view}", "", image(preset, view, f"{preset.title}, {view}"), ""]
    return "\n".join(lines)


def views(preset: Preset, trace: Trace) -> tuple[str, ...]:
    """The one that the case is about first; the checkerboard is about that alone."""
    if preset.name == "checkerboard":
        return ("overlap",)
    return (trace.default_view, *(view for view in trace.views if view != trace.default_view))


def has_sum(preset: Preset, trace: Trace) -> bool:
    return trace.transposed and preset.name != "checkerboard"


def image(preset: Preset, view: str, words: str) -> str:
    return f"![{words}](explanations/{picture(preset, view).name})"


def picture(preset: Preset, view: str) -> Path:
    return FOLDER / f"{preset.name}-{view}.svg"


if __name__ == "__main__":
    main()
