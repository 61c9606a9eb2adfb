"""HTML that the chapters share: headings and links, figures, numbers, tables, problems.

The notebooks call these functions. ``lab.css`` has the styles, light and dark.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .chapters import BY_SLUG, CHAPTERS, NOTEBOOKS, neighbours

if TYPE_CHECKING:
    from ..explainer.trace import Trace

Html = Any
"""marimo's Html. marimo is imported only where one is made."""

PHONE = 340
"""The width of drawings for phones."""

_LAB = {"links": False, "others": False}


def in_lab(served: bool) -> None:
    """Say whether the chapters are served together, so that they can link to each other."""
    _LAB["links"] = served


def for_others(served: bool) -> None:
    """Say whether the lab is served to other machines, so that visitors share its runs."""
    _LAB["others"] = served


def has_others() -> bool:
    return _LAB["others"]


def html(text: str) -> Html:
    """Text as marimo's Html."""
    import marimo

    return marimo.Html(text)


def header(slug: str) -> Html:
    """The top of a chapter: its number, title and summary."""
    chapter = BY_SLUG[slug]
    place = f"Chapter {chapter.number} of {len(CHAPTERS)}"
    if _LAB["links"]:
        place = f'<a href="../">The lab</a><span aria-hidden="true"> · </span>{place}'
    return html(
        f'<header class="lab-head"><nav class="lab-place" aria-label="Where you are">{place}</nav>'
        f'<h1>{escape(chapter.title)}</h1><p class="lab-lead">{escape(chapter.summary)}</p></header>'
    )


def footer(slug: str) -> Html:
    """The bottom of a chapter: links to the chapters before and after it."""
    if not _LAB["links"]:
        return html("")
    links = []
    for word, other in zip(("Previous", "Next"), neighbours(BY_SLUG[slug]), strict=True):
        if other:
            links.append(
                f'<a class="lab-{word.lower()}" rel="{word[:4].lower()}" href="../{other.slug}/"><small>{word}</small>'
                f"{other.number}. {escape(other.title)}</a>"
            )
    return html(f'<nav class="lab-foot" aria-label="Other chapters">{"".join(links)}</nav>')


def figure(picture: str, caption: str = "", *, scroll: bool = True, name: str = "") -> Html:
    """A picture (SVG or other HTML) with a caption. If it is too wide, it scrolls.

    `name` identifies it for tests and links.
    """
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    # What scrolls must also scroll by keyboard.
    inner = _scrolling(picture, "Figure") if scroll else picture
    return html(f'<figure class="lab-figure"{_named(name)}>{inner}{below}</figure>')


def drawing(svg: str, phone: str, alt: str, caption: str = "", *, name: str = "") -> Html:
    """An SVG file, such as `Trace.svg` makes, and another for phones.

    They are images, so that marimo's style sheet does not apply to them.
    """
    (wide, source), (narrow, other) = _drawn(svg), _drawn(phone)
    image = (
        f'<picture><source media="(max-width: 34rem)" width="{narrow}" srcset="{other}">'
        f'<img class="lab-drawing" alt="{escape(alt)}" width="{wide}" style="--wide:{wide}px; --narrow:{narrow}px" '
        f'src="{source}"></picture>'
    )
    return figure(image, caption, name=name)


def _drawn(svg: str) -> tuple[str, str]:
    """The width of an SVG file, and a data URI of it."""
    match = re.search(r'<svg [^>]*?width="([\d.]+)"', svg)
    assert match is not None  # ours have one
    return match[1], f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def step(trace: Trace, view: str, number: int, *, name: str = "") -> Html:
    """A trace after `number` steps of the view "scatter" or "grid". At 0 nothing is done."""
    from ..explainer import drawing as pictures

    steps = trace.steps(view)
    here = next((one for one in reversed(steps) if one.number == number), None) if number else None
    words = here.caption if here else "Nothing is done yet."
    svg, phone = (
        pictures.svg(trace, view=view, step=here.index, width=width)
        if here
        else pictures.beginning(trace, view=view, width=width)
        for width in (None, PHONE)
    )
    return drawing(svg, phone, words, f"Step {number} of {steps[-1].number}. {words}", name=name)


def row(*parts: Html, least: str = "14rem") -> Html:
    """Parts side by side, or below each other if there is no room."""
    cells = "".join(f"<div>{part.text}</div>" for part in parts)
    return html(f'<div class="lab-row" style="--least:{least}">{cells}</div>')


def split_view(controls: Html, result: Html) -> Html:
    """Controls left of their result, in sight while it scrolls; above it on a narrow page."""
    return html(f'<div class="lab-split"><div>{controls.text}</div><div>{result.text}</div></div>')


def stack(*parts: Html) -> Html:
    """Parts below each other, for `split_view` and `row`."""
    return html(f'<div class="lab-stack">{"".join(part.text for part in parts)}</div>')


