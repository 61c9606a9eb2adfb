"""The Keras layers, on the backend that Keras was started with: against Keras's own and against the reference's numbers.

`test_layers_elsewhere.py` runs this file on the other backends.
"""

import inspect

import keras
import numpy as np
import pytest
from cases import arrays, assert_within, first, samples, terms_of

import unstride as us
import unstride.keras as uk

BACKEND = keras.backend.backend()
TRANSPOSED = {1: uk.Conv1DTranspose, 2: uk.Conv2DTranspose, 3: uk.Conv3DTranspose}
PLAIN = {1: uk.Conv1D, 2: uk.Conv2D, 3: uk.Conv3D}
KERAS_TRANSPOSED = {1: keras.layers.Conv1DTranspose, 2: keras.layers.Conv2DTranspose, 3: keras.layers.Conv3DTranspose}
KERAS_PLAIN = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: keras.layers.Conv3D}
PAIRS = [
    (ours[rank], theirs[rank])
    for ours, theirs in ((TRANSPOSED, KERAS_TRANSPOSED), (PLAIN, KERAS_PLAIN))
    for rank in ours
]
COUNT = {"jax": 16, "torch": 120, "tensorflow": 60}[BACKEND]


def run(layer, x, weights):
    """The layer's output, and the gradients of its inner product with `weights` by its input, kernel and bias."""
    x, weights = np.float32(x), np.float32(weights)
    if BACKEND == "torch":
        import torch

        leaf = torch.tensor(x, requires_grad=True)
        y = layer(leaf)
        values = [variable.value for variable in layer.trainable_variables]
        found = torch.autograd.grad((y * torch.tensor(weights)).sum(), [leaf, *values])
        return y.detach().numpy(), [g.numpy() for g in found]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        leaf = tf.Variable(x)
        with tf.GradientTape() as tape:
            y = layer(leaf)
        values = [variable.value for variable in layer.trainable_variables]
        found = tape.gradient(y, [leaf, *values], tf.constant(weights))
        return y.numpy(), [tf.convert_to_tensor(g).numpy() for g in found]
    import jax

    @jax.jit
    def both(x, values, weights):
        y, pull = jax.vjp(lambda x, values: layer.stateless_call(values, [], x)[0], x, values)
        return y, pull(weights)

    values = [variable.value for variable in layer.trainable_variables]
    y, (gx, found) = both(x, values, weights)
    return np.asarray(y), [np.asarray(g) for g in (gx, *found)]


def made(layer_type, x_shape, kernel, bias, filters, **arguments):
    layer = layer_type(filters, **arguments)
    layer.build(x_shape)
    layer.set_weights([np.float32(kernel), np.float32(bias)])
    return layer


def fields_of(geometry):
    return {
        "kernel_size": geometry.kernel_size,
        "strides": geometry.stride,
        "padding": geometry.crops,
        "dilation_rate": geometry.dilation,
        "groups": geometry.groups,
    }


