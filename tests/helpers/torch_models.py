"""A model with every kind of layer that accelerate() changes, plain and accelerated: for tests of both."""

import pytest
import torch
from torch import nn

import unstride.torch as ut

WARNINGS = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning:torch.ao"),
]
"""PyTorch's own, of what it will drop."""


class Model(nn.Module):
    """Convolutions that are changed, alone and in a Sequential that becomes a stack, and one layer under two names."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.up = nn.Sequential(nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.ConvTranspose2d(8, 8, 3))
        self.last = nn.Conv2d(8, 8, 3, padding_mode="reflect", padding=1)
        self.again = self.last

    def forward(self, x):
        x = self.up(self.relu(self.norm(self.first(x))))
        return self.again(self.last(x))


def made():
    torch.manual_seed(0)
    return Model().eval()


X = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def plain_and_fast():
    """Two models of the same weights, one accelerated."""
    plain, fast = made(), made()
    assert len(ut.accelerate(fast).changed) == 4
    return plain, fast


def close(got, expected):
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def convolutions(model):
    return [m for m in model.modules() if isinstance(m, nn.modules.conv._ConvNd)]


def counted_calls(monkeypatch):
    """A list to which our operators' names are added as they compute."""
    seen = []
    for name in ("conv", "conv_transpose"):
        own = getattr(ut.methods.operators, name)
        monkeypatch.setattr(ut.methods.operators, name, lambda *a, own=own, name=name: seen.append(name) or own(*a))
    return seen
