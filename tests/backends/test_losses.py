"""Binary cross-entropy by the native core: against float64, its derivatives, and in Keras's training step."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import unstride.keras as uk
from unstride._core import core as _native
from unstride.backends.jax import losses, native
from unstride.keras._losses import native_losses

U = 2.0**-24  # half a unit in the last place, of 1
EPSILON = 1e-7
LOW, HIGH = np.float32(EPSILON), np.float32(1) - np.float32(EPSILON)
on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX's training step has a native loss")


@pytest.fixture(params=_native.instruction_sets())
def instruction_set(request):
    before = _native.instruction_set()
    _native.use_instruction_set(request.param)
    yield request.param
    _native.use_instruction_set(before)


def both(target, predicted, epsilon=EPSILON):
    """The losses and their slopes, natively."""
    loss, derivative = losses.crossentropy_p.bind(target, predicted, epsilon=epsilon, with_derivative=True)
    return np.asarray(loss), np.asarray(derivative)


def numbers(size=30_011, seed=0):
    """Targets, some of them 0 and 1, and predictions of every size, near both ends and on them."""
    rng = np.random.default_rng(seed)
    third = size // 3
    near = np.float32(10) ** rng.uniform(-9, 0, 2 * third).astype("f")
    ends = np.array([0, 1, LOW, HIGH, np.nextafter(LOW, np.float32(0)), np.nextafter(HIGH, np.float32(2))], "f")
    plain = rng.random(size - 2 * third - len(ends), dtype=np.float32)
    predicted = np.concatenate([near[:third], 1 - near[third:], plain, ends])
    target = rng.random(size, dtype=np.float32)
    target[::7], target[3::7] = 0, 1
    return target, predicted


@pytest.mark.parametrize("size", [1, 7, 16, 8192, 30_011])
@pytest.mark.usefixtures("instruction_set")
def test_against_float64(size):
    target, predicted = (one[-size:] for one in numbers())
    loss, derivative = both(target, predicted)
    inside = np.clip(predicted, LOW, HIGH)
    p, rest, t, left = (one.astype(np.float64) for one in (inside, 1 - inside, target, 1 - target))
    right = -(t * np.log(p) + left * np.log(rest))
    # A logarithm: s is three roundings of numbers away from its value, 2 s (1 + s^2 / 3 + ...) another two, and the two
    # sums with n ln 2 may double what is relative to half of the result. Then a product and a sum of two of one sign.
    assert np.all(abs(loss - right) <= 12 * U * right)
    right = np.where((predicted < LOW) | (predicted > HIGH), 0, (p - t) / (p * rest))
    assert np.all(abs(derivative - right) <= 3.01 * U * abs(right))  # a difference, a product and a quotient


@pytest.mark.usefixtures("instruction_set")
def test_what_is_not_a_number_stays_so():
    target = np.array([0.5, 0.5, np.nan, 0.5, 0.5], "f")
    predicted = np.array([np.nan, np.inf, 0.5, -np.inf, 0.5], "f")
    loss, derivative = both(target, predicted)
    np.testing.assert_array_equal(np.isnan(loss), [True, False, True, False, False])
    np.testing.assert_array_equal(np.isnan(derivative), [True, False, True, False, False])
    assert derivative[1] == derivative[3] == 0


def test_the_same_by_jaxs_own_operations():
    target, predicted = numbers()
    mine, theirs = (
        both(target, predicted),
        losses.by_operations(target, predicted, epsilon=EPSILON, with_derivative=True),
    )
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=24 * U)
    with jax.disable_jit():
        again = both(target, predicted)
    for one, other in zip(mine, again, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_derivatives_of_every_kind():
    # Those of the first order against numbers in float64, all of the first two against JAX's own of the same formula there.
    rng = np.random.default_rng(0)
    target, predicted, dt, dp = 0.1 + 0.8 * rng.random((4, 2, 3, 5), dtype=np.float32)
    gradient = jax.grad(lambda p: losses.binary_crossentropy(target, p, EPSILON).sum())(predicted)
    np.testing.assert_array_equal(gradient, both(target, predicted)[1])

    def mine(t, p):
        return losses.binary_crossentropy(t, p, EPSILON)

    def formula(t, p):
        return -(t * jnp.log(p) + (1 - t) * jnp.log(1 - p))

    def derivatives(function, t, p, dt, dp):
        def summed(*point):
            return jnp.sum(function(*point) * dp)

        along = jax.jvp(function, (t, p), (dt, dp))
        back = jax.grad(summed, (0, 1))
        forward_over_back = jax.jvp(back, (t, p), (dt, dp))
        back_over_back = jax.grad(lambda *point: sum(jnp.sum(one * dt) for one in back(*point)), (0, 1))(t, p)
        back_over_forward = jax.grad(lambda *point: jnp.sum(jax.jvp(function, point, (dt, dp))[1]), (0, 1))(t, p)
        return along, back(t, p), forward_over_back, back_over_back, back_over_forward

    found = jax.tree.leaves(derivatives(mine, target, predicted, dt, dp))
    with jax.enable_x64(True):
        right = jax.tree.leaves(derivatives(formula, *(one.astype(np.float64) for one in (target, predicted, dt, dp))))
    assert len(found) == len(right) == 12
    for one, other in zip(found, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)


def test_under_vmap():
    target, predicted = (one.reshape(4, 25) for one in numbers(100))
    loss = jax.vmap(lambda t, p: losses.binary_crossentropy(t, p, EPSILON), (0, 0))(target, predicted)
    np.testing.assert_array_equal(loss, both(target, predicted)[0])
    turned = jax.vmap(lambda t, p: losses.binary_crossentropy(t, p, EPSILON), (None, 1))(target[:, 0], predicted)
    np.testing.assert_array_equal(turned[3], both(target[:, 0], predicted[:, 3])[0])


def test_what_becomes_of_it_in_a_program():
    step = jax.jit(jax.value_and_grad(lambda p, t: losses.binary_crossentropy(t, p, EPSILON).mean()))
    target, predicted = numbers()
    program = step.lower(predicted, target).compile().as_text()
    assert program.count('custom_call_target="unstride_binary_crossentropy"') == 1
    assert " log(" not in program
    exported = jax.export.export(step)(predicted, target)
    assert "custom_call @unstride" not in exported.mlir_module()
    np.testing.assert_allclose(exported.call(predicted, target)[0], step(predicted, target)[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("target", "predicted", "epsilon", "message"),
    [
        (np.ones(3, "f"), np.ones(4, "f"), EPSILON, r"float32 of one shape; they are float32 of \(3,\)"),
        (np.ones(3, "i4"), np.ones(3, "f"), EPSILON, "they are int32"),
        (np.ones(3, "f"), np.ones(3, "f"), 1e-9, "epsilon must be from 2"),
        (np.ones(3, "f"), np.ones(3, "f"), float("nan"), "epsilon must be from 2"),
    ],
)
def test_what_is_refused(target, predicted, epsilon, message):
    with pytest.raises(ValueError, match=message):
        losses.binary_crossentropy(target, predicted, epsilon)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epsilon": np.float64(EPSILON)}, "epsilon is not a float32"),
        ({"epsilon": None}, "epsilon is missing"),
        ({"epsilon": np.float32(0)}, "epsilon is not from"),
        ({"loss": (4,)}, "the loss is not of float32 and of the target's shape"),
        ({"derivative": (4,)}, "the derivative is not of float32 and of the target's shape"),
        ({"dtype": np.float64}, "the loss is not of float32"),
        ({"operands": 1}, "another number of arrays"),
    ],
)
def test_a_call_that_is_wrong_is_an_error_of_xla(changed, message):
    fields = {
        "epsilon": np.float32(EPSILON),
        "loss": (3,),
        "derivative": (3,),
        "dtype": np.float32,
        "operands": 2,
    } | changed
    results = [jax.ShapeDtypeStruct(fields[name], fields["dtype"]) for name in ("loss", "derivative")]
    attributes = {} if fields["epsilon"] is None else {"epsilon": fields["epsilon"]}
    arrays = [np.ones(3, "f")] * fields["operands"]
    with jax.enable_x64(True), pytest.raises(jax.errors.JaxRuntimeError, match=message):
        jax.block_until_ready(native.ffi.ffi_call("unstride_binary_crossentropy", results)(*arrays, **attributes))


def test_on_several_devices():
    code = """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from unstride.backends.jax import losses as jax_losses
