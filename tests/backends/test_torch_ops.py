"""The three maps as PyTorch operators: derivatives of every order and kind, compilation, transforms, export, threads,
forks, memory formats."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import arrays, assert_within, first, kernel_first, samples, situations, terms_of
from hypothesis import assume, given, settings
from torch.autograd import forward_ad, gradcheck, gradgradcheck

import unstride as us
from unstride.backends.torch import layout, native, operators

pytestmark = [
    # PyTorch's own: it scripts its decompositions when forward mode is first used.
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
]

# One of each kind that makes another way through the kernels: groups, dilation, crops and extensions, k < s, k > s.
GEOMETRIES = [
    us.Geometry(3, 2, 1, 1),
    us.Geometry(1, 3, ((0, -2),)),
    us.Geometry((3, 2), (2, 3), ((1, -1), (-2, 1)), groups=2),
    us.Geometry((2, 4), (1, 2), (1, 0), dilation=(2, 1)),
    us.Geometry((2, 1, 3), (1, 2, 2), ((0, 1), (-1, 0), (1, 1)), dilation=(1, 1, 2), groups=3),
]


def values(geometry, seed=0, batch=2, size=2):
    """A small grid, a kernel, a bias and a big grid in float64, channels first, as tensors."""
    v, kernel, bias, u = arrays(geometry, (size,) * geometry.rank, np.random.default_rng(seed), batch)
    return torch.tensor(first(v)), torch.tensor(kernel_first(kernel)), torch.tensor(bias), torch.tensor(first(u))


def each_map(geometry, channels="first"):
    """The maps as functions of tensors, with tensors to call them with, of the same numbers in either layout."""
    v, kernel, bias, u = values(geometry)
    small_bias = torch.linspace(-1, 1, len(kernel), dtype=torch.float64)
    if channels == "last":
        v, u, kernel = (t.contiguous() for t in (v.movedim(1, -1), u.movedim(1, -1), kernel.movedim((0, 1), (-1, -2))))
    return {
        "conv_transpose": (lambda *a: us.conv_transpose(*a, geometry, channels=channels), (v, kernel, bias)),
        "conv": (lambda *a: us.conv(*a, geometry, channels=channels), (u, kernel, small_bias)),
        "kernel_gradient": (lambda *a: us.kernel_gradient(*a, geometry, channels=channels), (u, v)),
    }


MAPS = ["conv_transpose", "conv", "kernel_gradient"]


@pytest.mark.slow
@pytest.mark.parametrize("channels", ["first", "last"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("name", MAPS)
def test_derivatives_of_both_orders_and_modes(name, geometry, channels):
    function, tensors = each_map(geometry, channels)[name]
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    assert gradcheck(function, leaves, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True)
    assert gradgradcheck(function, leaves, check_fwd_over_rev=True)


@pytest.mark.parametrize("name", MAPS)
def test_a_derivative_by_one_argument_alone(name):
    function, tensors = each_map(GEOMETRIES[2])[name]
    for at in range(len(tensors)):
        leaves = [tensor.clone().requires_grad_(index == at) for index, tensor in enumerate(tensors)]
        assert gradcheck(function, leaves, check_forward_ad=True)
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(tensors[at], torch.ones_like(tensors[at]))
            tangent = forward_ad.unpack_dual(function(*tensors[:at], dual, *tensors[at + 1 :])).tangent
        step = [tensor + (index == at) for index, tensor in enumerate(tensors)]
        torch.testing.assert_close(tangent, function(*step) - function(*tensors))  # linear in each


@pytest.mark.slow
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_operators_keep_the_dispatchers_rules(geometry):
    v, kernel, bias, u = (tensor.requires_grad_() for tensor in values(geometry))
    begins = tuple(b for b, _ in geometry.crops)
    rest = (geometry.stride, geometry.dilation, begins, geometry.groups)
    for last in (False, True):
        torch.library.opcheck(
            torch.ops.unstride.conv_transpose.default, (v, kernel, bias, tuple(u.shape[2:]), *rest, last)
        )
        torch.library.opcheck(torch.ops.unstride.conv.default, (u, kernel, None, tuple(v.shape[2:]), *rest, last))
    for kernel_layout in (layout.KernelLayout.FIRST, layout.KernelLayout.LAST, layout.KernelLayout.SMALL_FIRST):
        arguments = (u, v, geometry.kernel_size, *rest, False, kernel_layout)
        torch.library.opcheck(torch.ops.unstride.kernel_gradient.default, arguments)


@pytest.mark.slow
@given(situations(ranks=(1, 2, 3)))
@settings(max_examples=100, deadline=None)
def test_memory_formats_give_the_same_numbers_and_stay(situation):
    geometry, size, rng = situation
    assume(0 not in geometry.output_size(size))
    v, kernel, bias, _ = (a.astype(np.float32) for a in arrays(geometry, size, rng))
    exact = us.conv_transpose(*(a.astype(float) for a in (v, kernel, bias)), geometry)
    magnitude = us.conv_transpose(*(abs(a.astype(float)) for a in (v, kernel, bias)), geometry)
    x, weights, offset = torch.tensor(first(v)), torch.tensor(kernel_first(kernel)), torch.tensor(bias)
    formats = {1: [torch.contiguous_format], 2: [torch.channels_last], 3: [torch.channels_last_3d]}[geometry.rank]
    for of_x in {*formats, torch.contiguous_format}:
        for of_kernel in {*formats, torch.contiguous_format}:
            there = x.contiguous(memory_format=of_x), weights.contiguous(memory_format=of_kernel)
            y = us.conv_transpose(*there, offset, geometry, channels="first")
            assert_within(y, first(exact), first(magnitude), terms_of(geometry, kernel), np.float32)
            theirs = torch.ops.aten.convolution(*there, None, *_plain(geometry))
            expected = torch.contiguous_format if theirs.is_contiguous() or y.is_contiguous() else formats[0]
            if min(y.shape[1:]) > 1 and min(x.shape[1:]) > 1 and min(weights.shape[1:]) > 1:
                expected = torch.contiguous_format if theirs.is_contiguous() else formats[0]
            assert y.is_contiguous(memory_format=expected)


def _plain(geometry):
    zeros = (0,) * geometry.rank
    return geometry.stride, zeros, geometry.dilation, True, zeros, geometry.groups


def test_channels_last_results_are_channels_last_in_memory():
    x, kernel = torch.randn(2, 5, 4, 3), torch.randn(3, 3, 6, 3)
    for leaves in (kernel, kernel.requires_grad_()):
        assert us.conv_transpose(x, leaves, stride=2).is_contiguous()
        assert us.conv(x, torch.randn(2, 2, 3, 7), None).is_contiguous()
    assert us.kernel_gradient(x, torch.randn(2, 3, 2, 7), kernel_size=(3, 3)).is_contiguous()
    (gradient,) = torch.autograd.grad(us.conv_transpose(x, kernel).sum(), kernel)
    assert gradient.is_contiguous()


def test_nothing_is_copied(monkeypatch):
    """The native core gets the tensors' own addresses, and the result is the memory that it wrote to."""
    seen = []

    class Spy:
        def __init__(self, call):
            self.call = call

        def __call__(self, *addresses):
            seen.append(addresses)
            self.call(*addresses)

    prepare = native.core.bind
    monkeypatch.setattr(native, "_calls", {})
    monkeypatch.setattr(native.core, "bind", lambda *a: Spy(prepare(*a)))
    x, kernel, bias = torch.randn(2, 8, 30, 40), torch.randn(8, 6, 3, 3), torch.randn(6)
    for form in (torch.contiguous_format, torch.channels_last):
        grid, weights = x.contiguous(memory_format=form), kernel.contiguous(memory_format=form)
        y = operators.conv_transpose(
            grid, weights, bias, (61, 81), (2, 2), (1, 1), (0, 0), 1, form is torch.channels_last
        )
        assert seen.pop() == (grid.data_ptr(), weights.data_ptr(), bias.data_ptr(), y.data_ptr())
        gradient = operators.kernel_gradient(
            y, grid, (3, 3), (2, 2), (1, 1), (0, 0), 1, form is torch.channels_last, layout.kernel_layout(weights)
        )
        assert seen.pop() == (y.data_ptr(), grid.data_ptr(), 0, gradient.data_ptr())
        assert gradient.stride() == weights.stride()


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_both_gradients_come_from_one_call(monkeypatch, transposed, dtype):
    """In every layout, with gradients and inputs of any strides, as from one call each."""
    monkeypatch.setattr(native, "_pairs", {})
    generator = torch.Generator().manual_seed(3)
    operator = operators.conv_transpose if transposed else operators.conv
    for space, taps, stride in (((9,), (4,), (3,)), ((7, 8), (3, 2), (2, 1)), ((4, 5, 3), (2, 3, 1), (2, 1, 2))):
        rank = len(space)
        size = tuple((n - 1) * s + k for n, s, k in zip(space, stride, taps, strict=True))
        ones, none = (1,) * rank, (0,) * rank
        small, big = torch.randn(3, 36, *space, generator=generator), torch.randn(3, 20, *size, generator=generator)
        x, grad_output = (small, big) if transposed else (big, small)
        kernel = torch.randn(36, 10, *taps, generator=generator).to(dtype)
        fields = (tuple(grad_output.shape[2:]), stride, ones, none, 2)
        for last in (False, True):
            to_last, to_first = layout.TO_LAST[rank], layout.TO_FIRST[rank]
            for order in ((*range(rank, 0, -1), 0, rank + 1), tuple(range(rank + 2)), to_last):
                back = [order.index(axis) for axis in range(rank + 2)]
                given, weights, grads = (
                    x.to(dtype),
                    kernel.permute(order).contiguous().permute(back),
                    grad_output.to(dtype),
                )
                if last:
                    given = given.permute(to_last).contiguous().permute(to_first)
                grads = grads.transpose(0, 1).contiguous().transpose(0, 1)
                leaves = [given.detach().requires_grad_(), weights.detach().requires_grad_()]
                both = torch.autograd.grad(operator(*leaves, None, *fields, last), leaves, grads)
                for i, leaf in enumerate(leaves):
                    others = [leaf if t is leaf else t.detach() for t in leaves]
                    (single,) = torch.autograd.grad(operator(*others, None, *fields, last), leaf, grads)
                    assert both[i].stride() == single.stride()
                    torch.testing.assert_close(both[i], single)
    assert native._pairs


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_break(dynamic):
    torch._dynamo.reset()

    def model(x, kernel, bias):
        y = us.conv_transpose(x, kernel, bias, stride=2, padding=((1, -1), (0, 2)), groups=2, channels="first")
        return us.conv(torch.relu(y), kernel, stride=(1, 2), padding="same", groups=2, channels="first")

    compiled = torch.compile(model, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for size in ((5, 4), (6, 4), (7, 9)):
        leaves = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((2, 4, *size), (4, 2, 3, 2), (4,))]
        expected, got = model(*leaves), compiled(*leaves)
        torch.testing.assert_close(got, expected)
        assert got.stride() == expected.stride()
        weights = torch.randn_like(expected)
        for mine, right in zip(
            torch.autograd.grad(got, leaves, weights), torch.autograd.grad(expected, leaves, weights), strict=True
        ):
            torch.testing.assert_close(mine, right)


