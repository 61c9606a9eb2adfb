"""The upscaler's report: its metrics and those of bicubic interpolation, and pieces of photographs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....backends.keras.imported import keras
from ....data import Bytes
from ...contact_sheet import PIECE, most_gained, pixels, side_by_side
from ...report.page import Picture, keep, layers, losses, render
from ...runs import Run
from ..base import Metrics
from .data import Photographs

SHOWN = 8


def write_report(run: Run, model: keras.Model, data: Photographs, metrics: Metrics, **values: Any) -> None:
    render(
        run,
        "upscaler.html",
        model,
        noun="pieces",
        losses=losses(run, "mean squared error"),
        layers=layers(run, model, None),
        metrics=metrics,
        **values,
        scale=data.scale,
        pieces=[
            (test[0], _piece(run, number, data.scale, *test))
            for number, test in enumerate(metrics.details[:SHOWN], start=1)
        ],
    )


def _piece(run: Run, number: int, scale: int, name: str, large: Bytes, cubic: Bytes, ours: Bytes) -> Picture:
    """The piece where the network gains most, in four versions."""
    top, left = most_gained(large, cubic, ours)
    here = np.s_[top : top + PIECE, left : left + PIECE]
    small = large[here]
    names = ("pixels", "bicubic", "network", "original")
    picture = side_by_side(names, [[pixels(small, scale), cubic[here], ours[here], small]])
    alt = f"A piece of {name}, four times: the small image's pixels, bicubic interpolation, the network, the original."
    return keep(run, f"piece-{number}", alt, picture)
