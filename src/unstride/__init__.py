"""unstride: transposed convolution, exact in every framework's convention, fast, and explained.

Compute, on arrays of NumPy, PyTorch, JAX or TensorFlow::

    conv_transpose(x, kernel, bias, stride=2, padding=1)   every input cell adds a scaled copy of the kernel
    conv, kernel_gradient                                  its adjoint, and the gradient with respect to the kernel
    plan(x, kernel, stride=2)                              how a call is computed: multiply-adds, bytes, kernel
    set_num_threads(n), get_num_threads(), show_config()

Find the arguments::

    Geometry(kernel_size, stride, padding)                 sizes: .output_size(n), .conv_size(n)
    solve((7, 7), (28, 28))                                which geometries make 28x28 of 7x7
    conventions.keras(...).to("torch")                     from keras, torch, tensorflow, jax or onnx to any other
    GeometryError, ArgumentError                           errors for illegal arguments
    NotExpressible                                         error for a geometry that a framework lacks

See it::

    explain(x, kernel, stride=2)                           every step: print it, .svg(), .gif(), .html(), .code("torch")

Submodules, which are imported when they are used::

    keras, torch    layers in place of the frameworks' own, and accelerate(model) for an existing model
    models, data    the models that `unstride train` trains; MNIST
    codes           a compressor's codes of images; checkerboard(images): the strength of a decoder's checkerboard
    explainer       the parts of `explain`: steps, presets, a widget for notebooks
    stack           layers in a row, computed as one, for NumPy arrays

First steps:

>>> import unstride as us
>>> us.conv_transpose([[0, 1], [2, 3]], [[0, 1], [2, 3]], stride=2, channels=None)   # bare grids: channels=None
array([[0., 0., 0., 1.],
       [0., 0., 2., 3.],
       [0., 2., 0., 3.],
       [4., 6., 6., 9.]])
>>> us.conventions.torch(4, stride=2, padding=1).output_size(7)
(14,)

In a terminal: `unstride --help`, or `python -m unstride --help`.
"""

from typing import TYPE_CHECKING

from . import conventions
from ._submodules import HEAVY as _HEAVY
from ._submodules import LIGHT as _LIGHT
from .configuration import show_config
from .explainer import explain
from .geometry import ArgumentError, Geometry, GeometryError, NotExpressible
from .ops import conv, conv_transpose, kernel_gradient
from .planning import Plan, plan
from .solver import solve
from .threads import get_num_threads, read_environment, set_num_threads

if TYPE_CHECKING:
    from . import codes as codes
    from . import data as data
    from . import explainer as explainer
    from . import keras as keras
    from . import models as models
    from . import stack as stack
    from . import torch as torch

__all__ = [
    "ArgumentError",
    "Geometry",
    "GeometryError",
    "NotExpressible",
    "Plan",
    "conv",
    "conv_transpose",
    "conventions",
    "explain",
    "get_num_threads",
    "kernel_gradient",
    "plan",
    "set_num_threads",
    "show_config",
    "solve",
]
__version__ = "0.1.0"

read_environment()

if not TYPE_CHECKING:  # type checkers would take any name for one of these

    def __getattr__(name):
        from ._submodules import submodule

        return submodule(__name__, name)


def __dir__() -> list[str]:
    dunders = [name for name in globals() if name.startswith("__") and name.endswith("__")]
    return sorted({*__all__, *_LIGHT, *_HEAVY, *dunders})
