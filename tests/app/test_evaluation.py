"""The figures: Keras's loss, its floor, the squared error."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unstride.app.tasks.autoencoder.metrics import cross_entropy, entropy, reconstruction_metrics, squared_error
from unstride.data import grey, mnist


def some(seed: int, count: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    targets = random.integers(0, 256, (count, 5, 6)).astype(np.uint8)
    targets[:, 0] = 0
    targets[:, 1] = 255
    return grey(targets), random.random((count, 5, 6), np.float32)


def test_the_loss_is_keras_own() -> None:
    targets, predictions = some(1)
    predictions[0, 0, 0], predictions[0, 1, 0] = 1, 0  # as wrong as can be: clipped
    expected = keras.losses.BinaryCrossentropy()(targets[..., None], predictions[..., None])
    assert cross_entropy(targets, predictions).mean() == pytest.approx(float(expected), rel=1e-5)


def test_squared_error() -> None:
    targets, predictions = some(2)
    for found, t, p in zip(squared_error(targets, predictions), targets, predictions, strict=True):
        assert found == pytest.approx(np.mean((t - p) ** 2), rel=1e-6)


@given(seed=st.integers(0, 2**32 - 1))
def test_the_floor_is_one(seed: int) -> None:
    """No prediction is below it, and the targets themselves are on it."""
    targets, predictions = some(seed)
    assert (cross_entropy(targets, predictions) >= entropy(targets)).all()
    near = np.clip(targets + 0.01 * (predictions - 0.5), 0, 1)
    assert (cross_entropy(targets, near) >= entropy(targets)).all()


def test_floors() -> None:
    levels = np.array([0, 255], np.uint8)[:, None, None]
    assert entropy(grey(levels)) == pytest.approx([0, 0], abs=1e-6)
    assert entropy(np.full((1, 2, 2), 0.5, np.float32)) == pytest.approx([np.log(2)])
    assert entropy(grey(mnist()[1][0])).mean() == pytest.approx(0.05808, abs=1e-5)


def test_by_class() -> None:
    targets, predictions = some(3, 6)
    labels = np.array([1, 1, 0, 5, 1, 5], np.uint8)
    found = reconstruction_metrics(targets, predictions, labels, [0, 1, 5, 9])
    assert found.images == 6
    assert [(row.label, row.images) for row in found.classes] == [(0, 1), (1, 3), (5, 2), (9, 0)]
    assert found.classes[3].loss is None
    assert found.classes[1].error == pytest.approx(squared_error(targets, predictions)[[0, 1, 4]].mean())
    for name in ("loss", "floor", "error"):
        total = sum(getattr(row, name) * row.images for row in found.classes if row.images)
        assert getattr(found, name) == pytest.approx(total / 6)
