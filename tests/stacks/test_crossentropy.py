"""A stack, its loss and the loss's derivatives as one native call."""

import numpy as np
import pytest
import stacks
from hypothesis import given, settings
from hypothesis import strategies as st

import unstride as us

EPSILON = 1e-7


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), batch=st.sampled_from([1, 15, 16, 17, 33]))
def test_the_same_numbers_as_one_after_the_other(seed, batch):
    stack = stacks.random_stack(np.random.default_rng(seed))
    x, weights, target = stacks.random_labels(stack, batch, seed)
    y, loss, gradients = stack.binary_crossentropy(x, weights, target, 1e-3)
    np.testing.assert_array_equal(y, stack.forward(x, weights)[0])
    inside = np.clip(y, np.float32(1e-3), np.float32(1) - np.float32(1e-3)).astype(float)
    expected = -(target * np.log(inside) + (1 - target.astype(float)) * np.log(1 - inside))
    np.testing.assert_allclose(loss, expected, rtol=1e-4, atol=1e-6)
    apart = stack.backward(stacks.crossentropy_slope(target, y, 1e-3), x, weights, input_gradient=False)[1]
    for got, wanted in zip(gradients, apart, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("layout", ["last", "first"])
def test_against_the_definitions(layout):
    stack = stacks.autoencoder(layout)
    x, weights, target = stacks.random_labels(stack, 35)
    y, _, gradients = stack.binary_crossentropy(x, weights, target)
    expected = stacks.truth(stack, x, weights, stacks.crossentropy_slope(target, y, EPSILON))
    for index, (got, wanted) in enumerate(zip(gradients, expected.weight_gradients, strict=True)):
        stacks.assert_close(got, wanted, f"the gradient of weight {index}")


def test_threads_change_no_number():
    stack = stacks.autoencoder()
    given = stacks.random_labels(stack, 530)  # more groups than wait to be added up at a time

    def compute():
        y, loss, gradients = stack.binary_crossentropy(*given)
        return [y, loss, *gradients]

    stacks.assert_threads_change_nothing(compute)


def test_no_images_and_errors():
    stack = stacks.autoencoder()
    x, weights, target = stacks.random_labels(stack, 0)
    y, loss, gradients = stack.binary_crossentropy(x, weights, target)
    assert y.shape == loss.shape == (0, *target.shape[1:])
    assert not any(gradient.any() for gradient in gradients)
    x, weights, target = stacks.random_labels(stack, 3)
    with pytest.raises(us.GeometryError, match=r"target has shape \(2, 11, 9, 2\); expected \(3, 11, 9, 2\)"):
        stack.binary_crossentropy(x, weights, target[:2])
    with pytest.raises(TypeError, match="target is of type float64; expected float32"):
        stack.binary_crossentropy(x, weights, target.astype(float))
    for epsilon in (0, 1e-9, 0.6, float("nan")):
        with pytest.raises(ValueError, match=r"epsilon is .*; expected a number from"):
            stack.binary_crossentropy(x, weights, target, epsilon)
