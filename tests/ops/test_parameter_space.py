"""NumPy, PyTorch, JAX, TensorFlow (eager and in a graph) on the parameter space: the numbers of the definitions."""

import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import torch
from cases import arrays, assert_within, first, kernel_first, situations, terms_of
from hypothesis import given, settings

import unstride as us
from unstride import reference

WAYS = {
    "numpy": lambda function, *values: function(*values),
    "torch": lambda function, *values: function(*map(torch.tensor, values)),
    "jax": lambda function, *values: function(*map(jnp.asarray, values)),
    "tensorflow": lambda function, *values: function(*map(tf.constant, values)),
    "tensorflow graph": lambda function, *values: tf.function(function)(*map(tf.constant, values)),
}
EXAMPLES = {"numpy": 200, "torch": 200, "tensorflow": 200, "tensorflow graph": 60, "jax": 40}  # the last two compile


@pytest.mark.slow
@pytest.mark.parametrize("library", WAYS)
def test_the_three_maps(library):
    @settings(max_examples=EXAMPLES[library])
    @given(situations(ranks=(1, 2, 3)))
    def check(situation):
        geometry, size, rng = situation
        v, kernel, bias, u = (a.astype(np.float32) for a in arrays(geometry, size, rng))
        terms, many = terms_of(geometry, kernel), len(v) * int(np.prod(size))
        wide = [a.astype(float) for a in (v, kernel, bias)]
        exact = np.stack([reference.scatter(image, wide[1], geometry, wide[2]) for image in wide[0]])
        sizes = [abs(a) for a in wide]
        magnitude = np.stack([reference.scatter(image, sizes[1], geometry, sizes[2]) for image in sizes[0]])
        last = WAYS[library](lambda *a: us.conv_transpose(*a, geometry), v, kernel, bias)
        assert_within(last, exact, magnitude, terms, np.float32)
        turned = WAYS[library](
            lambda *a: us.conv_transpose(*a, geometry, channels="first"), first(v), kernel_first(kernel), bias
        )
        assert_within(turned, first(exact), first(magnitude), terms, np.float32)
        if 0 in geometry.output_size(size):
            return
        down = WAYS[library](lambda *a: us.conv(*a, None, geometry), u, kernel)
        by = WAYS[library](lambda *a: us.kernel_gradient(*a, geometry), u, v)
        big, small, taps = (a.astype(float) for a in (u, v, kernel))
        assert_within(
            down, us.conv(big, taps, None, geometry), us.conv(abs(big), abs(taps), None, geometry), terms, np.float32
        )
        exact, magnitude = (us.kernel_gradient(a, b, geometry) for a, b in ((big, small), (abs(big), abs(small))))
        assert_within(by, exact, magnitude, many, np.float32)
        # What ties the maps to each other: <conv(u, K), v> = <u, conv_transpose(v, K)> = <K, kernel_gradient(u, v)>.
        products = [
            np.vdot(np.asarray(down, float), small), np.vdot(big, np.asarray(last, float) - wide[2]),
            np.vdot(taps, np.asarray(by, float)),
        ]  # fmt: skip
        scale = (
            np.vdot(abs(taps), magnitude) * (terms + many + 8) * 2.0**-23
            + np.abs(big).sum() * np.abs(bias).max() * 2.0**-20
        )
        assert max(products) - min(products) <= scale

    check()
