"""accelerate() keeps each layer's class: copies, files, patches and hooks that plain PyTorch has, plain and accelerated.

`unstride.torch.attached` says which other ways to change a layer fall short here. Tools are in test_tools.py.
"""

import copy
import gc
import pickle
import subprocess
import sys
import weakref

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch_models import WARNINGS, X, close, convolutions, counted_calls, plain_and_fast

import unstride.torch as ut

pytestmark = WARNINGS


@pytest.fixture
def calls(monkeypatch):
    """How often our operators computed."""
    return counted_calls(monkeypatch)


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


@pytest.mark.slow
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


@pytest.mark.slow
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
