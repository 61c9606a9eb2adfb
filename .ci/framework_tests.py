"""Whether installed frameworks, of whatever versions, compute what NumPy does: .ci/framework_tests.py jax keras ...

For 40 layers drawn from the tests' parameter space: the three maps, the gradients, and compiled calls. For Keras: the
layers and `accelerate`. It uses only what the oldest versions have, so that it runs on these too.
"""

import importlib
import sys
from pathlib import Path

import numpy as np

import unstride as us

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/helpers"))
from cases import arrays, assert_within, samples, terms_of


def of_torch():
    torch = importlib.import_module("torch")

    def gradients(function, x, kernel, weights):
        x, kernel = (torch.tensor(a, requires_grad=True) for a in (x, kernel))
        (function(x, kernel) * torch.tensor(weights)).sum().backward()
        return x.grad.numpy(), kernel.grad.numpy()

    return torch.tensor, lambda y: y.detach().numpy(), gradients, lambda f: torch.compile(f, backend="eager")


def of_jax():
    jax = importlib.import_module("jax")

    def gradients(function, x, kernel, weights):
        return jax.grad(lambda a, b: (function(a, b) * weights).sum(), argnums=(0, 1))(x, kernel)

    return jax.numpy.asarray, np.asarray, gradients, jax.jit


def of_tensorflow():
    tf = importlib.import_module("tensorflow")

    def gradients(function, x, kernel, weights):
        x, kernel = tf.constant(x), tf.constant(kernel)
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = tf.reduce_sum(function(x, kernel) * weights)
        return [gradient.numpy() for gradient in tape.gradient(y, [x, kernel])]

    return tf.constant, lambda y: y.numpy(), gradients, tf.function


def maps(name):
    tensor, numbers, gradients, compiled = {"torch": of_torch, "jax": of_jax, "tensorflow": of_tensorflow}[name]()
    for index, (geometry, size, rng) in enumerate(samples(40, 7, ranks=(1, 2, 3))):
        v, kernel, _, u = (a.astype(np.float32) for a in arrays(geometry, size, rng))
        if 0 in geometry.output_size(size):
            continue
        terms, many = terms_of(geometry, kernel), len(v) * int(np.prod(size))
        wide = [a.astype(float) for a in (v, kernel, u)]
        for function in (us.conv_transpose, us.conv):
            first, other = (0, 2) if function is us.conv_transpose else (2, 0)
            exact = function(wide[first], wide[1], None, geometry)
            magnitude = function(abs(wide[first]), abs(wide[1]), None, geometry)

            def call(a, b, function=function, geometry=geometry):
                return function(a, b, None, geometry)

            x = (v, u)[first == 2]
            assert_within(numbers(call(tensor(x), tensor(kernel))), exact, magnitude, terms, np.float32)
            if index < 4:
                assert_within(numbers(compiled(call)(tensor(x), tensor(kernel))), exact, magnitude, terms, np.float32)
            weights = (v, u)[other == 2]
            by_x, by_kernel = gradients(call, x, kernel, weights)
            back = us.conv if function is us.conv_transpose else us.conv_transpose
            expected = back(wide[other], wide[1], None, geometry)
            magnitude = back(abs(wide[other]), abs(wide[1]), None, geometry)
            assert_within(np.asarray(by_x), expected, magnitude, terms, np.float32)
            expected, magnitude = (
                us.kernel_gradient(*a, geometry) for a in ((wide[2], wide[0]), map(abs, (wide[2], wide[0])))
            )
            assert_within(np.asarray(by_kernel), expected, magnitude, many, np.float32)
    print(f"{name} {importlib.import_module(name).__version__}: the maps and their gradients are right")


def layers():
    keras = importlib.import_module("keras")
    ours = importlib.import_module("unstride.keras")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 6, 5, 3)).astype("float32")
    for options in ({"padding": "same", "strides": 2}, {"padding": "valid", "strides": (2, 3)}):
        layer, same = (kind(4, 3, **options) for kind in (ours.Conv2DTranspose, keras.layers.Conv2DTranspose))
        same.build(x.shape)
        layer.build(x.shape)
        layer.set_weights(same.get_weights())
        np.testing.assert_allclose(np.asarray(layer(x)), np.asarray(same(x)), rtol=1e-4, atol=1e-4)
    model = keras.Sequential([
        keras.layers.Input((8, 8, 3)), keras.layers.Conv2D(8, 3, activation="relu"),
        keras.layers.Conv2DTranspose(3, 4, strides=2, padding="same"),
    ])  # fmt: skip
    model.compile("adam", "mse")
    images = rng.standard_normal((32, 8, 8, 3)).astype("float32")
    before = model.predict(images, verbose=0)
    ours.accelerate(model)
    np.testing.assert_allclose(model.predict(images, verbose=0), before, rtol=1e-4, atol=1e-4)
    model.compile("adam", "mse")
    model.fit(images, before + 1, verbose=0)
    print(f"keras {keras.__version__} on {keras.backend.backend()}: layers, accelerate and a training are right")


for name in sys.argv[1:]:
    layers() if name == "keras" else maps(name)