def test_compiles_transforms():
    torch._dynamo.reset()
    function, (x, kernel, bias) = each_map(GEOMETRIES[2])["conv_transpose"]

    def curvature(kernel):
        return torch.func.hessian(lambda kernel: (function(x, kernel, bias) ** 3).sum())(kernel)

    torch.testing.assert_close(torch.compile(curvature, fullgraph=True, backend="aot_eager")(kernel), curvature(kernel))


@pytest.mark.parametrize("geometry", GEOMETRIES[1:4], ids=str)
@pytest.mark.parametrize("name", MAPS)
def test_vmap_over_any_arguments(name, geometry):
    function, tensors = each_map(geometry)[name]
    more = [torch.stack([tensor, -2 * tensor, tensor.flip(1 if tensor.dim() > 1 else 0)], 1) for tensor in tensors]
    for chosen in range(1, 2 ** len(tensors)):
        dims = [1 if chosen >> at & 1 else None for at in range(len(tensors))]
        given = [many if dim == 1 else one for many, one, dim in zip(more, tensors, dims, strict=True)]
        got = torch.func.vmap(function, tuple(dims))(*given)
        each = [
            function(*(a if dim is None else a[:, index] for a, dim in zip(given, dims, strict=True)))
            for index in range(3)
        ]
        torch.testing.assert_close(got, torch.stack(each))


