"""Dots of many products, which are summed slice by slice of the taps: against the reference, and the same bits always."""

import exact as definitions
import numpy as np
import pytest
from cases import assert_within, first, kernel_first
from switches import instruction_set, threads

import unstride as us
from unstride import _native

# Way, batch, size of the small grid, small and big channels, geometry. Tap blocks of some taps along x, of rows, of planes; work
# items that are areas and ones that are tap blocks; groups; cells that several phases compute together; taps that lie beyond the
# border, and additions that no tap reaches.
CASES = [
    ("conv", 1, (5, 7), 3, 141, us.Geometry((13, 9), (6, 4), ((3, -1), (2, 0)))),
    ("conv", 2, (40,), 5, 37, us.Geometry((300,), 40, ((150, 20),))),
    ("conv", 1, (4, 5, 3), 2, 121, us.Geometry((4, 3, 5), (2, 3, 4), 1)),
    ("conv", 1, (9, 4, 3), 3, 300, us.Geometry((5, 2, 2), (1, 2, 2))),
    ("conv", 1, (12, 9), 6, 300, us.Geometry((7, 4), 2, 3, groups=2)),
    ("conv", 1, (9, 5), 3, 505, us.Geometry((11, 10), (4, 5), ((6, 10), (-7, 4)))),
    ("conv", 1, (10, 9), 5, 130, us.Geometry((3, 9), 1, ((4, 4), (10, 10)), dilation=(3, 2))),
    ("conv", 1, (9, 4), 21, 21, us.Geometry((32, 16), (16, 7), ((8, 40), (-7, 4)))),
    ("conv_transpose", 1, (4, 12), 300, 2, us.Geometry((4, 8), (1, 2), 1)),
    ("conv_transpose", 3, (20,), 401, 2, us.Geometry((30,), 3, 1)),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_tap_blocks_are_the_reference(case):
    way, batch, size, c_small, c_big, geometry = case
    rng = np.random.default_rng(6)
    big = geometry.output_size(size)
    given, outputs = ((*big, c_big), c_small) if way == "conv" else ((*size, c_small), c_big)
    v, bias = rng.standard_normal((batch, *given)), rng.standard_normal(outputs)
    kernel = rng.standard_normal((*geometry.kernel_size, c_big // geometry.groups, c_small))
    defined = definitions.conv if way == "conv" else definitions.scatter
    exact = np.maximum(defined(v, kernel, geometry, bias), 0)
    magnitudes = defined(abs(v), abs(kernel), geometry, abs(bias))
    terms = int(np.prod(geometry.kernel_size)) * given[-1] + 1
    operation = getattr(us, way)
    for isa in _native.instruction_sets():
        for dtype in (np.float32, np.float64):
            x, k, b = (a.astype(dtype) for a in (v, kernel, bias))
            apart = np.zeros((*x.shape[:-2], x.shape[-2] + 3, x.shape[-1]), dtype)[..., :-3, :]
            apart[...] = x
            with instruction_set(isa):
                results = []
                for count in (1, 2, 3):
                    with threads(count):
                        results.append(operation(x, k, b, geometry, activation="relu"))
                results.append(operation(apart, k, b, geometry, activation="relu"))
                assert_within(results[0], exact, magnitudes, terms, dtype)
                for other in results[1:]:
                    np.testing.assert_array_equal(other, results[0])
                got = operation(first(x), kernel_first(k), b, geometry, channels="first", activation="relu")
            assert_within(got, first(exact), first(magnitudes), terms, dtype)


def plan(way, batch, size, c_small, c_big, geometry):
    return _native.describe(
        way, size, geometry.output_size(size), geometry.kernel_size, geometry.stride, geometry.dilation,
        [b for b, _ in geometry.crops], batch, geometry.groups, c_small // geometry.groups, c_big // geometry.groups, 4,
    )  # fmt: skip


def test_the_cases_are_cut_in_all_ways():
    with instruction_set(_native.instruction_sets()[-1]):
        plans = [plan(*case) for case in CASES]
    if plans[0]["lanes"] < 8:
        pytest.skip("needs a processor with AVX2: with narrower vectors most of the cases are tiles")
    blocked = [p["tap_blocks"] for p in plans if len(p["tap_blocks"]) > 1]
    assert len(blocked) >= 6
    assert {p["work"] == "split_k" for p in plans} == {False, True}
    for axis in (0, 2, 4):
        assert any(len({s[axis : axis + 2] for s in tap_blocks}) > 1 for tap_blocks in blocked)


@pytest.mark.parametrize("case", CASES)
def test_tap_blocks_hold_every_tap_once(case):
    told = plan(*case)
    taps = [max(len(p["shifts"]) for p in axis) for axis in told["axes"]]
    met = np.zeros(taps, int)
    for z, z_end, y, y_end, x, x_end in told["tap_blocks"]:
        assert z < z_end
        assert y < y_end
        assert x < x_end
        met[z:z_end, y:y_end, x:x_end] += 1
    assert (met == 1).all()
    if told["work"] == "split_k":
        ranges = [range(first, first + count) for first, count in told["tasks"]]
        assert sorted(i for r in ranges for i in r) == list(range(len(told["tap_blocks"])))


def test_a_kernel_of_many_taps_has_few_tap_blocks():
    told = plan("conv", 1, (100,), 3, 30000, us.Geometry((20000,), 600))
    assert len(told["tap_blocks"]) <= 4 * 4096
    assert told["tap_blocks"][-1][-1] == len(told["axes"][2][0]["shifts"])
    if told["lanes"] == 16:  # with narrower vectors this one is a tile
        assert len(told["tap_blocks"]) > 1000
