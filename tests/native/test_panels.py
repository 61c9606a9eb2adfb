"""Gradients of kernels with many channels, whose positions are copied to panels, against the definition tap by tap."""

import numpy as np
import pytest
from cases import assert_within
from switches import instruction_set, threads

import unstride as us
from unstride import _native

# Batch, size of the small grid, small and big channels, geometry. Positions are more than 1024 bytes apart; there are more of
# them than a panel has, or fewer; rows and lanes of one slice and of several, of whole vectors and of parts.
CASES = [
    (1, (13, 11), 300, 20, us.Geometry((2, 2), 2)),
    (2, (9, 15), 33, 141, us.Geometry((1, 3), 2, ((0, 1), (1, 2)))),
    (3, (70,), 261, 264, us.Geometry((3,), 1, 1)),
    (1, (64,), 272, 17, us.Geometry((1,), 1)),
    (2, (5, 7, 6), 150, 35, us.Geometry((2, 1, 2), (1, 2, 2), groups=1)),
    (4, (40,), 260, 280, us.Geometry((2,), 3, groups=2)),
]


def by_taps(big, small, geometry):
    """For each tap the sum over the positions that lie inside the big grid."""
    kernel = np.zeros((*geometry.kernel_size, big.shape[-1] // geometry.groups, small.shape[-1]))
    begin, sizes = [b for b, _ in geometry.crops], small.shape[1:-1]
    for tap in np.ndindex(*geometry.kernel_size):
        where = [
            np.arange(n) * s + t * d - b
            for n, s, t, d, b in zip(sizes, geometry.stride, tap, geometry.dilation, begin, strict=True)
        ]
        inside = [np.flatnonzero((w >= 0) & (w < n)) for w, n in zip(where, big.shape[1:-1], strict=True)]
        met = [w[i] for w, i in zip(where, inside, strict=True)]
        images = range(len(big))
        u, v = (a[np.ix_(images, *at)].reshape(-1, a.shape[-1]) for a, at in ((big, met), (small, inside)))
        for group in range(geometry.groups):
            uu, vv = (np.array_split(a, geometry.groups, axis=1)[group] for a in (u, v))
            kernel[tap][:, group * vv.shape[1] : (group + 1) * vv.shape[1]] = uu.T @ vv
    return kernel


@pytest.mark.parametrize("case", CASES)
def test_panels_are_the_definition(case):
    batch, size, c_small, c_big, geometry = case
    rng = np.random.default_rng(6)
    small = rng.standard_normal((batch, *size, c_small)).astype(np.float32).astype(float)
    big = rng.standard_normal((batch, *geometry.output_size(size), c_big)).astype(np.float32).astype(float)
    exact, magnitudes = by_taps(big, small, geometry), by_taps(abs(big), abs(small), geometry)
    for isa in _native.instruction_sets():
        for dtype in (np.float32, np.float64):
            with instruction_set(isa):
                single, double = [], []
                for count, into in ((1, single), (2, double)):
                    with threads(count):
                        into.append(us.kernel_gradient(big.astype(dtype), small.astype(dtype), geometry))
                np.testing.assert_array_equal(single, double)
                assert_within(single[0], exact, magnitudes, batch * int(np.prod(size)), dtype)
