"""The native kernels: every instruction set, type and layout against the reference; threads; views; bad calls."""

import contextlib
import threading

import exact as definitions
import numpy as np
import pytest
from cases import assert_within, counts, first, kernel_first, situations
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from switches import instruction_set, threads

import unstride as us
from unstride import _native, reference


@pytest.mark.slow
@settings(max_examples=100)
@given(situations(ranks=(1, 2, 3)), counts, counts, st.integers(1, 3))
def test_every_instruction_set_is_the_reference(situation, c_small, c_big, batch):
    geometry, size, rng = situation
    big = geometry.output_size(size)
    assume(0 not in big)
    v = rng.standard_normal((batch, *size, geometry.groups * c_small))
    u = rng.standard_normal((batch, *big, geometry.groups * c_big))
    kernel = rng.standard_normal((*geometry.kernel_size, c_big, geometry.groups * c_small))
    bias, other = rng.standard_normal(geometry.groups * c_big), rng.standard_normal(geometry.groups * c_small)

    def truth(v, u, kernel, bias, other):
        up, down = definitions.scatter(v, kernel, geometry, bias), definitions.conv(u, kernel, geometry, other)
        return up, down, definitions.kernel_gradient(u, v, geometry)

    exact = truth(v, u, kernel, bias, other)
    magnitudes = truth(*map(abs, (v, u, kernel, bias, other)))
    taps = int(np.prod(geometry.kernel_size))
    terms = taps * c_small + 1, taps * c_big + 1, batch * int(np.prod(size))
    for isa in _native.instruction_sets():
        for dtype in (np.float32, np.float64):
            x, y, k, b, o = (a.astype(dtype) for a in (v, u, kernel, bias, other))
            with instruction_set(isa):
                last = [
                    us.conv_transpose(x, k, b, geometry),
                    us.conv(y, k, o, geometry),
                    us.kernel_gradient(y, x, geometry),
                ]
                rectified = us.conv_transpose(x, k, b, geometry, activation="relu")
                x, y, k = first(x), first(y), kernel_first(k)
                other_layout = [
                    us.conv_transpose(x, k, b, geometry, channels="first"),
                    us.conv(y, k, o, geometry, channels="first"),
                    us.kernel_gradient(y, x, geometry, channels="first"),
                ]
            np.testing.assert_array_equal(rectified, np.maximum(last[0], 0))
            for i, turn in enumerate((first, first, kernel_first)):
                assert last[i].dtype == dtype
                assert_within(last[i], exact[i], magnitudes[i], terms[i], dtype)
                assert_within(other_layout[i], turn(exact[i]), turn(magnitudes[i]), terms[i], dtype)


