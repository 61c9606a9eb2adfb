"""The wording of printed text: counted nouns, wrapped lines, and names without control characters."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Collection

CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Line breaks, escape sequences, and characters that change the writing direction."""

WHOLE = r"""`[^`]*`|"[^"]*"|(?<!\w)'[^']*'(?!\w)|\bpip install \S+(?: "[^"]*")?|\((?:[-\d:, ]|\([-\d:, ]*\))+\)"""
"""Text that is not broken: code, quotations, sizes such as (28, 28) and paddings such as ((0, 1), (1, 0))."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number and a noun: 1 with the singular, any other number with the plural.

    Parameters
    ----------
    number : int
    noun : str
        The noun in the singular.
    plural : str, optional
        The noun and an s by default.

    Examples
    --------
    >>> counted(1, "cell"), counted(0, "cell"), counted(12_000, "image")
    ('1 cell', '0 cells', '12,000 images')
    >>> counted(1, "axis", "axes"), counted(3, "axis", "axes")
    ('1 axis', '3 axes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def escaped(text: str) -> str:
    r"""A name for printing: characters that would break the line or control the terminal become escapes.

    >>> print(escaped("two\nlines.png"), escaped("a\x1b[2Jb.png"), escaped("one name.png"))
    two\nlines.png a\x1b[2Jb.png one name.png
    """
    return CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def shell_word(name: str) -> str:
    r"""A name quoted for a shell; in the form $'…' of bash and zsh if it has control characters.

    >>> print(shell_word("runs/one"), shell_word("my runs/one"), shell_word("two\nlines"))
    runs/one 'my runs/one' $'two\nlines'
    """
    if not CONTROLS.search(name):
        return shlex.quote(name)
    return "$'" + escaped(name.replace("\\", "\\\\").replace("'", "\\'")) + "'"


def wrapped(text: str, width: int, hanging: str = "", keep: Collection[str] = ()) -> str:
    """One paragraph in lines of up to `width` characters, broken at blanks. A longer word gets its own line.

    Text in quotes or backquotes and sizes in brackets are not broken.

    Parameters
    ----------
    text : str
    width : int
    hanging : str
        The indentation of all lines but the first, cut to half of the width.
    keep : strings
        Names with blanks that are not broken.

    >>> print(wrapped("say `unstride runs` or see my file.txt", 16, "  ", ["my file.txt"]))
    say
      `unstride runs`
      or see
      my file.txt
    """
    whole = "|".join([*(re.escape(name) for name in sorted(keep, key=len, reverse=True) if " " in name), WHOLE])
    joined = re.sub(whole, lambda match: match[0].replace(" ", "\0"), text)
    lines = textwrap.fill(
        joined, width, subsequent_indent=hanging[: width // 2], break_long_words=False, break_on_hyphens=False
    )
    return lines.replace("\0", " ")
