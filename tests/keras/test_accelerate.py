"""unstride.keras.accelerate, on the backend that Keras was started with; `test_layers_elsewhere.py` runs the others."""

import copy
import json
import os
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

import unstride.keras as uk
from unstride import ops
from unstride.keras import accelerate

L = keras.layers


@pytest.fixture
def counted(monkeypatch):
    """How often the maps of `unstride.ops` were called, traced or not."""
    calls = []
    for name in ("conv", "conv_transpose"):
        real = getattr(ops, name)
        monkeypatch.setattr(ops, name, lambda *a, _real=real, _name=name, **k: calls.append(_name) or _real(*a, **k))
    return calls


def sequential():
    return keras.Sequential(
        [
            keras.Input((9, 8, 2)),
            L.Conv2D(5, 3, strides=2, padding="same", activation="relu", name="down"),
            L.BatchNormalization(),
            L.Conv2DTranspose(4, (4, 3), strides=2, padding="same", activation="tanh", name="up"),
            L.Conv2D(3, 3, padding="same", dilation_rate=2, groups=1, use_bias=False, name="last"),
        ]
    )


def functional():
    """One-dimensional, with a shared layer, a skip connection, causal padding, groups, and a model inside."""
    inner = keras.Sequential([keras.Input((None, 6)), L.Conv1DTranspose(6, 5, 2, "same", output_padding=1, name="in")])
    shared = L.Conv1D(6, 3, padding="causal", name="shared")
    inputs = keras.Input((None, 6))
    x = shared(shared(inputs))
    x = L.Conv1D(6, 2, groups=3, padding="same", name="grouped")(L.Add()([x, inputs]))
    return keras.Model(inputs, L.TimeDistributed(L.Dense(3))(inner(x)))


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [L.Conv3D(3, 2, name="a"), L.Conv3DTranspose(4, 3, 2, name="b")]

    def call(self, x):
        for block in self.blocks:
            x = keras.ops.relu(block(x))
        return x


MODELS = {
    "sequential": (sequential, (4, 9, 8, 2), ["down", "up", "last"]),
    "functional": (functional, (4, 10, 6), ["shared", "grouped", "in"]),
    "subclassed": (Subclassed, (4, 4, 3, 5, 2), ["a", "b"]),
}


@pytest.mark.parametrize("kind", MODELS)
def test_same_numbers_and_back(kind, counted):
    make, shape, names = MODELS[kind]
    model, x = make(), np.random.default_rng(1).standard_normal(shape).astype("f")
    expected = model.predict(x, verbose=0)
    variables = [(id(v), v.path) for v in model.variables]
    types = [type(layer) for layer in model.layers]
    report = accelerate(model)
    assert sorted(layer.name for layer in report.changed) == sorted(names)
    assert not report.unchanged
    assert f"{len(names)} of {len(names)} convolutions changed" in str(report)
    assert not counted
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-4)
    assert len(counted) >= len(names)
    assert [(id(v), v.path) for v in model.variables] == variables
    assert [type(layer) for layer in model.layers] == types
    report.restore()
    counted.clear()
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
    assert not counted
    report.restore()


def test_a_model_that_has_no_weights_yet():
    model, x = Subclassed(), np.random.default_rng(1).standard_normal((2, 4, 3, 5, 2)).astype("f")
    accelerate(model)
    y = keras.ops.convert_to_numpy(model(x))
    plain = Subclassed()
    plain(x)
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(y, keras.ops.convert_to_numpy(plain(x)), atol=1e-5)


def test_training_goes_on_where_it_was(counted):
    rng = np.random.default_rng(2)
    x, target = rng.standard_normal((8, 9, 8, 2)).astype("f"), rng.standard_normal((8, 10, 8, 3)).astype("f")
    models = [sequential(), sequential()]
    models[1].set_weights(models[0].get_weights())
    for model in models:
        model.layers[0].trainable = False
        model.compile("adam", "mse", metrics=["mae"])
        model.fit(x, target, epochs=2, shuffle=False, verbose=0)
    assert not counted
    accelerate(models[1])
    assert not models[1].layers[0].trainable
    histories = [model.fit(x, target, epochs=3, shuffle=False, verbose=0).history for model in models]
    assert counted
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-3)
    assert int(models[1].optimizer.iterations) == 5
    for got, want in zip(models[1].get_weights(), models[0].get_weights(), strict=True):
        np.testing.assert_allclose(got, want, atol=2e-3)
    np.testing.assert_allclose(*(model.evaluate(x, target, verbose=0) for model in models), rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_a_saved_model_is_keras_s_own(kind, tmp_path):
    make, shape, _ = MODELS[kind]
    plain, x = make(), np.random.default_rng(3).standard_normal(shape).astype("f")
    summary, config = [], json.dumps(plain.get_config(), default=str)
    plain.summary(print_fn=summary.append)
    accelerate(plain)
    again = []
    plain.summary(print_fn=again.append)
    assert again == summary
    assert json.dumps(plain.get_config(), default=str) == config
    plain.save(tmp_path / "model.keras")
    plain.save_weights(tmp_path / "model.weights.h5")
    assert "unstride" not in zipfile.ZipFile(tmp_path / "model.keras").read("config.json").decode()
    np.save(tmp_path / "x.npy", x)
    code = (
        "import sys; sys.modules['unstride'] = None\n"
        "import keras, numpy as np\n"
        "np.save('y.npy', keras.models.load_model('model.keras').predict(np.load('x.npy'), verbose=0))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=os.environ)
    expected = plain.predict(x, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, atol=1e-4)
    fresh = make()
    accelerate(fresh)
    fresh.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(fresh.predict(x, verbose=0), expected)


def test_copies_are_plain_models():
    model, x = sequential(), np.random.default_rng(4).standard_normal((2, 9, 8, 2)).astype("f")
    accelerate(model)
    expected = model.predict(x, verbose=0)
    for made in (copy.deepcopy(model), keras.models.clone_model(model)):
        made.set_weights(model.get_weights())
        assert len(accelerate(made).changed) == 3
        np.testing.assert_allclose(made.predict(x, verbose=0), expected, atol=1e-5)
    layer = copy.deepcopy(model.layers[0])
    layer.set_weights([w * 0 for w in layer.get_weights()])
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)


class OwnCall(L.Conv2D):
    def call(self, inputs):
        return super().call(inputs) + 1


class OwnConvolution(L.Conv2D):
    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel * 2)