mesh = jax.sharding.Mesh(np.array(jax.devices()), ("images",))
rng = np.random.default_rng(0)
t, p = rng.random((2, 4, 6), dtype=np.float32)
rule = jax.jit(lambda t, p: jax_losses.binary_crossentropy(t, p, 1e-7))
split = jax.device_put((t, p), NamedSharding(mesh, PartitionSpec("images")))
np.testing.assert_allclose(rule(*split), rule(t, p), rtol=1e-6)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ.copy(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# In Keras's step.


def model(loss, **options):
    keras.utils.set_random_seed(3)
    made = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            uk.Conv2D(8, 3, padding="same", activation="relu"),
            uk.Conv2DTranspose(2, 3, padding="same", activation="sigmoid"),
        ]
    )
    made.compile("adam", loss, **options)
    return made


LOSSES = {
    "a name": lambda: "binary_crossentropy",
    "a function": lambda: keras.losses.binary_crossentropy,
    "an object": lambda: keras.losses.BinaryCrossentropy(),
    "smoothed labels": lambda: keras.losses.BinaryCrossentropy(label_smoothing=0.2),
    "another axis": lambda: keras.losses.BinaryCrossentropy(axis=1),
    "a sum": lambda: keras.losses.BinaryCrossentropy(reduction="sum"),
    "logits": lambda: keras.losses.BinaryCrossentropy(from_logits=True),
    "another loss": lambda: "mse",
}


