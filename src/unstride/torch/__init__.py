"""PyTorch's convolution layers, forwards and transposed, computed by the native kernels; and `accelerate`, which makes
an existing model use the kernels.

>>> import torch
>>> from unstride.torch import ConvTranspose2d                              # in place of torch.nn's
>>> layer = ConvTranspose2d(8, 4, 3, stride=2, padding="same")
>>> layer(torch.zeros(1, 8, 7, 7)).shape
torch.Size([1, 4, 14, 14])
"""

from ..backends import check_version as _check_version

try:
    import torch as _torch  # noqa: F401 - its version is checked before the imports that need it

    _check_version("torch")
    from .accelerating import Layer, Report, accelerate, restore
    from .layers import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    message = 'unstride.torch needs PyTorch 2.8 or later: pip install "unstride[torch]"'
    raise ModuleNotFoundError(message, name="torch") from None

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Layer",
    "Report",
    "accelerate",
    "restore",
]
