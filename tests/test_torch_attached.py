"""accelerate() keeps each layer's class: scenarios that plain PyTorch passes, on plain and on accelerated models.

`unstride.torch.attached` says which other ways to change a layer fall short here.
"""

import copy
import functools
import gc
import importlib.util
import io
import operator
import pickle
import subprocess
import sys
import types
import weakref

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.flop_counter import FlopCounterMode

import unstride as us
import unstride.torch as ut

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning:torch.ao"),
]


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


@pytest.fixture
def calls(monkeypatch):
    """How often our operators computed."""
    seen = []
    for name in ("conv", "conv_transpose"):
        own = getattr(ut.methods.torch_ops, name)
        monkeypatch.setattr(ut.methods.torch_ops, name, lambda *a, own=own, name=name: seen.append(name) or own(*a))
    return seen


# Classes, copies, files.


def test_classes_stay_and_so_does_all_that_is_seen_of_a_module(calls):
    plain, fast = plain_and_fast()
    assert [type(m) for m in fast.modules()] == [type(m) for m in plain.modules()]
    assert repr(fast) == repr(plain)
    assert list(fast.state_dict()) == list(plain.state_dict())
    close(fast(X[:2]), plain(X[:2]))
    assert calls == ["conv", "conv_transpose", "conv_transpose", "conv", "conv"]
    before = [set(vars(m)) for m in plain.modules()]
    assert ut.restore(fast) == 4
    assert [set(vars(m)) for m in fast.modules()] == before
    assert torch.equal(fast(X), plain(X))


def test_a_deep_copy_is_accelerated_and_computes_with_its_own_weights(calls):
    plain, fast = plain_and_fast()
    twin = copy.deepcopy(fast)
    assert twin.last is twin.again
    with torch.no_grad():
        for parameter in fast.parameters():
            parameter.zero_()
    del fast
    gc.collect()
    close(twin(X[:2]), plain(X[:2]))
    assert len(calls) == 5
    assert ut.restore(twin) == 4


def test_a_shallow_copy_is_plain():
    plain, fast = plain_and_fast()
    close(copy.copy(fast.last)(plain.up(plain.first(X))), plain.last(plain.up(plain.first(X))))
    assert set(vars(copy.copy(fast.last))) == set(vars(plain.last))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_plain_pytorch(protocol):
    plain, fast = plain_and_fast()
    fast(X)
    data = pickle.dumps(fast, protocol)
    assert b"unstride" not in data
    twin = pickle.loads(data)
    assert [set(vars(m)) for m in twin.modules()] == [set(vars(m)) for m in plain.modules()]
    assert torch.equal(twin(X), plain(X))
    assert len(ut.accelerate(twin).changed) == 4


