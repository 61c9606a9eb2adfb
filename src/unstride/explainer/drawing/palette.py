"""Colours by role, for light and for dark paper: tints of Okabe and Ito's, which colour-blind eyes tell apart.

No meaning rests on colour alone: active cells have a thick outline, cropped cells are hatched.
"""

from __future__ import annotations

from dataclasses import dataclass

HEAT = 8  # steps of the scale for counts
SIGNED = 4  # steps to either side of the scale for weights


@dataclass(frozen=True)
class Theme:
    """Colours as "#rrggbb". `fills` of cells, `inks` of text and lines; every ink that a fill may carry is legible."""

    paper: str
    fills: dict[str, str]
    inks: dict[str, str]

    def colour(self, role: str) -> str:
        if role == "paper":
            return self.paper
        return self.fills.get(role) or self.inks[role]


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in _channels(colour))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours as WCAG 2 defines it, from 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _between(start: str, stop: str, share: float) -> str:
    pairs = zip(_channels(start), _channels(stop), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _scale(stops: tuple[str, ...], count: int) -> list[str]:
    """`count` colours evenly spaced along the line through `stops`."""
    places = [n * (len(stops) - 1) / max(count - 1, 1) for n in range(count)]
    starts = [min(int(place), len(stops) - 2) for place in places]
    return [_between(stops[a], stops[a + 1], place - a) for place, a in zip(places, starts, strict=True)]


def _theme(
    paper: str,
    ink: str,
    fills: dict[str, str],
    inks: dict[str, str],
    heat: tuple[str, ...],
    signed: tuple[str, str],
) -> Theme:
    scales = {f"heat{n}": colour for n, colour in enumerate(_scale(heat, HEAT))}
    for side, end in zip(("minus", "plus"), signed, strict=True):
        steps = [_between(paper, end, (n + 1) / SIGNED) for n in range(SIGNED)]
        scales |= {f"{side}{n}": colour for n, colour in enumerate(steps)}
    # Of white and black one is legible on every colour: their own contrast is 21, and 4.5 is less than its root.
    on = {f"on-{role}": max("#ffffff", "#000000", key=lambda i: contrast(i, colour)) for role, colour in scales.items()}
    return Theme(paper, {**fills, **scales}, {"ink": ink, **inks, **on})


LIGHT = _theme(
    paper="#ffffff",
    ink="#15191e",
    fills={
        "blank": "#f3f5f7",
        "zero": "#e9ecef",
        "cut": "#ffffff",
        "input": "#cbe6f7",
        "kernel": "#fce2ae",
        "copy": "#f3d6e6",
        "sum": "#e3f4ee",
        "output": "#bfe8d9",
        "upstream": "#fad6c0",
        "input-now": "#7cc7f0",
        "kernel-now": "#f2b632",
        "copy-now": "#e5a5c8",
        "output-now": "#5fcaa6",
        "upstream-now": "#f2a877",
    },
    inks={
        "faint": "#5a646e",
        "line": "#c3cad1",
        "edge": "#78838d",
        "hatch": "#d9dee3",
        "frame": "#15191e",
        "accent": "#0063a0",
    },
    heat=("#f4f7d9", "#f0d95a", "#e08a1e", "#a63d0a", "#5c1a00"),
    signed=("#d55e00", "#0072b2"),
)
DARK = _theme(
    paper="#14181d",
    ink="#f1f4f7",
    fills={
        "blank": "#1e242b",
        "zero": "#2a323b",
        "cut": "#14181d",
        "input": "#17435f",
        "kernel": "#5c430c",
        "copy": "#5b3049",
        "sum": "#16362d",
        "output": "#115943",
        "upstream": "#64331a",
        "input-now": "#1a6fa3",
        "kernel-now": "#8c6100",
        "copy-now": "#93446f",
        "output-now": "#077a57",
        "upstream-now": "#a3470b",
    },
    inks={
        "faint": "#a7b2bd",
        "line": "#46505a",
        "edge": "#7d8994",
        "hatch": "#363f48",
        "frame": "#f1f4f7",
        "accent": "#6fc1f2",
    },
    heat=("#1e242b", "#5a3416", "#8f430e", "#e08a1e", "#f5e27a"),
    signed=("#f07a2a", "#3fa4e0"),
)
THEMES = {"light": LIGHT, "dark": DARK}


ROLES = tuple(LIGHT.fills)
"""The fills, in an order by which arrays can hold them."""


def code(role: str) -> int:
    return ROLES.index(role)


def ink_on(fill: str, faint: bool = False) -> str:
    """The role of text on a fill."""
    if fill.startswith(("heat", "plus", "minus")):
        return f"on-{fill}"
    return "faint" if faint else "ink"
