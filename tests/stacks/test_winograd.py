"""Stages of 3 x 3 taps and stride 1, which go through Winograd's algorithm F(4 x 4, 3 x 3) where they have some channels.

Its rounding errors follow all numbers of a tile and not the products alone. Along one axis a result is
A' ((G w) * (B d)), of six inputs d and three weights w; with the sizes of all entries instead of the entries, the factor of
a product d_l w_k in result j is at most `GROWTH`. So along both axes a result is made of numbers that add up to at most
GROWTH ** 2 * (sum of |inputs| of the 6 x 6 window) * (sum of |weights|), and each of the roundings on the way is relative
to that: along each axis at most 4 of inputs, 7 of weights and 6 of sums of products, and a bias. Where a window lies
depends on the tile: one of 9 x 9 around the taps holds them all. The same holds for the adjoint and for the kernel's
gradient, which are made of the same three matrices.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unstride as us
from unstride._core import core as _native
from unstride.stack import Stack, Stage

UNIT = 2.0**-24
ROUNDINGS = 40


def matrices(points=(0, None, 5 / 8, -5 / 8, 3 / 2, -3 / 2)):
    """A, B and G of Toom's and Cook's construction: products of differences of points; None is the one at infinity."""
    finite = [p for p in points if p is not None]
    a, b, g = [], [], []
    for p in points:
        others = [q for q in finite if q != p]
        b.append(np.pad(np.poly(others)[::-1], (0, 5 - len(others))))
        scale = 1.0 if p is None else np.prod([p - q for q in others])
        a.append([0, 0, 0, 1] if p is None else [p**k for k in range(4)])
        g.append([0, 0, 1] if p is None else [p**k / scale for k in range(3)])
    return np.array(a), np.array(b), np.array(g)


GROWTH = np.einsum("fj,fl,fk->jlk", *map(np.abs, matrices())).max()


def gamma(terms):
    return (terms + ROUNDINGS) * UNIT / (1 - (terms + ROUNDINGS) * UNIT)


def wide(geometry):
    """The geometry whose 9 x 9 taps are all cells that a tile may read for a cell that the 3 x 3 taps reach."""
    crops = [(b + 3, e + 3) for b, e in geometry.crops]
    return us.Geometry((9, 9), padding=crops, groups=geometry.groups)


def spread(kernel):
    """For each pair of channels the sum of all weights' sizes at all of 9 x 9 taps."""
    return np.broadcast_to(np.abs(kernel).sum((0, 1)), (9, 9, *kernel.shape[2:]))


def check(rng, transposed, size, taken, made, groups, crops, batch, layout="last"):
    geometry = us.Geometry((3, 3), padding=crops, groups=groups)
    stack = Stack(size, taken, [Stage(transposed, made, geometry)], layout)
    first = layout == "first"
    forward, adjoint = (us.conv_transpose, us.conv) if transposed else (us.conv, us.conv_transpose)
    x, kernel, bias, grad_output = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in (stack.input_shape(batch), *stack.weight_shapes, stack.output_shape(batch))
    )
    y, saved = stack.forward(x, [kernel, bias], keep=True)
    gx, (gk, gb) = stack.backward(grad_output, x, [kernel, bias], saved)

    def last(array):
        return np.moveaxis(array, 1, -1).astype(float) if first else array.astype(float)

    def kernel_last(array):
        return np.moveaxis(array, (0, 1), (-1, -2)).astype(float) if first else array.astype(float)

    x, grad_output, kernel, y, gx, gk = (
        last(x),
        last(grad_output),
        kernel_last(kernel),
        last(y),
        last(gx),
        kernel_last(gk),
    )

    def close(got, expected, terms, size):
        assert np.all(np.abs(got - expected) <= GROWTH**2 * gamma(terms) * size)

    window = wide(geometry)
    close(
        y,
        forward(x, kernel, bias.astype(float), geometry),
        taken,
        forward(np.abs(x), spread(kernel), np.abs(bias) / GROWTH**2, window),
    )
    close(
        gx,
        adjoint(grad_output, kernel, None, geometry),
        made,
        adjoint(np.abs(grad_output), spread(kernel), None, window),
    )
    grids = (grad_output, x) if transposed else (x, grad_output)
    sizes = us.kernel_gradient(*map(np.abs, grids), window).sum((0, 1))
    close(gk, us.kernel_gradient(*grids, geometry), batch * x[0, ..., 0].size, sizes)
    cells = grad_output.reshape(-1, made)
    assert np.all(np.abs(gb - cells.sum(0)) <= gamma(len(cells)) * np.abs(cells).sum(0))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    transposed=st.booleans(),
    layout=st.sampled_from(["last", "first"]),
    size=st.tuples(st.integers(4, 19), st.integers(4, 19)),
    channels=st.tuples(st.integers(5, 11), st.integers(5, 11)),
    groups=st.sampled_from([1, 1, 2]),
    crops=st.tuples(*[st.tuples(st.integers(-2, 2), st.integers(-2, 2))] * 2),
    batch=st.sampled_from([1, 3, 16, 17]),
)
def test_winograd_stages_against_single_maps_in_float64(seed, transposed, layout, size, channels, groups, crops, batch):
    if not transposed:
        size = tuple(n + 3 for n in size)  # something is left of them
    check(np.random.default_rng(seed), transposed, size, *(c * groups for c in channels), groups, crops, batch, layout)


