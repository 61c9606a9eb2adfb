"""Numbers at the edge of what the native core counts: a right result, or an error that names what is too large."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unstride as us

EDGES = [1, 2, 3, 1023, 1024, 1025, 2**31 - 1, 2**31, 2**39 + 1, 2**40 - 1, 2**40, 2**40 + 1, 2**62, 2**63, 2**70]
NAMES = re.compile(r"\b(x|kernel|big|small|stride|dilation|padding|kernel_size|axis|crop|shape)\b")
REFUSALS = (us.GeometryError, MemoryError)
MOST = 200
"""Cells of a result that is computed here."""


@st.composite
def edges(draw):
    """A geometry of one axis at the edge, a small size, and where a result of few cells lies in its full size."""
    small, taps = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    stride, dilation = draw(st.sampled_from(EDGES)), draw(st.sampled_from(EDGES))
    full = (small - 1) * stride + (taps - 1) * dilation + 1
    cells = draw(st.integers(1, min(full, MOST)))
    near = draw(st.sampled_from([0, stride, dilation, full - cells]))
    begin = min(near, full - cells)
    return small, us.Geometry(taps, stride, ((begin, full - cells - begin),), None, dilation), cells


def connections(small, geometry, cells):
    """Small cell, tap and big cell, of all that meet."""
    (stride,), (dilation,), ((begin, _),) = geometry.stride, geometry.dilation, geometry.crops
    for i, j in itertools.product(range(small), range(geometry.kernel_size[0])):
        if 0 <= (at := i * stride + j * dilation - begin) < cells:
            yield i, j, at


@given(edges(), st.integers(0, 2**32))
def test_the_maps_are_right_or_say_what_is_too_large(edge, seed):
    small, geometry, cells = edge
    rng = np.random.default_rng(seed)
    x, y, kernel = (rng.integers(-8, 9, (n,)).astype(np.float32) for n in (small, cells, geometry.kernel_size[0]))
    forward, back, gradient = np.zeros_like(y), np.zeros_like(x), np.zeros_like(kernel)
    for i, j, at in connections(small, geometry, cells):
        forward[at] += x[i] * kernel[j]
        back[i] += y[at] * kernel[j]
        gradient[j] += y[at] * x[i]
    calls = [
        (forward, lambda: us.conv_transpose(x, kernel, geometry=geometry, channels=None)),
        (back, lambda: us.conv(y, kernel, geometry=geometry, channels=None)),
        (gradient, lambda: us.kernel_gradient(y, x, geometry=geometry, channels=None)),
    ]
    refused = 0
    for expected, call in calls:
        try:
            np.testing.assert_array_equal(call(), expected)  # small whole numbers: no rounding
        except REFUSALS as error:
            assert NAMES.search(str(error)), error
            refused += 1
    assert refused in (0, 3)  # whoever trains has all of them
    largest = max(*geometry.stride, *geometry.dilation, *geometry.crops[0], *geometry.full_size(small))
    assert bool(refused) == (largest > 2**40)


@given(edges(), st.sampled_from(["conv_transpose", "conv", "kernel_gradient"]))
def test_a_plan_is_told_or_says_what_is_too_large(edge, map):
    small, geometry, cells = edge
    try:
        plan = us.plan((1, small, 1), (*geometry.kernel_size, 1, 1), geometry, op=map)
    except us.GeometryError as error:
        assert NAMES.search(str(error)), error
        phases = min(geometry.stride[0], cells) if map == "conv_transpose" else 1
        assert phases > 1024 or max(*geometry.full_size(small), *geometry.stride, *geometry.dilation) > 2**40
    else:
        assert plan.multiply_adds == len(list(connections(small, geometry, cells)))


def test_a_plan_of_many_phases_is_refused_at_once():
    with pytest.raises(us.GeometryError, match=r"stride \(1024, 1024, 1024\) makes 1,024 x 1,024 x 1,024 phases"):
        us.plan((1, 9, 9, 9, 1), (3, 3, 3, 1, 1), stride=1024)
    assert us.plan((1, 10, 64), (10**4, 64, 64), stride=1000).multiply_adds == 10 * 10**4 * 64**2


@pytest.mark.parametrize(
    ("x", "kernel", "fields"),
    [
        ((0, 2**40, 1), (3, 1, 1), {"stride": 2**22}),
        ((0, 2**60, 1), (3, 1, 1), {}),
        ((0, 2**40, 1), (3, 2**24, 1), {}),
        ((1, 4, 0), (3, 0, 0), {"stride": 2**62}),
        ((1, 4, 2), (2**35, 0, 2), {}),
        ((1, 4, 4), (3, 0, 4), {"groups": 2, "stride": 2**41}),
    ],
)
def test_empty_arrays_of_huge_sizes(x, kernel, fields):
    x, kernel = (np.broadcast_to(np.float32(0), shape) for shape in (x, kernel))
    with pytest.raises(REFUSALS, match=NAMES):
        us.conv_transpose(x, kernel, **fields)


@pytest.mark.parametrize(
    "fields", [{}, {"padding": 1}, {"padding": "same"}, {"dilation": (2, 3, 4)}, {"stride": 2**39}]
)
@pytest.mark.parametrize("sizes", [((1, 2, 3), (10**6,) * 3), ((10**6, 7, 1), (2**40, 2**50, 2**60))])
def test_the_search_ends(fields, sizes):
    for geometry in us.solve(*sizes, **fields):
        assert geometry.output_size(sizes[0]) == sizes[1]
