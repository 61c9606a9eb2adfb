"""Large kernels with few positions, which are read where they lie: against the reference, and in no layout but their own."""

import exact as definitions
import numpy as np
import pytest
from cases import assert_within, first, kernel_first
from switches import instruction_set, threads

import unstride as us
from unstride import _native

# Way, batch, size of the small grid, small and big channels, geometry: channels that fill no vector, taps of one position and of none, cells
# that no tap reaches, crops and additions, positions of several images, one block of columns at once and several.
CASES = [
    ("conv_transpose", 1, (4, 5), 261, 71, us.Geometry((4, 5), (2, 3), ((1, 1), (-1, 2)))),
    ("conv_transpose", 3, (3, 2), 300, 90, us.Geometry((4, 4), 2, 1)),
    ("conv_transpose", 2, (4,), 401, 97, us.Geometry((16,), 8, 4)),
    ("conv_transpose", 1, (2, 3, 2), 270, 50, us.Geometry((3, 2, 4), (2, 1, 3), ((1, 1), (1, 1), (2, -1)))),
    ("conv_transpose", 1, (3, 3), 300, 103, us.Geometry((3, 3), 1, 1, dilation=2)),
    ("conv_transpose", 1, (3, 2), 1027, 100, us.Geometry((2, 1), (3, 2), ((-1, 0), (0, 1)))),
    ("conv_transpose", 2, (2,), 70, 400, us.Geometry((12,), 2, 1)),
    ("conv_transpose", 1, (2,), 900, 211, us.Geometry((9,), 1, ((7, 1),))),
    # Taps that meet the same positions as the one before, in runs of channels that whole vectors fill and that go on in others.
    ("conv_transpose", 1, (3, 4), 512, 83, us.Geometry((3, 3), 1, ((0, 2), (2, 0)))),
    ("conv_transpose", 2, (3,), 1056, 60, us.Geometry((8,), 2, 1)),
    # Rows of weights that the last share does not fill; more parts than rows, and taps of none.
    ("conv", 1, (4, 5), 96, 261, us.Geometry((4, 5), (2, 3), ((1, 1), (-1, 2)))),
    ("conv", 3, (3, 2), 128, 170, us.Geometry((4, 4), 2, 1)),
    ("conv", 2, (4,), 192, 97, us.Geometry((16,), 8, 4)),
    ("conv", 1, (2, 3, 2), 32, 270, us.Geometry((3, 2, 4), (2, 1, 3), ((1, 1), (1, 1), (2, -1)))),
    ("conv", 1, (3, 3), 160, 300, us.Geometry((3, 3), 1, 1, dilation=2)),
    ("conv", 1, (2,), 64, 400, us.Geometry((9,), 1, ((7, 1),))),
    ("conv", 5, (1,), 320, 650, us.Geometry((1,), 1)),
    ("conv", 1, (7, 9), 64, 66, us.Geometry((8, 5), (1, 2), ((3, 5), (0, 1)))),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_kernels_read_in_place_are_the_reference(case):
    way, batch, size, c_small, c_big, geometry = case
    rng = np.random.default_rng(4)
    given = (*geometry.output_size(size), c_big) if way == "conv" else (*size, c_small)
    v = rng.standard_normal((batch, *given))
    kernel = rng.standard_normal((*geometry.kernel_size, c_big, c_small))
    bias = rng.standard_normal(c_small if way == "conv" else c_big)
    defined, operation = definitions.conv if way == "conv" else definitions.scatter, getattr(us, way)

    products = defined(v, kernel, geometry)
    exact = products + bias
    magnitudes = defined(abs(v), abs(kernel), geometry, abs(bias))
    terms = int(np.prod(geometry.kernel_size)) * given[-1] + 1
    for isa in _native.instruction_sets():
        for dtype in (np.float32, np.float64):
            x, k, b = (a.astype(dtype) for a in (v, kernel, bias))
            with instruction_set(isa):
                assert us.plan((batch, *size, c_small), k, geometry, op=way, dtype=dtype).bytes_packed == 0
                results = []
                for count in (1, 2, 3):
                    with threads(count):
                        results.append(operation(x, k, b, geometry, activation="relu"))
                assert_within(results[0], np.maximum(exact, 0), magnitudes, terms, dtype)
                for other in results[1:]:
                    np.testing.assert_array_equal(other, results[0])
                assert_within(operation(x, k, geometry=geometry), products, magnitudes, terms, dtype)
                got = operation(first(x), kernel_first(k), b, geometry, channels="first")
            assert_within(got, first(exact), first(magnitudes), terms, dtype)


def at(offset, array):
    """The same array, that many bytes after the beginning of a line of cache."""
    room = np.empty(array.nbytes + 128, np.uint8)
    begin = -room.ctypes.data % 64 + offset
    view = room[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_number_of_positions_and_any_address_of_the_weights(dtype):
    rng = np.random.default_rng(5)
    kernel = rng.standard_normal((2, 165, 1040)).astype(dtype)
    for isa in _native.instruction_sets():
        with instruction_set(isa):
            for positions in range(1, 49):
                x = rng.standard_normal((1, positions, 1040)).astype(dtype)
                assert us.plan(x, kernel, stride=2).bytes_packed == 0
                got = us.conv_transpose(x, kernel, stride=2)
                wide, weights = x.astype(np.float64), kernel.astype(np.float64)
                expected, magnitudes = (
                    np.einsum("bni,toi->bnto", *arrays).reshape(1, -1, 165)
                    for arrays in ((wide, weights), (abs(wide), abs(weights)))
                )
                assert_within(got, expected, magnitudes, 1040, dtype)
                offset = positions * kernel.itemsize % 64
                np.testing.assert_array_equal(us.conv_transpose(x, at(offset, kernel), stride=2), got)


@pytest.mark.parametrize("channels", [1037, 1040])
def test_what_is_not_finite_stays_in_its_column(channels):
    rng = np.random.default_rng(6)
    x, kernel = (rng.standard_normal(size).astype(np.float32) for size in ((1, 5, channels), (2, 165, channels)))
    kernel[0, 7, 0] = np.nan
    kernel[1, 20, -1] = np.inf
    for isa in _native.instruction_sets():
        with instruction_set(isa):
            for offset in (0, 16, 36):
                y = us.conv_transpose(x, at(offset, kernel), stride=2)
                assert sorted({(n % 2, c) for _, n, c in np.argwhere(~np.isfinite(y)).tolist()}) == [(0, 7), (1, 20)]


def test_only_large_kernels_with_few_positions_are_read_in_place():
    large, small = (4, 4, 512, 1024), (4, 4, 16, 64)
    for shape, kernel, in_place in (
        ((1, 4, 4, 1024), large, True),
        ((8, 4, 4, 1024), large, False),
        ((1, 4, 4, 64), small, False),
    ):
        plan = us.plan(shape, kernel, stride=2, padding=1)
        assert (plan.bytes_packed == 0) == in_place
        assert plan.bytes_packed in (0, 4 * np.prod(kernel))
    for shape, kernel, in_place in (
        ((1, 4, 4, 1024), large, True),
        ((1, 4, 4, 1024), (4, 4, 32, 1024), False),  # input channels
        ((1, 4, 4, 1020), (4, 4, 512, 1020), False),
        ((8, 4, 4, 1024), large, False),
        ((1, 4, 4, 64), (4, 4, 128, 64), False),
    ):
        plan = us.plan(shape, kernel, stride=2, padding=1, op="conv")
        assert (plan.bytes_packed == 0) == in_place
    assert "weights are read where they lie" in str(us.plan((1, 4, 4, 1024), large, stride=2, padding=1, op="conv"))


def test_every_row_of_weights_is_used_once():
    told = _native.describe("conv", (4, 4), (8, 8), (4, 4), (2, 2), (1, 1), (1, 1), 1, 1, 1024, 500, 4)
    assert told["work"] == "unpacked_rows"
    shares = [i for first, count in told["tasks"] for i in range(first, first + count)]
    assert shares == list(range(16 * 8))  # of 64 rows a tap