def compare(got, exact, magnitude, terms, layout=np.asarray):
    assert_within(got, layout(exact), layout(magnitude), terms, np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_any_geometry_transposed(data_format):
    layout = first if data_format == "channels_first" else np.asarray
    for geometry, size, rng in samples(COUNT, seed=7, ranks=(1, 2, 3)):
        if 0 in geometry.output_size(size):
            continue
        v, kernel, bias, u = (np.float32(a).astype(float) for a in arrays(geometry, size, rng))
        layer = made(
            TRANSPOSED[geometry.rank], layout(v).shape, kernel, bias, len(bias), data_format=data_format,
            **fields_of(geometry),
        )  # fmt: skip
        assert layer.compute_output_shape((None, *layout(v).shape[1:])) == (None, *layout(u).shape[1:])
        y, (gx, gk, gb) = run(layer, layout(v), layout(u))
        terms, many = terms_of(geometry, kernel), len(u) * int(np.prod(size)) + len(u)
        magnitude = us.conv_transpose(abs(v), abs(kernel), abs(bias), geometry)
        compare(y, us.conv_transpose(v, kernel, bias, geometry), magnitude, terms, layout)
        compare(gx, us.conv(u, kernel, None, geometry), us.conv(abs(u), abs(kernel), None, geometry), terms, layout)
        compare(gk, us.kernel_gradient(u, v, geometry), us.kernel_gradient(abs(u), abs(v), geometry), many)
        axes = tuple(range(u.ndim - 1))
        compare(gb, u.sum(axes), abs(u).sum(axes), u[..., 0].size)


@pytest.mark.slow
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_any_geometry_of_a_convolution(data_format):
    layout = first if data_format == "channels_first" else np.asarray
    for geometry, size, rng in samples(COUNT, seed=8, ranks=(1, 2, 3)):
        if 0 in geometry.output_size(size):
            continue
        v, kernel, _, u = (np.float32(a).astype(float) for a in arrays(geometry, size, rng))
        bias = np.float32(rng.standard_normal(v.shape[-1])).astype(float)
        layer = made(
            PLAIN[geometry.rank], layout(u).shape, kernel, bias, len(bias), data_format=data_format,
            **fields_of(geometry),
        )  # fmt: skip
        y, (gx, gk, _) = run(layer, layout(u), layout(v))
        terms, many = terms_of(geometry, kernel), len(u) * int(np.prod(size)) + len(u)
        magnitude = us.conv(abs(u), abs(kernel), abs(bias), geometry)
        compare(y, us.conv(u, kernel, bias, geometry), magnitude, terms, layout)
        magnitude = us.conv_transpose(abs(v), abs(kernel), None, geometry)
        compare(gx, us.conv_transpose(v, kernel, None, geometry), magnitude, terms, layout)
        compare(gk, us.kernel_gradient(u, v, geometry), us.kernel_gradient(abs(u), abs(v), geometry), many)


def keras_ends_the_process(kernel, strides, dilation):
    # jaxlib 0.10.2, in jax.lax.conv_transpose: see unstride/backends/jax_xla.py
    return BACKEND == "jax" and any(
        (k - 1) * d + 1 == 2 == s for k, s, d in zip(kernel, strides, dilation, strict=True)
    )


@pytest.mark.slow
def test_keras_itself_transposed():
    rng, compared = np.random.default_rng(9), 0
    while compared < COUNT:
        rank = int(rng.integers(1, 4))
        kernel_size = rng.integers(1, 8 if rank < 3 else 4, rank).tolist()
        strides = rng.integers(1, 6 if rank < 3 else 3, rank).tolist() if rng.integers(2) else [1] * rank
        dilation = rng.integers(1, 4, rank).tolist() if max(strides) == 1 else [1] * rank
        padding = ["valid", "same"][rng.integers(2)]
        extra = None if rng.integers(2) else [int(rng.integers(0, s)) for s in strides]
        size = rng.integers(1, 7 if rank < 3 else 4, rank).tolist()
        if keras_ends_the_process(kernel_size, strides, dilation):
            continue
        arguments = {
            "kernel_size": kernel_size, "strides": strides, "padding": padding, "output_padding": extra,
            "dilation_rate": dilation,
        }  # fmt: skip
        geometry = us.conventions.keras(**arguments)
        length = geometry.output_size(size)
        x = rng.standard_normal((2, *size, 3))
        kernel, bias = rng.standard_normal((*kernel_size, 2, 3)), rng.standard_normal(2)
        if 0 in length:
            continue
        weights = rng.standard_normal((2, *length, 2))
        ours = made(TRANSPOSED[rank], x.shape, kernel, bias, 2, **arguments)
        y, gradients = run(ours, x, weights)
        assert y.shape[1:-1] == length
        try:
            theirs = made(KERAS_TRANSPOSED[rank], x.shape, kernel, bias, 2, **arguments)
            expected, wanted = run(theirs, x, weights)
        except Exception:
            continue
        compared += 1
        np.testing.assert_allclose(y, expected, rtol=2e-4, atol=2e-4, err_msg=str((arguments, size)))
        for got, want in zip(gradients, wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=5e-4, atol=5e-4, err_msg=str((arguments, size)))


@pytest.mark.slow
def test_keras_itself_plain():
    rng, compared = np.random.default_rng(10), 0
    while compared < COUNT:
        rank = int(rng.integers(1, 4))
        kernel_size = rng.integers(1, 6 if rank < 3 else 4, rank).tolist()
        strides = rng.integers(1, 5 if rank < 3 else 3, rank).tolist() if rng.integers(2) else [1] * rank
        dilation = rng.integers(1, 4, rank).tolist() if max(strides) == 1 else [1] * rank
        padding = ["valid", "same", "causal"][rng.integers(3 if rank == 1 else 2)]
        groups = int(rng.integers(1, 3))
        size = rng.integers(1, 14 if rank < 3 else 6, rank).tolist()
        arguments = {
            "kernel_size": kernel_size, "strides": strides, "padding": padding, "dilation_rate": dilation,
            "groups": groups,
        }  # fmt: skip
        if padding == "valid" and any((k - 1) * d + 1 > n for k, d, n in zip(kernel_size, dilation, size, strict=True)):
            continue
        x = rng.standard_normal((2, *size, 2 * groups))
        kernel, bias = rng.standard_normal((*kernel_size, 2, 2)), rng.standard_normal(2)
        ours = made(PLAIN[rank], x.shape, kernel, bias, 2, **arguments)
        weights = rng.standard_normal(ours.compute_output_shape(x.shape))
        y, gradients = run(ours, x, weights)
        try:
            theirs = made(KERAS_PLAIN[rank], x.shape, kernel, bias, 2, **arguments)
            expected, wanted = run(theirs, x, weights)
        except Exception:
            continue
        compared += 1
        if tensorflow_is_wrong(strides, expected.shape):
            continue
        np.testing.assert_allclose(y, expected, rtol=2e-4, atol=2e-4, err_msg=str((arguments, size)))
        for got, want in zip(gradients, wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=5e-4, atol=5e-4, err_msg=str((arguments, size)))


def tensorflow_is_wrong(strides, shape):
    # TensorFlow 2.21 with oneDNN: see unstride/backends/tensorflow.py
    return BACKEND == "tensorflow" and any(n == 1 and s > 1 for n, s in zip(shape[1:-1], strides, strict=True))


FIELDS = {
    "filters": 6, "kernel_size": 3, "strides": 2, "padding": "same", "dilation_rate": 1,
    "activation": "relu", "use_bias": True, "kernel_initializer": "he_normal", "bias_initializer": "ones",
    "kernel_regularizer": "l2", "bias_regularizer": "l1", "activity_regularizer": "l2",
    "kernel_constraint": "max_norm", "bias_constraint": "non_neg",
}  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=lambda t: t.__name__)
def test_whole_signature_in_keras_s_order_and_with_its_defaults(ours, theirs):
    assert issubclass(ours, theirs)
    values = FIELDS | {"output_padding": 1, "data_format": "channels_first", "groups": 2}
    order = [name for name in inspect.signature(theirs.__init__).parameters if name in values]
    assert len(order) == len(FIELDS) + 2
    positional = [values[name] for name in order]
    config = ours(*positional, name="one").get_config()
    for name, value in theirs(*positional, name="one").get_config().items():
        assert config[name] == value, name
    config = ours(4, 3, name="one").get_config()
    for name, value in theirs(4, 3, name="one").get_config().items():
        assert config[name] == value, name


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=lambda t: t.__name__)
def test_configuration_is_keras_s_and_comes_back(ours, theirs):
    layer = ours(**FIELDS, name="one")
    config = layer.get_config()
    for name, value in theirs(**FIELDS, name="one").get_config().items():
        assert config[name] == value, name
    again = ours.from_config(config)
    assert again.get_config() == config
    beyond = ours(4, 3, 2, padding=np.array([[1, 0]] * again.rank), dilation_rate=3, groups=2)
    assert beyond.get_config()["padding"] == ((1, 0),) * again.rank
    assert ours.from_config(beyond.get_config()).get_config() == beyond.get_config()