@cache
def _slider() -> Any:
    import marimo

    class Slider(marimo.ui.slider):
        """A slider whose value is within its range, whatever a page sends."""

        def _convert_value(self, value: Any) -> Any:
            least, most = self._component_args["start"], self._component_args["stop"]
            number: Any = value if isinstance(value, int | float) and not math.isnan(value) else least
            return super()._convert_value(min(max(number, least), most))

    return Slider


def slider(*arguments: Any, **settings: Any) -> Html:
    """marimo's ``ui.slider`` with a value within its range, whatever a page sends."""
    return _slider()(*arguments, **settings)


def key(rows: Sequence[tuple[str, str]], label: str, *, name: str = "") -> Html:
    """A legend: CSS colours and their meanings."""
    items = "".join(
        f'<li><span class="lab-swatch" style="background:{colour}" aria-hidden="true"></span>{escape(words)}</li>'
        for colour, words in rows
    )
    return html(f'<ul class="lab-key" aria-label="{escape(label)}"{_named(name)}>{items}</ul>')


def picture(
    image: ArrayLike, alt: str, caption: str = "", *, scale: float = 1, smooth: bool = False, name: str = ""
) -> Html:
    """An image of numbers from 0 to 1 (or uint8), grey or RGB, enlarged by `scale`, at most to the page's width."""
    source, width = data_uri(image)
    look = "" if smooth else " lab-pixels"
    shown = f'<img class="lab-picture{look}" alt="{escape(alt)}" width="{round(width * scale)}" src="{source}">'
    return figure(shown, caption, scroll=False, name=name)


def data_uri(image: ArrayLike) -> tuple[str, int]:
    """A data URI of the image as a PNG, and its width."""
    from PIL import Image

    values = np.asarray(image)
    if values.dtype != np.uint8:
        values = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG", compress_level=3)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}", values.shape[1]


def facts(values: Mapping[str, Any], *, name: str = "") -> Html:
    """A few named numbers, the most important first."""
    cells = "".join(f"<div><dt>{escape(key)}</dt><dd>{value}</dd></div>" for key, value in values.items())
    return html(f'<dl class="lab-facts"{_named(name)}>{cells}</dl>')


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    caption: str = "",
    *,
    numbers: Sequence[int] = (),
    name: str = "",
) -> Html:
    """A table whose first column names the rows. The columns `numbers` are aligned right. Cells are HTML."""

    def kind(place: int) -> str:
        return ' class="n"' if place in numbers else ""

    head = "".join(f'<th scope="col"{kind(i)}>{column}</th>' for i, column in enumerate(columns))
    body = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{cell}</th>' if i == 0 else f"<td{kind(i)}>{cell}</td>" for i, cell in enumerate(cells)
        )
        + "</tr>"
        for cells in rows
    )
    title = f"<caption>{caption}</caption>" if caption else ""
    text = f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    look = (
        "lab-table lab-pairs" if len(columns) == 2 else "lab-table"
    )  # on a phone, two columns are shown below each other
    return html(f'<div class="{look}"{_named(name)}>{_scrolling(text, caption or ", ".join(columns))}</div>')


def shown(title: str, width: int, height: int, remark: str = "") -> Html:
    """The name and size of the shown picture, and what was done to it."""
    more = f": {escape(remark)}" if remark else ""
    return html(f'<p class="lab-soft"{_named("shown")}>{escape(title)}, {width}×{height}{more}</p>')


def note(text: str, *, name: str = "") -> Html:
    """A remark. `text` is HTML."""
    return html(f'<div class="lab-note"{_named(name)}>{text}</div>')


def problem(error: BaseException | str, *, name: str = "") -> Html:
    """An error, in place of the result."""
    text = str(error)
    return html(f'<div class="lab-problem" role="alert"{_named(name)}>{escape(text)}</div>')


def code(text: str, *, name: str = "") -> Html:
    """A program or its output."""
    return html(f'<pre class="lab-code" tabindex="0"{_named(name)}><code>{escape(text)}</code></pre>')


def _scrolling(inner: str, label: str) -> str:
    """A frame that scrolls sideways if necessary, also by keyboard."""
    return f'<div class="lab-scroll" tabindex="0" role="group" aria-label="{escape(label)}">{inner}</div>'


def _named(name: str) -> str:
    return f' data-lab="{escape(name)}"' if name else ""


@cache
def style() -> str:
    """The style sheet of the notebooks and of the lab's other pages."""
    return (NOTEBOOKS / "lab.css").read_text(encoding="utf-8")


def index(ahead: Sequence[str] = ()) -> str:
    """The lab's first page. `ahead` are addresses for the browser to prefetch."""
    return _template("index.html", chapters=CHAPTERS, ahead=ahead)


def missing(path: str) -> str:
    """The page for an unknown address."""
    return _template("missing.html", path=path, chapters=CHAPTERS, ahead=())


def entrance(form: str, message: str) -> str:
    """The page that asks for the token. `form` is the escaped address to which the form is sent."""
    return _template("entrance.html", form=form, message=message, ahead=())


def _template(name: str, **values: Any) -> str:
    from ..app.html import render

    return render(Path(__file__).parent / "templates", name, style=style(), **values)
