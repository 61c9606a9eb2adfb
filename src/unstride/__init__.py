"""unstride: transposed convolution, exact in every framework's convention, fast, and explained."""

from . import conventions
from .explainer import explain
from .geometry import Geometry, GeometryError, NotExpressible
from .ops import conv, conv_transpose, kernel_gradient
from .planning import Plan, plan
from .solver import solve
from .threads import get_num_threads, read_environment, set_num_threads

__all__ = [
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
    "solve",
]
__version__ = "0.1.0"

read_environment()
