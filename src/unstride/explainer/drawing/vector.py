"""A scene as the text of an SVG file, which needs no font, no script and no other file.

Each shape is written once. A shape that is not in every frame is in a group that a CSS animation shows for its frames;
who wants no motion, or whose program knows no CSS animations, sees the last frame.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from .lettering import FAMILY
from .palette import THEMES, Theme
from .scene import Box, Label, Life, Lines, Scene, Shape

HOLD = 2.0  # steps that the last frame stays longer
MOST_TOLD = 40  # steps whose captions stand together in the description; each is in the drawing too
DASHES = "6 4"
HATCH = 8  # from one line of the hatching to the next


def svg(scene: Scene, theme: str, seconds_per_step: float) -> str:
    """The scene in a theme of the palette, or in "auto": light or dark as the reader's system is."""
    lives = scene.lives()
    count = len(scene.frames)
    body: list[str] = []
    spans: set[tuple[int, int]] = set()
    for (_, start, stop), group in itertools.groupby(lives, key=lambda life: (life.shape.layer, life.start, life.stop)):
        shapes = _shapes([life.shape for life in group])
        if (start, stop) == (0, count):
            body += shapes
        else:
            spans.add((start, stop))
            hidden = "" if stop == count else ' visibility="hidden"'
            body += [f'<g class="{_name(start, stop)}"{hidden}>', *shapes, "</g>"]
    roles = sorted({role for life in lives for role in _roles(life)})
    content = "\n".join(body)
    scope = f"u{zlib.crc32(content.encode()):08x}"  # the styles of an SVG inside a page are the whole page's
    content = content.replace("#hatch", f"#{scope}h")
    description = " ".join(scene.captions) if len(scene.captions) <= MOST_TOLD else ""
    styles = [_colours(scope, roles, THEMES["light" if theme == "auto" else theme])]
    if theme == "auto":
        styles.append(f"@media (prefers-color-scheme:dark){{{_colours(scope, roles, THEMES['dark'])}}}")
    if spans:
        styles.append(
            f"@media (prefers-reduced-motion:no-preference){{{_motion(scope, spans, count, seconds_per_step)}}}"
        )
    size = f'width="{scene.width}" height="{scene.height}" viewBox="0 0 {scene.width} {scene.height}"'
    hatch = (
        f'<defs><pattern id="{scope}h" width="{HATCH}" height="{HATCH}" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><path class="s-hatch" stroke-width="2" d="M0 0V{HATCH}"/></pattern></defs>\n'
        if any(isinstance(life.shape, Box) and life.shape.hatched for life in lives)
        else ""
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} class="{scope}" role="img" font-family="{FAMILY}" '
        f'text-anchor="middle" aria-label="{escape(scene.title, _QUOTE)}">\n'
        f"<title>{escape(scene.title)}</title>\n<desc>{escape(description)}</desc>\n"
        f"<style>{''.join(styles)}</style>\n{hatch}"
        f'<rect class="paper" width="{scene.width}" height="{scene.height}"/>\n{content}\n'
        "</svg>\n"
    )


_QUOTE = {'"': "&quot;"}


def _shapes(shapes: Sequence[Shape]) -> list[str]:
    """The elements; texts of one style in a group."""
    elements: list[str] = []
    for style, group in itertools.groupby(shapes, key=_style):
        members = [_element(shape) for shape in group]
        elements += [f"<g {style}>", *members, "</g>"] if style and len(members) > 1 else _merge(style, members)
    return elements


def _merge(style: str, members: list[str]) -> list[str]:
    return [member.replace(" ", f" {style} ", 1) if style else member for member in members]


def _style(shape: Shape) -> str:
    if not isinstance(shape, Label):
        return ""
    anchor = "" if shape.anchor == "middle" else f' text-anchor="{shape.anchor}"'
    return f'class="{shape.ink}" font-size="{shape.size:g}"{anchor}'


def _element(shape: Shape) -> str:
    if isinstance(shape, Label):
        return f'<text x="{shape.x:g}" y="{shape.y:.4g}">{escape(shape.text)}</text>'
    if isinstance(shape, Lines):
        path = "".join("M" + "L".join(f"{x:g} {y:g}" for x, y in line) for line in shape.lines)
        return f'<path class="s-{shape.ink}" stroke-width="{shape.thick:g}" shape-rendering="crispEdges" d="{path}"/>'
    inset = shape.thick / 2 if shape.stroke else 0
    place = (
        f'x="{shape.x + inset:g}" y="{shape.y + inset:g}" '
        f'width="{shape.width - 2 * inset:g}" height="{shape.height - 2 * inset:g}"'
    )
    if not shape.stroke:
        fill = f'<rect class="{shape.fill}" {place}/>'
        return fill + f'<rect fill="url(#hatch)" {place}/>' if shape.hatched else fill
    dashes = f' stroke-dasharray="{DASHES}"' if shape.dashed else ""
    corners = ' rx="2"' if shape.thick > 1 else ""
    return f'<rect class="s-{shape.stroke}" stroke-width="{shape.thick:g}"{dashes}{corners} {place}/>'


def _roles(life: Life) -> Iterable[str]:
    """The classes of a shape."""
    shape = life.shape
    if isinstance(shape, Label):
        return [shape.ink]
    if isinstance(shape, Lines):
        return [f"s-{shape.ink}"]
    return [f"s-{shape.stroke}" if shape.stroke else shape.fill, *["s-hatch"] * shape.hatched]


def _colours(scope: str, roles: Sequence[str], theme: Theme) -> str:
    rules = [f".{scope} .paper{{fill:{theme.paper}}}"]
    for role in roles:
        if role.startswith("s-"):
            rules.append(f".{scope} .{role}{{fill:none;stroke:{theme.colour(role[2:])}}}")
        else:
            rules.append(f".{scope} .{role}{{fill:{theme.colour(role)}}}")
    return "".join(rules)


def _name(start: int, stop: int) -> str:
    return f"t{start}-{stop}"


def _motion(scope: str, spans: Iterable[tuple[int, int]], count: int, seconds_per_step: float) -> str:
    """Each span's animation: hidden, visible from its first frame on, hidden after its last."""
    total = count + HOLD
    rules = []
    for start, stop in sorted(spans):
        name = f"{scope}-{start}-{stop}"
        keys = ["0%{visibility:hidden}"] if start else []
        keys.append(f"{100 * start / total:.5g}%{{visibility:visible}}")
        keys.append(f"{100 * stop / total:.5g}%{{visibility:hidden}}" if stop < count else "to{visibility:visible}")
        rules.append(f"@keyframes {name}{{{''.join(keys)}}}")
        rules.append(
            f".{scope} .{_name(start, stop)}{{animation:{name} {total * seconds_per_step:g}s step-end infinite}}"
        )
    return "".join(rules)
