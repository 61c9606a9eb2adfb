"""A stack with its loss and the loss's derivatives, as one call through JAX and in Keras's training step."""

import types

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import stacks

import unstride.keras as uk
from unstride._stacks import jax_losses as jax_stack_losses
from unstride._stacks.jax import one_by_one
from unstride.backends.jax.native import ffi
from unstride.keras import _one_call

EPSILON = 1e-7
on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX's training step is one call")


def mean_loss(stack, x, target, weights, scale=3.0):
    y, loss = jax_stack_losses.binary_crossentropy(stack, EPSILON, x, target, weights)
    return scale * jnp.mean(loss), y


def mean_loss_by_stages(stack, x, target, weights, scale=3.0):
    y = jnp.clip(one_by_one(stack, x, *weights), EPSILON, 1 - EPSILON)
    return scale * jnp.mean(-(target * jnp.log(y) + (1 - target) * jnp.log(1 - y))), y


@pytest.mark.slow
@pytest.mark.parametrize("batch", [0, 1, 70])
def test_through_jax(batch):
    stack = stacks.autoencoder()
    x, weights, target = map(jax.tree.map, (jnp.asarray,) * 3, stacks.random_labels(stack, batch))
    for wrap in (lambda f: f, lambda f: jax.jit(f, static_argnums=0)):
        found, wanted = (
            wrap(jax.value_and_grad(f, 3, has_aux=True))(stack, x, target, weights)
            for f in (mean_loss, mean_loss_by_stages)
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, wanted)
    np.testing.assert_allclose(mean_loss(stack, x, target, weights)[0], wanted[0][0], rtol=1e-5)
    with jax.disable_jit():
        found = jax.grad(lambda w: mean_loss(stack, x, target, w)[0])(weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, wanted[1])


