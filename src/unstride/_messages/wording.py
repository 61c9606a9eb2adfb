"""Sentences as they are printed: numbers in them, lines that end at blanks, names that move no cursor."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Collection

CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Line breaks, escape sequences, and what turns the direction of writing."""

WHOLE = r"""`[^`]*`|"[^"]*"|(?<!\w)'[^']*'(?!\w)|\bpip install \S+(?: "[^"]*")?|\((?:[-\d:, ]|\([-\d:, ]*\))+\)"""
"""Not broken: code, what is quoted, sizes such as (28, 28) and paddings such as ((0, 1), (1, 0)). Lists of them are."""


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


def escaped(text: str) -> str:
    r"""A name as it is printed: characters that would break the line or command the terminal, as escapes.

    >>> print(escaped("two\nlines.png"), escaped("a\x1b[2Jb.png"), escaped("one name.png"))
    two\nlines.png a\x1b[2Jb.png one name.png
    """
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shell_word(name: str) -> str:
    r"""A name as one types it in a shell; with $'…', of bash and zsh, where it has characters that are not printed.

    >>> print(shell_word("runs/one"), shell_word("my runs/one"), shell_word("two\nlines"))
    runs/one 'my runs/one' $'two\nlines'
    """
    if not CONTROLS.search(name):
        return shlex.quote(name)
    return "$'" + escaped(name.replace("\\", "\\\\").replace("'", "\\'")) + "'"


def wrapped(text: str, width: int, hanging: str = "", keep: Collection[str] = ()) -> str:
    """One paragraph in lines of up to `width` characters, broken at blanks; a longer word has a line of its own.

    Parameters
    ----------
    text : str
    width : int
    hanging : str
        What all lines but the first begin with; less of it where it would take half of the width.
    keep : strings
        Names with blanks, which are not broken; nor is what is in quotes or backquotes, or a size in brackets.

    >>> print(wrapped("say `unstride runs` or see my file.txt", 16, "  ", ["my file.txt"]))
    say
      `unstride runs`
      or see
      my file.txt
    """
    whole = "|".join([*(re.escape(name) for name in sorted(keep, key=len, reverse=True) if " " in name), WHOLE])
    joined = re.sub(whole, lambda found: found[0].replace(" ", "\0"), text)
    lines = textwrap.fill(
        joined, width, subsequent_indent=hanging[: width // 2], break_long_words=False, break_on_hyphens=False
    )
    return lines.replace("\0", " ")
