"""Arrays that do not fit: the error says which layout, or which order of the kernel's axes, would, and it does."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import unstride as us

LAYOUTS = {  # of kernels, by their axes: s and b for C_small and C_big / groups, k for those of space
    "Keras, TensorFlow": "kbs",
    "PyTorch, ONNX": "sbk",
    "JAX, Flax": "ksb",
    "Equinox": "bsk",
}


def laid_out(kernel, letters):
    """From (*k, C_big / groups, C_small)."""
    rank = kernel.ndim - 2
    axes = {"k": tuple(range(rank)), "b": (rank,), "s": (rank + 1,)}
    return kernel.transpose([axis for letter in letters for axis in axes[letter]])


def followed(hint, call, x, kernel, **fields):
    """The call with what the hint says."""
    if found := re.search(r'channels="(\w+)"', hint):
        fields["channels"] = found[1]
    if found := re.search(r"axes in the order \(([\d, ]+)\)", hint):
        order = [int(axis) for axis in found[1].split(",")]
        kernel = kernel.permute(*order) if isinstance(kernel, torch.Tensor) else kernel.transpose(order)
    return call(x, kernel, **fields)


def hints(error):
    return str(error).partition("; what would fit: ")[2].split("; or ")


@pytest.mark.slow
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("call", [us.conv_transpose, us.conv])
@pytest.mark.parametrize("letters", LAYOUTS.values(), ids=LAYOUTS)
@given(
    rank=st.integers(1, 3), groups=st.integers(1, 3), first=st.booleans(), channels=st.sampled_from(["last", "first"]),
    by_geometry=st.booleans(),
)  # fmt: skip
def test_what_the_error_proposes_computes_the_right_thing(
    call, letters, library, rank, groups, first, channels, by_geometry
):
    """Of all layouts of kernels, with x in either layout; all numbers differ, so that one of the proposals is the right one."""
    rng = np.random.default_rng(rank)
    small, per_group = 7 * groups, 5
    kernel = rng.standard_normal((*(2, 3, 4)[:rank], per_group, small))
    x = rng.standard_normal((1, *(31, 12, 13)[:rank], small if call is us.conv_transpose else per_group * groups))
    expected = call(x, kernel, stride=2, groups=groups)
    given_x, given_kernel = np.moveaxis(x, -1, 1) if first else x, laid_out(kernel, letters)
    if library == "torch":
        given_x, given_kernel = torch.tensor(given_x), torch.tensor(given_kernel)
    fields = {"stride": 2, "groups": groups}
    if by_geometry:
        fields = {"geometry": us.Geometry(kernel.shape[:rank], 2, groups=groups)}
    right = (channels == "first") == first and letters == ("kbs" if channels == "last" else "sbk")
    try:
        y = call(given_x, given_kernel, **fields, channels=channels)
    except us.GeometryError as error:
        assert not right
        message = str(error)
        assert str(tuple(given_x.shape)) in message
        assert str(tuple(given_kernel.shape)) in message
        results = [followed(hint, call, given_x, given_kernel, **fields, channels=channels) for hint in hints(error)]
        assert (rank == 1 and not by_geometry) or len(results) == 1  # with one axis, it may be taken for a channel axis
    else:
        if not right:  # C_big is in the middle of either, and no size was given
            assert (rank, call, by_geometry) == (1, us.conv, False)
            return
        results = [y]
    results = [np.asarray(y) for y in results]
    results = [y if y.shape == expected.shape else np.moveaxis(y, 1, -1) for y in results]
    assert any(y.shape == expected.shape and np.allclose(y, expected, rtol=0, atol=1e-12) for y in results)


def test_tensors_in_the_default_layout():
    x, layer = torch.ones(1, 8, 7, 7), torch.nn.ConvTranspose2d(8, 4, 3, stride=2)
    with pytest.raises(us.GeometryError, match=r'x has 7 channels.* would fit: channels="first"') as caught:
        us.conv_transpose(x, layer.weight, layer.bias, stride=2)
    y = followed(hints(caught.value)[0], us.conv_transpose, x, layer.weight, bias=layer.bias, stride=2)
    torch.testing.assert_close(y, layer(x))
    with pytest.raises(us.GeometryError, match=r'do not belong together.* would fit: channels="first"'):
        us.kernel_gradient(layer(x), x, kernel_size=3, stride=2)
    us.kernel_gradient(layer(x), x, kernel_size=3, stride=2, channels="first")
    with pytest.raises(us.GeometryError, match=r"makes \(9,\) of the big one$"):  # nothing to propose
        us.kernel_gradient(np.ones((1, 9, 2)), np.ones((1, 3, 3)), kernel_size=1)


def test_where_nothing_would_fit_the_error_says_no_more():
    with pytest.raises(us.GeometryError, match=r"takes C_small = 7$"):
        us.conv_transpose(np.ones((1, 5, 9)), np.ones((3, 2, 7)))


def test_symbolic_tensors_are_told_too():
    keras = pytest.importorskip("keras")
    with pytest.raises(us.GeometryError, match=r'would fit: channels="first"'):
        us.conv_transpose(keras.Input((8, 7, 7)), np.ones((8, 4, 3, 3), np.float32), stride=2)


def test_the_readings_integers_without_channels():
    """The hint is what is said first."""
    for call in (
        lambda: us.conv_transpose([[0, 1], [2, 3]], [[0, 1], [2, 3]]),
        lambda: us.conv(np.arange(4), np.arange(2)),
        lambda: us.conv_transpose(torch.tensor([[0, 1], [2, 3]]), torch.tensor([[0, 1], [2, 3]])),
        lambda: us.kernel_gradient([[0, 1], [2, 3]], [[0, 1], [2, 3]], kernel_size=1),
    ):
        with pytest.raises(us.GeometryError, match=r"has \d dimensions?.* for a bare grid pass channels=None"):
            call()
    with pytest.raises(TypeError, match=r"x is of type int64; expected .*, or pass channels=None if it is a bare grid"):
        us.conv_transpose(np.ones((2, 2, 2), int), np.ones((2, 2, 2), int))
