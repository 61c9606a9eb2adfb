"""Stacks of PyTorch tensors, and in Sequential modules that `unstride.torch.accelerate` has changed."""

import copy
import pickle

import numpy as np
import pytest
import stacks
import torch
from torch import nn

import unstride as us
import unstride.torch as ut
from unstride._stacks import torch as torch_stack
from unstride._stacks.choice import MOST_KEPT
from unstride.stack import Stack, Stage

G = us.Geometry
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


@pytest.fixture
def executed(monkeypatch):
    """The stacks that were executed."""
    found = []
    real = torch_stack.applied
    monkeypatch.setattr(torch_stack, "applied", lambda stack, x, w: found.append(stack) or real(stack, x, w))
    return found


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("batch", [1, 17, MOST_KEPT + 6])
def test_against_the_definitions(seed, batch):
    rng = np.random.default_rng(seed)
    stack = stacks.random_stack(rng)
    x, weights, grad_output = stacks.random_arrays(stack, batch, rng)
    expected = stacks.truth(stack, x, weights, grad_output)
    tensors = [torch.from_numpy(array).requires_grad_() for array in (x, *weights)]
    y = torch_stack.applied(stack, tensors[0], tensors[1:])
    gx, *gradients = torch.autograd.grad(y, tensors, torch.from_numpy(grad_output))
    stacks.assert_close(y.detach(), expected.y, "y")
    stacks.assert_close(gx, expected.x_gradient, "x's gradient")
    for got, wanted in zip(gradients, expected.weight_gradients, strict=True):
        stacks.assert_close(got, wanted, "a gradient")


@pytest.mark.parametrize("batch", [0, 5, MOST_KEPT + 6])
def test_derivatives_of_derivatives_and_of_some_operands(batch):
    stages = [Stage(False, 4, G((3, 2), 2), True, "elu"), Stage(True, 1, G((3, 3), 2), False, "sigmoid")]
    stack = Stack((9, 8), 2, stages, "first")
    arrays = stacks.random_arrays(stack, batch, np.random.default_rng(0))
    operands = [torch.from_numpy(array).requires_grad_() for array in (arrays[0], *arrays[1])]
    found = []
    for function in (torch_stack.applied, torch_stack.one_by_one):
        loss = function(stack, operands[0], operands[1:]).square().sum()
        once = torch.autograd.grad(loss, operands, create_graph=True)
        twice = torch.autograd.grad(sum(g.square().sum() for g in once), operands)
        frozen = [one.detach().requires_grad_(index == 1) for index, one in enumerate(operands)]
        alone = torch.autograd.grad(function(stack, frozen[0], frozen[1:]).square().sum(), frozen[1])
        found.append([*once, *twice, *alone])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(
            a, b, rtol=1e-4, atol=1e-4 * max(float(b.detach().abs().max()) if b.numel() else 0, 1)
        )


def some_model():
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, 2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(6, 4, 3, padding="same", dilation=2, groups=2),
        nn.ELU(0.7),
        nn.ConvTranspose2d(4, 4, 3, 2, 1, output_padding=1, bias=False),
        nn.ConvTranspose2d(4, 3, (2, 3)),
        nn.Tanh(),
        nn.BatchNorm2d(3),
        nn.Conv2d(3, 3, 3),
        nn.Sigmoid(),
        nn.ReLU(),
        nn.Conv2d(3, 1, 1),
    )


RUNS = [[2, 6, 4, 4, 3]]  # of channels; the last convolutions stand alone


def channels(stack):
    return [stack.channels, *(stage.channels for stage in stack.stages)]


@pytest.mark.parametrize("batch", [1, 15, 16, 17, 100])
@pytest.mark.parametrize("last", [False, True])
def test_sequential_modules(batch, last, executed):
    plain = some_model().eval()
    model = copy.deepcopy(plain)
    report = ut.accelerate(model)
    assert report.stacks == (("0", "1", "2", "3", "4", "5", "6"),)
    assert "one stack each, from 16 images on:\n  0, 1, 2, 3, 4, 5, 6" in str(report)
    x = torch.randn(batch, 2, 13, 12)
    x = (x.to(memory_format=torch.channels_last) if last else x).requires_grad_()
    results = []
    for own in (plain, model):
        y = own(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, *own.parameters()])])
    assert [channels(stack) for stack in executed] == (RUNS if batch >= 16 else [])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-4 * float(a.detach().abs().max()))


