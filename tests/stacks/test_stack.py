"""Stacks of NumPy arrays against the definitions, in float64 with a bound for every number's rounding errors."""

import dataclasses

import numpy as np
import pytest
import stacks
from hypothesis import given, settings
from hypothesis import strategies as st

import unstride as us
from unstride._core import core as _native
from unstride._stacks.choice import worthwhile
from unstride.stack import ACTIVATIONS, Stack, Stage

G = us.Geometry


def run(stack, x, weights, grad_output, keep, input_gradient=True):
    y, saved = stack.forward(x, weights, keep=keep)
    gx, gradients = stack.backward(grad_output, x, weights, saved, input_gradient=input_gradient)
    return y, gx, gradients


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32 - 1), batch=st.sampled_from([1, 2, 15, 16, 17, 33]), keep=st.booleans())
def test_against_the_definitions(seed, batch, keep):
    rng = np.random.default_rng(seed)
    stack = stacks.random_stack(rng)
    x, weights, grad_output = stacks.random_arrays(stack, batch, rng)
    expected = stacks.truth(stack, x, weights, grad_output)
    y, gx, gradients = run(stack, x, weights, grad_output, keep)
    stacks.assert_close(y, expected.y, "y")
    stacks.assert_close(gx, expected.x_gradient, "x's gradient")
    for index, (got, wanted) in enumerate(zip(gradients, expected.weight_gradients, strict=True)):
        stacks.assert_close(got, wanted, f"the gradient of weight {index}")


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name])
@pytest.mark.parametrize("layout", ["last", "first"])
def test_each_activation_behind_each_kind_of_stage(activation, layout):
    rng = np.random.default_rng(5)
    slope = {"leaky_relu": 0.25, "elu": 1.75}.get(activation)
    stages = [
        Stage(False, 5, G((3, 2), (2, 1), ((1, 0), (-1, 2))), True, activation, slope),
        Stage(True, 3, G((2, 4), (1, 3), ((0, 1), (-2, 1))), False, activation, slope),
        Stage(False, 2, G((1, 2), dilation=(1, 2)), True, activation, slope),
    ]
    stack = Stack((6, 5), 3, stages, layout)
    x, weights, back = stacks.random_arrays(stack, 19, rng)
    expected = stacks.truth(stack, x, weights, back)
    y, gx, gradients = run(stack, x, weights, back, keep=True)
    stacks.assert_close(y, expected.y, "y")
    stacks.assert_close(gx, expected.x_gradient, "x's gradient")
    for got, wanted in zip(gradients, expected.weight_gradients, strict=True):
        stacks.assert_close(got, wanted, "a gradient")


@pytest.mark.parametrize("layout", ["last", "first"])
def test_many_channels_behind_small_kernels(layout):
    """Kernels of 3x3 and stride 1, as in the reading's model, for which there may be a way of their own."""
    rng = np.random.default_rng(8)
    relu = {"bias": True, "activation": "relu"}
    stages = [
        *(Stage(False, channels, G((3, 3)), **relu) for channels in (12, 7, 5)),
        *(Stage(True, channels, G((3, 3)), **relu) for channels in (5, 9)),
        Stage(False, 1, G((3, 3), padding=1), True, "sigmoid"),
    ]
    stack = Stack((12, 11), 1, stages, layout)
    x, weights, grad_output = stacks.random_arrays(stack, 35, rng)
    expected = stacks.truth(stack, x, weights, grad_output)
    for keep in (False, True):
        y, gx, gradients = run(stack, x, weights, grad_output, keep)
        stacks.assert_close(y, expected.y, "y")
        stacks.assert_close(gx, expected.x_gradient, "x's gradient")
        for got, wanted in zip(gradients, expected.weight_gradients, strict=True):
            stacks.assert_close(got, wanted, "a gradient")


def some_stack(channels=4, layout="last"):
    down = Stage(False, channels, G((3, 3), 2), activation="relu")
    return Stack((9, 8), 2, [down, Stage(True, 1, G((3, 4), 2), activation="sigmoid")], layout)


