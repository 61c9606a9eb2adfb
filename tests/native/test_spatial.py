"""The kernel that has positions in the lanes: against the reference wherever it is chosen, and its plan's memory."""

import exact as definitions
import numpy as np
import pytest
from cases import assert_within
from switches import instruction_set, threads

import unstride as us
from unstride import _native, reference

# Spatial size, small and big channels, geometry: a few of each number of axes, with cells cut off and cells added.
CASES = [
    ((150,), 2, 3, us.Geometry((5,), 3, ((2, -4),))),
    ((211,), 1, 1, us.Geometry((4,), 1, ((1, 2),), dilation=3)),
    ((16, 19), 1, 1, us.Geometry((4, 4), 2, 1)),
    ((13, 33), 3, 3, us.Geometry((3, 3), 2, 1, 1)),
    ((40, 11), 5, 2, us.Geometry((3, 5), (3, 1), ((-2, 1), (3, -1)))),
    ((17, 23), 2, 1, us.Geometry((9, 3), (4, 2), ((4, 1), (0, 0)))),
    ((30, 64), 2, 1, us.Geometry((4, 3), (3, 3), ((0, 0), (-1, 2)))),
    ((21, 30), 1, 1, us.Geometry((3, 3), 1, 1)),
    ((7, 9, 12), 2, 1, us.Geometry((2, 3, 4), (1, 2, 2), ((0, 1), (1, 0), (1, 1)))),
    ((5, 12, 13), 1, 2, us.Geometry((3, 3, 3), (2, 1, 2), ((1, 1), (-1, -1), (0, 2)))),
]


@pytest.mark.slow
@pytest.mark.parametrize(("size", "c_small", "c_big", "geometry"), CASES)
def test_positions_in_the_lanes_are_the_reference(size, c_small, c_big, geometry):
    rng = np.random.default_rng(1)
    big = geometry.output_size(size)
    v, u = rng.standard_normal((2, *size, c_small)), rng.standard_normal((2, *big, c_big))
    kernel = rng.standard_normal((*geometry.kernel_size, c_big, c_small))
    bias, other = rng.standard_normal(c_big), rng.standard_normal(c_small)

    def truth(v, u, kernel, bias, other):
        return definitions.scatter(v, kernel, geometry, bias), definitions.conv(u, kernel, geometry, other)

    exact = truth(v, u, kernel, bias, other)
    magnitudes = truth(*map(abs, (v, u, kernel, bias, other)))
    taps = int(np.prod(geometry.kernel_size))
    chosen = set()
    for isa in _native.instruction_sets():
        for dtype in (np.float32, np.float64):
            x, y, k, b, o = (a.astype(dtype) for a in (v, u, kernel, bias, other))
            with instruction_set(isa):
                up, down = us.conv_transpose(x, k, b, geometry), us.conv(y, k, o, geometry)
                for name in ("conv_transpose", "conv"):
                    chosen.add(us.plan(x.shape, k.shape, geometry, op=name, dtype=dtype).kernel)
            assert_within(up, exact[0], magnitudes[0], taps * c_small + 1)
            assert_within(down, exact[1], magnitudes[1], taps * c_big + 1)
    if _native.instruction_sets()[-1] == "avx512":  # with fewer lanes the plan prefers tiles for three of these
        assert "spatial" in chosen


@pytest.fixture(params=_native.instruction_sets())
def isa(request):
    """Each set; with few lanes other kernels may be chosen, which have to do the same."""
    with instruction_set(request.param):
        yield request.param


def test_the_same_bits_for_any_number_of_threads(isa):
    rng = np.random.default_rng(2)
    for size, channels in (((96, 70), 3), ((400, 300), 1)):
        x = rng.standard_normal((3, *size, channels), np.float32)
        kernel = rng.standard_normal((4, 4, channels, channels), np.float32)
        geometry = us.Geometry((4, 4), 2, 1)
        assert isa != "avx512" or us.plan(x.shape, kernel.shape, geometry).kernel == "spatial"
        results = []
        for count in (1, 2, 3):
            with threads(count):
                results += [us.conv_transpose(x, kernel, None, geometry) for _ in range(8)]
        assert all(np.array_equal(result, results[0]) for result in results)


def test_what_is_not_finite_reaches_what_it_touches_and_no_more(isa):
    rng = np.random.default_rng(3)
    geometry = us.Geometry((3, 3), 2, ((1, 0), (0, 1)))
    x, kernel = rng.standard_normal((1, 30, 40, 2)), rng.standard_normal((3, 3, 2, 2))
    assert isa != "avx512" or us.plan(x.shape, kernel.shape, geometry).kernel == "spatial"
    for at in ((0, 0, 0, 0), (0, 29, 39, 1), (0, 11, 0, 1)):
        spoiled = x.copy()
        spoiled[at] = np.nan
        touched = np.isnan(reference.scatter(spoiled[0], kernel, geometry))
        np.testing.assert_array_equal(np.isnan(us.conv_transpose(spoiled, kernel, None, geometry)[0]), touched)
    kernel[0, 2, 1, 0] = np.inf  # times the zeros beyond the edges it would be NaN
    expected = reference.scatter(x[0], kernel, geometry)
    np.testing.assert_allclose(us.conv_transpose(x, kernel, None, geometry)[0], expected, rtol=1e-12, atol=1e-12)
    relu = us.conv_transpose(x, kernel, None, geometry, activation="relu")[0]
    np.testing.assert_allclose(relu, np.maximum(expected, 0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("columns", range(1, 18))
def test_narrow_matrices_turn(columns):
    """Channels first to last and back, through the shuffles for up to 8 channels and the squares for more."""
    rng = np.random.default_rng(columns)
    for cells in (1, 2, 7, 16, 33, 100):
        x = rng.standard_normal((2, columns, cells))
        kernel = np.eye(columns)[:, :, None]
        for isa in _native.instruction_sets():
            with instruction_set(isa):
                for dtype in (np.float32, np.float64):
                    got = us.conv_transpose(x.astype(dtype), kernel.astype(dtype), channels="first")
                    np.testing.assert_array_equal(got, x.astype(dtype))
