"""After accelerate(), results and gradients have PyTorch's own strides, so that whatever is done with them still works."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import unstride.torch as ut

FORMATS = {3: [None], 4: [None, torch.channels_last], 5: [None, torch.channels_last_3d]}


@st.composite
def tensors(draw, shape, dtype):
    """Numbers of that shape that lie in memory in one of the ways in which PyTorch's do."""
    way = draw(st.sampled_from(["format", "permuted", "expanded", "sliced", "unsqueezed", "any strides"]))
    x = torch.randn(shape, dtype=dtype)
    if way == "format":
        form = draw(st.sampled_from(FORMATS[len(shape)]))
        return x if form is None else x.contiguous(memory_format=form)
    if way == "permuted":
        order = draw(st.permutations(range(len(shape))))
        return x.permute(order).contiguous().permute([order.index(axis) for axis in range(len(shape))])
    axis = draw(st.integers(0, len(shape) - 1))
    if way == "expanded":
        return x.narrow(axis, 0, 1).expand(shape)
    if way == "sliced":
        step = draw(st.integers(1, 2))
        large = torch.randn([n * step + 1 for n in shape], dtype=dtype)
        return large[tuple(slice(1, None, step) for _ in shape)]
    ones = [axis for axis, n in enumerate(shape) if n == 1]
    if way == "unsqueezed" and ones:
        axis = draw(st.sampled_from(ones))
        return x.squeeze(axis).transpose(0, -1).contiguous().transpose(0, -1).unsqueeze(axis)
    # an axis of one cell may have any stride
    return x.as_strided(
        shape, [draw(st.sampled_from([1, 2, 7])) if n == 1 else s for n, s in zip(shape, x.stride(), strict=True)]
    )


few = st.sampled_from([1, 1, 2, 3])


@st.composite
def layers(draw):
    rank, transposed, groups = draw(st.integers(1, 3)), draw(st.booleans()), draw(st.sampled_from([1, 1, 2]))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    kind = getattr(nn, f"Conv{'Transpose' if transposed else ''}{rank}d")
    layer = kind(
        groups * draw(few),
        groups * draw(few),
        draw(st.integers(1, 3)),
        stride=draw(st.integers(1, 2)),
        padding=draw(st.integers(0, 1)),
        dilation=draw(st.integers(1, 2)),
        groups=groups,
        bias=draw(st.booleans()),
        dtype=dtype,
    )
    form = draw(st.sampled_from(FORMATS[rank + 2]))
    if form is not None:
        layer = layer.to(memory_format=form)
    space = [draw(st.sampled_from([1, 3, 5])) for _ in range(rank)]
    return layer, draw(tensors([draw(few), layer.in_channels, *space], dtype))


def of_large_axes(tensor):
    """Strides, without those of axes of one cell, where PyTorch's kernels differ among themselves."""
    return [stride for stride, length in zip(tensor.stride(), tensor.shape, strict=True) if length > 1]


@pytest.mark.slow
@given(layers(), st.booleans())
@settings(max_examples=200)
def test_layers(drawn, hides_the_choice):
    plain, x = drawn
    fast = copy.deepcopy(plain)
    ut.accelerate(fast)
    try:
        expected = plain(x)
    except RuntimeError:
        with pytest.raises(RuntimeError):
            fast(x)
        return
    leaves = [x.detach().requires_grad_() for _ in range(2)]
    results = [model(leaf) for model, leaf in zip((plain, fast), leaves, strict=True)]
    assert results[1].stride() == expected.stride()
    with torch.no_grad():
        assert fast(x).stride() == expected.stride()
    grad_output = torch.randn_like(expected)
    if hides_the_choice:
        grad_output = grad_output.transpose(0, -1).contiguous().transpose(0, -1)
    gradients = [
        torch.autograd.grad(y, [leaf, *model.parameters()], grad_output)
        for y, leaf, model in zip(results, leaves, (plain, fast), strict=True)
    ]
    assert of_large_axes(gradients[1][0]) == of_large_axes(gradients[0][0])
    for got, wanted in zip(gradients[1][1:], gradients[0][1:], strict=True):
        assert of_large_axes(got) == of_large_axes(wanted)
    for got, wanted in zip((results[1], *gradients[1]), (results[0], *gradients[0]), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4)


@st.composite
def sequentials(draw):
    rank = draw(st.integers(1, 3))
    convolutions = [getattr(nn, f"Conv{rank}d"), getattr(nn, f"ConvTranspose{rank}d")]
    modules, channels = [], draw(few)
    first = channels
    for _ in range(draw(st.integers(2, 3))):
        kind, following = draw(st.sampled_from(convolutions)), draw(few)
        size = draw(st.integers(1, 3))
        padding = 0 if kind is convolutions[1] else size // 2
        layer = kind(channels, following, size, padding=padding)
        form = draw(st.sampled_from(FORMATS[rank + 2]))
        modules.append(layer if form is None else layer.to(memory_format=form))
        modules += [one() for one in draw(st.sampled_from([[], [nn.ReLU], [nn.Tanh], [nn.LeakyReLU, nn.ReLU]]))]
        channels = following
    space = [draw(st.sampled_from([1, 3, 5])) for _ in range(rank)]
    x = draw(tensors([draw(st.sampled_from([1, 3, 16, 17])), first, *space], torch.float32))
    return nn.Sequential(*modules), x


@pytest.mark.slow
@given(sequentials())
@settings(max_examples=100)
def test_stacks_and_relu_in_place(drawn):
    plain, x = drawn
    fast = copy.deepcopy(plain)
    ut.accelerate(fast)
    leaves = [x.detach().requires_grad_() for _ in range(2)]
    results = [model(leaf) for model, leaf in zip((plain, fast), leaves, strict=True)]
    assert results[1].stride() == results[0].stride()
    with torch.no_grad():
        assert fast(x).stride() == results[0].stride()
    gradients = [
        torch.autograd.grad(y.square().sum(), [leaf, *model.parameters()])
        for y, leaf, model in zip(results, leaves, (plain, fast), strict=True)
    ]
    for got, wanted in zip(*reversed(gradients), strict=True):
        assert of_large_axes(got) == of_large_axes(wanted)
    torch.testing.assert_close(results[1], results[0], rtol=1e-3, atol=1e-4)


def test_views_of_results_work_as_before():
    x = torch.randn(2, 1, 6, 5).permute(0, 1, 3, 2)
    for layer in (nn.ConvTranspose2d(1, 4, 3), nn.ConvTranspose2d(1, 1, 3), nn.Conv2d(1, 4, 3).double()):
        given = x.to(layer.weight.dtype)
        expected = layer(given).view(2, -1)
        ut.accelerate(layer)
        torch.testing.assert_close(layer(given).view(2, -1), expected)


@pytest.mark.parametrize("last", [False, True])
def test_fake_kernels_agree_with_real_strides(last):
    x, kernel = torch.randn(2, 3, 4, 4), torch.randn(3, 2, 3, 3)
    for name, weights, size in (("conv_transpose", kernel, [6, 6]), ("conv", torch.randn(2, 3, 3, 3), [2, 2])):
        arguments = (x, weights, None, size, [1, 1], [1, 1], [0, 0], 1, last)
        torch.library.opcheck(getattr(torch.ops.unstride, name).default, arguments)
