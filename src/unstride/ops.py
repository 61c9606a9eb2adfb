"""The public functions `us.conv_transpose`, `us.conv` and `us.kernel_gradient`: the three maps.

======================================  ==================  ================================
map                                     from, to            gradients
======================================  ==================  ================================
``conv(big, kernel)``                   big to small        conv_transpose, kernel_gradient
``conv_transpose(small, kernel)``       small to big        conv, kernel_gradient
``kernel_gradient(big, small)``         both to kernel      conv, conv_transpose
======================================  ==================  ================================

One kernel array serves all three, unflipped: ``<conv(u, K), v> == <u, conv_transpose(v, K)>``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Never

from ._dispatch import MAPS
from ._dispatch.pipeline import computed
from ._messages.argument_names import refuse
from .geometry import Geometry, Padding

Ints = int | Sequence[int]


def conv_transpose(
    x: Any,
    kernel: Any,
    bias: Any = None,
    geometry: Geometry | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints | None = None,
    dilation: Ints = 1,
    groups: int = 1,
    channels: str | None = "last",
    activation: str | None = None,
    out: Any = None,
    **misnamed: Never,
) -> Any:
    """The transposed convolution: every cell of `x` lays a copy of the kernel, scaled by it, onto a larger grid.

    Parameters
    ----------
    x : array
        ``channels="last"``: ``(batch, *space, C_small)``; ``"first"``: ``(batch, C_small, *space)``; None: a bare
        grid of 1 to 3 dimensions. An array of NumPy, PyTorch, JAX or TensorFlow, a Keras variable, nested lists, or a
        symbolic Keras tensor (the result is then symbolic too: a node of a functional model).
    kernel : array
        ``"last"``: ``(*k, C_big / groups, C_small)``, as in Keras and TensorFlow; ``"first"``: ``(C_small,
        C_big / groups, *k)``, as in PyTorch and ONNX; None: a bare kernel with as many dimensions as `x`.
    bias : array, optional
        ``(C_big,)``; a number where ``channels=None``. Added to every cell, also to those that no input reaches.
    geometry : Geometry, optional
        Replaces the fields that follow.
    stride, padding, output_padding, dilation, groups
        The fields of `Geometry`.
    channels : {"last", "first", None}
        The layout of `x`, `kernel` and the result.
    activation : {None, "relu"}
        "relu" makes negative results 0 as they are computed (NaN stays NaN).
    out : numpy.ndarray, optional
        Receives the result of NumPy arrays. It has the result's shape and type, and shares no memory with the
        arguments.

    Returns
    -------
    array
        An array of the same library and layout as `x`, with ``C_big`` channels and the spatial size
        ``Geometry.output_size``. Its type is the one that the arrays promote to by their library's rules (numbers and
        lists take the arrays' type): an image of uint8 and a kernel of float32 make float32. Half and bfloat16 are
        computed in float32. If all arrays are bare grids of integers, they become float64. The result is
        differentiable in every framework; in JAX to any order, forwards (``jax.jvp``) and backwards, and under
        ``jax.vmap``.

    Raises
    ------
    GeometryError
        The shapes, or a field, describe no transposed convolution; or `out` has another shape, or overlaps an argument.
    TypeError
        No array has floating-point numbers (with ``channels=None``: none has numbers at all), one has complex numbers
        or a mask (``numpy.ma``), the arrays have no common type, or `out` has another type.

    Examples
    --------
    The two worked examples of the reading:

    >>> conv_transpose([[0, 1], [2, 3]], [[0, 1], [2, 3]], channels=None)
    array([[ 0.,  0.,  1.],
           [ 0.,  4.,  6.],
           [ 4., 12.,  9.]])
    >>> conv_transpose([[0, 1], [2, 3]], [[0, 1], [2, 3]], stride=2, channels=None)
    array([[0., 0., 0., 1.],
           [0., 0., 2., 3.],
           [0., 2., 0., 3.],
           [4., 6., 6., 9.]])
    """
    if misnamed:
        refuse(conv_transpose, misnamed)
    fields = geometry, None, stride, padding, output_padding, dilation, groups, channels, activation
    return computed("conv_transpose", (x, kernel, bias), fields, out)


def conv(
    x: Any,
    kernel: Any,
    bias: Any = None,
    geometry: Geometry | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    channels: str | None = "last",
    activation: str | None = None,
    out: Any = None,
    **misnamed: Never,
) -> Any:
    """The convolution as deep learning defines it, without a flip, from the big grid to the small one.

    The arguments and the result are those of `conv_transpose`, with the two sizes and channel counts exchanged: `x`
    has ``C_big`` channels, `bias` and the result have ``C_small``. The kernel is the same array. The zeros of
    ``padding="same"`` depend on the size of `x`, as in Keras.

    >>> conv([1, 2, 3, 4], [1, 10], stride=2, channels=None)
    array([21., 43.])
    """
    if misnamed:
        refuse(conv, misnamed)
    fields = geometry, None, stride, padding, None, dilation, groups, channels, activation
    return computed("conv", (x, kernel, bias), fields, out)


def kernel_gradient(
    big: Any,
    small: Any,
    geometry: Geometry | None = None,
    *,
    kernel_size: Ints | None = None,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    channels: str | None = "last",
    out: Any = None,
    **misnamed: Never,
) -> Any:
    """The derivative of ``<conv(big, K), small>``, or ``<big, conv_transpose(small, K)>``, with respect to K.

    Parameters
    ----------
    big, small : arrays
        Arrays on the big and on the small grid, in the layout `channels`; their sizes must fit each other.
    geometry : Geometry, optional
        Replaces the fields that follow. Without it, `kernel_size` is required.
    out : numpy.ndarray, optional
        As in `conv_transpose`.

    Returns
    -------
    array
        An array with the kernel's shape, in the layout `channels`.

    >>> kernel_gradient([1, 2, 3, 4], [1, 10], kernel_size=2, stride=2, channels=None)
    array([31., 42.])
    """
    if misnamed:
        refuse(kernel_gradient, misnamed)
    fields = geometry, kernel_size, stride, padding, None, dilation, groups, channels, None
    return computed("kernel_gradient", (big, small, None), fields, out)


MAPS.update(conv_transpose=conv_transpose, conv=conv, kernel_gradient=kernel_gradient)