def test_transforms_nest():
    function, (x, kernel, bias) = each_map(GEOMETRIES[2])["conv_transpose"]

    def energy(x, kernel):
        return (function(x, kernel, bias) ** 3).sum()

    by_both = torch.func.jacrev(torch.func.jacfwd(energy, 1), 0)(x, kernel)
    torch.testing.assert_close(by_both, torch.func.jacfwd(torch.func.jacrev(energy, 1), 0)(x, kernel))
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(energy(leaf, kernel), leaf, create_graph=True)
    torch.testing.assert_close(torch.func.grad(energy)(x, kernel), gradient)
    direction = torch.randn_like(x)
    value, tangent = torch.func.jvp(lambda x: torch.func.grad(energy)(x, kernel), (x,), (direction,))
    torch.testing.assert_close(value, gradient)
    torch.testing.assert_close(tangent, torch.autograd.grad(gradient, leaf, direction)[0])
    samples_of_x = torch.stack([x, -x])
    per_sample = torch.func.vmap(torch.func.grad(energy, 1), (0, None))(samples_of_x, kernel)
    torch.testing.assert_close(per_sample[1], torch.func.grad(energy, 1)(-x, kernel))


def test_autocast_computes_as_pytorch_does():
    x, kernel = torch.randn(2, 6, 9, requires_grad=True), torch.randn(6, 4, 3, requires_grad=True)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            y = us.conv_transpose(x, kernel, stride=2, channels="first")
        assert y.dtype is dtype
        low = x.to(dtype), kernel.to(dtype)
        assert torch.equal(y, us.conv_transpose(*low, stride=2, channels="first"))
        y.float().sum().backward()
        assert x.grad.dtype is kernel.grad.dtype is torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert us.conv_transpose(x.double(), kernel.double(), channels="first").dtype is torch.float64
        gradient = torch.func.grad(lambda x: us.conv(x, kernel[:, :, :2], channels="first").float().sum())
        assert gradient(torch.randn(1, 4, 5)).dtype is torch.float32


