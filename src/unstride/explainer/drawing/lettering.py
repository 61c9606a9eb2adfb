"""How wide text may get. The reader's fonts are not known, so widths here are those of the widest usual ones.

Whatever is laid out by them fits in Arial, Helvetica, Liberation Sans, Segoe UI, Roboto and DejaVu Sans, and in the
font that Pillow brings. The tests measure two of these fonts.
"""

from __future__ import annotations

from functools import lru_cache

FAMILY = "Inter, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
CAPITAL = 0.7  # height of digits and capitals, in ems
_BY_WIDTH = {
    0.34: "ijlI|,.:;'!/\\ ",
    0.43: "rft()[]-·J⌊⌋",
    0.56: 'szc*"',
    0.67: "abdeghknopquvxy0123456789_?`$L{}²",
    0.74: "ABEFKPSTXYZVRC",
    0.85: "w=+−×<>≤≥~^#DGHNOQU&",
    1.04: "mMW@%…→",
}
_WIDTHS = {character: width for width, characters in _BY_WIDTH.items() for character in characters}


@lru_cache(maxsize=4096)
def ems(text: str) -> float:
    """The most that `text` takes in one line, in ems."""
    return sum(_WIDTHS.get(character, 1.04) for character in text)


def width(text: str, size: float) -> float:
    return ems(text) * size


def wrap(text: str, size: float, most: float) -> list[str]:
    """`text` in lines that are `most` wide at most; a word longer than that is broken."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        while width(word, size) > most and len(word) > 1:
            cut = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or width(word[:n], size) <= most)
            lines += [line] * bool(line) + [word[:cut]]
            line, word = "", word[cut:]
        longer = f"{line} {word}" if line else word
        if line and width(longer, size) > most:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line] if line else lines
