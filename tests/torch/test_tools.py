"""PyTorch's tools see an accelerated model as they see a plain one: counters, compilers, exporters, fusion, summaries."""

import copy
import functools
import importlib.util
import io
import operator
import sys
import types

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torch_models import WARNINGS, X, close, counted_calls, made, plain_and_fast

import unstride as us
import unstride.torch as ut

pytestmark = WARNINGS


@pytest.fixture
def calls(monkeypatch):
    """How often our operators computed."""
    return counted_calls(monkeypatch)


def test_flops_are_counted_as_before_forwards_and_backwards():
    counts = []
    for model in plain_and_fast():
        with FlopCounterMode(display=False) as forwards:
            y = model(X)
        with FlopCounterMode(display=False) as backwards:
            y.sum().backward()
        counts.append((forwards.get_total_flops(), forwards.get_flop_counts(), backwards.get_total_flops()))
    assert counts[0] == counts[1]
    assert counts[0][0] > 0


@pytest.mark.parametrize("name", ["ConvTranspose1d", "Conv2d", "ConvTranspose2d", "ConvTranspose3d"])
def test_our_operators_have_flop_formulas(name):
    counts = []
    for where in (nn, ut):
        layer, x = getattr(where, name)(3, 4, 3, stride=2, padding=1), torch.randn(2, 3, *(7,) * int(name[-2]))
        with FlopCounterMode(display=False) as counter:
            layer(x.requires_grad_()).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0
    x, kernel = torch.zeros(1, 1, 10, 10), torch.zeros(1, 1, 8, 8)
    with FlopCounterMode(display=False) as counter:
        us.conv_transpose(x, kernel, channels="first")
    assert counter.get_flop_counts()["Global"] == {torch.ops.unstride.conv_transpose: 2 * 100 * 64}


def test_modes_fake_tensors_and_functionalization():
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    plain, fast = plain_and_fast()
    expected = plain(X)
    close(torch.func.functionalize(lambda x: fast(x).add_(1))(X), expected + 1)

    def graph_of(model):
        return make_fx(torch.func.functionalize(lambda x: model(x).add_(1)))(X)

    graphs = [graph_of(model) for model in (plain, fast)]
    assert [n.target for n in graphs[1].graph.nodes] == [n.target for n in graphs[0].graph.nodes]
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        y = fast(mode.from_tensor(X))
    assert y.shape == expected.shape
    assert y.stride() == expected.stride()
    x, kernel = torch.randn(2, 3, 4), torch.randn(3, 2, 2)

    def negative(x):
        return us.conv_transpose(x, kernel, channels="first").neg_()

    energy = torch.func.grad(lambda x: negative(x).square().sum())
    for function in (negative, energy, torch.func.vmap(lambda x: negative(x[None])[0])):
        close(torch.func.functionalize(function)(x), function(x))
    operator_itself = functools.partial(torch.ops.unstride.conv_transpose.default, kernel=kernel, bias=None)
    fields = {"size": [5], "stride": [1], "dilation": [1], "begin": [0], "groups": 1, "last": False}
    close(torch.func.functionalize(lambda x: operator_itself(x, **fields).neg_())(x), negative(x))


def test_scripts_and_traces_are_pytorchs():
    plain, fast = plain_and_fast()
    for model in (fast, fast.up, fast.up[0], fast.first):
        x = X if model in (fast, fast.first) else torch.randn(2, 8, 5, 5)
        expected = model(x)
        scripted = torch.jit.script(model)
        assert "unstride::" not in str(scripted.inlined_graph)
        close(scripted(x), expected)
        buffer = io.BytesIO()
        torch.jit.save(scripted, buffer)
        traced = torch.jit.trace(model, x)
        assert "unstride::" not in str(traced.inlined_graph)
        close(traced(x), expected)
    assert ut.restore(fast) == 4
    close(fast(X), plain(X))


def test_fx_takes_layers_for_leaves_and_fuses_batch_normalisation():
    from torch.fx.experimental.optimization import fuse

    plain, fast = plain_and_fast()
    graphs = [torch.fx.symbolic_trace(model) for model in (plain, fast)]
    listed = [[(n.op, n.target) for n in graph.graph.nodes] for graph in graphs]
    assert listed[0] == listed[1]
    close(graphs[1](X), plain(X))
    fused = fuse(fast)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
    close(fused(X), plain(X))


