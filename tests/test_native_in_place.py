"""Large kernels with few positions, which dots read where they lie: against the reference, and in no layout but their own."""

import numpy as np
import pytest
from cases import assert_within, first, kernel_first
from test_native import instruction_set, threads

import unstride as us
from unstride import _native, reference

# Batch, spatial size, small and big channels, geometry: channels that fill no vector, taps of one position and of none, cells
# that no tap reaches, crops and additions, positions of several images, one block of columns at once and several.
CASES = [
    (1, (4, 5), 261, 71, us.Geometry((4, 5), (2, 3), ((1, 1), (-1, 2)))),
    (3, (3, 2), 300, 90, us.Geometry((4, 4), 2, 1)),
    (2, (4,), 401, 97, us.Geometry((16,), 8, 4)),
    (1, (2, 3, 2), 270, 50, us.Geometry((3, 2, 4), (2, 1, 3), ((1, 1), (1, 1), (2, -1)))),
    (1, (3, 3), 300, 103, us.Geometry((3, 3), 1, 1, dilation=2)),
    (1, (3, 2), 1027, 100, us.Geometry((2, 1), (3, 2), ((-1, 0), (0, 1)))),
    (2, (2,), 70, 400, us.Geometry((12,), 2, 1)),
    (1, (2,), 900, 211, us.Geometry((9,), 1, ((7, 1),))),
]


@pytest.mark.parametrize(("batch", "size", "c_small", "c_big", "geometry"), CASES)
def test_kernels_read_in_place_are_the_reference(batch, size, c_small, c_big, geometry):
    rng = np.random.default_rng(4)
    v = rng.standard_normal((batch, *size, c_small))
    kernel, bias = rng.standard_normal((*geometry.kernel_size, c_big, c_small)), rng.standard_normal(c_big)

    def truth(v, kernel, bias):
        return np.stack([reference.scatter(sample, kernel, geometry, bias) for sample in v])

    exact, magnitudes = truth(v, kernel, bias), truth(abs(v), abs(kernel), abs(bias))
    terms = int(np.prod(geometry.kernel_size)) * c_small + 1
    for isa in _native.instruction_sets():
        for dtype in (np.float32, np.float64):
            x, k, b = (a.astype(dtype) for a in (v, kernel, bias))
            with instruction_set(isa):
                assert us.plan(x, k, geometry, dtype=dtype).bytes_packed == 0
                for count in (1, 2):
                    with threads(count):
                        got = us.conv_transpose(x, k, b, geometry, activation="relu")
                        assert_within(got, np.maximum(exact, 0), magnitudes, terms, dtype)
                got = us.conv_transpose(first(x), kernel_first(k), b, geometry, channels="first")
            assert_within(got, first(exact), first(magnitudes), terms, dtype)


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
    assert us.plan((1, 4, 4, 1024), large, stride=2, padding=1, map="conv").bytes_packed > 0
