"""Sentences that Python and the explorer both say; they stand in ``explorer/texts.json`` and nowhere else."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from . import bundle


def say(group: str, name: str, **values: Any) -> str:
    """The sentence of that name with `values` in it.

    >>> say("size", "undilated", K=5, k=3)
    'this leaves out the dilation: the kernel spans 5 cells, not 3'
    """
    return _texts()[group][name].format(**values)


@cache
def _texts() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(bundle.source("texts.json"))
    return found
