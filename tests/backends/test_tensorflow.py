"""TensorFlow alone: the ways its graphs compute in, gradients of higher order, saved models, memory that is shared."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from cases import assert_within, terms_of

import unstride as us

# Each way that tensorflow_graph.py goes: SAME, VALID, cropped, extended, by phases, by a matrix product, in groups.
WAYS = [
    (us.Geometry((3, 4), (2, 1), "same"), (5, 4), 6, 7),
    (us.Geometry((2, 2), (3, 3), "same"), (5, 4), 6, 7),
    (us.Geometry((3, 3), 1, "same", dilation=2), (6, 5), 6, 7),
    (us.Geometry((5, 3), (2, 3), "valid"), (4, 5), 6, 7),
    (us.Geometry((4, 3), (2, 3), ((1, -2), (-1, 3))), (4, 5), 6, 7),
    (us.Geometry((4, 4), 2, 1), (4, 5), 9, 3),
    (us.Geometry((5, 4), (2, 3), ((1, -4), (-1, 2))), (4, 5), 9, 3),
    (us.Geometry(7, 3, 2), (9,), 5, 2),
    (us.Geometry((3, 2, 4), (2, 3, 2), ((1, 0), (0, 0), (2, 1))), (3, 2, 3), 4, 1),
    (us.Geometry((2, 2), 2), (5, 4), 33, 40),
    (us.Geometry((3, 3), 3), (3, 4), 40, 32),
    (us.Geometry((3, 3), 2, 1, dilation=2), (5, 4), 6, 7),
    (us.Geometry((4, 3), 2, 1, groups=3), (5, 4), 9, 6),
    (us.Geometry(3, 2, "same"), (6,), 5, 6),
    (us.Geometry((3, 3, 3), 2, "same"), (3, 2, 3), 5, 6),
]


def values_of(geometry, size, c_small, c_big):
    rng = np.random.default_rng(len(size) + c_small)
    length = geometry.output_size(size)
    shapes = (2, *size, c_small), (*geometry.kernel_size, c_big // geometry.groups, c_small), (c_big,)
    return [rng.standard_normal(s).astype("f") for s in (*shapes, (2, *length, c_big))]


@pytest.mark.parametrize("unknown", [False, True], ids=["sizes known", "sizes unknown"])
@pytest.mark.parametrize("way", range(len(WAYS)))
def test_every_way_of_a_graph(way, unknown):
    geometry, size, c_small, c_big = WAYS[way]
    v, kernel, bias, u = values_of(geometry, size, c_small, c_big)

    def spec(array):
        return tf.TensorSpec([None] * (array.ndim - 1) + [array.shape[-1]] if unknown else array.shape)

    @tf.function(input_signature=[spec(v), tf.TensorSpec(kernel.shape), tf.TensorSpec(bias.shape), spec(u)])
    def all_maps(v, kernel, bias, u):
        with tf.GradientTape() as tape:
            tape.watch([v, kernel, bias])
            y = us.conv_transpose(v, kernel, bias, geometry)
        x = us.conv(u, kernel, None, geometry)
        return y, x, *tape.gradient(y, [v, kernel, bias], output_gradients=u)

    y, x, gv, gk, gb = all_maps(v, kernel, bias, u)
    terms = terms_of(geometry, kernel)
    v, kernel, bias, u = (a.astype(float) for a in (v, kernel, bias, u))
    sizes = abs(v), abs(kernel), abs(bias)
    assert_within(y, us.conv_transpose(v, kernel, bias, geometry), us.conv_transpose(*sizes, geometry), terms)
    exact, magnitude = us.conv(u, kernel, None, geometry), us.conv(abs(u), sizes[1], None, geometry)
    for got in (x, gv):
        assert_within(got, exact, magnitude, terms)
    magnitude = us.kernel_gradient(abs(u), sizes[0], geometry)
    assert_within(gk, us.kernel_gradient(u, v, geometry), magnitude, len(v) * int(np.prod(size)))
    axes = tuple(range(u.ndim - 1))
    assert_within(gb, u.sum(axes), abs(u).sum(axes), u[..., 0].size)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("way", [0, 4, 5, 8, 9, 12])
def test_gradients_of_any_order(way, compiled):
    """The derivative, along a direction, of the gradient's norm is what finite differences say it is."""
    geometry, size, c_small, c_big = WAYS[way]
    v, kernel, bias, _ = (a.astype(float) for a in values_of(geometry, size, c_small, c_big))

    def slopes(v, kernel, bias):
        with tf.GradientTape() as outer:
            outer.watch([v, kernel, bias])
            with tf.GradientTape() as tape:
                tape.watch([v, kernel, bias])
                y = us.conv_transpose(v, kernel, bias, geometry)
                x = us.conv(y, kernel, None, geometry)
                energy = tf.reduce_sum(tf.sin(y)) + tf.reduce_sum(x**2) * 1e-3
            total = sum(tf.reduce_sum(g**2) for g in tape.gradient(energy, [v, kernel, bias]))
        return total, outer.gradient(total, [v, kernel, bias])

    run = tf.function(slopes) if compiled else slopes
    rng = np.random.default_rng(1)
    start = [tf.constant(a) for a in (v, kernel, bias)]
    directions = [rng.standard_normal(a.shape) for a in (v, kernel, bias)]
    step = 1e-5
    ahead, behind = (run(*(a + h * d for a, d in zip(start, directions, strict=True)))[0] for h in (step, -step))
    expected = sum(float(tf.reduce_sum(g * d)) for g, d in zip(run(*start)[1], directions, strict=True))
    np.testing.assert_allclose(float(ahead - behind) / (2 * step), expected, rtol=1e-5)


