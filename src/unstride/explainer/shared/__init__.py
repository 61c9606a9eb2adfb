"""JSON files that Python and the explorer's JavaScript both read, so that each fact stands in one place.

``texts.json`` holds the sentences that both say, ``programs.json`` how a program of each framework reads,
``mistakes.json`` the wrong sizes that the quizzes offer or explain, and ``limits.json`` the sizes up to which the
explorer's numbers are legible.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def data(name: str) -> Any:
    """The content of a JSON file of this folder. All callers get the same object: do not change it."""
    return json.loads(files(__package__).joinpath(name).read_text(encoding="utf-8"))


def say(group: str, name: str, **values: Any) -> str:
    """The sentence of that name with `values` in it.

    >>> say("size", "undilated", K=5, k=3)
    'this leaves out the dilation: the kernel spans 5 cells, not 3'
    """
    text: str = data("texts.json")[group][name]
    return text.format(**values)