# One of each way to compute: tiles with weights packed once or block by block, dots, depthwise, parted gradients.
WAYS = {
    "tile": ((3, 20, 20, 24), (3, 3, 40, 24), {"stride": 2, "padding": 1}),
    "blocks": ((4, 9, 9, 130), (4, 4, 150, 130), {"stride": 2, "padding": 1}),
    "unpacked": ((1, 4, 5, 133), (4, 5, 71, 133), {"stride": (2, 3), "padding": 1}),
    "wide groups": ((2, 30, 30, 8), (3, 3, 5, 8), {}),
    "dot": ((2, 40, 40, 60), (5, 5, 2, 60), {"stride": 2, "padding": 2}),
    "lanes": ((2, 40, 40, 37), (4, 4, 1, 37), {"stride": 2, "groups": 37}),
    "grouped": ((2, 30, 30, 48), (3, 3, 20, 48), {"stride": 2, "groups": 3}),
    "1-D": ((2, 900, 40), (8, 30, 40), {"stride": 4, "padding": 2}),
    "3-D": ((1, 12, 13, 14, 20), (3, 3, 3, 17, 20), {"stride": 2}),
    "images": ((64, 10, 10, 16), (3, 3, 8, 16), {}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("channels", ["last", "first"])
def test_the_same_bits_for_any_number_of_threads(way, channels):
    shape, taps, fields = WAYS[way]
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal(shape, np.float32), rng.standard_normal(taps, np.float32)
    if channels == "first":
        x, kernel = first(x), kernel_first(kernel)
    geometry = us.Geometry(taps[:-2], **fields)

    def all_maps():
        y = us.conv_transpose(x, kernel, None, geometry, channels=channels)
        return (
            y,
            us.conv(y, kernel, None, geometry, channels=channels),
            us.kernel_gradient(y, x, geometry, channels=channels),
        )

    with threads(1):
        expected = all_maps()
    for count in (1, 2, 3, 8):
        with threads(count):
            for got, alone in zip(all_maps(), expected, strict=True):
                np.testing.assert_array_equal(got, alone)


@pytest.mark.parametrize("way", WAYS)
def test_large_maps_are_adjoint(way):
    shape, taps, fields = WAYS[way]
    rng = np.random.default_rng(1)
    geometry = us.Geometry(taps[:-2], **fields)
    v, kernel = (rng.integers(-9, 10, shape).astype(float) for shape in (shape, taps))
    big = us.conv_transpose(v, kernel, None, geometry)
    u = rng.integers(-9, 10, big.shape).astype(float)
    small = us.conv(u, kernel, None, geometry)
    assert np.vdot(small, v) == np.vdot(u, big) == np.vdot(us.kernel_gradient(u, v, geometry), kernel)


def test_nan_reaches_what_it_touches_and_no_more():
    rng = np.random.default_rng(2)
    for c_small, c_big in ((5, 1), (16, 33), (3, 3)):
        x, kernel = rng.standard_normal((1, 9, 9, c_small)), rng.standard_normal((3, 3, c_big, c_small))
        clean = us.conv_transpose(x, kernel, stride=2, activation="relu")
        x[0, 4, 5, 0] = np.nan
        got = us.conv_transpose(x, kernel, stride=2, activation="relu")
        touched = np.zeros(got.shape, bool)
        touched[0, 8:11, 10:13] = True
        np.testing.assert_array_equal(np.isnan(got), touched)
        np.testing.assert_allclose(got[~touched], clean[~touched], rtol=1e-12, atol=1e-12)  # in another order
        x[0, 4, 5, 0] = 1.0
        kernel[0, 0, 0, 0] = np.inf
        got = us.conv_transpose(x, kernel, stride=2)
        assert np.isfinite(got[:, 1::2]).all()
        assert np.isfinite(got[..., 1:]).all()


def test_nan_in_views_stays_where_it_is():
    rng = np.random.default_rng(6)
    for c_small, c_big, k in ((1, 1, 2), (3, 1, 3), (3, 2, 5), (16, 5, 3), (64, 1, 3)):
        x, kernel = rng.standard_normal((1, 9, 9, c_small)), rng.standard_normal((k, k, c_big, c_small))
        x[0, 4, (0, 8), 0] = np.nan
        for view in (x[:, :, ::-1], x[:, :, ::2], x[:, ::-2], x[:, :, 3:7]):
            got, expected = (us.conv_transpose(v, kernel, stride=2) for v in (view, view.copy()))
            np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))


@pytest.mark.parametrize("axis", [1, 2])
def test_a_result_of_one_cell_within_a_larger_array(axis):
    rng = np.random.default_rng(7)
    shape = [1, 5]
    x = rng.standard_normal((2, *(shape if axis == 1 else shape[::-1]), 4))
    kernel, padding = rng.standard_normal((3, 3, 5, 4)), [(1, 1), (0, 0)] if axis == 1 else [(0, 0), (1, 1)]
    expected = us.conv_transpose(x, kernel, stride=2, padding=padding)
    assert expected.shape[axis] == 1
    store = np.full((2, 30, 30, 14), 7.0)
    out = store[:, 20:21, 3:14, 4:9] if axis == 1 else store[:, 3:14, 20:21, 4:9]
    us.conv_transpose(x, kernel, stride=2, padding=padding, out=out)
    np.testing.assert_array_equal(out, expected)
    out[...] = 7.0
    assert (store == 7.0).all()


