from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

def compute(
    transposed: bool,
    x: NDArray[Any],
    kernel: NDArray[Any],
    bias: NDArray[Any] | None,
    out: NDArray[Any],
    stride: Sequence[int],
    dilation: Sequence[int],
    begin: Sequence[int],
    groups: int,
    first: bool,
    kernel_first: bool,
    relu: bool,
) -> None:
    """Writes conv_transpose or conv of x to out."""

def gradient(
    big: NDArray[Any],
    small: NDArray[Any],
    out: NDArray[Any],
    stride: Sequence[int],
    dilation: Sequence[int],
    begin: Sequence[int],
    groups: int,
    first: bool,
    kernel_first: bool,
) -> None:
    """Writes kernel_gradient of big and small to out."""

class BoundCall:
    """A call bound to shapes and strides, which takes the arrays' addresses."""

    def __call__(self, first: int, second: int, bias: int, out: int) -> None: ...
    def gradients(self, x: int, kernel: int, grad_output: int, x_gradient: int, kernel_gradient: int) -> None:
        """Both gradients of a map; `out` was described as `grad_output` is laid out, and the one with
        respect to x is dense."""

def bind(
    map: str,
    first: Sequence[int],
    first_strides: Sequence[int],
    second: Sequence[int],
    second_strides: Sequence[int],
    out: Sequence[int],
    out_strides: Sequence[int],
    bias: bool,
    stride: Sequence[int],
    dilation: Sequence[int],
    begin: Sequence[int],
    groups: int,
    channels_first: bool,
    kernel_layout: int,
    bytes: int,
) -> BoundCall:
    """A call of 'conv_transpose', 'conv' or 'kernel_gradient' but for the memory; strides are in numbers. The kernel's
    layout is 0 for (C_small, C_big / groups, *k), 1 for (*k, C_big / groups, C_small), or 2 for
    (C_small, *k, C_big / groups), which is described as 1."""

def set_openmp(fork_join: int, max_threads: int) -> None:
    """The addresses of GOMP_parallel and omp_get_max_threads, on whose threads bound calls run from now on; 0: on
    ours."""

def describe(
    map: str,
    small: Sequence[int],
    big: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    begin: Sequence[int],
    batch: int,
    groups: int,
    small_channels: int,
    big_channels: int,
    bytes: int,
) -> dict[str, Any]:
    """The plan of a map, as plain data; channels are those of a group."""

class CachedCall:
    """One of the maps for arrays of known shapes and type."""

    def __init__(
        self,
        map: str,
        shape: Sequence[int],
        bytes: int,
        stride: Sequence[int],
        dilation: Sequence[int],
        begin: Sequence[int],
        groups: int,
        first: bool,
        kernel_first: bool,
        relu: bool,
    ) -> None: ...
    def __call__(self, a: NDArray[Any], b: NDArray[Any], bias: NDArray[Any] | None) -> NDArray[Any] | None:
        """The result for x and kernel, or big and small; None for arrays that cannot be walked over as they are."""

def key(map: str, a: Any, b: Any, bias: Any, fields: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The key of a call; None for arrays that are not NumPy's, of float32 or float64 alike."""

def recall(
    calls: dict[Any, CachedCall], map: str, a: Any, b: Any, bias: Any, fields: tuple[Any, ...]
) -> NDArray[Any] | None:
    """The result of a call that `calls` has under its key; None if it has none."""

def empty(shape: Sequence[int], bytes: int) -> NDArray[Any]:
    """A new array of float32 (4 bytes) or float64 (8): large ones take memory that an earlier one left."""

def igemm(
    x: NDArray[Any],
    weights: NDArray[Any],
    bias: NDArray[Any],
    out: NDArray[Any],
    from_: int,
    to: int,
    scalar: bool,
) -> None:
    """The igemm kernel by itself, or its scalar twin: relu(x @ weights + bias) of whole vectors of columns."""

def xla_targets() -> dict[str, Any]:
    """The three maps as foreign functions of XLA: a capsule for each name."""

max_phases: int  # along an axis of a transposed convolution
max_threads: int

def num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...
def instruction_set() -> str:
    """The instruction set whose kernels run: 'avx512', 'avx2', 'neon' or 'baseline'."""

def use_instruction_set(name: str) -> None: ...
def instruction_sets() -> list[str]:
    """Those that this machine runs, the slowest first."""

def fma_peak(seconds: float, threads: int) -> float:
    """Billions of floating-point operations a second in registers alone, of all threads together."""

def stack_lanes() -> int:
    """How many images a group of a stack has."""

def stack_saved(code: Sequence[int], batch: int) -> int:
    """How many numbers `stack_forward` keeps for `stack_backward`."""

def stack_forward(
    code: Sequence[int], x: NDArray[Any], weights: Sequence[NDArray[Any]], y: NDArray[Any], saved: NDArray[Any] | None
) -> None: ...
def stack_backward(
    code: Sequence[int],
    x: NDArray[Any],
    weights: Sequence[NDArray[Any]],
    y_gradient: NDArray[Any],
    saved: NDArray[Any] | None,
    x_gradient: NDArray[Any] | None,
    weight_gradients: Sequence[NDArray[Any]],
) -> None: ...
def stack_crossentropy(
    code: Sequence[int],
    x: NDArray[Any],
    weights: Sequence[NDArray[Any]],
    target: NDArray[Any],
    epsilon: float,
    y: NDArray[Any],
    loss: NDArray[Any],
    weight_gradients: Sequence[NDArray[Any]],
) -> None: ...
