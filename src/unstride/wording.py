"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number and what it counts: one in the singular, any other number in the plural.

    Parameters
    ----------
    number : int
    noun : str
        In the singular.
    plural : str, optional
        Unless it is the noun and an s.

    Examples
    --------
    >>> counted(1, "cell"), counted(0, "cell"), counted(12_000, "image")
    ('1 cell', '0 cells', '12,000 images')
    >>> counted(1, "axis", "axes"), counted(3, "axis", "axes")
    ('1 axis', '3 axes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