def test_fusing_and_quantising():
    from torch.ao import quantization

    quantised = []
    for model in plain_and_fast():
        found = quantization.fuse_modules(model, [["first", "norm", "relu"]])
        close(found(X), made()(X))
        trained = copy.deepcopy(model).train()
        trained.qconfig = quantization.get_default_qat_qconfig("x86" if sys.platform == "linux" else "qnnpack")
        trained = quantization.fuse_modules_qat(trained, [["first", "norm", "relu"]])
        quantization.prepare_qat(trained, inplace=True)
        trained(X)
        quantised.append([[type(m) for m in one.modules()] for one in (found, trained)])
    assert quantised[0] == quantised[1]
    assert torch.ao.nn.intrinsic.qat.ConvBnReLU2d in quantised[1][1]


def test_compiled_models_run_our_operators_and_notice_the_change():
    torch._dynamo.reset()
    targets = []

    def backend(graph, _):
        targets.append({str(n.target) for n in graph.graph.nodes})
        return graph

    plain, fast = made(), made()
    compiled = torch.compile(fast, fullgraph=True, backend=backend)
    expected = plain(X)
    close(compiled(X), expected)
    ut.accelerate(fast)
    close(compiled(X), expected)
    ut.restore(fast)
    close(compiled(X), expected)
    ours = [any("unstride" in name for name in names) for names in targets]
    assert ours[:2] == [False, True]
    assert compiled(X).stride() == expected.stride()
    torch._dynamo.reset()
    layer = nn.ConvTranspose2d(3, 4, 3)
    ut.accelerate(layer)
    close(torch.compile(layer, fullgraph=True, backend="aot_eager")(X), layer(X))


@pytest.mark.parametrize("strict", [False, True])
def test_exported_programs_are_pytorchs(strict):
    plain, fast = plain_and_fast()
    program = torch.export.export(fast, (X,), strict=strict)
    assert not any("unstride" in str(n.target) for n in program.graph.nodes)
    close(program.module()(X), plain(X))


def test_functional_calls_transforms_and_tied_weights(calls):
    plain, fast = plain_and_fast()
    models = [copy.deepcopy(fast) for _ in range(2)]
    parameters = {name: 2 * value for name, value in plain.named_parameters()}
    close(torch.func.functional_call(fast, parameters, (X,)), torch.func.functional_call(plain, parameters, (X,)))
    results = []
    for model in (plain, fast):
        model.up[2].weight = model.up[0].weight = nn.Parameter(plain.up[2].weight.detach().clone())
        model.up[0].padding, model.up[0].stride = (0, 0), (1, 1)
        loss = torch.func.grad(lambda p, m=model: torch.func.functional_call(m, p, (X[:2],)).square().sum())
        results.append(loss({name: value.detach() for name, value in model.named_parameters()}))
    assert results[0].keys() == results[1].keys()
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-3, atol=1e-3 * float(value.detach().abs().max()))
    assert calls
    stacked, buffers = torch.func.stack_module_state(models)
    assert stacked["first.weight"].shape == (2, 8, 3, 3, 3)
    each = torch.func.vmap(lambda p, b: torch.func.functional_call(models[0], (p, b), (X[:2],)))(stacked, buffers)
    close(each[1], models[1](X[:2]))


def test_summaries_by_type_and_by_inspection():
    import inspect

    _, fast = plain_and_fast()
    assert sum(type(m) is nn.Conv2d for m in fast.modules()) == 2
    method = fast.up[0].forward
    assert inspect.ismethod(method)
    assert inspect.getsource(method) == inspect.getsource(nn.ConvTranspose2d.forward)
    assert inspect.signature(fast.first.forward) == inspect.signature(made().first.forward)
    assert "accelerated forward of ConvTranspose2d" in repr(method)
    assert isinstance(fast.first._conv_forward, types.MethodType)
    assert operator.attrgetter("first.forward.__self__")(fast) is fast.first
    if importlib.util.find_spec("torchinfo"):
        import torchinfo

        plain = made()
        assert str(torchinfo.summary(fast, (1, 3, 8, 8), verbose=0)) == str(
            torchinfo.summary(plain, (1, 3, 8, 8), verbose=0)
        )
