"""Weights that are assigned to between a forward pass and its derivative, on the backend that Keras was started with.

The derivative is that of the weights which the forward pass computed with. On PyTorch plain Keras has it where it
copies the kernel into another layout, and else refuses ("modified by an inplace operation"); ours has it everywhere.
"""

import itertools

import keras
import numpy as np
import pytest

import unstride as us
import unstride.keras as uk
from unstride.keras import _stacks

L = keras.layers
BACKEND = keras.backend.backend()
RANKS = {"Conv1D": 1, "Conv2D": 2, "Conv3D": 3, "Conv1DTranspose": 1, "Conv2DTranspose": 2, "Conv3DTranspose": 3}


def gradients(variables, x, forward, between=lambda: None):
    """The derivatives of a number made of ``forward(x)``, by x and the variables; `between` comes before them."""
    if BACKEND == "torch":
        import torch

        x = torch.tensor(x, requires_grad=True)
        for variable in variables:
            variable.value.grad = None
        y = forward(x)
        between()
        torch.sin(y).sum().backward()
        made = [x.grad, *(variable.value.grad for variable in variables)]
    elif BACKEND == "tensorflow":
        import tensorflow as tf

        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = forward(x)
            between()
            total = tf.reduce_sum(tf.sin(y))
        made = tape.gradient(total, [x, *(variable.value for variable in variables)])
    else:
        import jax

        def total(x, values):
            with keras.StatelessScope(list(zip(variables, values, strict=True))):
                y = forward(x)
                between()
                return keras.ops.sum(keras.ops.sin(y))

        of_x, of_variables = jax.grad(total, (0, 1))(x, [variable.value for variable in variables])
        made = [of_x, *of_variables]
    return [keras.ops.convert_to_numpy(one) for one in made]


def assign_all(variables):
    for variable in variables:
        variable.assign(variable * 0 + 2)


def agree(found, expected):
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


FORMATS = ("channels_last", "channels_first")
# All ways for two axes; for others, whose code is the same, one.
WAYS = [(kind, *way) for kind in ("Conv2D", "Conv2DTranspose") for way in itertools.product(FORMATS, (False, True))]
WAYS += [(kind, "channels_last", False) for kind, rank in RANKS.items() if rank != 2]


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{"kernel_size": 1}, {"kernel_size": 3, "strides": 2}])
@pytest.mark.parametrize(("kind", "data_format", "accelerated"), WAYS)
def test_a_layers_derivatives_are_those_of_the_weights_that_it_computed_with(kind, fields, data_format, accelerated):
    if BACKEND == "tensorflow" and data_format == "channels_first":
        pytest.skip("plain Keras on TensorFlow's CPU has no channels first to compare with")
    space = (5, 6, 4)[: RANKS[kind]]
    shape = (2, *space, 3) if data_format == "channels_last" else (2, 3, *space)
    x = np.random.default_rng(1).standard_normal(shape).astype("f")
    fields = fields | {"data_format": data_format, "padding": "same", "activation": "relu"}
    plain, layer = (getattr(module, kind)(4, **fields) for module in (L, L if accelerated else uk))
    for one in (plain, layer):
        one.build(shape)
    plain.set_weights([np.random.default_rng(2).standard_normal(v.shape) for v in plain.variables])
    layer.set_weights(plain.get_weights())
    if accelerated:
        assert uk.accelerate(layer).changed
    expected = gradients(plain.variables, x, plain)
    try:
        agree(gradients(plain.variables, x, plain, lambda: assign_all(plain.variables)), expected)
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error)
    agree(gradients(layer.variables, x, layer, lambda: assign_all(layer.variables)), expected)


@pytest.mark.parametrize("trainable", [True, False], ids=["trained", "frozen"])
def test_a_layer_that_is_called_twice_with_other_weights(trainable):
    x = np.random.default_rng(3).standard_normal((2, 6, 5, 3)).astype("f")
    found = []
    for module in (L, uk):
        keras.utils.set_random_seed(4)
        layer = module.Conv2D(4, 3)
        layer.build(x.shape)
        kernel = layer.get_weights()[0]
        layer.trainable = trainable

        def twice(x, layer=layer, kernel=kernel):
            first = layer(x)
            layer.kernel.assign(kernel * 0.5)
            return first * layer(x)

        found.append(gradients(layer.trainable_variables, x, twice, lambda layer=layer: assign_all(layer.variables)))
    assert len(found[0]) == (3 if trainable else 1)
    agree(*found)


@pytest.mark.parametrize("name", ["conv", "conv_transpose"])
def test_a_variable_given_to_one_of_the_maps(name):
    x = np.random.default_rng(5).standard_normal((2, 6, 5, 3)).astype("f")
    kernel = keras.Variable(np.random.default_rng(6).standard_normal((3, 3, 3, 3)), dtype="float32")
    expected = gradients([kernel], x, lambda x: getattr(us, name)(x, kernel, stride=2))
    agree(
        gradients([kernel], x, lambda x: getattr(us, name)(x, kernel, stride=2), lambda: assign_all([kernel])), expected
    )


@pytest.fixture
def executed(monkeypatch):
    """The stacks that were executed, or traced."""
    found = []
    real = _stacks._applied
    monkeypatch.setattr(_stacks, "_applied", lambda stack, x, w: found.append(stack) or real(stack, x, w))
    return found


