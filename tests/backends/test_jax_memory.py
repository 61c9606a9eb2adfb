"""What XLA's compiler leaves behind is given back, once, after a training step was compiled."""

import jax
import jax.monitoring
import keras
import numpy as np
import pytest

import unstride.keras as uk
from unstride.backends.jax import memory as jax_memory


@pytest.fixture
def given_back(monkeypatch):
    calls = []
    monkeypatch.setattr(jax_memory, "_give_back", lambda: calls.append(None))
    monkeypatch.setattr(jax_memory._listener, "waiting", False)
    return calls


def test_after_the_next_long_compilation_and_no_other(given_back):
    jax_memory.give_back_after_compiling()
    jax_memory.give_back_after_compiling()
    for event, seconds, expected in (
        (jax_memory.COMPILED, 0.01, 0),
        ("/jax/core/compile/jaxpr_trace_duration", 9.0, 0),
        (jax_memory.COMPILED, 2.0, 1),
        (jax_memory.COMPILED, 2.0, 1),
    ):
        jax.monitoring.record_event_duration_secs(event, seconds)
        assert len(given_back) == expected


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX compiles the step")
def test_a_step_in_micro_batches_asks_for_it(given_back):
    layers = [keras.layers.Conv2D(n, 3, padding="same", activation="relu") for n in (8, 8, 1)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    uk.accelerate(model)
    model.compile("sgd", "mse")
    x = np.zeros((65, 8, 8, 1), "float32")
    model.train_on_batch(x, x)
    # Nothing waited before. It waits now, unless something long was compiled meanwhile.
    assert jax_memory._listener.waiting != bool(given_back)


def test_giving_back_does_no_harm():
    program = jax.jit(lambda x: x * 2 + 1)
    before = program(np.arange(1000.0))
    jax_memory._give_back()
    np.testing.assert_array_equal(program(np.arange(1000.0)), np.arange(1000.0) * 2 + 1)
    np.testing.assert_array_equal(before, np.arange(1000.0) * 2 + 1)