def test_nothing_in_nothing_out():
    empty = us.kernel_gradient(np.zeros((0, 5, 2)), np.zeros((0, 3, 4)), kernel_size=3)
    np.testing.assert_array_equal(empty, np.zeros((3, 2, 4)))
    bias = np.array([-1.0, 2.0])
    for channels, shape in (("last", (3, 2, 0)), ("first", (0, 2, 3))):
        x = np.zeros((1, 4, 0) if channels == "last" else (1, 0, 4))
        y = us.conv_transpose(x, np.zeros(shape), bias, channels=channels, activation="relu")
        np.testing.assert_array_equal(y if channels == "last" else y.swapaxes(1, 2), [[[0, 2]] * 6])
    assert us.conv(np.zeros((1, 5, 0)), np.zeros((2, 0, 3))).tolist() == np.zeros((1, 4, 3)).tolist()


@pytest.mark.parametrize("channels", ["last", "first"])
def test_strides_beyond_the_plans(channels):
    rng = np.random.default_rng(8)
    v, kernel, bias = rng.standard_normal((2, 3, 2, 6)), rng.standard_normal((2, 3, 4, 6)), rng.standard_normal(8)
    geometry = us.Geometry((2, 3), (1500, 1), ((1, -2), (0, 1)), None, (3, 1), 2)
    expected = np.stack([reference.scatter(sample, kernel, geometry, bias) for sample in v])
    if channels == "first":
        v, kernel, expected = first(v), kernel_first(kernel), first(expected)
    np.testing.assert_allclose(us.conv_transpose(v, kernel, bias, geometry, channels=channels), expected, rtol=1e-12)
    single = us.conv_transpose(np.ones((1, 1, 1)), np.ones((1, 1, 1)), stride=2**35)
    assert single.tolist() == [[[1]]]
    with pytest.raises(us.GeometryError, match=r"stride has an entry of 1267650600228229401496703205376"):
        us.conv(np.ones((1, 1, 1)), np.ones((1, 1, 1)), stride=2**100)


def test_views_are_read_and_written_in_place():
    rng = np.random.default_rng(3)
    store = rng.standard_normal((4, 22, 20, 12))
    kernel, bias = rng.standard_normal((3, 3, 5, 6)), rng.standard_normal(5)
    views = [store[::2, 1::2, ::-1, :6], store[1:3, :11, 3:13, 3:9], store[:2, :11, :10, ::2], store[:2, ::-2, ::2, 6:]]
    for x in views:
        expected = us.conv_transpose(x.copy(), kernel, bias, stride=2)
        # Not the same bits: some kernels are for cells that are adjacent.
        np.testing.assert_allclose(us.conv_transpose(x, kernel, bias, stride=2), expected, rtol=1e-12, atol=1e-12)
        whole = np.full((4, 50, 50, 15), 7.0)
        for out in (
            whole[::2, : expected.shape[1], 2 : 2 + expected.shape[2], 5:10],
            whole[1:3, : expected.shape[1], : expected.shape[2], ::3],
        ):
            untouched = whole.copy()
            assert us.conv_transpose(x, kernel, bias, stride=2, out=out) is out
            np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
            out[...] = 7.0
            np.testing.assert_array_equal(whole, untouched)
        turned = np.asfortranarray(kernel)
        np.testing.assert_array_equal(us.conv_transpose(x, turned, bias[::-1][::-1], stride=2), expected)
        gradient = np.empty((3, 3, 5, 6))
        want = us.kernel_gradient(expected, x.copy(), kernel_size=(3, 3), stride=2)
        assert us.kernel_gradient(expected, x, kernel_size=(3, 3), stride=2, out=gradient) is gradient
        np.testing.assert_array_equal(gradient, want)
        turned_rows = expected[:, ::-1]
        copied = us.conv(turned_rows.copy(), kernel, stride=2)
        np.testing.assert_allclose(us.conv(turned_rows, kernel, stride=2), copied, rtol=1e-12, atol=1e-12)
    bare = np.empty(4)
    assert us.conv_transpose([1.0, 2.0], [1.0, 3.0], stride=2, channels=None, out=bare) is bare
    np.testing.assert_array_equal(bare, [1, 3, 2, 6])
    x = np.frombuffer(bytes(96), np.float64).reshape(1, 12, 1)
    assert us.conv(x, np.ones((2, 1, 1))).shape == (1, 11, 1)