def test_regularizer_constraint_and_initializer_act():
    layer = uk.Conv2DTranspose(
        4, 2, kernel_regularizer=keras.regularizers.L2(0.5), kernel_constraint="max_norm", bias_initializer="ones",
        groups=2, bias_regularizer="l1",
    )  # fmt: skip
    layer.build((None, 3, 3, 2))
    assert layer.kernel.shape == (2, 2, 2, 2)
    assert layer.bias.shape == (4,)
    penalty = float(keras.ops.convert_to_numpy(layer.losses[0]))
    np.testing.assert_allclose(penalty, 0.5 * np.square(layer.get_weights()[0]).sum(), rtol=1e-5)
    assert len(layer.losses) == 2
    assert layer.kernel.constraint is not None
    assert layer.get_weights()[1].tolist() == [1, 1, 1, 1]
    assert uk.Conv1DTranspose(4, 2, use_bias=False, groups=2)(np.ones((1, 3, 2), "f")).shape == (1, 4, 4)


def test_model_with_unknown_sizes_saved_loaded_and_trained(tmp_path):
    inputs = keras.Input((None, None, 2))
    hidden = uk.Conv2D(4, 3, 2, "same", activation="relu", name="down")(inputs)
    hidden = uk.Conv2DTranspose(6, (4, 3), 2, "same", groups=2, name="up")(hidden)
    outputs = uk.Conv2DTranspose(2, 3, (1, 2), ((1, 0), (-1, 2)), dilation_rate=2, name="odd")(hidden)
    assert outputs.shape == (None, None, None, 2)
    model = keras.Model(inputs, outputs)
    rng = np.random.default_rng(11)
    x = rng.standard_normal((4, 8, 6, 2)).astype("f")
    y = model.predict(x, verbose=0)
    assert y.shape == (4, *us.Geometry((3, 3), (1, 2), ((1, 0), (-1, 2)), None, 2).output_size((8, 6)), 2)
    assert model.predict(x[:, :7, :5], verbose=0).shape[0] == 4  # "same" of odd sizes
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), y)
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in model.layers]
    again.compile("adam", "mse")
    losses = again.fit(x, np.zeros_like(y), epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_same_of_an_unknown_size_is_that_of_the_known_one():
    x = np.random.default_rng(12).standard_normal((1, 7, 4)).astype("f")
    known, unknown = keras.Input((7, 4)), keras.Input((None, 4))
    layer = uk.Conv1D(3, 4, 3, "same", groups=1)
    np.testing.assert_allclose(
        keras.Model(known, layer(known)).predict(x, verbose=0),
        keras.Model(unknown, layer(unknown)).predict(x, verbose=0),
        atol=1e-5,
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    rng = np.random.default_rng(13)
    x = rng.standard_normal((2, 5, 5, 16)).astype("f")
    layer = uk.Conv2DTranspose(3, 4, 2, "same", dtype=policy)
    y = layer(keras.ops.convert_to_tensor(x))
    assert keras.backend.standardize_dtype(y.dtype) == policy.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(layer.kernel.dtype) == "float32"
    kernel, bias = layer.get_weights()
    exact = us.conv_transpose(x, kernel, bias, stride=2, padding="same")
    unit = 2.0**-10 if policy == "mixed_float16" else 2.0**-7
    magnitude = us.conv_transpose(abs(x), abs(kernel), abs(bias), stride=2, padding="same")
    # inputs, kernel and result are rounded to half; the sums are in float32
    got = keras.ops.convert_to_numpy(keras.ops.cast(y, "float32"))
    assert (abs(got - exact) <= 4 * unit * magnitude + 1e-6).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: uk.Conv2DTranspose(4, 3, strides=0), "strides is 0; expected an integer of at least 1"),
        (lambda: uk.Conv2DTranspose(4, (3, 0)), "kernel_size of axis 1 is 0"),
        (lambda: uk.Conv2DTranspose(0, 3), "filters"),
        (lambda: uk.Conv2DTranspose(3, 3, groups=2), "filters is 3, which 2 groups do not divide"),
        (lambda: uk.Conv2DTranspose(3, 3, padding="causal"), "padding is 'causal'"),
        (lambda: uk.Conv2D(3, 3, padding="causal"), "padding is 'causal'"),
        (lambda: uk.Conv2DTranspose(3, 3, output_padding=-1), "output_padding is -1"),
        (lambda: uk.Conv2DTranspose(3, 3, padding=((1, 2), (3,))), r"padding of axis 1 is \(3,\)"),
        (lambda: uk.Conv2DTranspose(4, 3, groups=2).build((None, 4, 4, 3)), "2 groups divide evenly"),
        (lambda: uk.Conv2DTranspose(4, 3, padding=3).build((None, 2, 2, 3)), "more than the 4 cells"),
        (lambda: uk.Conv2D(4, 3)(keras.Input((5, 5, None))), "known number of channels"),
        (lambda: uk.Conv2DTranspose(4, 3).compute_output_shape((None, 4, 3)), "expected 4 dimensions"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
