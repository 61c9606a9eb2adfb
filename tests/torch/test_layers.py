"""unstride.torch's layers beside torch.nn's, and what they take beyond it."""

import copy
import io
import pickle
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from cases import kernel_first, samples
from torch import nn

import unstride as us
import unstride.torch as ut

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning"),
]

NAMES = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


def drawn(rng, name):
    """Arguments that torch.nn accepts, and an input that fits them."""
    rank, transposed = int(name[-2]), "Transpose" in name
    groups = int(rng.integers(1, 4))
    fields = {
        "in_channels": groups * int(rng.integers(1, 6)),
        "out_channels": groups * int(rng.integers(1, 12)),
        "kernel_size": tuple(int(k) for k in rng.integers(1, 5, rank)),
        "stride": tuple(int(s) for s in rng.integers(1, 4, rank)),
        "padding": tuple(int(p) for p in rng.integers(0, 2, rank)),
        "dilation": tuple(int(d) for d in rng.integers(1, 3, rank)),
        "groups": groups,
        "bias": bool(rng.integers(2)),
    }
    if transposed:
        limits = [max(s, d) for s, d in zip(fields["stride"], fields["dilation"], strict=True)]
        fields["output_padding"] = tuple(int(rng.integers(0, limit)) for limit in limits)
    else:
        fields["padding_mode"] = str(rng.choice(["zeros", "reflect", "replicate", "circular"]))
        if max(fields["stride"]) == 1 and rng.integers(2):
            fields["padding"] = str(rng.choice(["same", "valid"]))
    size = [int(n) for n in rng.integers(7, 12, rank)]
    return fields, torch.randn(int(rng.integers(1, 3)), fields["in_channels"], *size, requires_grad=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("last", [False, True])
def test_same_numbers_and_gradients_as_pytorchs(name, last):
    if last and name.endswith("1d"):
        last = False  # PyTorch has no such format there
    rng = np.random.default_rng(len(name))
    for _ in range(25):
        fields, x = drawn(rng, name)
        theirs, ours = getattr(nn, name)(**fields), getattr(ut, name)(**fields)
        assert repr(ours) == repr(theirs)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        ours.load_state_dict(theirs.state_dict())
        if last:
            form = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
            theirs, ours = theirs.to(memory_format=form), ours.to(memory_format=form)
            x = x.detach().contiguous(memory_format=form).requires_grad_()
        expected, got = theirs(x), ours(x)
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
        grad_output = torch.randn_like(expected)
        for right, mine in zip(
            torch.autograd.grad(expected, [x, *theirs.parameters()], grad_output),
            torch.autograd.grad(got, [x, *ours.parameters()], grad_output),
            strict=True,
        ):
            torch.testing.assert_close(mine, right, atol=1e-3, rtol=1e-4)
        with torch.no_grad():
            torch.testing.assert_close(ours(x), expected, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(ours(x[0]), expected[0], atol=1e-4, rtol=1e-4)
        double = x.detach().double()
        torch.testing.assert_close(ours.double()(double), theirs.double()(double))


@pytest.mark.parametrize("name", NAMES[3:])
def test_output_size_chooses_as_in_pytorch(name):
    rank = int(name[-2])
    theirs, ours = (getattr(where, name)(4, 6, 3, stride=3, padding=1, dilation=2) for where in (nn, ut))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 4, *(5,) * rank)
    least = theirs(x).shape[2]
    for length in range(least, least + 3):
        for size in ([length] * rank, [2, 6, *[length] * rank], torch.Size([length] * rank)):
            torch.testing.assert_close(ours(x, output_size=size), theirs(x, output_size=size))
    for wrong in ([least - 1] * rank, [least + 3] * rank, [least] * (rank + 1)):
        with pytest.raises(ValueError, match="output_size") as ours_says:
            ours(x, output_size=wrong)
        assert str(wrong[0]) in str(ours_says.value)
        with pytest.raises(ValueError, match=r"output.size"):
            theirs(x, output_size=wrong)


def test_paddings_beyond_pytorchs():
    for geometry, size, rng in samples(150, seed=11, ranks=(1, 2, 3)):
        if 0 in geometry.output_size(size):
            continue
        c_small, per_group = 2 * geometry.groups, 3
        kernel = rng.standard_normal((*geometry.kernel_size, per_group, c_small))
        fields = {
            "kernel_size": geometry.kernel_size,
            "stride": geometry.stride,
            "padding": geometry.crops,
            "dilation": geometry.dilation,
            "groups": geometry.groups,
            "dtype": torch.float64,
        }
        layer = getattr(ut, f"ConvTranspose{geometry.rank}d")(c_small, per_group * geometry.groups, **fields)
        layer.weight.data = torch.tensor(kernel_first(kernel))
        x = torch.tensor(rng.standard_normal((2, c_small, *size)))
        y = layer(x)
        expected = us.conv_transpose(
            x.numpy(), kernel_first(kernel), layer.bias.detach().numpy(), geometry, channels="first"
        )
        np.testing.assert_allclose(y.detach(), expected, atol=1e-12)
        forwards = getattr(ut, f"Conv{geometry.rank}d")(per_group * geometry.groups, c_small, **fields)
        forwards.weight.data = layer.weight.data
        back = forwards(y)
        expected = us.conv(
            y.detach().numpy(), kernel_first(kernel), forwards.bias.detach().numpy(), geometry, channels="first"
        )
        np.testing.assert_allclose(back.detach(), expected, atol=1e-12)
        assert eval(repr(layer), vars(ut)).padding == layer.padding
        with torch.device("meta"):
            elsewhere = getattr(ut, type(layer).__name__)(c_small, per_group * geometry.groups, **fields)
        assert elsewhere(x.to("meta")).shape == y.shape  # by PyTorch's operators, with a crop
        torch.testing.assert_close(layer(x[0]), y[0])


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("output_padding", [None, 0, 1])
def test_names_mean_what_they_mean_in_keras(padding, output_padding):
    for kernel_size, stride in ((3, 2), (4, 2), (2, 3), (5, 1)):
        geometry = us.conventions.keras((kernel_size,) * 2, stride, padding, output_padding)
        layer = ut.ConvTranspose2d(3, 4, kernel_size, stride, padding, output_padding)
        x = torch.randn(1, 3, 5, 6)
        expected = us.conv_transpose(x, layer.weight, layer.bias, geometry, channels="first")
        torch.testing.assert_close(layer(x), expected)
        assert f"padding={padding}" in repr(layer)
        if padding == "same" and output_padding is None:
            assert layer(x).shape[2:] == (5 * stride, 6 * stride)
    forwards = ut.Conv2d(4, 3, 3, 2, "same")
    x = torch.randn(1, 4, 7, 8)
    torch.testing.assert_close(
        forwards(x), us.conv(x, forwards.weight, forwards.bias, stride=2, padding="same", channels="first")
    )
    back = ut.ConvTranspose2d(3, 4, 3, 2, "same")
    assert back(forwards(x), output_size=(7, 8)).shape == x.shape


def test_padding_modes_with_paddings_beyond_pytorchs():
    layer = ut.Conv2d(3, 20, 3, padding=((2, 0), (1, 2)), padding_mode="circular")
    x = torch.randn(2, 3, 6, 7)
    expected = nn.functional.conv2d(nn.functional.pad(x, (1, 2, 2, 0), mode="circular"), layer.weight, layer.bias)
    torch.testing.assert_close(layer(x), expected)


def test_errors_name_the_argument():
    with pytest.raises(us.GeometryError, match="padding is 'full'; expected 'same', 'valid'"):
        ut.Conv2d(1, 1, 3, padding="full")
    with pytest.raises(us.GeometryError, match="stride has 3 entries"):
        ut.ConvTranspose2d(1, 1, 3, stride=(1, 2, 3))
    with pytest.raises(us.GeometryError, match="output_padding"):
        ut.ConvTranspose2d(1, 1, 3, output_padding=-1)
    with pytest.raises(us.GeometryError, match="more than the 3 cells"):
        ut.ConvTranspose1d(1, 1, 3, padding=((4, 0),))(torch.zeros(1, 1, 1))
    with pytest.raises(RuntimeError, match="channels"):  # PyTorch's own words, where its layer would have them
        ut.ConvTranspose2d(3, 1, 3)(torch.zeros(1, 2, 5, 5))
    with pytest.raises(ValueError, match='Only "zeros" padding mode'):
        ut.ConvTranspose2d(3, 1, 3, padding_mode="reflect")


def test_copies_pickles_and_checkpoints():
    layer = ut.ConvTranspose2d(4, 3, 3, 2, padding=((1, 0), (0, -1)), output_padding=4)
    x = torch.randn(1, 4, 5, 5)
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(buffer, weights_only=False)):
        assert repr(other) == repr(layer)
        assert torch.equal(other(x), layer(x))
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    nn.ConvTranspose2d(4, 3, 3).load_state_dict(torch.load(buffer))


