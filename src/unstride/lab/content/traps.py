"""Settings of the frameworks that look alike but are not, with their results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ... import conventions
from ...data import Doubles
from ...explainer.figures import figure
from ...geometry import ArgumentError, Geometry
from ...ops import conv_transpose

INPUT = (1.0, 10.0, 100.0)
"""The input. Each digit of a result shows which input cell it comes from."""


@dataclass(frozen=True)
class Row:
    """A call: its arguments, and its output or its error."""

    call: str
    output: Doubles | None
    problem: str = ""

    @property
    def text(self) -> str:
        if self.output is None:
            return self.problem
        return f"[{', '.join(figure(float(value)) for value in self.output)}]"


@dataclass(frozen=True)
class Trap:
    """Calls that seem to be the same."""

    name: str
    title: str
    words: str
    rows: tuple[Row, ...]


def traps(k: int, s: int) -> tuple[Trap, ...]:
    """The traps, for the kernel 1, 2, ..., k and the stride s.

    >>> by_name = {trap.name: trap for trap in traps(3, 2)}
    >>> [row.text for row in by_name["same"].rows if "ONNX" in row.call]
    ['[1, 2, 13, 20, 130, 200]', '[2, 13, 20, 130, 200, 300]']
    """
    kernel = np.arange(1.0, k + 1)
    half, K, n = max((k - s + 1) // 2, 0), k, len(INPUT)

    def row(call: str, geometry: Callable[[], Geometry], flipped: bool = False) -> Row:
        try:
            output = conv_transpose(
                np.array(INPUT), kernel[::-1] if flipped else kernel, geometry=geometry(), channels=None
            )
        except ArgumentError as error:
            return Row(call, None, str(error))
        return Row(call, output)

    extra = max(2 * half - (k - s), 0)
    return (
        Trap(
            "same",
            "“same” is not the same",
            "All of these make n·s cells. If k − s is odd, one more cell must be cropped at one end, and they disagree "
            "on which: the result has the right shape but is shifted by a cell.",
            (
                row(f"Keras  padding='same', strides={s}", lambda: conventions.keras(k, s, "same")),
                row(f"JAX  padding='SAME', strides=({s},)", lambda: conventions.jax(k, s, "SAME")),
                row(
                    f"PyTorch  stride={s}, padding={half}, output_padding={extra}",
                    lambda: conventions.torch(k, s, half, extra),
                ),
                row(f"ONNX  auto_pad=SAME_UPPER, strides=[{s}]", lambda: conventions.onnx(k, s, auto_pad="SAME_UPPER")),
                row(f"ONNX  auto_pad=SAME_LOWER, strides=[{s}]", lambda: conventions.onnx(k, s, auto_pad="SAME_LOWER")),
            ),
        ),
        Trap(
            "none",
            "None is not 0",
            "Keras's output_padding=None does not mean none. With “same” it is chosen so that there are n·s cells, and "
            "0 gives fewer. With “valid” it differs from 0 only if the kernel is shorter than the stride.",
            tuple(
                row(
                    f"Keras  padding='{name}', output_padding={given}",
                    lambda name=name, given=given: conventions.keras(k, s, name, given),  # type: ignore[misc]
                )
                for name in ("same", "valid")
                for given in (None, 0)
            ),
        ),
        Trap(
            "flip",
            "JAX flips the kernel",
            "jax.lax.conv_transpose flips the kernel unless transpose_kernel=True. With symmetric kernels nobody "
            "notices; with trained weights everything is wrong.",
            (
                row("JAX  default", lambda: conventions.jax(k, s, "VALID"), flipped=True),
                row("JAX  transpose_kernel=True", lambda: conventions.jax(k, s, "VALID")),
                row("Keras  padding='valid'", lambda: conventions.keras(k, s, "valid")),
            ),
        ),
        Trap(
            "pads",
            "The same number, opposite effects",
            "PyTorch's and ONNX's padding is cropped from the result, so more of it makes the result smaller. JAX's "
            "explicit padding is added around the zero-spaced grid, so more of it makes the result larger: (a, b) "
            "there corresponds to a crop of K − 1 − a and K − 1 − b.",
            (
                *(row(f"PyTorch  padding={p}", lambda p=p: conventions.torch(k, s, p)) for p in (0, 1)),  # type: ignore[misc]
                *(
                    row(f"JAX  padding=[({p}, {p})]", lambda p=p: conventions.jax(k, s, [(p, p)]))  # type: ignore[misc]
                    for p in dict.fromkeys((0, 1, K - 1))
                ),
            ),
        ),
        Trap(
            "ends",
            "Output padding adds at one end",
            "It does not pad with anything: it crops less at the end. If nothing is left to crop, cells are added that "
            "no copy reaches and that hold only the bias.",
            tuple(
                row(f"PyTorch  output_padding={given}", lambda given=given: conventions.torch(k, s, 0, given))  # type: ignore[misc]
                for given in range(min(max(s, 2), n))
            ),
        ),
    )
