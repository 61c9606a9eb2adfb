"""Sizes, crops, phases and what the constructor refuses."""

import dataclasses
import itertools

import numpy as np
import pytest
from cases import arrays, geometries, situations
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import unstride as us
from unstride import reference
from unstride.geometry import convolution


@given(situations(ranks=(1, 2, 3)))
def test_sizes_by_the_formula_of_pytorch_and_back(situation):
    geometry, size, _ = situation
    for n, L, k, s, d, (b, e) in zip(
        size, geometry.output_size(size), geometry.kernel_size, geometry.stride, geometry.dilation, geometry.crops,
        strict=True,
    ):  # fmt: skip
        # torch.nn.ConvTranspose1d's documentation, with 2 * padding - output_padding = b + e
        assert (n - 1) * s - (b + e) + d * (k - 1) + 1 == L
    if 0 not in geometry.output_size(size):
        assert geometry.conv_size(geometry.output_size(size)) == size


@given(situations(ranks=(1,)), st.data())
def test_every_size_that_a_convolution_reads_fits(situation, data):
    geometry, _, _ = situation
    big = data.draw(st.integers(1, 40))
    b, e = geometry.crops[0]
    if big + b + e < geometry.spans[0]:
        with pytest.raises(us.GeometryError, match="kernel spans"):
            geometry.conv_size(big)
        return
    small = geometry.conv_size(big)
    fitted = geometry.fitted(small, big)
    assert fitted.output_size(small) == (big,)
    assert fitted.conv_size(big) == small
    if geometry.stride[0] < big:
        with pytest.raises(us.GeometryError, match="do not belong together"):
            geometry.fitted(small, big + geometry.stride[0])


@given(geometries(), st.integers(1, 6))
def test_same_makes_stride_times_as_many(geometry, n):
    same = us.Geometry(geometry.kernel_size, geometry.stride, "same", None, geometry.dilation)
    assert same.output_size(n) == tuple(n * s for s in same.stride)