def test_what_becomes_of_it_in_a_program():
    stack = stacks.autoencoder()
    x, weights, target = stacks.random_labels(stack, 70)
    program = jax.jit(jax.value_and_grad(mean_loss, 3, has_aux=True), static_argnums=0)
    text = program.lower(stack, x, target, weights).as_text()
    assert text.count("@unstride_stack_crossentropy(") == 1
    assert "unstride_stack_forward" not in text
    assert "unstride_stack_backward" not in text
    exported = jax.export.export(jax.jit(lambda *given: jax.grad(lambda w: mean_loss(stack, *given, w)[0])(weights)))
    module = exported(x, target)  # which is to run where unstride is not: by the stages
    assert "@unstride_" not in str(module.mlir_module())
    expected = jax.grad(lambda w: mean_loss(stack, x, target, w)[0])(weights)
    for got, wanted in zip(module.call(x, target), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_nothing_else_is_differentiated():
    stack = stacks.autoencoder()
    x, weights, target = stacks.random_labels(stack, 20)
    for argument in (1, 2):
        with pytest.raises(TypeError, match="differentiated by x or target; expected by its weights alone"):
            jax.grad(lambda *given: mean_loss(*given)[0], argument)(stack, x, target, weights)
    with pytest.raises(TypeError, match="the result of a stack's loss is differentiated; expected the losses alone"):
        jax.grad(lambda w: mean_loss(stack, x, target, w)[1].sum())(weights)


WRONG = {
    "too few arrays": (lambda *all: (all[:1], all[3]), "another number of arrays"),
    "another target": (lambda x, t, w, r: ((x, t[:-1], *w), r), "the target is not of the shape"),
    "another loss": (lambda x, t, w, r: ((x, t, *w), [r[0], r[2], *r[2:]]), "the loss is not of the shape"),
    "a gradient missing": (lambda x, t, w, r: ((x, t, *w), r[:-1]), "weights: there are fewer"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_errors_through_xla(case):
    stack = stacks.autoencoder()
    x, weights, target = stacks.random_labels(stack, 5)
    results = [jax.ShapeDtypeStruct(one.shape, np.float32) for one in (target, target, *weights)]
    (operands, results), message = WRONG[case][0](x, target, weights, results), WRONG[case][1]
    call = ffi.ffi_call("unstride_stack_crossentropy", results)
    with pytest.raises(Exception, match=message):
        jax.block_until_ready(call(*operands, code=np.array(stack.code, np.int64), epsilon=np.float32(EPSILON)))


# In Keras.


def model(loss="binary_crossentropy", channels=2, **options):
    keras.utils.set_random_seed(1)
    made = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            uk.Conv2D(8, 3, padding="same", activation="relu", kernel_regularizer="l2"),
            keras.layers.Conv2D(4, 3, name="middle"),
            keras.layers.LeakyReLU(0.1),
            uk.Conv2DTranspose(channels, 3, activation="sigmoid"),
        ]
    )
    made.compile(keras.optimizers.Adam(1e-2), loss, **options)
    return made


@pytest.fixture
def calls(monkeypatch):
    """The batch of each loss that became one call of a program."""
    found = []

    def ffi_lowering(name):
        own = ffi.ffi_lowering(name)
        return lambda context, *rest, **fields: (
            found.append(context.avals_in[0].shape[0]) or own(context, *rest, **fields)
        )

    monkeypatch.setattr(jax_stack_losses, "ffi", types.SimpleNamespace(ffi_lowering=ffi_lowering))
    return found


STEPS = {
    "a name": (lambda: model(), {}, True),
    "an object": (lambda: model(keras.losses.BinaryCrossentropy(axis=1), loss_weights=[0.25]), {}, True),
    "functional": (lambda: frozen(functional()), {}, True),
    "small batches": (lambda: model(), {"batch_size": 16}, True),
    "tiny batches": (lambda: model(), {"batch_size": 15}, False),
    "weighted images": (lambda: model(), {"sample_weight": np.linspace(0, 1, 230)[:, None, None]}, False),
    "integers": (lambda: model(), {"target": lambda y: (y > 0.5).astype(int)}, False),
    "another shape": (lambda: model(channels=1), {"target": lambda y: y[..., 0]}, False),
}  # fmt: skip


def frozen(made):
    made.get_layer("middle").trainable = False
    made.compile(keras.optimizers.Adam(1e-2), "binary_crossentropy", metrics=["mae"])
    return made


def functional():
    layers = model().layers
    inputs = x = keras.Input((8, 8, 1))
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.mark.slow
@pytest.mark.slow
@on_jax
@pytest.mark.parametrize("case", STEPS)
def test_the_same_training(case, calls):
    make, fields, as_one = STEPS[case]
    fields = {"batch_size": 100, **fields}
    rng = np.random.default_rng(0)
    x, y = rng.random((230, 8, 8, 1), dtype=np.float32), rng.random((230, 8, 8, 2), dtype=np.float32)
    y = fields.pop("target", np.asarray)(y)
    histories, results = [], []
    for accelerated in (False, True):
        made = make()
        if accelerated:
            assert not calls
            uk.accelerate(made)
        seen = (x[:50], y[:50])
        fitted = made.fit(x, y, epochs=3, shuffle=False, verbose=0, validation_data=seen, **fields)
        histories.append(fitted.history)
        results.append(made.get_weights())
    batches = {fields["batch_size"], 230 % fields["batch_size"]}
    assert set(calls) == ({n for n in batches if n >= 16} if as_one else set())
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-4, err_msg=name)
    for got, wanted in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(got, wanted, atol=2e-4)


IN_PARTS = {
    "another loss": lambda: model("mse"),
    "smoothed labels": lambda: model(keras.losses.BinaryCrossentropy(label_smoothing=0.2)),
    "logits": lambda: model(keras.losses.BinaryCrossentropy(from_logits=True)),
    "another layer": lambda: flat(),
}  # fmt: skip


def flat():
    made = keras.Sequential([keras.Input((8, 8, 1)), *model(channels=1).layers, keras.layers.Flatten()])
    made.compile("sgd", "binary_crossentropy")
    return made


@on_jax
def test_what_a_report_says():
    assert uk.accelerate(model()).training == "by one native call a batch"
    for make in IN_PARTS.values():
        assert uk.accelerate(make()).training.startswith("in micro-batches")


@on_jax
def test_runs_and_losses_are_their_own_afterwards():
    made = model()
    uk.accelerate(made)
    x = np.random.default_rng(0).random((40, 8, 8, 1), dtype=np.float32)
    made.fit(x, np.repeat(x, 2, -1), batch_size=20, verbose=0)
    run = _one_call.whole_run(made)
    assert run.applied is None
    made.fit(x, np.repeat(x, 2, -1).astype(int), batch_size=20, verbose=0)  # found out on the way
    assert run.applied is None
    assert made._compile_loss._flat_losses[0].loss.fn is keras.losses.binary_crossentropy