@pytest.mark.parametrize("instruction_set", _native.instruction_sets())
def test_on_every_instruction_set(instruction_set):
    before = _native.instruction_set()
    _native.use_instruction_set(instruction_set)
    try:
        for transposed in (False, True):
            check(np.random.default_rng(1), transposed, (11, 14), 18, 13, 1, ((1, 0), (-1, 1)), 21)
            # Channels of the small grid that fill the lanes of every instruction set, in one and in several chunks.
            for big, small, groups, size in ((19, 32, 1, (14, 30)), (10, 32, 2, (9, 12)), (35, 16, 1, (13, 27))):
                taken, made = (small, big) if transposed else (big, small)
                check(np.random.default_rng(2), transposed, size, taken, made, groups, ((1, 0), (-1, 1)), 21)
    finally:
        _native.use_instruction_set(before)


def test_the_construction():
    a, b, g = matrices()
    rng = np.random.default_rng(5)
    inputs, weights = rng.standard_normal(6), rng.standard_normal(3)
    np.testing.assert_allclose(a.T @ ((g @ weights) * (b @ inputs)), np.convolve(inputs, weights[::-1], "valid"))


@pytest.mark.parametrize("transposed", [False, True])
def test_rounding_is_about_twice_that_of_plain_sums(transposed):
    # Of random numbers, far less than the bound: 3e-7 of the results' size for plain sums over 32 channels.
    geometry = us.Geometry((3, 3))
    stack = Stack((18, 21), 32, [Stage(transposed, 16, geometry, bias=False)])
    rng = np.random.default_rng(6)
    x, kernel, grad_output = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in (stack.input_shape(4), *stack.weight_shapes, stack.output_shape(4))
    )
    y, _ = stack.forward(x, [kernel])
    gx, (gk,) = stack.backward(grad_output, x, [kernel])
    x, kernel, grad_output = x.astype(float), kernel.astype(float), grad_output.astype(float)
    forward, adjoint = (us.conv_transpose, us.conv) if transposed else (us.conv, us.conv_transpose)
    expected = (
        forward(x, kernel, None, geometry),
        adjoint(grad_output, kernel, None, geometry),
        us.kernel_gradient(*((grad_output, x) if transposed else (x, grad_output)), geometry),
    )
    for got, exact in zip((y, gx, gk), expected, strict=True):
        assert np.sqrt(np.square(got - exact).mean() / np.square(exact).mean()) < 2e-6


