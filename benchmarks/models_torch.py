"""Small whole models in PyTorch, by architecture: typical uses of transposed convolutions."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import nn


def dcgan(width: int = 64) -> nn.Module:
    """The generator of Radford et al. 2015, from 100 numbers to 64×64×3."""
    channels = [100, width * 8, width * 4, width * 2, width]
    layers: list[nn.Module] = []
    for number, (a, b) in enumerate(itertools.pairwise(channels)):
        stride, padding = (2, 1) if number else (1, 0)
        layers += [nn.ConvTranspose2d(a, b, 4, stride, padding, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh())


class UNet(nn.Module):
    """Ronneberger et al. 2015, with padding, in two or three dimensions."""

    def __init__(self, rank: int, width: int, depth: int) -> None:
        super().__init__()
        conv = (nn.Conv2d, nn.Conv3d)[rank - 2]
        transposed = (nn.ConvTranspose2d, nn.ConvTranspose3d)[rank - 2]

        def block(a: int, b: int) -> nn.Module:
            return nn.Sequential(conv(a, b, 3, padding=1), nn.ReLU(), conv(b, b, 3, padding=1), nn.ReLU())

        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(block(a, b) for a, b in zip([1, *widths], widths, strict=False))
        self.pool = (nn.MaxPool2d, nn.MaxPool3d)[rank - 2](2)
        self.up = nn.ModuleList(transposed(2 * b, b, 2, 2) for b in reversed(widths[:-1]))
        self.merge = nn.ModuleList(block(2 * b, b) for b in reversed(widths[:-1]))
        self.last = conv(width, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            kept.append(x)
        kept.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([kept.pop(), up(x)], 1))
        return self.last(x)


def fsrcnn(scale: int = 3, d: int = 56, s: int = 12, m: int = 4) -> nn.Module:
    """Dong et al. 2016, from small images to images `scale` times as large."""
    inner: list[nn.Module] = []
    for _ in range(m):
        inner += [nn.Conv2d(s, s, 3, padding=1), nn.PReLU(s)]
    return nn.Sequential(
        nn.Conv2d(1, d, 5, padding=2), nn.PReLU(d), nn.Conv2d(d, s, 1), nn.PReLU(s), *inner, nn.Conv2d(s, d, 1),
        nn.PReLU(d), nn.ConvTranspose2d(d, 1, 9, scale, 4, output_padding=scale - 1),
    )  # fmt: skip


class Residual(nn.Module):
    """HiFi-GAN's residual block of dilated convolutions."""

    def __init__(self, channels: int, k: int) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(nn.Conv1d(channels, channels, k, padding="same", dilation=d) for d in (1, 3, 5))
        self.plain = nn.ModuleList(nn.Conv1d(channels, channels, k, padding="same") for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        leaky = nn.functional.leaky_relu
        for dilated, plain in zip(self.dilated, self.plain, strict=True):
            x = x + plain(leaky(dilated(leaky(x, 0.1)), 0.1))
        return x


class HifiGan(nn.Module):
    """Kong et al. 2020 with one residual block per step, from frames of 80 numbers to 256 samples each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(80, width, 7, padding=3)
        self.up, self.blocks = nn.ModuleList(), nn.ModuleList()
        for s in (8, 8, 2, 2):
            self.up.append(nn.ConvTranspose1d(width, width // 2, 2 * s, s, s // 2))
            width //= 2
            self.blocks.append(Residual(width, 3))
        self.last = nn.Conv1d(width, 1, 7, padding=3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for up, block in zip(self.up, self.blocks, strict=True):
            x = block(up(nn.functional.leaky_relu(x, 0.1)))
        return torch.tanh(self.last(nn.functional.leaky_relu(x)))


# The model and the shape of its input, channels first.
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "DCGAN generator": (dcgan, (16, 100, 1, 1)),
    "U-Net, 2-D": (lambda: UNet(2, 16, 4), (1, 1, 192, 192)),
    "FSRCNN x3": (fsrcnn, (4, 1, 64, 64)),
    "HiFi-GAN, 1-D": (lambda: HifiGan(256), (1, 80, 48)),
    "U-Net, 3-D": (lambda: UNet(3, 8, 3), (1, 1, 48, 48, 48)),
}
