"""Positions a multiple of 4096 bytes apart, whose input tiles copy: the same bits as where it is read in place."""

import exact as definitions
import numpy as np
import pytest
from cases import assert_within
from switches import instruction_set, threads

import unstride as us
from unstride import _native

# Way, batch, size of the small grid, small and big channels, geometry. Positions are 1024 channels apart, or a stride times
# fewer; tiles of a whole row, of parts of one, of several; runs that follow one another and runs that do not; groups; and last
# more taps than are copied. (Where large weights are packed
# block by block, one at a time, nothing is copied either.)
CASES = [
    ("conv_transpose", 2, (3, 14), 1024, 293, us.Geometry((2, 2), 2)),
    ("conv_transpose", 8, (4, 4), 1024, 261, us.Geometry((3, 4), 2, ((1, 0), (1, 2)))),
    ("conv_transpose", 4, (17,), 1024, 257, us.Geometry((3,), 1, 1, dilation=2)),
    ("conv_transpose", 1, (2, 15), 2048, 520, us.Geometry((2, 3), 1, groups=2)),
    ("conv", 2, (3, 15), 260, 512, us.Geometry((2, 3), 2, ((0, 0), (1, 0)))),
    ("conv", 2, (6, 30), 260, 128, us.Geometry((2, 2), (1, 8))),
    ("conv", 1, (13,), 257, 1024, us.Geometry((3,), 1, 1)),
    ("conv", 1, (2, 13), 259, 1024, us.Geometry((3, 5), 1, 1)),
]


def arrays(way, batch, size, c_small, c_big, geometry, dtype):
    rng = np.random.default_rng(5)
    given = (*size, c_small) if way == "conv_transpose" else (*geometry.output_size(size), c_big)
    kernel = (*geometry.kernel_size, c_big // geometry.groups, c_small)
    bias = c_big if way == "conv_transpose" else c_small
    return [rng.standard_normal(shape).astype(dtype) for shape in ((batch, *given), kernel, bias)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_copies_change_no_bit(case, dtype):
    way, *_, geometry = case
    x, kernel, bias = arrays(*case, dtype)
    small = (case[1], *case[2], case[3])
    assert us.plan(small, kernel, geometry, op=way, dtype=dtype).kernel == "igemm"
    # The same numbers further apart, which need no copies.
    apart = np.zeros((*x.shape[:-1], x.shape[-1] + 16), dtype)[..., :-16]
    apart[...] = x
    for isa in _native.instruction_sets():
        with instruction_set(isa):
            for count in (1, 2):
                with threads(count):
                    got, expected = (getattr(us, way)(a, kernel, bias, geometry) for a in (x, apart))
                    np.testing.assert_array_equal(got, expected)


@pytest.mark.slow
def test_copies_are_the_reference():
    geometry = us.Geometry((2,), 2, ((0, 1),))
    x, kernel, bias = arrays("conv_transpose", 1, (13,), 1024, 258, geometry, np.float64)
    exact = definitions.scatter(x, kernel, geometry, bias)
    magnitudes = definitions.scatter(abs(x), abs(kernel), geometry, abs(bias))
    for dtype in (np.float32, np.float64):
        got = us.conv_transpose(x.astype(dtype), kernel.astype(dtype), bias.astype(dtype), geometry)
        assert_within(got, exact, magnitudes, 2 * 1024 + 1, dtype)


@pytest.mark.parametrize("isa", _native.instruction_sets())
@pytest.mark.parametrize(
    ("positions", "depth", "vectors", "left_out"), [(1, 1, 1, 0), (29, 40, 2, 3), (13, 67, 6, 5), (50, 9, 3, 0)]
)
def test_tiles_have_the_bits_of_their_scalar_twin(isa, positions, depth, vectors, left_out):
    rng = np.random.default_rng(5)
    with instruction_set(isa):
        columns = vectors * _native.stack_lanes()
        x, weights = (
            rng.standard_normal((positions, depth), np.float32),
            rng.standard_normal((depth, columns), np.float32),
        )
        x[0, -1] = np.nan
        bias, results = rng.standard_normal(columns, np.float32), []
        for scalar in (False, True):
            results.append(np.full((positions, columns), 7, np.float32))
            _native.igemm(x, weights, bias, results[-1], left_out, columns, scalar)
    np.testing.assert_array_equal(*results)
    exact = np.maximum(x.astype(float) @ weights + bias, 0)
    assert (results[0][:, :left_out] == 7).all()
    np.testing.assert_allclose(results[0][1:, left_out:], exact[1:, left_out:], rtol=1e-4, atol=1e-4)
    assert np.isnan(results[0][0, left_out:]).all()