def test_third_order_of_a_polynomial():
    x, kernel = tf.constant([[[2.0]]]), tf.constant([[[3.0]]])
    with tf.GradientTape() as third:
        third.watch(x)
        with tf.GradientTape() as second:
            second.watch(x)
            with tf.GradientTape() as first:
                first.watch(x)
                y = us.conv_transpose(x, kernel) ** 3  # 27 x^3
            derivative = first.gradient(y, x)
        curvature = second.gradient(derivative, x)
    assert float(curvature[0, 0, 0]) == 27 * 6 * 2
    assert float(third.gradient(curvature, x)[0, 0, 0]) == 27 * 6


def test_forward_mode():
    rng = np.random.default_rng(2)
    x, kernel, along = (tf.constant(rng.standard_normal(s)) for s in ((1, 4, 2), (3, 5, 2), (1, 4, 2)))
    with tf.autodiff.ForwardAccumulator(x, along) as accumulator:
        y = us.conv_transpose(x, kernel, stride=2)
    np.testing.assert_allclose(accumulator.jvp(y), us.conv_transpose(along, kernel, stride=2), atol=1e-12)


def test_compiled_by_xla():
    geometry, size, c_small, c_big = WAYS[0]
    v, kernel, bias, _ = values_of(geometry, size, c_small, c_big)
    compiled = tf.function(lambda *a: us.conv_transpose(*a, geometry), jit_compile=True)
    np.testing.assert_allclose(compiled(v, kernel, bias), us.conv_transpose(v, kernel, bias, geometry), atol=1e-4)


def saved(way, folder):
    """Save a graph that applies a transposed convolution, and an input for it; returns the graph's operations."""
    geometry, size, c_small, c_big = WAYS[way]
    v, kernel, bias, _ = values_of(geometry, size, c_small, c_big)
    module = tf.Module()
    module.kernel, module.bias = tf.Variable(kernel), tf.Variable(bias)
    module.call = tf.function(
        lambda x: us.conv_transpose(x, module.kernel, module.bias, geometry, activation="relu"),
        input_signature=[tf.TensorSpec(v.shape)],
    )
    tf.saved_model.save(module, str(folder / f"saved{way}"))
    np.save(folder / f"x{way}.npy", v)
    return {node.op for node in module.call.get_concrete_function().graph.as_graph_def().node}


@pytest.mark.slow
def test_saved_graphs_run_and_train_without_unstride(tmp_path):
    ways = (0, 4, 5, 9, 12)
    for way in ways:
        assert not any("PyFunc" in kind for kind in saved(way, tmp_path))
    code = (  # one process for all, as TensorFlow takes long to import
        "import sys; sys.modules['unstride'] = None\n"
        "import numpy as np, tensorflow as tf\n"
        "for way in sys.argv[1:]:\n"
        "    module, x = tf.saved_model.load(f'saved{way}'), np.load(f'x{way}.npy')\n"
        "    with tf.GradientTape() as tape:\n"
        "        y = module.call(x)\n"
        "    np.save(f'y{way}.npy', y); np.save(f'g{way}.npy', tape.gradient(y, module.kernel))\n"
    )
    subprocess.run([sys.executable, "-c", code, *map(str, ways)], check=True, cwd=tmp_path, env=os.environ)
    for way in ways:
        geometry, size, c_small, c_big = WAYS[way]
        v, kernel, bias, _ = values_of(geometry, size, c_small, c_big)
        y = us.conv_transpose(v, kernel, bias, geometry, activation="relu")
        np.testing.assert_allclose(np.load(tmp_path / f"y{way}.npy"), y, atol=1e-4)
        gradient = us.kernel_gradient((y > 0).astype("f"), v, geometry)
        np.testing.assert_allclose(np.load(tmp_path / f"g{way}.npy"), gradient, atol=2e-3)


def test_results_outlive_what_they_were_made_of_and_are_their_own():
    rng = np.random.default_rng(3)
    kept = []
    for _ in range(8):
        x, kernel = (tf.constant(rng.standard_normal(s).astype("f")) for s in ((4, 40, 40, 8), (3, 3, 8, 8)))
        y = us.conv_transpose(x, kernel, stride=2)
        kept.append((y + 0, y, us.conv_transpose(x.numpy(), kernel.numpy(), stride=2)))
        del x, kernel
    for copy, y, expected in kept:
        np.testing.assert_array_equal(copy, expected)
        np.testing.assert_array_equal(y, expected)


WITHOUT_ONEDNN = """
import numpy as np, tensorflow as tf, unstride as us
rng = np.random.default_rng(0)
for rank in (1, 2):
    x = rng.normal(size=(2, *(5, 4)[:rank], 3)).astype("float32")
    kernel = rng.normal(size=(*(2, 3)[:rank], 2, 3)).astype("float32")

    @tf.function
    def both(x, kernel):
        y = us.conv_transpose(x, kernel, stride=2, dilation=3)
        return y, *tf.gradients(y, (x, kernel))

    y, gx, gk = both(tf.constant(x), tf.constant(kernel))
    expected = us.conv_transpose(x, kernel, stride=2, dilation=3)
    ones = np.ones_like(expected)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_allclose(gx, us.conv(ones, kernel, stride=2, dilation=3), atol=1e-5)
    expected = us.kernel_gradient(ones, x, kernel_size=kernel.shape[:rank], stride=2, dilation=3)
    np.testing.assert_allclose(gk, expected, atol=1e-5)
"""


@pytest.mark.slow
def test_dilations_in_graphs_need_no_onednn():
    """TensorFlow's other CPU kernels refuse to dilate transposed convolutions, and the gradients of any."""
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ONEDNN], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