def test_what_was_kept_changes_no_number_and_neither_do_threads():
    stack, rng = some_stack(), np.random.default_rng(0)
    arrays = stacks.random_arrays(stack, 70, rng)

    def compute(keep):
        y, gx, gradients = run(stack, *arrays, keep)
        return [y, gx, *gradients]

    for a, b in zip(compute(False), compute(True), strict=True):
        np.testing.assert_array_equal(a, b)
    for keep in (False, True):
        stacks.assert_threads_change_nothing(lambda keep=keep: compute(keep))


@pytest.mark.native
def test_groups_are_added_in_their_order():
    stack, lanes = Stack(400, 1, [Stage(False, 1, G(3, padding=1))]), _native.stack_lanes()
    x = np.zeros((40 * lanes, 400, 1), np.float32)
    grad_output = np.ones_like(x)
    grad_output[:lanes], grad_output[5 * lanes : 6 * lanes] = (
        1e20,
        -1e20,
    )  # what comes in between is lost to them, and nothing else

    def compute():
        bias = stack.backward(grad_output, x, [np.ones(s, np.float32) for s in stack.weight_shapes])[1][1]
        assert bias == 34 * lanes * 400
        return [bias]

    for _ in range(10):
        stacks.assert_threads_change_nothing(compute)


def test_without_the_inputs_gradient():
    stack, rng = some_stack(), np.random.default_rng(1)
    arrays = stacks.random_arrays(stack, 17, rng)
    for keep in (False, True):
        _, gx, gradients = run(stack, *arrays, keep, input_gradient=False)
        assert gx is None
        for a, b in zip(gradients, run(stack, *arrays, keep)[2], strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_image_alone_is_what_it_is_among_others():
    stack, rng = some_stack(layout="first"), np.random.default_rng(2)
    x, weights, _ = stacks.random_arrays(stack, 33, rng)
    together = stack.forward(x, weights)[0]
    for index in (0, 15, 16, 32):
        np.testing.assert_array_equal(stack.forward(x[index : index + 1], weights)[0][0], together[index])


def test_not_a_number_stays_with_its_image():
    stack, rng = some_stack(), np.random.default_rng(3)
    x, weights, _ = stacks.random_arrays(stack, 17, rng)
    x[3] = np.nan
    y, _ = stack.forward(x, weights)
    assert np.isnan(y[3]).any()
    assert not np.isnan(np.delete(y, 3, 0)).any()


def test_no_images():
    stack = some_stack()
    x, weights, grad_output = stacks.random_arrays(stack, 0, np.random.default_rng(4))
    y, gx, gradients = run(stack, x, weights, grad_output, keep=True)
    assert y.shape == (0, 9, 8, 1)
    assert gx.shape == (0, 9, 8, 2)
    assert not any(gradient.any() for gradient in gradients)


def test_other_layouts_in_memory_are_copied():
    stack, rng = some_stack(), np.random.default_rng(6)
    x, weights, grad_output = stacks.random_arrays(stack, 16, rng)
    odd = [np.asfortranarray(array) for array in (x, grad_output, *weights)]
    got = run(stack, odd[0], odd[2:], odd[1], keep=False)
    np.testing.assert_array_equal(got[1], run(stack, x, weights, grad_output, keep=False)[1])


def test_stacks_that_compute_the_same_are_equal():
    assert some_stack() == some_stack()
    assert hash(some_stack()) == hash(some_stack())
    assert some_stack() != some_stack(5)
    assert some_stack() != some_stack(layout="first")


ERRORS = {
    "no stages": (lambda: Stack(8, 1, []), "stages is empty"),
    "layout": (lambda: Stack(8, 1, [Stage(False, 1, G(3))], "middle"), "layout is 'middle'; expected 'last' or 'first'"),
    "four axes": (lambda: Stack(8, 1, [Stage(False, 1, G((1, 1, 1, 1)))]), "4 axes; expected 1 to 3"),
    "axes": (lambda: Stack(8, 1, [Stage(False, 1, G(3)), Stage(False, 1, G((3, 3)))]), "stage 1 has 2 axes"),
    "size": (lambda: Stack((8, 0), 1, [Stage(False, 1, G((3, 3)))]), "input_size of axis 1 is 0"),
    "kernel": (lambda: Stack(2, 1, [Stage(False, 1, G(3))]), "stage 0, of (2,) cells: the kernel spans 3 cells"),
    "nothing left": (lambda: Stack(2, 1, [Stage(True, 1, G(2, padding=((1, 2),)))]), "stage 0 makes (0,) cells"),
    "groups in": (lambda: Stack(8, 3, [Stage(False, 4, G(3, groups=2))]), "stage 0 takes 3 channels, which 2 groups"),
    "groups out": (lambda: Stage(False, 3, G(3, groups=2)), "channels is 3, which 2 groups do not divide evenly"),
    "activation": (lambda: Stage(False, 3, G(3), True, "gelu"), "activation is 'gelu'; expected one of None, 'relu'"),
    "slope of none": (lambda: Stage(False, 3, G(3), True, "tanh", 0.5), "slope is 0.5; expected None"),
    "slope": (lambda: Stage(False, 3, G(3), True, "leaky_relu", -0.5), "slope of 'leaky_relu' is -0.5; expected a number"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_errors_of_descriptions(case):
    make, message = ERRORS[case]
    with pytest.raises(us.ArgumentError) as error:
        make()
    assert message in str(error.value)


def test_errors_of_arrays():
    stack = some_stack()
    x, weights, grad_output = stacks.random_arrays(stack, 3, np.random.default_rng(0))
    with pytest.raises(us.GeometryError, match=r"x has shape \(3, 9, 8, 3\); expected \(3, 9, 8, 2\)"):
        stack.forward(np.zeros((3, 9, 8, 3), np.float32), weights)
    with pytest.raises(TypeError, match="x is of type float64; expected float32"):
        stack.forward(x.astype(float), weights)
    with pytest.raises(TypeError, match=r"x is list; expected a numpy\.ndarray"):
        stack.forward(x.tolist(), weights)
    with pytest.raises(us.GeometryError, match="weights is 3 arrays; expected 4 arrays"):
        stack.forward(x, weights[:3])
    with pytest.raises(us.GeometryError, match=r"the bias of stage 1 has shape \(2,\); expected \(1,\)"):
        stack.forward(x, [*weights[:3], np.zeros(2, np.float32)])
    with pytest.raises(us.GeometryError, match="grad_output is of a batch of 2, and x of 3"):
        stack.backward(grad_output[:2], x, weights)
    with pytest.raises(us.GeometryError, match="saved has shape"):
        stack.backward(grad_output, x, weights, np.zeros(3, np.float32))
    with pytest.raises(TypeError, match="geometry is 3; expected a Geometry"):
        Stage(False, 1, 3)


def test_the_work_is_that_of_its_kernels():
    # 4x3 cells of 9 taps from 2 to 4 channels, and 12 taps from 4 to 1.
    assert some_stack().multiply_adds() == 4 * 3 * (9 * 2 * 4 + 12 * 4 * 1)


@pytest.mark.native
def test_where_a_stack_is_worthwhile():
    stack = some_stack()
    assert worthwhile(stack, 16)
    assert not worthwhile(stack, 15)
    assert not worthwhile(some_stack(512), 1000)  # channels fill the vectors of a single layer
    assert not worthwhile(Stack((9, 8), 2, stack.stages[:1]), 1000)
    wide = [dataclasses.replace(stage, geometry=G((3, 3))) for stage in stack.stages]
    assert not worthwhile(Stack((2000, 2000), 2, wide), 16)  # its grids leave the cache


def test_a_field_can_be_replaced():
    stack = stacks.autoencoder()
    other = dataclasses.replace(stack, input_size=(12, 16))
    assert other == Stack((12, 16), stack.channels, stack.stages, stack.layout)
    assert other.sizes != stack.sizes
    assert dataclasses.replace(stack) == stack