def test_a_whole_model_in_a_file_opens_without_unstride(tmp_path):
    model = nn.Sequential(nn.ConvTranspose2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 4, 3))
    x = torch.randn(2, 3, 5, 5)
    torch.save((model(x), x), tmp_path / "numbers.pt")
    ut.accelerate(model)
    torch.save(model, tmp_path / "model.pt")
    code = (
        "import sys; sys.modules['unstride'] = None; import torch; "
        "model = torch.load('model.pt', weights_only=False); y, x = torch.load('numbers.pt'); "
        "assert torch.equal(model(x), y); assert type(model[0]) is torch.nn.ConvTranspose2d; print('opened')"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.stdout == "opened\n", run.stderr


def test_a_file_of_an_earlier_version_opens_as_a_plain_model():
    model = nn.Sequential(nn.ConvTranspose2d(3, 4, 3, 2), nn.Conv2d(4, 4, 3))
    x = torch.randn(2, 3, 5, 5)
    expected = model(x)
    for layer, kind in zip(model, (ut.ConvTranspose2d, ut.Conv2d), strict=True):  # as it was changed then
        layer.__class__ = kind
        layer.__dict__["_unstride_accelerated"] = True
    model.__class__ = ut.stacks.Sequential
    opened = pickle.loads(pickle.dumps(model))
    assert [type(m) for m in opened.modules()] == [nn.Sequential, nn.ConvTranspose2d, nn.Conv2d]
    assert "_unstride_accelerated" not in vars(opened[0])
    assert torch.equal(opened(x), expected)


STARTED = """
import copy, torch
from torch import nn
import unstride.torch as ut

def compute(model, x, path):
    torch.save((ut.restore(copy.deepcopy(model)), model(x).detach()), path)

if __name__ == "__main__":
    model, x = nn.Sequential(nn.ConvTranspose2d(3, 4, 3, 2), nn.Conv2d(4, 4, 3)), torch.randn(2, 3, 5, 5)
    expected = model(x).detach()
    ut.accelerate(model)
    process = torch.multiprocessing.get_context("spawn").Process(target=compute, args=(model, x, "answer.pt"))
    process.start()
    process.join(200)
    count, y = torch.load("answer.pt")
    assert process.exitcode == 0 and count == 2
    torch.testing.assert_close(y, expected)
"""


def test_a_process_that_is_started_gets_an_accelerated_model(tmp_path):
    (tmp_path / "started.py").write_text(STARTED)
    command = [sys.executable, "started.py"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr


def test_parametrized_modules_are_copied_and_refuse_to_be_pickled_as_before():
    layer = parametrizations.weight_norm(nn.ConvTranspose2d(3, 4, 3))
    x = torch.randn(1, 3, 5, 5)
    expected = layer(x)
    ut.accelerate(layer)
    twin = copy.deepcopy(layer)
    assert type(twin) is type(layer)
    close(twin(x), expected)
    assert ut.restore(twin) == 1
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        pickle.dumps(layer)
    bare = nn.ConvTranspose2d(3, 4, 3)
    ut.accelerate(bare)
    parametrizations.weight_norm(bare)
    with torch.no_grad():
        close(copy.deepcopy(bare)(x), bare(x))


def test_a_model_that_is_dropped_is_gone_at_once():
    gc.collect()
    gc.disable()
    try:
        model = nn.Sequential(nn.ConvTranspose2d(3, 4, 3), nn.Conv2d(4, 4, 3))
        ut.accelerate(model)
        model(torch.zeros(1, 3, 5, 5))
        gone, method = weakref.ref(model[0]), model[0].forward
        del model
        assert gone() is None
    finally:
        gc.enable()
    with pytest.raises(ReferenceError, match="keep the module, not its method alone"):
        method(torch.zeros(1, 3, 5, 5))


def test_replicas_compute_with_their_own_weights():
    """As DataParallel makes them, on devices of any kind."""
    _, fast = plain_and_fast()
    replicas = [m._replicate_for_data_parallel() for m in fast.up]
    whole = fast.up._replicate_for_data_parallel()
    for index, (replica, module) in enumerate(zip(replicas, fast.up, strict=True)):
        whole._modules[str(index)] = replica
        for name, parameter in module._parameters.items():
            setattr(replica, name, torch.zeros_like(parameter))
    assert torch.count_nonzero(whole(torch.randn(2, 8, 3, 3))) == 0


# Patches, of classes and of instances; hooks.


def circular(self, x, weight, bias):
    return nn.functional.conv2d(
        nn.functional.pad(x, (1, 1, 1, 1), mode="circular"), weight, bias, self.stride, 0, self.dilation, self.groups
    )


def test_patches_of_the_classes_have_their_effect(monkeypatch):
    plain, fast = plain_and_fast()
    before = plain(X)
    for patch in (
        lambda: monkeypatch.setattr(nn.Conv2d, "_conv_forward", circular),
        lambda: monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: self._conv_forward(2 * x, self.weight, None)),
        lambda: monkeypatch.setattr(
            nn.ConvTranspose2d,
            "forward",
            lambda self, x, own=nn.ConvTranspose2d.forward: own(self, x) + 1,
        ),
        lambda: monkeypatch.setattr(nn.LeakyReLU, "forward", lambda self, x: x.abs()),  # noqa: ARG005
        lambda: monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x + 1),  # noqa: ARG005
        lambda: monkeypatch.setattr(nn.Sequential, "forward", lambda self, x: self[0](x)),
        lambda: monkeypatch.setattr(
            nn.functional, "conv_transpose2d", lambda x, w, b, *a, own=nn.functional.conv_transpose2d: -own(x, w, b, *a)
        ),
        lambda: monkeypatch.setattr(
            nn.functional, "conv2d", lambda x, w, b, *a, own=nn.functional.conv2d: -own(x, w, b, *a)
        ),
    ):
        patch()
        assert plain(X).shape != before.shape or not torch.allclose(plain(X), before)
        close(fast(X), plain(X))
        monkeypatch.undo()
        close(fast(X), before)


def test_patches_of_instances_have_their_effect_and_stay(calls):
    plain, fast = plain_and_fast()
    before = plain(X)
    for model in (plain, fast):
        model.last._conv_forward = circular.__get__(model.last, nn.Conv2d)
        own = model.up[0].forward
        model.up[0].forward = lambda x, own=own: own(x) + 1
    after = plain(X)
    assert not torch.allclose(before, after)
    close(fast(X), after)
    assert ut.restore(fast) == 4
    assert "forward" in vars(fast.up[0])
    assert "_conv_forward" in vars(fast.last)
    close(fast(X), after)
    del fast.up[0].forward, fast.last._conv_forward
    assert torch.equal(fast(X), before)
    assert calls


def test_seamless_textures_by_the_padding_mode_and_by_asymmetric_padding():
    plain, fast = plain_and_fast()
    before = plain(X)
    for model in (plain, fast):
        for layer in convolutions(model):
            if not layer.transposed:
                layer.padding_mode = "circular"
                layer._reversed_padding_repeated_twice = [1, 1, 0, 0]
    assert not torch.allclose(plain(X)[..., :8, :8], before[..., :8, :8])
    close(fast(X), plain(X))
    assert fast(X).shape == plain(X).shape
    for model in (plain, fast):
        model.up[0].padding_mode = "circular"
    for model in (plain, fast):
        with pytest.raises(ValueError, match="Only `zeros` padding mode"):
            model(X)


def test_hooks_of_every_kind_see_what_they_saw():
    seen = {}
    for name, model in zip(("plain", "fast"), plain_and_fast(), strict=True):
        seen[name] = []
        for layer in (*convolutions(model), model.up):
            add = seen[name].append
            layer.register_forward_pre_hook(lambda module, given, add=add: add((type(module), given[0].shape)))
            layer.register_forward_hook(lambda module, _, y, add=add: add((type(module), y.shape)) or 2 * y)
            layer.register_full_backward_hook(lambda _, gx, gy, add=add: add((gx[0].shape, gy[0].shape)))
        model(X.clone().requires_grad_()).sum().backward()
    assert seen["fast"] == seen["plain"]
    assert len(seen["fast"]) == 3 * 6


# Tools.


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