@pytest.mark.parametrize("strict", [False, True])
def test_export_has_standard_nodes_only(strict):
    model = nn.Sequential(
        ut.Conv2d(1, 4, 3, 2, 1), ut.ConvTranspose2d(4, 2, 4, 2, 1), ut.Conv2d(2, 2, 3, padding="same")
    )
    program = torch.export.export(model, (torch.randn(1, 1, 8, 8),), strict=strict)
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert {"aten.conv2d.default", "aten.conv_transpose2d.input"} <= names
    assert not any("unstride" in name for name in names)
    cropped = ut.ConvTranspose2d(4, 2, 3, 2, padding=((1, -1), (0, 2)))
    x = torch.randn(1, 4, 8, 8)
    program = torch.export.export(cropped, (x,), strict=strict)
    assert not any("unstride" in str(node.target) for node in program.graph.nodes)
    torch.testing.assert_close(program.module()(x), cropped(x))


def test_traces_have_standard_nodes_only():
    model = nn.Sequential(ut.ConvTranspose2d(4, 12, 4, 2, 1), ut.Conv2d(12, 3, 3))
    x = torch.randn(1, 4, 5, 5)
    traced = torch.jit.trace(model, x)
    assert "unstride::" not in str(traced.inlined_graph)
    torch.testing.assert_close(traced(x), model(x))
    graph = torch.fx.symbolic_trace(model)
    torch.testing.assert_close(graph(x), model(x))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*legacy TorchScript-based ONNX export:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The feature will be removed:DeprecationWarning")