def test_out_is_checked():
    x, kernel = np.ones((1, 4, 2)), np.ones((2, 3, 2))
    locked = np.empty((1, 5, 3))
    locked.flags.writeable = False
    shared = np.empty((1, 5, 3)), np.empty(15)
    x_inside = shared[1][:8].reshape(1, 4, 2)
    for out, error, said in (
        (np.empty((1, 6, 3)), us.GeometryError, "out has shape (1, 6, 3); expected the result's, (1, 5, 3)"),
        (np.empty((1, 5, 3), np.float32), TypeError, "out is of type float32"),
        ([[1.0]], TypeError, "out is list; expected a numpy.ndarray"),
        (locked, us.GeometryError, "out is read-only"),
    ):
        with pytest.raises(error) as caught:
            us.conv_transpose(x, kernel, out=out)
        assert said in str(caught.value)
    with pytest.raises(us.GeometryError, match="out overlaps an argument"):
        us.conv_transpose(x_inside, kernel, out=shared[1].reshape(1, 5, 3))
    with pytest.raises(us.ArgumentError, match="activation is 'tanh'; expected None or 'relu'"):
        us.conv_transpose(x, kernel, activation="tanh")


def test_what_was_checked_once_is_checked_again_where_it_differs():
    x, kernel = np.ones((1, 4, 1), np.float32), np.ones((2, 1, 1), np.float32)
    us.conv_transpose(x, kernel, stride=1)
    for wrong in (True, 1.0):
        with pytest.raises(us.GeometryError, match="stride is"):
            us.conv_transpose(x, kernel, stride=wrong)
    assert us.conv_transpose(x, kernel, np.ones(1, np.float32)).max() == 3
    with pytest.raises(us.GeometryError, match="bias has 2 entries"):
        us.conv_transpose(x, kernel, np.ones(2, np.float32))


@pytest.mark.slow
@settings(max_examples=500)
@given(situations(ranks=(1, 2, 3)), st.data())
def test_no_shape_crashes_the_core(situation, data):
    """The core checks for itself what keeps it inside of its arrays: a call that fits, with something changed."""
    geometry, size, rng = situation
    groups, cs, cb = geometry.groups, int(rng.integers(0, 4)), int(rng.integers(0, 4))
    shapes = {
        "small": [2, *size, groups * cs],
        "kernel": [*geometry.kernel_size, cb, groups * cs],
        "big": [2, *geometry.output_size(size), groups * cb],
        "bias": [groups * cb],
        "stride": list(geometry.stride),
        "dilation": list(geometry.dilation),
        "begin": [b for b, _ in geometry.crops],
        "groups": [groups],
    }
    odd = st.one_of(st.integers(-1, 5), st.sampled_from([2**31, 2**40, 2**62 + 1, -(2**63)]))
    for _ in range(data.draw(st.integers(0, 2))):
        name = data.draw(st.sampled_from(sorted(shapes)))
        where = data.draw(st.integers(0, len(shapes[name]) - 1))
        sizes = st.integers(0, 5) if name in ("small", "kernel", "big", "bias") else odd
        shapes[name][where] = data.draw(sizes)
        if len(shapes[name]) > 1 and data.draw(st.integers(0, 9)) == 0:
            shapes[name].pop()
    dtypes = st.sampled_from([np.float32] * 8 + [np.float64, np.int64, np.dtype([])])

    def array(name):
        made = np.ones(shapes[name], data.draw(dtypes))
        return made if data.draw(st.integers(0, 3)) else np.broadcast_to(made[:1], made.shape)

    fields = shapes["stride"], shapes["dilation"], shapes["begin"], sum(shapes["groups"])
    first_, transposed = data.draw(st.booleans()), data.draw(st.booleans())
    x, out = ("small", "big") if transposed else ("big", "small")
    bias = array("bias") if data.draw(st.booleans()) else None
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        _native.compute(
            transposed,
            array(x),
            array("kernel"),
            bias,
            np.ones(shapes[out], np.float32),
            *fields,
            first_,
            first_,
            False,
        )
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        _native.gradient(array("big"), array("small"), np.ones(shapes["kernel"], np.float32), *fields, first_, first_)
    for map_name in ("conv", "conv_transpose", "kernel_gradient"):
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            _native.describe(
                map_name, size, shapes["big"][1:-1], geometry.kernel_size, *fields[:3], 2, fields[3], cs, cb, 4
            )


