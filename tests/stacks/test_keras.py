"""Runs in Keras models executed as stacks, and training in micro-batches, on the backend that Keras was started with."""

import keras
import numpy as np
import pytest

import unstride.keras as uk
from unstride.keras import _microbatches, _stacks

L = keras.layers
BACKEND = keras.backend.backend()
pytestmark = pytest.mark.skipif(BACKEND == "tensorflow", reason="Keras on TensorFlow has no stacks")


@pytest.fixture
def executed(monkeypatch):
    """The stacks that were executed, or traced."""
    found = []
    real = _stacks._applied
    monkeypatch.setattr(_stacks, "_applied", lambda stack, x, w: found.append(stack) or real(stack, x, w))
    return found


def chain(data_format="channels_last"):
    keras.utils.set_random_seed(1)
    first = data_format == "channels_first" and BACKEND != "tensorflow"
    options = {"data_format": "channels_first" if first else "channels_last"}
    return keras.Sequential(
        [
            keras.Input((2, 9, 8) if first else (9, 8, 2)),
            uk.Conv2D(6, 3, padding="same", activation="relu", name="a", **options),
            uk.Conv2D(4, (2, 3), strides=(1, 2), name="b", **options),
            L.LeakyReLU(0.3, name="leaky"),
            uk.Conv2DTranspose(5, 3, strides=2, activation="elu", name="c", **options),
            L.Activation("tanh", name="left"),
            uk.Conv2D(1, 2, activation="sigmoid", use_bias=False, name="d", **options),
        ]
    )


def branching():
    """With a skip connection, a layer called twice, and an output in the middle."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((12, 3))
    x = L.Conv1D(4, 3, padding="same", name="a")(inputs)
    skip = L.ReLU(name="skip")(x)
    x = L.Conv1D(4, 3, padding="same", name="b")(skip)
    x = L.Conv1D(4, 2, padding="same", activation="tanh", name="c")(x)
    x = L.Add()([x, skip])
    twice = L.Conv1D(4, 3, padding="same", name="twice")
    x = L.Conv1D(4, 1, name="e")(twice(twice(x)))
    middle = L.Conv1D(3, 2, name="middle")(x)
    x = L.Conv1D(3, 1, name="f")(middle)
    x = L.Conv1DTranspose(2, 2, name="g")(x)
    return keras.Model(inputs, [middle, L.Softmax()(x)])


def numbers(y):
    return [keras.ops.convert_to_numpy(one) for one in keras.tree.flatten(y)]


def test_runs_end_where_something_else_looks_on():
    assert uk.accelerate(branching()).stacks == (("b", "c"), ("e", "middle"), ("f", "g"))
    assert uk.accelerate(chain()).stacks == (("a", "b", "leaky", "c"),)


@pytest.mark.slow
@pytest.mark.parametrize("make", [chain, branching])
@pytest.mark.parametrize("batch", [1, 15, 16, 17, 100])
def test_same_numbers(make, batch, executed):
    plain, model = make(), make()
    report = uk.accelerate(model)
    shape = (batch, *model.input_shape[1:])
    x = np.random.default_rng(batch).standard_normal(shape).astype("f")
    for call in (lambda m: m(x), lambda m: m.predict(x, batch_size=64, verbose=0)):
        for got, expected in zip(numbers(call(model)), numbers(call(plain)), strict=True):
            np.testing.assert_allclose(got, expected, atol=2e-5)
    assert bool(executed) == (batch >= 16)
    report.restore()
    executed.clear()
    model(x)
    assert not executed
    assert not any(name in model.__dict__ for name in ("call", "_run_through_graph", "train_step"))


@pytest.mark.slow
def test_fifty_steps_are_the_same_training(executed):
    rng = np.random.default_rng(3)
    models = [chain(), chain()]
    x = rng.standard_normal((5 * 150 + 17, 9, 8, 2)).astype("f")
    target = rng.random((len(x), *models[0].output_shape[1:])).astype("f")
    weight = rng.random((len(x), 1, 1)).astype("f")
    histories = []
    for model in models:
        model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy", metrics=["mae"], weighted_metrics=["mse"])
        if model is models[1]:
            report = uk.accelerate(model)
            assert report.training == "in micro-batches of 64 images, one update a batch"
        histories.append(
            model.fit(x, target, sample_weight=weight, batch_size=150, epochs=9, shuffle=False, verbose=0).history
        )
    assert executed
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-4, err_msg=name)
    results = [model.evaluate(x, target, batch_size=150, verbose=0) for model in models]
    np.testing.assert_allclose(*results, rtol=1e-4)


WHOLE = {
    "BatchNormalization": (lambda: [L.BatchNormalization(name="bn")], "mse", "bn (BatchNormalization) takes the mean"),
    "Dropout": (lambda: [L.Dropout(0.5, name="drop")], "mse", "drop (Dropout) draws other random numbers"),
    "a Lambda": (lambda: [L.Lambda(lambda x: x, name="own")], "mse", "own (Lambda) may mix the images"),
    "an activity": (lambda: [L.ReLU(activity_regularizer="l2", name="act")], "mse", "act has an activity_regularizer"),
    "a loss of one's own": (lambda: [], lambda y, p: keras.ops.mean(y - p), "is not known to be a mean or a sum"),
    "Dice": (lambda: [], keras.losses.Dice(), "the loss dice is not known to be a mean or a sum"),
    "work elsewhere": (lambda: [L.Flatten(), L.Dense(5000)], "mse", "stacks do less than half of its work"),
}


@pytest.mark.parametrize("case", WHOLE)
def test_what_trains_on_whole_batches(case):
    layers, loss, reason = WHOLE[case]
    model = keras.Sequential([keras.Input((9, 8, 2)), *chain().layers, *layers()])
    model.compile("sgd", loss)
    assert reason in uk.accelerate(model).training


def test_submodels_clones_and_saved_models_compute_as_before(tmp_path):
    model = chain()
    uk.accelerate(model)
    x = np.random.default_rng(5).standard_normal((20, 9, 8, 2)).astype("f")
    expected = numbers(model(x))[0]
    features = keras.Model(model.inputs[0], [layer.output for layer in model.layers])
    np.testing.assert_allclose(numbers(features(x))[-1], expected, atol=2e-5)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    model.save(tmp_path / "m.keras")
    for made in (clone, keras.models.load_model(tmp_path / "m.keras")):
        assert "call" not in made.__dict__
        np.testing.assert_allclose(numbers(made(x))[0], expected, atol=2e-5)


def test_layers_that_change_later_are_seen(executed):
    model = chain()
    uk.accelerate(model)
    x = np.random.default_rng(6).standard_normal((20, 9, 8, 2)).astype("f")
    model(x)
    assert len(executed) == 1
    executed.clear()
    model.get_layer("c").activation = keras.activations.gelu
    got = numbers(model(x))[0]
    assert not executed
    uk.restore(model)
    np.testing.assert_allclose(got, numbers(model(x))[0], atol=2e-5)


def test_the_same_micro_batch_size_everywhere():
    assert _microbatches.MICRO_BATCH % 16 == 0