def test_a_profiler_and_a_mode_see_the_operators():
    x, kernel = torch.randn(1, 2, 5), torch.randn(2, 3, 2)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        us.conv_transpose(x, kernel, channels="first")
    assert "unstride::conv_transpose" in {event.key for event in profile.key_averages()}
    with torch._subclasses.FakeTensorMode() as mode:
        y = us.conv_transpose(mode.from_tensor(x), mode.from_tensor(kernel), stride=2, channels="first")
    assert isinstance(y, torch._subclasses.FakeTensor)
    assert y.shape == (1, 3, 10)
    assert us.conv_transpose(x.to("meta"), kernel.to("meta"), channels="first").shape == (1, 3, 6)


def test_inference_mode_and_views():
    x, kernel = torch.randn(2, 3, 6, 7, dtype=torch.float64), torch.randn(3, 4, 2, 2, dtype=torch.float64)
    expected = us.conv_transpose(x.numpy(), kernel.numpy(), stride=2, channels="first")
    with torch.inference_mode():
        y = us.conv_transpose(x, torch.nn.Parameter(kernel), stride=2, channels="first")
        assert y.is_inference()
    np.testing.assert_allclose(y, expected)
    for view in (x.flip(3).flip(3), x.transpose(2, 3).contiguous().transpose(2, 3), torch.cat([x, x], 1)[:, :3]):
        np.testing.assert_allclose(us.conv_transpose(view, kernel, stride=2, channels="first"), expected)
    wide = x[:, :1].expand(2, 3, 6, 7)
    expected = us.conv_transpose(wide.numpy().copy(), kernel.numpy(), channels="first")
    np.testing.assert_allclose(us.conv_transpose(wide, kernel, channels="first"), expected)


def test_half_precision_is_computed_in_float32():
    for geometry, size, rng in samples(10, seed=3, ranks=(1, 2)):
        v, kernel, bias, _ = (torch.tensor(a).half() for a in arrays(geometry, size, rng))
        y = us.conv_transpose(v, kernel, bias, geometry)
        assert y.dtype is torch.float16
        assert torch.equal(y, us.conv_transpose(v.float(), kernel.float(), bias.float(), geometry).half())