def test_it_stays_the_same_module_and_back(executed):
    model, x = some_model().eval(), torch.randn(20, 2, 13, 12)
    before, shown = model.state_dict(), str(model)
    report = ut.accelerate(model)
    assert isinstance(model, nn.Sequential)
    assert not any(part.training for part in model.modules())
    assert list(model.state_dict()) == list(before)
    assert str(model) == shown
    expected = model(x)
    torch.testing.assert_close(copy.deepcopy(model)(x), expected, rtol=0, atol=0)
    assert len(executed) == 2
    torch.testing.assert_close(pickle.loads(pickle.dumps(model))(x), expected, rtol=1e-4, atol=1e-5)
    assert len(executed) == 2  # what is read from a file is plain PyTorch
    assert ut.accelerate(model).stacks == report.stacks  # a second time changes nothing more
    report.restore()
    assert type(model) is nn.Sequential
    ut.accelerate(model)
    ut.restore(model)
    assert type(model) is nn.Sequential
    executed.clear()
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)
    assert not executed


def test_modules_with_hooks_are_called(executed):
    model, x = some_model(), torch.randn(16, 2, 13, 12)
    seen = []
    handle = model[2].register_forward_hook(lambda _, given, made: seen.append((given[0].shape, made.shape)))
    assert ut.accelerate(model).stacks == (("4", "5", "6"),)
    model(x)
    assert seen == [((16, 6, 7, 6), (16, 4, 7, 6))]
    assert [channels(stack) for stack in executed] == [[4, 4, 3]]
    handle.remove()
    model(x)
    assert [channels(stack) for stack in executed[1:]] == RUNS
    handle = nn.modules.module.register_module_forward_hook(lambda *_: seen.append(None))  # of all modules
    try:
        model(x)
    finally:
        handle.remove()
    assert len(seen) > 5
    assert len(executed) == 2


def test_what_is_no_run(executed):
    x = torch.randn(16, 2, 13, 12)

    class Own(nn.Conv2d):
        pass

    parts = {
        "wide": [nn.Conv2d(2, 300, 3), nn.Conv2d(300, 2, 3)],
        "alone": [nn.Conv2d(2, 3, 3), nn.ReLU()],
        "reflecting": [nn.Conv2d(2, 3, 3), nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect")],
        "a subclass": [nn.Conv2d(2, 3, 3), Own(3, 2, 3)],
        "in between": [nn.Conv2d(2, 3, 3), nn.Dropout(0.0), nn.Conv2d(3, 2, 3)],
        "normalised": [nn.Conv2d(2, 3, 3), nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 2, 3))],
        "negative slope": [nn.Conv2d(2, 3, 3), nn.LeakyReLU(-0.5), nn.Conv2d(3, 2, 3)],
    }
    for name, modules in parts.items():
        model = nn.Sequential(*modules)
        expected = model(x)
        assert ut.accelerate(model).stacks == (), name
        torch.testing.assert_close(model(x), expected, rtol=1e-3, atol=1e-4)
    assert not executed


def test_what_changes_later_is_seen(executed):
    model, x = some_model(), torch.randn(16, 2, 13, 12)
    ut.accelerate(model)
    model[2] = nn.Conv2d(6, 4, 1, bias=False)
    model[1].negative_slope = 0.5
    plain = copy.deepcopy(model)
    ut.restore(plain)
    torch.testing.assert_close(model(x), plain(x), rtol=1e-4, atol=1e-5)
    assert len(executed) == 1
    model.double()
    assert model(x.double()).dtype is torch.float64
    assert len(executed) == 1


def test_errors_are_pytorchs():
    model = some_model()
    ut.accelerate(model)
    with pytest.raises(RuntimeError, match="channels"):
        model(torch.randn(16, 3, 13, 12))
    with pytest.raises(TypeError):
        model(None)


def test_one_image_without_a_batch(executed):
    model, x = some_model()[:7], torch.randn(2, 13, 12)
    expected = model(x)
    ut.accelerate(model)
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)
    assert not executed