@pytest.mark.slow
@on_jax
@pytest.mark.parametrize("case", LOSSES)
def test_the_same_training(case, monkeypatch):
    traced = []
    real = losses.binary_crossentropy
    monkeypatch.setattr(losses, "binary_crossentropy", lambda *given: traced.append(given) or real(*given))
    rng = np.random.default_rng(0)
    x, y = rng.random((200, 8, 8, 1), dtype=np.float32), rng.integers(0, 2, (200, 8, 8, 2))
    weight = rng.random((200, 1, 1), dtype=np.float32)
    histories = []
    for accelerated in (False, True):
        made = model(LOSSES[case](), metrics=["mae"])
        if accelerated:
            uk.accelerate(made)
        history = made.fit(x, y, sample_weight=weight, batch_size=100, epochs=3, shuffle=False, verbose=0).history
        histories.append(history)
    assert bool(traced) == (case not in ("logits", "another loss"))
    traced.clear()
    made.evaluate(x, y, batch_size=100, verbose=0)
    assert bool(traced) == (case not in ("logits", "another loss"))
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-5, err_msg=name)


def _fails_within(made, loss):
    with native_losses(made):
        assert loss.fn is not keras.losses.binary_crossentropy
        raise ZeroDivisionError


@on_jax
def test_the_loss_is_keras_own_again_afterwards():
    loss = keras.losses.BinaryCrossentropy()
    made = model(loss)
    uk.accelerate(made)
    x = np.random.default_rng(0).random((80, 8, 8, 2), dtype=np.float32)
    made.fit(x[..., :1], x, batch_size=80, verbose=0)
    assert loss.fn is keras.losses.binary_crossentropy
    with pytest.raises(ZeroDivisionError):
        _fails_within(made, loss)
    assert loss.fn is keras.losses.binary_crossentropy


@on_jax
def test_an_epsilon_too_small_for_float32_is_left_to_keras():
    before = keras.config.epsilon()
    keras.config.set_epsilon(1e-9)
    try:
        made = model("binary_crossentropy")
        x = np.random.default_rng(0).random((80, 8, 8, 2), dtype=np.float32)
        made.fit(x[..., :1], x, batch_size=80, verbose=0)
        with native_losses(made):
            loss = made._compile_loss(jnp.asarray(x), jnp.asarray(x))
        np.testing.assert_allclose(loss, made._compile_loss(jnp.asarray(x), jnp.asarray(x)))
    finally:
        keras.config.set_epsilon(before)
