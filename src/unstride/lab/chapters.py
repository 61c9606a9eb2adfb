"""The chapters as data, from which the index, the links and the tests are made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NOTEBOOKS = Path(__file__).parent / "notebooks"


@dataclass(frozen=True)
class Chapter:
    """One page of the lab.

    Attributes
    ----------
    number : int
        From 1.
    slug : str
        The address within the lab.
    title : str
    summary : str
        One line.
    imports : tuple of str
        Modules that are slow to import, which the server imports ahead.
    """

    number: int
    slug: str
    title: str
    summary: str
    imports: tuple[str, ...] = ()

    @property
    def notebook(self) -> Path:
        """Its marimo notebook."""
        return NOTEBOOKS / f"{self.slug.replace('-', '_')}.py"


def _numbered(*rows: tuple[str, str, str, tuple[str, ...]]) -> tuple[Chapter, ...]:
    return tuple(Chapter(number, *row) for number, row in enumerate(rows, 1))


CHAPTERS = _numbered(
    (
        "what-it-is",
        "What it is",
        "Each input cell lays a copy of the kernel; the copies are summed.",
        ("unstride.explainer.widget",),
    ),
    (
        "geometry",
        "Stride, padding, output padding, dilation",
        "Four numbers that decide how large the output is and where each copy lands.",
        (),
    ),
    (
        "why-transposed",
        "Why “transposed”",
        "The matrix of a convolution, turned over; and why that undoes nothing.",
        ("skimage.restoration",),
    ),
    (
        "checkerboard",
        "The checkerboard",
        "Where uneven overlap comes from, and three ways to avoid it.",
        (),
    ),
    (
        "frameworks",
        "In your framework",
        "One setting in five conventions, and where they disagree.",
        (),
    ),
    (
        "autoencoder",
        "The autoencoder",
        "Build it, train it, look inside it, draw a digit for it.",
        ("unstride.app.report.charts",),
    ),
    (
        "compress",
        "Compress",
        "Digits as a few numbers, and walks from one to another.",
        ("sklearn.decomposition", "sklearn.discriminant_analysis"),
    ),
    (
        "upscale",
        "Upscale",
        "Your own picture, larger: bicubic against a trained network.",
        ("skimage.metrics",),
    ),
    (
        "segment",
        "Segment",
        "The class of every pixel, from a U-Net that doubles sizes by transposed convolution.",
        (),
    ),
    (
        "speed",
        "How fast",
        "What is computed, what is avoided, and how long it takes on this machine.",
        (),
    ),
)
"""All of them, in order."""

BY_SLUG = {chapter.slug: chapter for chapter in CHAPTERS}


def neighbours(chapter: Chapter) -> tuple[Chapter | None, Chapter | None]:
    """The chapters before and after."""
    place = CHAPTERS.index(chapter)
    before = CHAPTERS[place - 1] if place else None
    after = CHAPTERS[place + 1] if place + 1 < len(CHAPTERS) else None
    return before, after
