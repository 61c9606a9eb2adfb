"""accelerate(): an existing model's convolutions through ours; what must stay stays, and what cannot change is left."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import unstride.torch as ut

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning"),
]


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU())
        self.up = nn.Sequential(nn.ConvTranspose2d(6, 6, 4, 2, 1), nn.Dropout(0.1), nn.ConvTranspose2d(6, 1, 3, 1, 1))

    def forward(self, x):
        return self.up(self.down(x))


def trained(model, x, steps=3):
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(x) - x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_same_model_same_training_and_back():
    model, x = Autoencoder(), torch.randn(4, 1, 12, 12)
    plain = copy.deepcopy(model)
    classes = [type(part) for part in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calls = []
    handle = model.up[0].register_forward_hook(lambda *_: calls.append(1))
    model.up[2].eval()
    report = ut.accelerate(model)
    assert [layer.names for layer in report.changed] == [("up.0",), ("up.2",)]
    (left,) = report.unchanged  # of one input channel
    assert left.names == ("down.0",)
    assert "PyTorch's own plain convolution is as fast" in left.reason
    assert [type(part) for part in model.modules()] == classes
    assert not model.up[2].training
    assert model.up[0].training
    assert repr(model) == repr(plain)
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.up[2].train()
    assert trained(model, x) == pytest.approx(trained(plain, x), rel=1e-5)
    assert len(calls) == 3
    handle.remove()
    plain.load_state_dict(model.state_dict())
    report.restore()
    assert [type(part) for part in model.modules()] == classes
    assert torch.equal(model.eval()(x), plain.eval()(x))  # PyTorch's own numbers again, to the last bit


def test_the_kernels_of_ours_run(monkeypatch):
    seen = []
    monkeypatch.setattr(ut.layers.operators, "conv_transpose", lambda *a: seen.append(a[4]) or torch.zeros(1, 1, 1, 1))
    model = nn.Sequential(nn.ConvTranspose2d(2, 1, 3, stride=(2, 3)))
    ut.accelerate(model)
    model(torch.zeros(1, 2, 4, 4))
    assert seen == [(2, 3)]


def test_shared_layers_are_one():
    shared = nn.ConvTranspose1d(3, 3, 2)
    model = nn.ModuleDict({"a": shared, "b": nn.Sequential(shared, nn.Conv1d(3, 3, 2))})
    report = ut.accelerate(model)
    assert [layer.names for layer in report.layers] == [("a", "b.0"), ("b.1",)]
    assert model["a"] is model["b"][0]
    assert "a = b.0: ConvTranspose1d, changed" in str(report)
    assert ut.restore(model) == 2
    assert ut.restore(model) == 0


def test_a_single_layer_and_a_second_time():
    layer = nn.Conv3d(2, 3, 2)
    x = torch.randn(1, 2, 4, 4, 4)
    expected = layer(x)
    assert str(ut.accelerate(layer)) == "1 of 1 convolutions changed\n  the module itself: Conv3d, changed"
    torch.testing.assert_close(layer(x), expected)
    again = ut.accelerate(layer)
    assert again.unchanged[0].reason == "it is one of unstride's already"
    again.restore()
    assert ut.restore(layer) == 1
    assert ut.restore(layer) == 0
    assert torch.equal(layer(x), expected)
    with pytest.raises(TypeError, match=r"module is dict; expected a torch\.nn\.Module"):
        ut.accelerate({})


def test_layers_made_as_ours_are_not_restored():
    model = nn.Sequential(ut.ConvTranspose2d(2, 2, 3, padding="same"), nn.ConvTranspose2d(2, 2, 3))
    report = ut.accelerate(model)
    assert [layer.changed for layer in report.layers] == [False, True]
    assert ut.restore(model) == 1
    assert type(model[0]) is ut.ConvTranspose2d


def parametrized():
    old = nn.utils.weight_norm(nn.ConvTranspose2d(4, 4, 3, 2), dim=1)
    older = nn.utils.spectral_norm(nn.ConvTranspose2d(4, 4, 3))
    return nn.Sequential(
        parametrizations.weight_norm(nn.ConvTranspose2d(3, 4, 4, 2)),
        parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)),
        old,
        older,
        parametrizations.orthogonal(nn.Conv2d(4, 4, 2)),
    )


def test_parametrized_layers():
    model, x = parametrized().eval(), torch.randn(2, 3, 6, 6)
    with torch.no_grad():  # PyTorch copies no module that an old weight_norm has left a derivative in
        expected = model(x)
    classes = [type(part) for part in model]
    twin = copy.deepcopy(model)
    report = ut.accelerate(model)
    assert len(report.changed) == 5, str(report)
    assert [type(part) for part in model] == classes
    torch.testing.assert_close(copy.deepcopy(model)(x), expected)
    torch.testing.assert_close(model(x), expected)
    twin.load_state_dict(model.state_dict())
    model(x).sum().backward()
    twin(x).sum().backward()
    for (name, mine), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, msg=name, atol=1e-4, rtol=1e-4)
    report.restore()
    assert torch.equal(model(x), expected)


def test_parametrizations_that_come_or_go_afterwards():
    model = nn.Sequential(nn.ConvTranspose2d(3, 4, 3), parametrizations.weight_norm(nn.ConvTranspose2d(4, 4, 3)))
    x = torch.randn(1, 3, 5, 5)
    expected = model(x)
    ut.accelerate(model)
    parametrizations.weight_norm(model[0])
    nn.utils.parametrize.remove_parametrizations(model[1], "weight")
    assert type(model[1]) is nn.ConvTranspose2d
    torch.testing.assert_close(model(x), expected)
    assert ut.restore(model) == 2
    assert type(model[1]) is nn.ConvTranspose2d
    nn.utils.parametrize.remove_parametrizations(model[0], "weight")
    assert type(model[0]) is nn.ConvTranspose2d
    torch.testing.assert_close(model(x), expected)


class Doubled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


class Named(nn.ConvTranspose1d):
    pass


def test_what_is_left_alone_and_why():
    patched = nn.Conv1d(1, 1, 1)
    patched.forward = lambda x: x
    model = nn.ModuleDict(
        {
            "lazy": nn.LazyConvTranspose2d(3, 2),
            "own": Doubled(1, 1, 1),
            "named": Named(1, 1, 1),
            "scripted": torch.jit.script(nn.Conv2d(1, 1, 1)),
            "quantised": torch.ao.nn.quantized.Conv2d(1, 1, 1),
            "float16": nn.Conv2d(1, 1, 1).half(),
            "meta": nn.Conv2d(1, 1, 1, device="meta"),
            "patched": patched,
            "complex": nn.ConvTranspose1d(1, 1, 1, dtype=torch.complex64),
            "linear": nn.Linear(1, 1),
        }
    )
    classes = [type(part) for part in model.values()]
    report = ut.accelerate(model)
    assert [type(part) for part in model.values()] == classes
    reasons = {layer.names[0]: layer.reason for layer in report.layers}
    assert reasons == {
        "lazy": "it has no weights yet; run the model once before",
        "own": f"it is a subclass of PyTorch's, {__name__}.Doubled",
        "named": f"it is a subclass of PyTorch's, {__name__}.Named",
        "scripted": "it is scripted",
        "quantised": "it is no torch.nn convolution, but torch.ao.nn.quantized.modules.conv.Conv2d",
        "float16": "it is of type float16, which PyTorch's own convolution computes",
        "meta": "it is on the device meta, where PyTorch's own convolution is used",
        "patched": "it has a forward of its own",
        "complex": "it is of type complex64, which PyTorch's own convolution computes",
    }
    assert not report.changed
    assert str(report).startswith("0 of 9 convolutions changed\n  lazy: LazyConvTranspose2d, not changed: it has no")
    model["lazy"](torch.zeros(1, 2, 3, 3))
    assert [layer.names for layer in ut.accelerate(model).changed] == [("lazy",)]


def test_types_and_devices_may_change_afterwards():
    model, x = Autoencoder().eval(), torch.randn(2, 1, 8, 8)
    ut.accelerate(model)
    expected = model(x)
    torch.testing.assert_close(model.double()(x.double()).float(), expected)
    assert model.bfloat16()(x.bfloat16()).dtype is torch.bfloat16
    assert model.to("meta")(x.bfloat16().to("meta")).shape == expected.shape
    layer = nn.ConvTranspose1d(1, 1, 1).double()
    ut.accelerate(layer)
    with pytest.raises(RuntimeError, match="type"):  # in PyTorch's own words
        layer(torch.zeros(1, 1, 1))


def test_mixed_precision_is_pytorchs():
    model, x = Autoencoder().eval(), torch.randn(2, 1, 8, 8)
    plain = copy.deepcopy(model)
    ut.accelerate(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model(x), plain(x))


@pytest.mark.slow
def test_compiled_exported_and_functional_use():
    torch._dynamo.reset()
    model, x = Autoencoder().eval(), torch.randn(2, 1, 8, 8)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    expected = compiled(x)
    ut.accelerate(model)  # the compiled model notices
    torch.testing.assert_close(compiled(x), expected)
    weights = dict(model.named_parameters())

    def loss(weights, x):
        return torch.func.functional_call(model, (weights, dict(model.named_buffers())), (x[None],)).square().mean()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, x)
    for index in range(2):
        one = torch.func.grad(loss)(weights, x[index])
        for name in one:
            torch.testing.assert_close(each[name][index], one[name])
    names = {str(node.target) for node in torch.export.export(model, (x,)).graph.nodes}
    assert "aten.conv_transpose2d.input" in names
    assert not any("unstride" in name for name in names)


def test_channels_last_models_stay_so():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ConvTranspose2d(8, 8, 2, 2)).to(
        memory_format=torch.channels_last
    )
    ut.accelerate(model)
    y = model(torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    y.sum().backward()
    weight = model[1].weight
    assert weight.grad.stride() == weight.stride()
    assert model(torch.randn(2, 3, 8, 8)).is_contiguous(memory_format=torch.channels_last)  # by the weights, as PyTorch


# Fields set by hand, as PyTorch reads them; all or nothing; what a look at a weight does.

FIELDS = [
    {"stride": 2},
    {"padding": 1},
    {"dilation": 2},
    {"stride": [2, 1], "padding": [0, 1]},
    {"padding": "same"},
    {"padding": "valid", "stride": 3},
    {"padding": (1,), "stride": (2,)},
    {"output_padding": 1, "stride": 2},
    {"groups": 2},
    {"padding": "same", "stride": 2},
    {"stride": 0},
    {"stride": (1, 2, 3)},
    {"stride": 1.5},
    {"padding": -1},
    {"padding": None},
    {"dilation": "2"},
    {"groups": 3},
    {"groups": "2"},
    {"groups": (1,)},
    {"groups": None},
    {"output_padding": 7},
]


def outcome(call, model):
    try:
        return call(model)
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("fields", FIELDS, ids=str)
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_fields_that_are_set_by_hand(kind, fields, before):
    torch.manual_seed(0)
    plain = nn.Sequential(kind(4, 4, 3), nn.ReLU(), kind(4, 4, 3))
    fast, x = copy.deepcopy(plain), torch.randn(16, 4, 9, 9)
    if not before:
        ut.accelerate(fast)
        fast(x)
    for model in (plain, fast):
        for name, value in fields.items():
            setattr(model[0], name, value)
        if fields.get("groups") == 2:
            model[0].weight = nn.Parameter(model[0].weight.detach()[:, :2].contiguous())
    if before:
        assert ut.accelerate(fast).changed  # plain convolutions in groups are PyTorch's
    for call in (
        lambda model: model(x),
        lambda model: model(x[:2]),
        lambda model: model(x[0]),
        lambda model: model[0](x[:2], [20, 20]),
        lambda model: model[0](x[:2].double()),
    ):
        expected, got = outcome(call, plain), outcome(call, fast)
        if isinstance(expected, tuple):
            assert got == expected
        else:
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
            assert got.stride() == expected.stride()


@pytest.mark.parametrize("failing", ["a layer", "a field", "an interrupt"])
def test_a_failure_leaves_the_model_as_it_was(failing, monkeypatch):
    model = nn.Sequential(nn.ConvTranspose2d(3, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 3, 3), nn.Conv2d(3, 3, 3))
    before = [dict(vars(module)) for module in model.modules()]
    if failing == "a layer":
        del model[3].weight
        before[-1] = dict(vars(model[3]))
    elif failing == "a field":
        monkeypatch.setattr(ut.accelerating.stacks, "find", lambda _: 1 / 0)
    else:
        attached = []
        own = ut.accelerating.attach

        def attach(module, method):
            own(module, method)
            attached.append(module)
            if len(attached) == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr(ut.accelerating, "attach", attach)
    with pytest.raises((AttributeError, ZeroDivisionError, KeyboardInterrupt)):
        ut.accelerate(model)
    assert [dict(vars(module)) for module in model.modules()] == before


class Dropped(nn.Module):
    """A parametrization that draws random numbers, of each kind, and counts."""

    def __init__(self):
        super().__init__()
        self.register_buffer("looks", torch.zeros(()))

    def forward(self, weight):
        self.looks += 1
        return torch.nn.functional.dropout(weight, 0.5) * float(np.random.rand()) * random.random()


def random_states():
    return torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()


def test_accelerate_and_restore_change_no_state_and_draw_nothing():
    dropped = nn.Conv2d(4, 4, 3)
    nn.utils.parametrize.register_parametrization(dropped, "weight", Dropped())
    doubly = parametrizations.spectral_norm(parametrizations.weight_norm(nn.ConvTranspose2d(4, 4, 3)))
    of_the_bias = nn.ConvTranspose2d(4, 4, 3)
    nn.utils.parametrize.register_parametrization(of_the_bias, "bias", Dropped())
    lazy = nn.Sequential(nn.LazyConvTranspose2d(4, 3), nn.ReLU(), nn.LazyConv2d(4, 3))
    model = nn.Sequential(parametrized(), nn.Sequential(dropped, doubly, of_the_bias), lazy).train()

    def state():
        values = [v for v in model.state_dict().values() if not isinstance(v, nn.parameter.UninitializedTensorMixin)]
        return [value.clone() for value in values]

    before, drawn = state(), random_states()
    report = ut.accelerate(model)
    assert len(report.changed) == 8
    repr(report)
    str(report)
    for undo in (report.restore, lambda: ut.restore(model)):
        assert all(torch.equal(one, other) for one, other in zip(state(), before, strict=True))
        now = random_states()
        assert torch.equal(now[0], drawn[0])
        assert (now[1] == drawn[1]).all()
        assert now[2] == drawn[2]
        undo()


def test_a_call_looks_at_a_parametrized_weight_once():
    layer = nn.ConvTranspose2d(4, 4, 3)
    parametrization = Dropped()
    nn.utils.parametrize.register_parametrization(layer, "weight", parametrization, unsafe=True)
    ut.accelerate(layer)
    looks = int(parametrization.looks)
    for x in (torch.randn(1, 4, 5, 5), torch.randn(4, 5, 5)):
        layer(x)
        looks += 1
        assert int(parametrization.looks) == looks