@pytest.mark.parametrize("dynamo", [False, True])
def test_onnx_has_standard_nodes_only(dynamo, tmp_path):
    model = nn.Sequential(ut.Conv2d(1, 4, 3, 2, 1), ut.ConvTranspose2d(4, 2, 4, 2, 1)).eval()
    x = torch.randn(1, 1, 8, 8)
    path = tmp_path / "model.onnx"
    torch.onnx.export(model, (x,), str(path), dynamo=dynamo, **({"verbose": False} if dynamo else {}))
    kinds = [node.op_type for node in onnx.load(str(path)).graph.node]
    assert kinds == ["Conv", "ConvTranspose"]
    session = onnxruntime.InferenceSession(str(path))
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(y, model(x).detach(), atol=1e-5)


@pytest.mark.slow
def test_compiles_without_a_break():
    torch._dynamo.reset()
    model = nn.Sequential(
        ut.Conv2d(3, 16, 3, 2, 1),
        ut.ConvTranspose2d(16, 4, 3, 2, "same"),
        ut.Conv2d(4, 2, 1),
        ut.Conv2d(2, 4, 3, 2, "same"),
    )
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for size in (8, 9, 12):
        x = torch.randn(2, 3, size, size, requires_grad=True)
        expected, got = model(x), compiled(x)
        torch.testing.assert_close(got, expected)
        (right,), (mine,) = torch.autograd.grad(expected.sum(), x), torch.autograd.grad(got.sum(), x)
        torch.testing.assert_close(mine, right)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), expected)


@pytest.mark.slow
def test_the_oldest_version_is_named():
    for use in ("import unstride as us; us.conv(torch.zeros(1, 3, 1), torch.zeros(1, 1, 1))", "import unstride.torch"):
        code = f"import torch; torch.__version__ = '2.5.1+cpu'; {use}"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "ImportError: unstride needs PyTorch 2.8 or later for its arrays; 2.5.1+cpu is installed" in run.stderr
    code = "import sys; sys.modules['torch'] = None; import unstride.torch"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'unstride.torch needs PyTorch 2.8 or later: pip install "unstride[torch]"' in run.stderr
