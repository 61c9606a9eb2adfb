"""The autoencoder and the compressor on NumPy arrays alone, against their Keras models."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unstride.app.tasks.autoencoder.inference import Autoencoder, reach
from unstride.app.tasks.compressor.inference import Compressor, decoded, random_weights
from unstride.app.weights import ExportedModel, export_weights, load, save
from unstride.models import autoencoder, compressor
from unstride.models._autoencoder import LAST, READING, Layer, described, parsed, table
from unstride.models._compressor import UPSAMPLE

STRIDED = "conv 4 3 2, conv 3 4, up 3 4, up 5 4 2"


def images(count: int) -> np.ndarray:
    return np.random.default_rng(3).random((count, 28, 28), np.float32)


def pair(layers: str | None) -> tuple[keras.Model, Autoencoder]:
    keras.utils.set_random_seed(5)
    model = autoencoder(layers)
    rng = np.random.default_rng(1)
    for layer in model.layers:  # no bias is zero, or one that is dropped would not be missed
        layer.set_weights([layer.get_weights()[0], rng.normal(0, 0.1, layer.bias.shape)])
    return model, Autoencoder(ExportedModel({"layers": described(model)}, export_weights(model)))


@pytest.mark.slow
@pytest.mark.parametrize("layers", [None, STRIDED])
def test_every_layer_of_the_autoencoder(layers):
    model, ours = pair(layers)
    made = ours.activations(images(2))
    every = keras.Model(model.inputs[0], [layer.output for layer in model.layers])(images(2)[..., None])
    assert len(made) == len(every)
    for a, b in zip(made, every, strict=True):
        np.testing.assert_allclose(a, keras.ops.convert_to_numpy(b), atol=2e-5)
    assert ours.code_shape == made[ours.coded].shape[1:]


def test_the_table_is_the_models_summary():
    for layers in (None, STRIDED):
        model = autoencoder(layers)
        rows = table(READING if layers is None else parsed(layers))
        assert [row.name for row in rows] == [layer.name for layer in model.layers]
        assert [row.parameters for row in rows] == [layer.count_params() for layer in model.layers]
        assert [(row.side, row.side, row.layer.filters) for row in rows] == [at.output.shape[1:] for at in model.layers]
        assert rows[-1].layer == LAST


def test_influence_is_the_gradient_and_stays_within_reach():
    _, ours = pair(STRIDED)
    image = images(1)[0]
    pixel = (9, 20)
    found = ours.influence(image, pixel)
    assert found.shape == ours.code_shape
    code = ours.activations(image[None])[ours.coded].astype(np.float64)

    def logit(code: np.ndarray) -> float:
        x = code.astype(np.float32)
        for row in ours.rows[ours.coded + 1 :]:
            x = ours._linear(row, x)
            if row.layer.activation == "relu":
                x = np.maximum(x, 0)
        return float(x[0, *pixel, 0])

    strongest = np.unravel_index(np.abs(found).argmax(), found.shape)
    step = np.zeros_like(code)
    step[0, *strongest] = 2e-4
    slope = (logit(code + step) - logit(code - step)) / 4e-4
    assert slope == pytest.approx(found[strongest], rel=2e-2)
    assert not np.abs(found).sum(-1)[~ours.reach(pixel)].any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 27), st.integers(0, 27))
def test_the_readings_pixel_is_reached_by_nine_by_nine_cells_but_at_the_edge(row, column):
    # Four 3x3 layers, none with a stride: four cells to every side, and what the code's edge cuts off.
    found = reach(table(), (row, column))
    wanted = np.zeros((28, 28), bool)
    wanted[max(0, row - 4) : row + 5, max(0, column - 4) : column + 5] = True
    assert (found == wanted[3:-3, 3:-3]).all()


@pytest.mark.parametrize("text", ["", "conv 3", "conv 3 3 3 3", "pool 3 3", "conv 0 3", "conv 3 x", "up 1 29"])
def test_layers_that_are_none(text):
    with pytest.raises(ValueError, match="expected"):
        parsed(text)


def test_layers_that_do_not_end_with_28():
    with pytest.raises(ValueError, match="end with 27x27; expected 28x28"):
        autoencoder([Layer("conv", 4, 3, 2), Layer("up", 4, 3, 2)])
    with pytest.raises(ValueError, match="conv2d_2"):
        table(parsed("conv 4 3 9, conv 4 5"))


@pytest.mark.slow
@pytest.mark.parametrize("upsample", UPSAMPLE)
@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_the_compressor(upsample, kernel, tmp_path):
    model = compressor(code=5, upsample=upsample, kernel=kernel)
    about = {"model": "compressor", "code": 5, "upsample": upsample}
    save(tmp_path / "w.npz", ExportedModel(about, export_weights(model)))
    ours = Compressor(load(tmp_path / "w.npz"))
    codes = ours.encoded(images(3))
    known = model.get_layer("encoder").predict(images(3)[..., None], verbose=0)
    np.testing.assert_allclose(codes, known, atol=1e-4)
    np.testing.assert_allclose(ours.decoded(codes), model.predict(images(3)[..., None], verbose=0)[..., 0], atol=1e-4)


@pytest.mark.parametrize("upsample", UPSAMPLE)
def test_random_weights_are_spread_as_keras_spreads_them(upsample):
    ours = random_weights(32, upsample, 3, 0)
    known = export_weights(compressor(32, upsample, 3).get_layer("decoder"))
    assert {name: values.shape for name, values in ours.items()} == {name: at.shape for name, at in known.items()}
    for name, values in ours.items():
        assert values.std() == pytest.approx(known[name].std(), rel=0.12 if values.size > 500 else 0.5), name
        assert np.abs(values).max() <= np.abs(known[name]).max() * 1.3 + 1e-9
    assert decoded(ours, upsample, np.zeros((1, 32), np.float32)) == pytest.approx(0.5)


def test_half_precision_halves_the_file(tmp_path):
    values = {"a/kernel": np.random.default_rng(0).random((400, 4), np.float32)}
    for name, kind in (("whole", np.float32), ("half", np.float16)):
        save(tmp_path / name, ExportedModel({}, values), kind)
    half = load(tmp_path / "half").weights["a/kernel"]
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, values["a/kernel"], atol=1e-3)
    assert (tmp_path / "half").stat().st_size < 0.6 * (tmp_path / "whole").stat().st_size


@pytest.mark.parametrize("layer", [keras.layers.Conv2D, keras.layers.Conv2DTranspose])
@pytest.mark.parametrize("settings", [{}, {"scale": False}, {"center": False}])
def test_a_batch_normalization_is_part_of_the_layer_before_it(layer, settings):
    image = keras.Input((9, 9, 3))
    first = layer(5, 3, use_bias=bool(settings), name="first")
    normal = keras.layers.BatchNormalization(name="normal", **settings)
    model = keras.Model(image, normal(first(image)))
    rng = np.random.default_rng(4)
    for variable in model.variables:
        variable.assign(rng.uniform(0.5, 2, variable.shape))
    weights = export_weights(model)
    twin = layer(5, 3)
    twin.build((None, 9, 9, 3))
    twin.set_weights([weights["first/kernel"], weights["first/bias"]])
    x = rng.standard_normal((2, 9, 9, 3)).astype(np.float32)
    found = keras.ops.convert_to_numpy(twin(x))
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(model(x)), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("fault", ["activation", "branches"])
def test_a_batch_normalization_that_cannot_be_part_of_it(fault):
    image = keras.Input((9, 9, 3))
    y = keras.layers.Conv2D(5, 3, activation="relu" if fault == "activation" else None, name="first")(image)
    made = [keras.layers.BatchNormalization(name="normal")(y)] + [y] * (fault == "branches")
    model = keras.Model(image, keras.layers.Add()(made) if len(made) > 1 else made)
    with pytest.raises(ValueError, match="'normal' follows 'first', which has an activation or goes elsewhere too"):
        export_weights(model)
