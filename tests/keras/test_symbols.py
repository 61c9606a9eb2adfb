"""Symbolic Keras tensors through the three maps and through the layers, on the backend that Keras was started with."""

import keras
import numpy as np
import pytest

import unstride as us
import unstride.keras as uk

RNG = np.random.default_rng(0)
KERNEL = RNG.standard_normal((4, 3, 3, 6)).astype("f")  # of two groups: 6 small channels, 6 big ones
BIAS = RNG.standard_normal(6).astype("f")
FIELDS = {"stride": (2, 1), "padding": ((1, 0), (-1, 2)), "dilation": (1, 2), "groups": 2}


@pytest.mark.parametrize("size", [(5, 6), (None, None)], ids=["sizes known", "sizes unknown"])
@pytest.mark.parametrize("channels", ["last", "first"])
def test_conv_transpose_of_a_symbol(size, channels):
    x = RNG.standard_normal((2, 5, 6, 6)).astype("f")
    kernel = KERNEL
    if channels == "first":
        x, kernel = np.moveaxis(x, -1, 1), np.moveaxis(KERNEL, (-1, -2), (0, 1))
    inputs = keras.Input((*size, 6) if channels == "last" else (6, *size))
    outputs = us.conv_transpose(inputs, keras.Variable(kernel), BIAS, **FIELDS, channels=channels, activation="relu")
    assert isinstance(outputs, keras.KerasTensor)
    expected = us.conv_transpose(x, kernel, BIAS, **FIELDS, channels=channels, activation="relu")
    open_axes = (1, 2) if channels == "last" else (2, 3)
    shape = [
        None if axis == 0 or (size[0] is None and axis in open_axes) else n for axis, n in enumerate(expected.shape)
    ]
    assert outputs.shape == tuple(shape)
    np.testing.assert_allclose(keras.Model(inputs, outputs).predict(x, verbose=0), expected, atol=1e-4)


def test_all_three_maps_and_a_geometry_in_one_model_saved_and_loaded(tmp_path):
    geometry = us.Geometry((3, 2), 2, ((1, -1), (0, 2)))
    kernel = RNG.standard_normal((3, 2, 4, 5)).astype("f")
    small, big = keras.Input((4, 5, 5)), keras.Input((*geometry.output_size((4, 5)), 4))
    up = us.conv_transpose(small, kernel, None, geometry)
    down = us.conv(up, kernel, np.ones(5, "f"), geometry)
    gradient = us.kernel_gradient(big, small, geometry)
    assert gradient.shape == kernel.shape
    again = us.conv(big, gradient, stride=2, padding="same")
    model = keras.Model([small, big], [down, again])
    v = RNG.standard_normal((3, 4, 5, 5)).astype("f")
    u = RNG.standard_normal((3, *geometry.output_size((4, 5)), 4)).astype("f")
    expected = [
        us.conv(us.conv_transpose(v, kernel, None, geometry), kernel, np.ones(5, "f"), geometry),
        us.conv(u, us.kernel_gradient(u, v, geometry), stride=2, padding="same"),
    ]
    model.save(tmp_path / "model.keras")
    for one in (model, keras.models.load_model(tmp_path / "model.keras")):
        for got, want in zip(one.predict([v, u], verbose=0), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3)


def test_gradients_flow_through_a_node():
    inputs = keras.Input((6, 2))
    hidden = keras.layers.Dense(3)(inputs)
    outputs = us.conv_transpose(hidden, RNG.standard_normal((4, 1, 3)).astype("f"), stride=2, padding=1)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.05), "mse")
    x, target = RNG.standard_normal((16, 6, 2)).astype("f"), RNG.standard_normal((16, 12, 1)).astype("f")
    losses = model.fit(x, target, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_layers_in_a_functional_model_with_known_and_unknown_sizes():
    x = RNG.standard_normal((2, 5, 7, 2)).astype("f")
    layer = uk.Conv2DTranspose(4, 3, (2, 3), padding=((1, 0), (-1, 2)), dilation_rate=2, groups=2)
    outputs = []
    for size in ((5, 7), (None, None), (5, None)):
        inputs = keras.Input((*size, 2))
        symbol = layer(inputs)
        known = us.Geometry((3, 3), (2, 3), ((1, 0), (-1, 2)), None, 2).output_size((5, 7))
        assert symbol.shape == (None, *(None if n is None else made for n, made in zip(size, known, strict=True)), 4)
        outputs.append(keras.Model(inputs, symbol).predict(x, verbose=0))
    kernel, bias = layer.get_weights()
    fields = {"stride": (2, 3), "padding": ((1, 0), (-1, 2)), "dilation": 2, "groups": 2}
    for y in outputs:
        np.testing.assert_allclose(y, us.conv_transpose(x, kernel, bias, **fields), atol=1e-4)


def test_types_of_symbols():
    half, single = keras.KerasTensor((2, 4, 2), dtype="float16"), keras.KerasTensor((3, 1, 2), dtype="float32")
    assert us.conv_transpose(half, single).dtype == "float32"
    assert us.conv_transpose(half, keras.KerasTensor((3, 1, 2), dtype="float16")).dtype == "float16"


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda x: us.conv_transpose(x, np.ones((2, 1, 3), "f")), ValueError, "x has 2 channels"),
        (lambda x: us.conv_transpose(x, np.ones((2, 2, 1, 2), "f")), ValueError, "x has 1 spatial axis"),
        (lambda x: us.conv_transpose(x, np.ones((2, 1, 2), "f"), np.ones(3, "f")), ValueError, "bias has 3 entries"),
        (lambda x: us.conv_transpose(x, np.ones((2, 1, 2), "f"), padding=9), ValueError, "more than the"),
        (lambda x: us.conv_transpose(x, np.ones((2, 1, 2), "i")), TypeError, "kernel is of type int32"),
        (lambda x: us.conv_transpose(x, np.ones(2, "f"), channels=None), ValueError, "expected 'last' or 'first'"),
        (lambda x: us.conv(x, np.ones((9, 2, 1), "f")), ValueError, "kernel spans 9 cells"),
        (lambda x: us.kernel_gradient(x, x), ValueError, "kernel_size is missing"),
        (lambda x: us.conv(x, np.ones((2, 2, 1), "f"), activation="tanh"), ValueError, "activation is 'tanh'"),
        (lambda x: us.conv(x, np.ones((2, 2, 1), "f"), out=np.ones(3)), TypeError, "out is given"),
    ],
)  # fmt: skip
def test_errors(call, kind, message):
    with pytest.raises(kind, match=message):
        call(keras.KerasTensor((None, 4, 2)))


@pytest.mark.filterwarnings("ignore")  # of the exporters, about themselves
def test_a_model_of_any_size_is_exported(tmp_path):
    """As plain Keras exports it: from PyTorch to ONNX, from JAX and TensorFlow to TensorFlow's saved models."""
    same = {"padding": "same", "activation": "relu"}
    model = keras.Sequential(
        [keras.Input((None, None, 4)), uk.Conv2DTranspose(5, 3, strides=2, **same), uk.Conv2D(2, 3, **same)]
    )
    x = RNG.standard_normal((2, 8, 9, 4)).astype("f")
    expected = keras.ops.convert_to_numpy(model(x))
    if keras.backend.backend() == "torch":
        onnxruntime = pytest.importorskip("onnxruntime")
        model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
        (found,) = session.run(None, {session.get_inputs()[0].name: x})
    else:
        tf = pytest.importorskip("tensorflow")
        model.export(tmp_path / "model", format="tf_saved_model", verbose=False)
        loaded = tf.saved_model.load(tmp_path / "model")  # kept: its functions do not keep its variables
        found = loaded.serve(x)
    np.testing.assert_allclose(found, expected, atol=1e-4)