class OwnKernel(L.Conv2D):
    """What is done to the weights on the way is done for us too."""

    @property
    def kernel(self):
        return super().kernel * 2


def test_what_is_left_alone_and_why():
    replaced = L.Conv2D(2, 1, name="replaced")
    replaced.call = lambda inputs: inputs
    turned = L.Conv2D(2, 1, name="turned")
    turned.convolution_op = lambda inputs, kernel: -inputs  # noqa: ARG005
    layers = [
        OwnCall(2, 3, name="own"), OwnConvolution(2, 3, name="convolution"), OwnKernel(2, 3, name="kernel"),
        replaced, turned, uk.Conv2D(2, 3, name="ours"), L.DepthwiseConv2D(3, name="depthwise"),
        L.SeparableConv2D(2, 3, name="separable"), L.Dense(2),
    ]  # fmt: skip
    model = keras.Sequential([keras.Input((20, 20, 2)), *layers])
    x = np.random.default_rng(5).standard_normal((2, 20, 20, 2)).astype("f")
    expected = model.predict(x, verbose=0)
    report = accelerate(model)
    assert [(layer.name, layer.kind) for layer in report.changed] == [("kernel", "OwnKernel")]
    reasons = {layer.name: layer.reason for layer in report.unchanged}
    assert reasons == {
        "own": "OwnCall has a call of its own",
        "convolution": "OwnConvolution has a convolution_op of its own",
        "replaced": "its call was replaced",
        "turned": "its convolution_op was replaced",
        "ours": "it is unstride's own",
        "depthwise": "unstride has no layer of this kind",
        "separable": "unstride has no layer of this kind",
    }
    assert "own: OwnCall, not changed: OwnCall has a call of its own" in str(report)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-4)
    second = accelerate(model)
    assert "kernel: OwnKernel, not changed: it goes through unstride already" in str(second)
    second.restore()
    assert "call" in layers[2].__dict__
    report.restore()
    assert "call" not in layers[2].__dict__
    accelerate(model)
    assert uk.restore(model) == 1
    assert "call" not in layers[2].__dict__
    assert "call" in replaced.__dict__


def test_low_rank_adaptation_before_and_after():
    x = np.random.default_rng(6).standard_normal((2, 9, 8, 2)).astype("f")
    for early in (True, False):
        model = sequential()
        layer = model.get_layer("down")
        if early:
            layer.enable_lora(2)
        report = accelerate(model)
        if not early:
            layer.enable_lora(2)
        layer.lora_kernel_b.assign(np.ones(layer.lora_kernel_b.shape))
        got = keras.ops.convert_to_numpy(model(x))
        report.restore()
        np.testing.assert_allclose(got, keras.ops.convert_to_numpy(model(x)), atol=1e-4)


def test_a_quantised_layer_is_left_alone():
    layer = L.Conv2DTranspose(4, 3, dtype="int8_from_float32", name="up")  # Keras 3.15 quantises no convolution itself
    assert "up: Conv2DTranspose, not changed: it is quantised (int8)" in str(accelerate(layer))


# JAX has float64 only when it is told so before anything else.
POLICIES = ["mixed_float16"] + ["float64"] * (keras.backend.backend() != "jax")


@pytest.mark.parametrize("policy", POLICIES)
def test_other_precisions(policy):
    x = np.random.default_rng(7).standard_normal((2, 6, 6, 2))
    model = keras.Sequential([keras.Input((6, 6, 2)), L.Conv2DTranspose(4, 3, 2, dtype=policy)])
    before = keras.ops.convert_to_numpy(model(x))
    accelerate(model)
    after = keras.ops.convert_to_numpy(model(x))
    assert after.dtype == before.dtype
    np.testing.assert_allclose(after, before, atol=1e-2 if policy == "mixed_float16" else 1e-12)


def test_a_layer_alone_and_no_layer():
    layer = L.Conv2DTranspose(3, 2)
    assert [found.name for found in accelerate(layer).changed] == [layer.name]
    with pytest.raises(TypeError, match="model is list; expected a Keras model or layer"):
        accelerate([layer])