def test_grids_and_kernels_may_each_have_their_own_layout():
    """PyTorch's channels_last tensors beside its kernels, and Keras's kernels beside grids with channels first."""
    rng = np.random.default_rng(6)
    geometry = us.Geometry((3, 2), (2, 1), ((1, 0), (-1, 1)), groups=2)
    x, kernel = rng.standard_normal((2, 4, 5, 6), np.float32), rng.standard_normal((3, 2, 5, 6), np.float32)
    y = us.conv_transpose(x, kernel, None, geometry)
    down, gradient = us.conv(y, kernel, None, geometry), us.kernel_gradient(y, x, geometry)
    fields = geometry.stride, geometry.dilation, [b for b, _ in geometry.crops], geometry.groups
    for grids_first, taps_first in ((False, True), (True, False)):
        grid, taps = first if grids_first else np.copy, kernel_first if taps_first else np.copy
        made = [grid(y) * 0, grid(x) * 0, taps(kernel) * 0]
        _native.compute(True, grid(x), taps(kernel), None, made[0], *fields, grids_first, taps_first, False)
        _native.compute(False, grid(y), taps(kernel), None, made[1], *fields, grids_first, taps_first, False)
        _native.gradient(grid(y), grid(x), made[2], *fields, grids_first, taps_first)
        for found, expected in zip(made, (grid(y), grid(down), taps(gradient)), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_results_beyond_memory_are_refused_before_any_work():
    x, kernel = np.ones((1, 2, 1)), np.ones((2, 1, 1))
    for extension in (2**45, 2**61, 2**70):
        with pytest.raises(MemoryError, match=rf"result of shape \(1, {extension * 2 + 3}, 1\), type float64"):
            us.conv_transpose(x, kernel, padding=-extension)
    with pytest.raises(MemoryError, match="no memory for a result"):
        us.conv_transpose(x, kernel, stride=2**50)
    wide = np.broadcast_to(np.ones(1), (2**22, 2**22, 1))
    with pytest.raises(MemoryError):
        us.conv(wide, kernel)


def test_calls_from_many_threads_are_right():
    rng = np.random.default_rng(4)
    jobs = []
    for way in WAYS.values():
        shape, taps, fields = way
        x, kernel = rng.standard_normal(shape, np.float32), rng.standard_normal(taps, np.float32)
        jobs.append((x, kernel, fields, us.conv_transpose(x, kernel, **fields)))
    failures = []

    def work(start):
        for turn in range(12):
            x, kernel, fields, expected = jobs[(start + turn) % len(jobs)]
            if not np.array_equal(us.conv_transpose(x, kernel, **fields), expected):
                failures.append((start, turn))

    workers = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures
