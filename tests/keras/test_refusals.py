"""What Keras's own transposed convolutions refuse, or end the process over: with our layers the numbers are right.

On the backend that Keras was started with; `test_layers_elsewhere.py` runs the others.
"""

import itertools

import keras
import numpy as np
import pytest

import unstride as us
import unstride.keras as uk
from unstride import reference

LAYERS = {1: uk.Conv1DTranspose, 2: uk.Conv2DTranspose, 3: uk.Conv3DTranspose}
BACKEND = keras.backend.backend()

# What Keras's layers refuse on every backend, when they are made or called.
REFUSED = [
    {"kernel_size": (3, 2), "strides": (2, 1), "dilation_rate": (1, 2)},
    {"kernel_size": (3, 3), "strides": 2, "dilation_rate": 3, "padding": "same"},
    {"kernel_size": (3, 3), "strides": 2, "output_padding": 2},
    {"kernel_size": (2, 3), "strides": (2, 3), "output_padding": (1, 5), "padding": "same"},
    {"kernel_size": (4, 4), "strides": 2, "padding": 1},
    {"kernel_size": (4, 3), "strides": (1, 2), "padding": ((1, 0), (-1, 2))},
    {"kernel_size": (4, 4), "strides": 2, "padding": "same", "groups": 2},
]
# What a backend raises or ends the process over when the layer is called: TensorFlow for "same" of even kernels with
# output padding 0; jaxlib 0.10.2 where a kernel and its stride are 2; channels first, TensorFlow on a CPU.
FAILING = [
    ((5,), {"kernel_size": 4, "strides": 2, "padding": "same", "output_padding": 0}),
    ((3,), {"kernel_size": 2, "strides": 3, "padding": "same", "output_padding": 0}),
    ((4, 3), {"kernel_size": (2, 4), "strides": (1, 2), "padding": "same", "output_padding": 0}),
    ((3, 2), {"kernel_size": (2, 4), "strides": (2, 3), "padding": "same", "output_padding": 0}),
    ((2, 3, 2), {"kernel_size": (2, 4, 2), "strides": 2, "padding": "same", "output_padding": 0}),
    ((4, 3), {"kernel_size": (3, 2), "strides": (2, 3), "padding": "same", "data_format": "channels_first"}),
    ((3, 3, 2), {"kernel_size": 3, "strides": 1, "dilation_rate": 2, "data_format": "channels_first"}),
]


def check(size, arguments, compiled=True):
    """The layer's numbers, called and in a model, against the definition."""
    layer = LAYERS[len(size)](4, **arguments)
    rng = np.random.default_rng(len(size))
    first = layer.data_format == "channels_first"
    x = rng.standard_normal((2, *size, 2)).astype("f")
    layer.build((2, 2, *size) if first else x.shape)
    layer.bias.assign(rng.standard_normal(4))
    kernel, bias = layer.get_weights()
    geometry = us.Geometry(
        layer.kernel_size, layer.strides, layer.padding, layer.output_padding, layer.dilation_rate, layer.groups
    )
    exact = np.stack([reference.scatter(image, kernel, geometry, bias) for image in x])
    given = np.moveaxis(x, -1, 1) if first else x
    results = [keras.ops.convert_to_numpy(layer(given))]
    if compiled:
        inputs = keras.Input(given.shape[1:])
        results.append(keras.Model(inputs, layer(inputs)).predict(given, verbose=0))
    for y in results:
        np.testing.assert_allclose(
            np.moveaxis(y, 1, -1) if first else y, exact, atol=1e-4, err_msg=str((size, arguments))
        )


@pytest.mark.parametrize("arguments", REFUSED, ids=str)
def test_what_keras_refuses(arguments):
    with pytest.raises((ValueError, TypeError, AttributeError)):
        keras.layers.Conv2DTranspose(4, **arguments)(np.zeros((1, 3, 4, 2), "f"))
    check((3, 4), arguments)
    check((3, 4), arguments | {"data_format": "channels_first"})


@pytest.mark.parametrize(("size", "arguments"), FAILING, ids=str)
def test_where_a_backend_of_keras_fails(size, arguments):
    check(size, arguments)


def test_every_small_configuration():
    """All kernels to 4, strides to 3, dilations to 2, of inputs to 3 cells, in both paddings with every output padding."""
    step = 17 if BACKEND == "jax" else 1  # XLA compiles each
    space = itertools.product(range(1, 5), range(1, 4), (1, 2), ("valid", "same"), range(1, 4), (None, 0, 1, 2))
    tried = 0
    for number, (k, s, d, padding, n, extra) in enumerate(space):
        if number % step or (extra is not None and extra >= s):
            continue
        arguments = {"kernel_size": k, "strides": s, "dilation_rate": d, "padding": padding, "output_padding": extra}
        if 0 in us.conventions.keras(**arguments).output_size(n):
            continue
        check((n,), arguments, compiled=False)
        tried += 1
    assert tried >= 250 // step


def test_nothing_scattered_is_an_error_and_not_a_size():
    layer = uk.Conv1DTranspose(2, 3, 2)
    with pytest.raises(us.GeometryError):
        layer(np.zeros((1, 0, 2), "f"))