def test_strides_beyond_the_kernels_plans_and_empty_batches():
    x, kernel = torch.randn(2, 2, 3, requires_grad=True), torch.randn(2, 1, 2)
    y = us.conv_transpose(x, kernel, stride=2000, channels="first")
    np.testing.assert_allclose(
        y.detach(), us.conv_transpose(x.detach().numpy(), kernel.numpy(), stride=2000, channels="first"), rtol=1e-6
    )
    (gradient,) = torch.autograd.grad(y.sum(), x)
    np.testing.assert_allclose(gradient, kernel.sum((1, 2))[None, :, None].expand(2, 2, 3), rtol=1e-5)
    kernel.requires_grad_()
    us.conv_transpose(x[:0], kernel, channels="first").sum().backward()
    assert torch.equal(kernel.grad, torch.zeros_like(kernel))


def test_many_threads_at_a_time():
    function, tensors = each_map(us.Geometry((4, 4), 2, 1))["conv_transpose"]
    expected = function(*tensors)
    wrong = []

    def run():
        for _ in range(50):
            leaves = [tensor.clone().requires_grad_() for tensor in tensors]
            y = function(*leaves)
            y.sum().backward()
            if not torch.equal(y, expected) or leaves[0].grad is None:
                wrong.append(y)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.slow
def test_forked_processes():
    """Data loaders' workers and others, in a process without JAX, which has threads of its own and warns of forks."""
    script = Path(__file__).parents[1] / "helpers" / "torch_forks.py"
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr


def test_threads_do_not_change_a_result():
    threads, x, kernel = torch.get_num_threads(), torch.randn(3, 20, 33, 35), torch.randn(20, 24, 4, 4)
    results = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(operators.conv_transpose(x, kernel, None, (68, 72), (2, 2), (1, 1), (0, 0), 1, False))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_tensors_on_several_devices_are_not_moved():
    x, kernel = torch.ones(1, 4, 2), torch.ones(3, 1, 2)
    for one, other in ((x, kernel.to("meta")), (x.to("meta"), kernel)):
        with pytest.raises(
            TypeError, match=r"on the devices (cpu and meta|meta and cpu); move them to one of these first"
        ):
            us.conv_transpose(one, other)
    assert (
        us.conv_transpose(x.to("meta"), np.ones((3, 1, 2), np.float32)).device.type == "meta"
    )  # NumPy's have no device


@pytest.mark.parametrize("cells", [3, 40])  # a result of 40 x 40 takes memory that an earlier one left
@pytest.mark.parametrize("channels", ["last", "first"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_repeated_call_gives_what_the_first_one_gave(cells, channels, dtype):
    rng = np.random.default_rng(0)
    big, small, kernel = (
        rng.standard_normal(n) for n in ((2, cells, cells + 1, 32), (2, cells, cells + 1, 24), (3, 3, 32, 24))
    )
    if channels == "first":
        big, small, kernel = first(big), first(small), kernel_first(kernel)
    fields = {"padding": 1, "channels": channels}
    for call, operands, more in (
        (us.conv_transpose, (small, kernel, rng.standard_normal(32)), {"activation": "relu"}),
        (us.conv, (big, kernel, None), {}),
        (us.kernel_gradient, (big, small), {"kernel_size": 3}),
    ):
        expected = call(*operands, **fields, **more)
        tensors = [None if a is None else torch.tensor(a, dtype=dtype) for a in operands]
        results = [call(*tensors, **fields, **more) for _ in range(3)]
        for result in results:
            assert result.shape == expected.shape
            assert result.stride() == results[0].stride()
            assert torch.equal(result, results[0])
            np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-3)


FIRST = """
import torch, unstride as us
compiled = torch.compile(lambda x, kernel: us.conv_transpose(x, kernel, stride=2), fullgraph=True, backend="eager")
x, kernel = torch.arange(8.0).reshape(1, 2, 2, 2), torch.arange(16.0).reshape(2, 2, 2, 2)
for _ in range(2):
    assert torch.equal(compiled(x, kernel), us.conv_transpose(x, kernel, stride=2))
"""


def test_the_first_call_of_a_process_may_be_compiled():
    """The backend is imported while the compiler traces."""
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