@given(geometries(), st.integers(1, 30))
def test_same_of_a_convolution_divides_by_the_stride_rounding_up(geometry, big):
    same = convolution((big,) * geometry.rank, geometry.kernel_size, geometry.stride, "same", geometry.dilation)
    small = same.conv_size(big)
    assert small == tuple(-(-big // s) for s in same.stride)
    assert same.output_size(small) == (big,) * same.rank
    assert all((b >= 0 and e - b in (0, 1)) or (b == 0 and e < 0) for b, e in same.crops)


def test_valid_of_a_convolution_is_no_padding_whatever_the_stride():
    assert convolution(7, 2, 4, "valid") == us.Geometry(2, 4)
    assert us.conv(range(7), [1, 10], stride=4, padding="valid", channels=None).tolist() == [10, 54]


@given(situations(ranks=(1,)))
def test_phases_and_taps_make_the_same_cells(situation):
    geometry, (n,), rng = situation
    x, kernel, _, _ = (a.ravel() for a in arrays(us.Geometry(geometry.kernel_size), (n,), rng, batch=1))
    x, kernel = x[:n], kernel[: geometry.kernel_size[0]]
    (length,) = geometry.output_size(n)
    by_phases = np.zeros(length)
    for phase in geometry.phases(0):
        for q, o in enumerate(range(phase.offset, length, geometry.stride[0])):
            for tap, shift in zip(phase.taps, phase.shifts, strict=True):
                if 0 <= q + shift < n:
                    by_phases[o] += x[q + shift] * kernel[tap]
    by_taps = np.zeros(length)
    for tap, here, there in geometry.taps(0, n, length):
        by_taps[there] += x[here] * kernel[tap]
    scattered = reference.scatter(x[:, None], kernel[:, None, None], geometry_of_one_group(geometry)).ravel()
    np.testing.assert_allclose(by_phases, scattered, atol=1e-12)
    np.testing.assert_allclose(by_taps, scattered, atol=1e-12)
    assert sorted(tap for phase in geometry.phases(0) for tap in phase.taps) == list(range(geometry.kernel_size[0]))


def geometry_of_one_group(g):
    return us.Geometry(g.kernel_size, g.stride, g.crops, None, g.dilation)


@given(geometries(ranks=(1, 2, 3)))
def test_repr_makes_it_again(geometry):
    assert eval(repr(geometry), {"Geometry": us.Geometry}) == geometry
    assert hash(eval(repr(geometry), {"Geometry": us.Geometry})) == hash(geometry)


def test_the_ways_to_write_padding():
    assert us.Geometry((3, 3), padding=1).crops == ((1, 1), (1, 1))
    assert us.Geometry((3, 3), padding=(1, 0)).crops == ((1, 1), (0, 0))
    assert us.Geometry((3, 3), padding=((1, 0), (0, -1))).crops == ((1, 0), (0, -1))
    assert us.Geometry((3, 3), padding=((1, 0), 2)).crops == ((1, 0), (2, 2))
    assert us.Geometry((3, 3), 2, padding=1, output_padding=1).crops == ((1, 0), (1, 0))
    assert us.Geometry(np.array([3, 3]), padding=np.array([[1, 0], [0, -1]])).crops == ((1, 0), (0, -1))
    assert us.Geometry(np.array(3), np.array(2), np.array(1)) == us.Geometry(3, 2, 1)
    assert us.Geometry((2, 3), 4, "VALID").crops == ((0, -2), (0, -1))  # None: as long as n * s
    assert us.Geometry((2, 3), 4, "valid", 0).crops == ((0, 0), (0, 0))


def test_a_geometry_cannot_be_changed():
    with pytest.raises(AttributeError):
        us.Geometry(3).stride = (2,)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kernel_size": 0}, "kernel_size of axis 0 is 0; expected an integer of at least 1"),
        ({"kernel_size": ()}, "kernel_size is empty"),
        ({"kernel_size": (3, 2.5)}, "kernel_size of axis 1 is 2.5; expected an integer"),
        ({"kernel_size": True}, "kernel_size of axis 0 is True; expected an integer"),
        ({"kernel_size": "3"}, "kernel_size of axis 0 is '3'; expected an integer"),
        ({"kernel_size": (3, 3), "stride": (2, 0)}, "stride of axis 1 is 0; expected an integer of at least 1"),
        ({"kernel_size": (3, 3), "stride": (2, 2, 2)}, "stride has 3 entries, .* one int for each axis: 2"),
        ({"kernel_size": 3, "dilation": -1}, "dilation is -1; expected an integer of at least 1"),
        ({"kernel_size": 3, "output_padding": -1}, "output_padding is -1; expected an integer of at least 0"),
        ({"kernel_size": 3, "groups": 0}, "groups is 0"),
        ({"kernel_size": 3, "padding": "full"}, "padding is 'full'; expected 'valid', 'same'"),
        ({"kernel_size": 3, "padding": (1, 0)}, r"padding has 2 entries, .* for example \(\(1, 0\),\)"),
        ({"kernel_size": 3, "padding": ((1, "a"),)}, "padding of axis 0, end, is 'a'"),
        ({"kernel_size": (3, 3), "padding": ((1, 0),)}, "padding has 1 pairs"),
        (
            {"kernel_size": 3, "padding": ((1, 0, 0),)},
            r"padding of axis 0 is \(1, 0, 0\); expected an int or a \(begin, end\) pair",
        ),
        ({"kernel_size": 3, "padding": None}, "padding is None; expected an integer"),
    ],
)
def test_the_constructor_names_argument_value_and_remedy(fields, message):
    with pytest.raises(us.GeometryError, match=message):
        us.Geometry(**fields)


def test_sizes_that_make_no_sense():
    geometry = us.Geometry(3, padding=4)
    with pytest.raises(us.GeometryError, match=r"the crop of axis 0 is \(4, 4\), more than the 5 cells"):
        geometry.output_size(3)
    with pytest.raises(us.GeometryError, match="input size is 0; expected an integer of at least 1"):
        us.Geometry(3).output_size(0)
    with pytest.raises(us.GeometryError, match="kernel spans 5 cells along axis 0"):
        us.Geometry(3, dilation=2).conv_size(4)
    assert us.Geometry(2, padding="same", output_padding=0).output_size(1) == (0,)


def test_solve_returns_geometries_that_fit_simplest_first():
    found = us.solve((7, 7), (28, 28))
    assert found[0] == us.Geometry((4, 4), stride=4)
    assert len(found) == len(set(found))
    uneven = [
        any(b != e for b, e in g.crops) or any(k % s for k, s in zip(g.kernel_size, g.stride, strict=True))
        for g in found
    ]
    assert uneven == sorted(uneven)
    assert not uneven[0]