def chain(data_format="channels_last", module=L):
    keras.utils.set_random_seed(7)
    options = {"data_format": data_format, "padding": "same"}
    return keras.Sequential(
        [
            keras.Input((2, 8, 8) if data_format == "channels_first" else (8, 8, 2)),
            module.Conv2D(4, 3, activation="relu", **options),
            module.Conv2DTranspose(3, 3, strides=2, activation="tanh", **options),
            module.Conv2D(1, 3, activation="sigmoid", **options),
        ]
    )


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "tensorflow", reason="Keras on TensorFlow has no stacks")
@pytest.mark.parametrize(
    ("batch", "of_what", "data_format"),
    [
        *itertools.product([20], ["kernels", "biases", "all"], FORMATS),
        (4, "all", "channels_last"),
        (300, "all", "channels_first"),
    ],
)
def test_a_stacks_derivatives_are_those_of_the_weights_that_it_computed_with(batch, of_what, data_format, executed):
    plain, model = chain(data_format), chain(data_format)
    uk.accelerate(model)
    x = np.random.default_rng(8).standard_normal((batch, *model.input_shape[1:])).astype("f")
    rank = {"kernels": (4,), "biases": (1,), "all": (1, 4)}[of_what]
    assigned = [variable for variable in model.variables if len(variable.shape) in rank]
    expected = gradients(plain.trainable_variables, x, plain)
    agree(gradients(model.trainable_variables, x, model, lambda: assign_all(assigned)), expected)
    assert bool(executed) == (batch >= 16)


# Trainings whose steps assign weights in their middle.


class Normalised(L.Wrapper):
    """A layer whose kernel is made to have a mean of 0 and a norm of 1 for each filter whenever it is called."""

    def call(self, inputs):
        kernel = self.layer.kernel - keras.ops.mean(self.layer.kernel, (0, 1, 2), keepdims=True)
        self.layer.kernel.assign(kernel / keras.ops.sqrt(keras.ops.sum(kernel**2, (0, 1, 2), keepdims=True) + 1e-6))
        return self.layer(inputs)


class Shaken(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):  # noqa: ARG002 - Keras's signature
        for variable in self.model.trainable_variables:
            variable.assign(variable * 0.99)

    on_train_batch_end = on_train_batch_begin


def discriminator(module, wrapper):
    """Two calls a step of layers that assign their kernels in each, as those of a GAN have it."""
    keras.utils.set_random_seed(9)
    real, fake = keras.Input((8, 8, 2)), keras.Input((8, 8, 2))
    layers = [wrapper(module.Conv2D(4, 3, padding="same", activation="relu")), wrapper(module.Conv2D(3, 3, strides=2))]
    scores = []
    for x in (real, fake):
        for layer in layers:
            x = layer(x)
        scores.append(L.GlobalAveragePooling2D()(x))
    return keras.Model([real, fake], L.Concatenate()(scores))


def averaging():
    return keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3)


TRAININGS = {
    "spectral normalisation": (lambda m: discriminator(m, L.SpectralNormalization), lambda: "sgd", lambda: []),
    "normalised weights": (lambda m: discriminator(m, Normalised), lambda: "sgd", lambda: []),
    "moving averages": (lambda m: chain(module=m), averaging, lambda: [keras.callbacks.SwapEMAWeights()]),
    "assignments by a callback": (lambda m: chain(module=m), lambda: keras.optimizers.SGD(0.1), lambda: [Shaken()]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_trainings_are_plain_kerass(name):
    make, optimizer, callbacks = TRAININGS[name]
    models = [make(L), make(uk), make(L)]
    rng = np.random.default_rng(10)
    x = [rng.standard_normal((150, 8, 8, 2)).astype("f") for _ in models[0].inputs]
    target = rng.random((150, *models[0].output_shape[1:])).astype("f")
    found = []
    for model in models:
        model.compile(optimizer(), "mse")
        if model is models[2]:
            assert uk.accelerate(model).changed
        history = model.fit(
            x if len(x) > 1 else x[0], target, 70, 2, shuffle=False, callbacks=callbacks(), verbose=0
        ).history
        found.append((history["loss"], *model.get_weights()))
    for other in found[1:]:
        agree(other, found[0])


@pytest.mark.skipif(BACKEND == "jax", reason="JAX's derivatives are of functions, and know no assignments")
@pytest.mark.parametrize("accelerated", [False, True], ids=["ours", "accelerated"])
def test_two_trainings_that_share_a_step(accelerated):
    """The second derivative is taken after the first has changed the weights that both results came from."""
    found = []
    for ours in (False, True):
        module = uk if ours and not accelerated else L
        keras.utils.set_random_seed(11)
        model = keras.Sequential([keras.Input((8, 8, 2)), *(module.Conv2D(4, 3, padding="same") for _ in range(3))])
        if ours and accelerated:
            uk.accelerate(model)
        x = np.random.default_rng(12).standard_normal((2, 20, 8, 8, 2)).astype("f")
        optimizer = keras.optimizers.SGD(0.1)
        weights = model.trainable_variables
        if BACKEND == "torch":
            import torch

            results = [model(one).square().mean() for one in x]
            for result in results:
                model.zero_grad()
                result.backward()
                with torch.no_grad():
                    optimizer.apply([weight.value.grad for weight in weights], weights)
        else:
            import tensorflow as tf

            with tf.GradientTape(persistent=True) as tape:
                results = [tf.reduce_mean(model(one) ** 2) for one in x]
            for result in results:
                optimizer.apply(tape.gradient(result, [weight.value for weight in weights]), weights)
        found.append(model.get_weights())
    agree(*found)
