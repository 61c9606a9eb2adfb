"""The models: the reading's table, and imports that cost nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import unstride.keras
from unstride.models import MODELS, autoencoder

TABLE = [
    ("conv2d_1", "Conv2D", (26, 26, 32), 320),
    ("conv2d_2", "Conv2D", (24, 24, 16), 4624),
    ("conv2d_3", "Conv2D", (22, 22, 8), 1160),
    ("conv2d_transpose_1", "Conv2DTranspose", (24, 24, 8), 584),
    ("conv2d_transpose_2", "Conv2DTranspose", (26, 26, 16), 1168),
    ("conv2d_transpose_3", "Conv2DTranspose", (28, 28, 32), 4640),
    ("conv2d_4", "Conv2D", (28, 28, 1), 289),
]


@pytest.fixture(scope="module")
def model() -> keras.Sequential:
    return autoencoder()


@pytest.mark.parametrize("layers", [3, [3], ["conv 8 3"], {"conv": 8}, b"conv 8 3"])
def test_layers_of_another_kind_are_refused_in_words(layers: object) -> None:
    with pytest.raises(TypeError, match=r"^layers is .*; expected them as text, for example 'conv 16 3 2, up 16 4 2'"):
        autoencoder(layers)  # type: ignore[arg-type]


def test_table(model: keras.Sequential) -> None:
    found = [(at.name, type(at).__name__, at.output.shape[1:], at.count_params()) for at in model.layers]
    assert found == TABLE
    assert model.count_params() == 12785
    assert model.input_shape == (None, 28, 28, 1)


def test_layers_are_ours_with_the_readings_settings(model: keras.Sequential) -> None:
    for layer in model.layers:
        assert isinstance(layer, unstride.keras.Conv2D | unstride.keras.Conv2DTranspose)
        assert layer.kernel_size == (3, 3)
        assert layer.strides == (1, 1)
    *inner, last = model.layers
    for layer in inner:
        config = layer.get_config()
        assert (config["activation"], config["padding"]) == ("relu", "valid")
        assert config["kernel_initializer"]["class_name"] == "HeNormal"
    assert (last.get_config()["activation"], last.get_config()["padding"]) == ("sigmoid", "same")


def test_numbers(model: keras.Sequential) -> None:
    """The same as Keras's own layers with the same weights."""
    own = keras.Sequential([keras.Input((28, 28, 1))])
    for layer in model.layers:
        kind = getattr(keras.layers, type(layer).__name__)
        own.add(kind(layer.filters, 3, padding=layer.padding, activation=layer.activation))
    own.set_weights(model.get_weights())
    images = np.random.default_rng(1).random((3, 28, 28, 1), np.float32)
    ours = model.predict(images, verbose=0)
    assert ours.min() > 0
    assert ours.max() < 1
    np.testing.assert_allclose(ours, own.predict(images, verbose=0), rtol=2e-5, atol=2e-6)


def test_saved_and_loaded(model: keras.Sequential, tmp_path: Path) -> None:
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in model.layers]
    images = np.random.default_rng(1).random((2, 28, 28, 1), np.float32)
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))


def test_registry() -> None:
    assert MODELS["autoencoder"] is autoencoder
    assert all(name.islower() for name in MODELS)


def test_imports_are_lazy() -> None:
    """Nothing that the command line imports to show its help imports Keras or Matplotlib."""
    code = (
        "import sys, unstride, unstride.models, unstride.data, unstride.app.cli\n"
        "print(sorted({'keras', 'jax', 'torch', 'tensorflow', 'matplotlib', 'PIL'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