@settings(max_examples=60)
@given(st.integers(1, 12), st.integers(1, 40), st.sampled_from([None, 3, 4]), st.sampled_from([None, 2, 3]))
def test_all_that_solve_returns_fits(n, L, kernel_size, stride):
    for geometry in us.solve(n, L, kernel_size=kernel_size, stride=stride, groups=2, limit=40):
        assert geometry.output_size(n) == (L,)
        assert kernel_size in (None, *geometry.kernel_size)
        assert stride in (None, *geometry.stride)
        assert geometry.groups == 2


@settings(max_examples=100)
@given(geometries(most_groups=1), st.integers(1, 6))
def test_solve_finds_what_its_fields_describe(geometry, n):
    full = geometry.full_size(n)
    assume(all(b + e < F for F, (b, e) in zip(full, geometry.crops, strict=True)))
    size = geometry.output_size(n)
    assume(0 not in size)
    found = us.solve(
        n, size, kernel_size=geometry.kernel_size, stride=geometry.stride, dilation=geometry.dilation,
        padding=geometry.crops,
    )  # fmt: skip
    assert found == [geometry]


@pytest.mark.parametrize(
    ("sizes", "name"),
    [
        (((1, 7, 7, 3), (1, 28, 28, 3)), "input_size"),
        (((1, 7, 7, 3), (28, 28)), "input_size"),
        ((7, (1, 28, 28, 3)), "output_size"),
        ((np.array([1, 3, 7, 7, 7]), 28), "input_size"),
    ],
)
def test_solve_takes_no_batch_or_channels_for_axes(sizes, name):
    with pytest.raises(
        us.GeometryError, match=rf"{name} is \(1, .* axes; expected 1 to 3.* leave out batch and channels"
    ):
        us.solve(*sizes)
    assert us.solve((7, 7, 3), (28, 28, 3))[0].stride == (4, 4, 1)  # three may be axes


def test_solve_with_a_padding_that_does_not_fit():
    assert us.solve(7, 14, kernel_size=3, stride=2, padding=0) == []  # makes 15
    assert us.solve(7, 14, kernel_size=3, stride=2, padding=1) == []  # makes 13
    assert us.solve(7, 14, kernel_size=3, stride=2, padding=1, output_padding=1) == [us.Geometry(3, 2, 1, 1)]
    assert us.solve(7, 14, kernel_size=3, stride=2, padding="same") == [us.Geometry(3, 2, "same")]


@pytest.mark.parametrize("entry", [[[1]], [{}], np.zeros((1, 1)), np.ma.masked, object(), 1.5, "same"], ids=range(7))
@pytest.mark.parametrize("name", ["padding", "output_padding"])
def test_solve_names_an_entry_that_is_no_number(name, entry):
    with pytest.raises(us.GeometryError, match=f"^{name} of axis 0"):
        us.solve((3,), (7,), **{"padding": 0, name: [entry]})


def test_solve_on_axes_that_differ_and_on_nothing():
    for geometry in itertools.islice(us.solve((7, 5), (14, 20)), 5):
        assert geometry.output_size((7, 5)) == (14, 20)
    assert us.solve((7, 5), (14, 20))[0] == us.Geometry((4, 4), (2, 4), ((1, 1), (0, 0)))
    assert us.solve(9, 4, kernel_size=1, stride=3) == []
    with pytest.raises(us.GeometryError, match="different numbers of axes"):
        us.solve((7, 7), (28, 28, 28))
    with pytest.raises(us.GeometryError, match="output_size is 0"):
        us.solve(7, 0)
    with pytest.raises(us.GeometryError, match="without padding"):
        us.solve(7, 14, output_padding=1)


@given(geometries(ranks=(1, 2, 3)), geometries(ranks=(1, 2, 3)))
def test_a_field_can_be_replaced(geometry, other):
    assert dataclasses.replace(geometry) == geometry
    assert dataclasses.replace(geometry, groups=7) == us.Geometry(
        geometry.kernel_size, geometry.stride, geometry.crops, None, geometry.dilation, 7
    )
    assert dataclasses.replace(geometry, padding=0).crops == ((0, 0),) * geometry.rank
    assert geometry.padding == geometry.crops
    assert dataclasses.replace(geometry, padding=[(1, 2)] * geometry.rank) == geometry.with_crops(
        [(1, 2)] * geometry.rank
    )
    if other.rank == geometry.rank:
        assert dataclasses.replace(geometry, kernel_size=other.kernel_size).crops == geometry.crops
