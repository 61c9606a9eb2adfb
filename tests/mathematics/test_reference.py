"""The three definitions against each other, and against the reading's figures."""

import numpy as np
import pytest
from cases import arrays, situations
from hypothesis import assume, given, settings

import unstride as us
from unstride import reference


@pytest.mark.slow
@settings(max_examples=250)
@given(situations())
def test_three_definitions_agree_exactly_on_integers(situation):
    geometry, size, rng = situation
    x, kernel, bias, _ = arrays(geometry, size, rng, batch=1, integers=True)
    scattered = reference.scatter(x[0], kernel, geometry, bias)
    assert scattered.shape == (*geometry.output_size(size), len(bias))
    np.testing.assert_array_equal(scattered, reference.grid(x[0], kernel, geometry, bias))
    np.testing.assert_array_equal(scattered, reference.by_matrix(x[0], kernel, geometry, bias))


@settings(max_examples=60)
@given(situations(ranks=(1, 2, 3)))
def test_convolution_is_its_matrix_and_the_transpose_its_adjoint(situation):
    geometry, size, rng = situation
    v, kernel, _, u = arrays(geometry, size, rng, batch=1, integers=True)
    assume(0 not in geometry.output_size(size))
    convolved = reference.conv(u[0], kernel, geometry)
    assert convolved.shape == v[0].shape
    np.testing.assert_array_equal(convolved.ravel(), reference.matrix(kernel, geometry, size) @ u[0].ravel())
    assert np.vdot(convolved, v[0]) == np.vdot(u[0], reference.scatter(v[0], kernel, geometry))
    gradient = reference.kernel_gradient(u[0], v[0], geometry)
    assert np.vdot(gradient, kernel) == np.vdot(convolved, v[0])  # linear in the kernel: its own derivative


def bare(function, x, kernel, geometry):
    """A definition on bare grids, as the reading has them."""
    x, kernel = np.asarray(x, float), np.asarray(kernel, float)
    return function(x[..., None], kernel[..., None, None], geometry)[..., 0]


DEFINITIONS = [reference.scatter, reference.grid, reference.by_matrix]
KERNEL = [[1, 2], [3, 4]]  # asymmetric: a flip would show


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_worked_examples(definition):
    grid = [[0, 1], [2, 3]]
    np.testing.assert_array_equal(bare(definition, grid, grid, us.Geometry((2, 2))), [[0, 0, 1], [0, 4, 6], [4, 12, 9]])
    np.testing.assert_array_equal(
        bare(definition, grid, grid, us.Geometry((2, 2), stride=2)),
        [[0, 0, 0, 1], [0, 0, 2, 3], [0, 2, 0, 3], [4, 6, 6, 9]],
    )


def test_example_1_convolution_with_stride_2_and_padding_1():
    image = np.arange(36.0).reshape(6, 6)
    geometry = us.Geometry((2, 2), stride=2, padding=1)
    result = bare(reference.conv, image, KERNEL, geometry)
    assert result.shape == (4, 4)  # the padded image is 8x8
    padded = np.pad(image, 1)
    assert result[1, 2] == np.sum(padded[2:4, 4:6] * KERNEL)


def test_example_2_transposed_with_stride_2():
    geometry = us.Geometry((2, 2), stride=2)
    assert reference.extended_grid(np.ones((3, 3, 1)), geometry).shape[:2] == (7, 7)
    assert geometry.output_size((3, 3)) == (6, 6)


def test_example_3_transposed_with_stride_1_needs_a_5x5_input():
    geometry = us.Geometry((2, 2))
    assert reference.extended_grid(np.ones((5, 5, 1)), geometry).shape[:2] == (7, 7)
    assert geometry.output_size((5, 5)) == (6, 6)
    # with the 3x3 input that its text names
    assert reference.extended_grid(np.ones((3, 3, 1)), geometry).shape[:2] == (5, 5)
    assert geometry.output_size((3, 3)) == (4, 4)


def test_example_4_transposed_with_stride_2_and_padding_1():
    geometry = us.Geometry((2, 2), stride=2, padding=1)
    assert reference.extended_grid(np.ones((3, 3, 1)), geometry).shape[:2] == (5, 5)
    assert geometry.output_size((3, 3)) == (4, 4)


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(3, 2, 0), (5, 1, 0), (3, 1, 0), (3, 2, 1)], ids=["2", "3", "3 as printed", "4"]
)
def test_examples_2_to_4_are_the_scattered_copies(definition, size, stride, padding):
    x = np.arange(1.0, 1 + size * size).reshape(size, size)
    full = np.zeros([(size - 1) * stride + 2] * 2)
    for (a, b), value in np.ndenumerate(x):
        full[a * stride : a * stride + 2, b * stride : b * stride + 2] += value * np.array(KERNEL)
    expected = full[padding : len(full) - padding, padding : len(full) - padding]
    np.testing.assert_array_equal(bare(definition, x, KERNEL, us.Geometry((2, 2), stride, padding)), expected)
