"""The course reading's examples by name, and two more.

The reading draws Examples 1 to 4 without numbers; the sizes here are its own, the numbers are ours: digits, and
kernels that look different when they are flipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from .numbers import Numbers

Rows = list[list[float]]


@dataclass(frozen=True)
class Example:
    """A case worth looking at.

    Attributes
    ----------
    name : str
        Short, for a command line or an address.
    title : str
    note : str
        What to look at, and where the reading is mistaken.
    x, kernel : nested lists
    fields : dict
        Further arguments of `unstride.explain`.
    """

    name: str
    title: str
    note: str
    x: Rows
    kernel: Rows
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def view(self) -> str:
        """The view in which the explorer opens it."""
        if self.name in ("checkerboard", "even"):
            return "overlap"
        return "grid" if self.name.startswith("example") else "scatter"

    def numbers(self) -> Numbers:
        """Its numbers alone; `unstride.explainer.presets` adds the trace."""
        return Numbers(self.x, self.kernel, **self.fields)


def _digits(rows: int, columns: int) -> Rows:
    """1, 2, ... 9, 0, 1, ... in rows."""
    cells: Rows = ((np.arange(rows * columns) + 1) % 10).reshape(rows, columns).astype(float).tolist()
    return cells


PAIR: Rows = [[0, 1], [2, 3]]
KERNEL: Rows = [[1, 2], [3, 4]]

EXAMPLES: Mapping[str, Example] = MappingProxyType(
    {
        example.name: example
        for example in (
            Example(
                "worked-1",
                "Worked example, stride 1",
                "Four copies of the kernel, one for each input cell, overlap on a 3×3 grid and are summed.",
                PAIR,
                PAIR,
            ),
            Example(
                "worked-2",
                "Worked example, stride 2",
                "The copies start 2 cells apart, as far as the kernel is wide: on the 4×4 grid none overlaps another.",
                PAIR,
                PAIR,
                {"stride": 2},
            ),
            Example(
                "example-1",
                "Example 1: a convolution, stride 2, padding 1",
                "The plain convolution, for comparison: a ring of zeros makes the 6×6 input 8×8, where the 2×2 kernel "
                "finds 4 places along each axis. Here padding adds to the input and the stride moves the window.",
                _digits(6, 6),
                KERNEL,
                {"op": "conv", "stride": 2, "padding": 1},
            ),
            Example(
                "example-2",
                "Example 2: stride 2, no padding",
                "One zero between neighbouring cells and one ring around them: the 3×3 input becomes a 7×7 grid, over "
                "which the flipped kernel moves in steps of 1, whatever the stride. 6 places along each axis: 6×6.",
                _digits(3, 3),
                KERNEL,
                {"stride": 2},
            ),
            Example(
                "example-3",
                "Example 3: stride 1, no padding",
                "The reading says that only the stride differs from Example 2, and yet finds a 7×7 grid and a 6×6 "
                "output again. That cannot be: without zeros between its cells the 3×3 input with one ring around it "
                "is a 5×5 grid, and the output is 4×4: (3 − 1)·1 + 2 = 4. A 7×7 grid needs a 5×5 input: example-3-5x5.",
                _digits(3, 3),
                KERNEL,
            ),
            Example(
                "example-3-5x5",
                "Example 3 with the sizes that the reading shows",
                "With a 5×5 input the sizes of the reading's Example 3 come true: a ring around it makes 7×7, and the "
                "output is (5 − 1)·1 + 2 = 6 cells long along each axis. It is another input than Example 2's, though.",
                _digits(5, 5),
                KERNEL,
            ),
            Example(
                "example-4",
                "Example 4: stride 2, padding 1",
                "Padding takes away here: of Example 2's 7×7 grid the outer ring goes, which leaves 5×5 and an output "
                "of 4×4. It is the same as cropping one ring off the 6×6 output. (In a convolution, as in Example 1, "
                "padding adds a ring to the input; the reading has the two the wrong way round.)",
                _digits(3, 3),
                KERNEL,
                {"stride": 2, "padding": 1},
            ),
            Example(
                "checkerboard",
                "A checkerboard: kernel 3, stride 2",
                "3 is not a multiple of 2, so the output cells are the sums of 1, 2 or 4 products in turn. With equal "
                "inputs and equal weights the output still has a pattern.",
                [[1, 1, 1, 1]] * 4,
                [[1, 1, 1]] * 3,
                {"stride": 2},
            ),
            Example(
                "even",
                "No checkerboard: kernel 4, stride 2, padding 1",
                "4 is a multiple of 2: far from the edges each output cell is the sum of 4 products. The output is "
                "twice as long as the input along each axis.",
                [[1, 1, 1, 1]] * 4,
                [[1, 1, 1, 1]] * 4,
                {"stride": 2, "padding": 1},
            ),
        )
    }
)
"""All of them, in the reading's order."""
