"""unstride: transposed convolution, exact in every framework's convention, fast, and explained."""

from . import conventions
from .geometry import Geometry, GeometryError, NotExpressible
from .ops import conv, conv_transpose, kernel_gradient
from .solver import solve

__all__ = [
    "Geometry",
    "GeometryError",
    "NotExpressible",
    "conv",
    "conv_transpose",
    "conventions",
    "kernel_gradient",
    "solve",
]
__version__ = "0.1.0"
