"""PyTorch's own samples of its convolutions, through ours: tests/peers/torch_opinfo.py."""

import importlib

import pytest

KINDS = ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "conv1d", "conv2d", "conv3d"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what PyTorch's own tests import
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_samples(kind):
    peer = importlib.import_module("torch_opinfo")
    for dtype in peer.TYPES:
        assert peer.check(f"nn.functional.{kind}", dtype)["compared"] >= 10