@pytest.mark.parametrize("instruction_set", _native.instruction_sets())
@pytest.mark.parametrize(("where", "bad"), [(None, 0), ("upstream", np.nan), ("upstream", np.inf), ("x", np.inf)])
@pytest.mark.parametrize("channels", [12, 32])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", None])
def test_two_stages_are_one_after_the_other(activation, channels, where, bad, instruction_set):
    # Where a stage's adjoint is Winograd's and the stage before ends in ReLU, both are computed in one pass; and where the
    # stage is transposed, the kernel's gradient in the same one, until something is not finite.
    slope = 0.3 if activation == "leaky_relu" else None
    first = Stage(False, channels, us.Geometry((3, 3), padding=1), True, activation, slope)
    second = Stage(True, 10, us.Geometry((3, 3), groups=2))
    size = 13, 30
    both, before, after = (
        Stack(size, 9, [first, second]),
        Stack(size, 9, [first]),
        Stack(size, channels, [second]),
    )
    rng = np.random.default_rng(8)
    x, *weights, upstream = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in (both.input_shape(21), *both.weight_shapes, both.output_shape(21))
    )
    if where:  # the first group of images by plain sums, from one of its last tiles on, the second one not
        (x if where == "x" else upstream)[3, 11, 27, 2] = bad
    used = _native.instruction_set()
    _native.use_instruction_set(instruction_set)
    try:
        y, saved = both.forward(x, weights, keep=True)
        middle, _ = before.forward(x, weights[:2])
        np.testing.assert_array_equal(y, after.forward(middle, weights[2:])[0])
        back, late = after.backward(upstream, middle, weights[2:])
        expected, early = before.backward(back, x, weights[:2])
        for kept in (saved, None):
            gx, gradients = both.backward(upstream, x, weights, kept)
            np.testing.assert_array_equal(gx, expected)
            for at, one in ((0, early[0]), (2, late[0]), (3, late[1])):
                np.testing.assert_array_equal(gradients[at], one)
    finally:
        _native.use_instruction_set(used)
    # The bias's is summed in another order, of numbers that are at most those of `back`.
    finite = np.isfinite(early[1])
    np.testing.assert_array_equal(np.isfinite(gradients[1]), finite)
    cells = np.abs(back[..., finite].astype(float)).reshape(back[..., 0].size, -1)
    assert np.all(np.abs(gradients[1][finite] - early[1][finite]) <= 2 * gamma(len(cells)) * cells.sum(0))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("image", [0, 20])
def test_gradients_of_what_is_not_finite(bad, image):
    stack = Stack((12, 12), 8, [Stage(True, 8, us.Geometry((3, 3)))])
    rng = np.random.default_rng(3)
    x, kernel, bias, grad_output = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in (stack.input_shape(21), *stack.weight_shapes, stack.output_shape(21))
    )
    grad_output[image, 6, 7, 2] = bad
    gx, (gk, gb) = stack.backward(grad_output, x, [kernel, bias])
    unreached = np.ones((21, 12, 12), bool)
    unreached[image, 4:7, 5:8] = False
    np.testing.assert_array_equal(np.isfinite(gx).all(-1), unreached)
    np.testing.assert_array_equal(np.isfinite(gk), np.broadcast_to((np.arange(8) != 2)[:, None], gk.shape))
    np.testing.assert_array_equal(np.isfinite(gb), np.arange(8) != 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_of_cells_that_some_taps_do_not_reach(bad):
    stack = Stack((12, 12), 8, [Stage(True, 8, us.Geometry((3, 3), padding=1), bias=False)])
    rng = np.random.default_rng(4)
    x, kernel, grad_output = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in (stack.input_shape(2), *stack.weight_shapes, stack.output_shape(2))
    )
    x[1, 0, 3, 5] = bad  # of its products the ones with the kernel's first row are cropped
    _, (gk,) = stack.backward(grad_output, x, [kernel])
    unreached = np.ones(gk.shape, bool)
    unreached[1:, :, :, 5] = False
    np.testing.assert_array_equal(np.isfinite(gk), unreached)


def test_what_is_not_finite_stays_in_reach_of_its_taps():
    stack = Stack((12, 12), 8, [Stage(False, 8, us.Geometry((3, 3)))])
    rng = np.random.default_rng(2)
    x, kernel, bias = (rng.standard_normal(s).astype(np.float32) for s in (stack.input_shape(1), *stack.weight_shapes))
    x[0, 5, 5, 3] = np.nan
    y, _ = stack.forward(x, [kernel, bias])
    reached = np.zeros((10, 10), bool)
    reached[3:6, 3:6] = True
    np.testing.assert_array_equal(np.isnan(y[0]).all(-1), reached)
    np.testing.assert_array_equal(np.isnan(y[0]).any(-1), reached)
