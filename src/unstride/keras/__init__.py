"""Keras's convolution layers, forwards and transposed, computed by unstride.

Each layer is a subclass of the Keras layer of the same name, with its whole signature, weights and file format: write
``from unstride.keras import Conv2DTranspose`` in place of Keras's import. Beyond Keras's layers they take

* ``groups`` in transposed convolutions too;
* ``strides`` and ``dilation_rate`` above 1 together;
* ``padding`` as an int, one int per axis, or one signed ``(begin, end)`` pair per axis, with or without
  ``output_padding``, which may be of any size;
* ``data_format="channels_first"`` on every backend and device.

The kernel of a transposed convolution has the shape ``(*kernel_size, filters / groups, input channels)``.

`accelerate` does the same for the layers of an existing model.

Importing this module imports Keras. If no backend was chosen by KERAS_BACKEND, keras.json or an earlier import of
Keras, Keras uses one that is installed: JAX, PyTorch or TensorFlow. The function
``unstride.backends.keras.keras_backend.choice()`` returns the choice and its reason, and the logger "unstride" records
it at the level INFO.
"""

from __future__ import annotations

from ..backends.keras import keras_backend
from ..backends.keras.imported import keras  # Keras with an installed backend

OLDEST_KERAS = (3, 15)  # earlier versions shift odd "same" kernels by a pixel on PyTorch
BACKENDS = ("jax", "torch", "tensorflow", "numpy")

if tuple(int(part) for part in keras.__version__.split(".")[:2]) < OLDEST_KERAS:
    raise ImportError(f"unstride.keras needs Keras 3.15 or later; {keras.__version__} is installed")
if keras.backend.backend() not in BACKENDS:
    raise ImportError(
        f"unstride.keras runs on the Keras backends {', '.join(BACKENDS)}; Keras's is {keras_backend.choice()}"
    )

from .._dispatch import symbolic as _symbols  # noqa: E402, F401 - registers its nodes, so that saved models load
from ._accelerate import Convolution, Report, accelerate, restore  # noqa: E402 - after the checks
from ._layers import Conv1D, Conv1DTranspose, Conv2D, Conv2DTranspose, Conv3D, Conv3DTranspose  # noqa: E402

__all__ = [
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "Convolution",
    "Report",
    "accelerate",
    "restore",
]

for _name in __all__:
    globals()[_name].__module__ = __name__  # saved models find the layers by it