def test_transforms_and_autocast_go_layer_by_layer(executed):
    model, x = some_model()[:7], torch.randn(17, 2, 13, 12)
    expected = model(x)
    ut.accelerate(model)
    parameters = dict(model.named_parameters())

    def loss(parameters, x):
        return torch.func.functional_call(model, parameters, (x[None],)).square().sum()

    torch.testing.assert_close(torch.func.vmap(lambda one: model(one[None])[0])(x), expected, rtol=1e-3, atol=1e-4)
    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    total = torch.autograd.grad(expected.square().sum(), list(model.parameters()))
    for name, whole in zip(parameters, total, strict=True):
        torch.testing.assert_close(each[name].sum(0), whole, rtol=1e-3, atol=1e-3 * float(whole.abs().max()))
    with torch.autocast("cpu", torch.bfloat16):
        assert model(x).dtype is torch.bfloat16
    tangent = torch.randn_like(x)
    torch.testing.assert_close(
        torch.func.jvp(model, (x,), (tangent,))[0], expected.detach(), rtol=1e-3, atol=1e-4, check_dtype=False
    )
    assert not executed


def test_it_trains_as_before():
    torch.manual_seed(0)
    plain = nn.Sequential(*list(some_model())[:7], nn.Conv2d(3, 1, 1), nn.Sigmoid())
    model = copy.deepcopy(plain)
    ut.accelerate(model)
    x = torch.rand(150, 2, 13, 12)
    target = torch.rand_like(plain(x).detach())
    losses = []
    for own in (plain, model):
        optimizer, history = torch.optim.Adam(own.parameters(), 1e-3), []
        for step in range(50):
            batch = slice(step % 3 * 50, step % 3 * 50 + (50 if step % 5 else 33))
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy(own(x[batch]), target[batch])
            loss.backward()
            optimizer.step()
            history.append(loss.item())
        losses.append(history)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    assert losses[0][-1] < losses[0][0]


@pytest.fixture
def in_place(monkeypatch):
    """What ReLU was computed in the place of."""
    found = []
    real = torch.relu_
    monkeypatch.setattr(torch, "relu_", lambda x: found.append(x.shape) or real(x))
    return found


def few_images():
    torch.manual_seed(4)
    first, second = nn.Conv2d(2, 5, 3, padding=1), nn.ConvTranspose2d(5, 20, 3)
    plain = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.ReLU(), nn.Conv2d(20, 3, 1), nn.LeakyReLU())
    fast = copy.deepcopy(plain)
    ut.accelerate(fast)
    return plain, fast, torch.randn(3, 2, 8, 7)


@pytest.mark.parametrize("mode", ["training", "no gradients", "inference"])
def test_relu_in_the_place_of_a_fresh_result(mode, in_place, executed):
    plain, fast, x = few_images()
    before = x.clone()
    if mode == "training":
        operands = [[x.clone().requires_grad_(), *model.parameters()] for model in (plain, fast)]
        expected, y = plain(operands[0][0]), fast(operands[1][0])
        wanted, got = (
            torch.autograd.grad(made.square().sum(), own) for made, own in zip((expected, y), operands, strict=True)
        )
        for one, other in zip(got, wanted, strict=True):
            torch.testing.assert_close(one, other)
    else:
        with torch.no_grad() if mode == "no gradients" else torch.inference_mode():
            y, expected = fast(x), plain(x)
    torch.testing.assert_close(y, expected)
    assert in_place == [(3, 5, 8, 7), (3, 20, 10, 9)]
    assert not executed
    assert torch.equal(x, before)


def test_relu_in_place_has_derivatives_of_derivatives(in_place):
    plain, fast, x = few_images()
    found = []
    for model in (plain, fast):
        operands = [x.clone().requires_grad_(), *model.parameters()]
        once = torch.autograd.grad(model(operands[0]).square().sum(), operands, create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() for g in once), operands))
    assert in_place
    for wanted, got in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-3)


def test_relu_leaves_alone_what_somebody_else_sees(in_place):
    _, fast, x = few_images()
    seen = []
    for index in (0, 3):
        fast[index].register_forward_hook(lambda *given: seen.append(given[-1]))
    fast(x)
    assert not in_place
    assert (seen[0] < 0).any()
    lone = nn.Sequential(nn.ReLU(), nn.Conv2d(2, 4, 3), nn.Tanh(), nn.ReLU(), nn.Conv2d(4, 4, 3))
    ut.accelerate(lone)
    before = x.clone()
    lone(x)
    assert not in_place
    assert torch.equal(x, before)
