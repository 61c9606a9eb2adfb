"""The three maps on NumPy arrays: against the reference, the adjoint identity, layouts, types, errors."""

import warnings

import ml_dtypes
import numpy as np
import pytest
from cases import arrays, assert_within, first, kernel_first, situations, terms_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import unstride as us
from unstride import reference


@settings(max_examples=250)
@given(situations())
def test_conv_transpose_is_the_reference(situation):
    geometry, size, rng = situation
    x, kernel, bias, _ = arrays(geometry, size, rng)
    expected = np.stack([reference.scatter(sample, kernel, geometry, bias) for sample in x])
    magnitude = us.conv_transpose(abs(x), abs(kernel), abs(bias), geometry)
    terms = terms_of(geometry, kernel)
    assert_within(us.conv_transpose(x, kernel, bias, geometry), expected, magnitude, terms)
    single = us.conv_transpose(*(a.astype(np.float32) for a in (x, kernel, bias)), geometry)
    assert single.dtype == np.float32
    assert_within(single, expected, magnitude, terms)
    y = us.conv_transpose(first(x), kernel_first(kernel), bias, geometry, channels="first")
    assert y.flags.c_contiguous
    assert_within(y, first(expected), first(magnitude), terms)


@settings(max_examples=250)
@given(situations())
def test_conv_and_kernel_gradient_are_the_reference(situation):
    geometry, size, rng = situation
    v, kernel, _, u = arrays(geometry, size, rng)
    assume(0 not in geometry.output_size(size))
    bias = rng.standard_normal(kernel.shape[-1])
    expected = np.stack([reference.conv(sample, kernel, geometry, bias) for sample in u])
    magnitude = np.stack([reference.conv(sample, abs(kernel), geometry, abs(bias)) for sample in abs(u)])
    assert_within(us.conv(u, kernel, bias, geometry), expected, magnitude, terms_of(geometry, kernel))
    y = us.conv(first(u), kernel_first(kernel), bias, geometry, channels="first")
    assert_within(y, first(expected), first(magnitude), terms_of(geometry, kernel))

    expected = sum(reference.kernel_gradient(a, b, geometry) for a, b in zip(u, v, strict=True))
    magnitude = sum(reference.kernel_gradient(a, b, geometry) for a, b in zip(abs(u), abs(v), strict=True))
    terms = len(u) * int(np.prod(size)) + len(u)
    assert_within(us.kernel_gradient(u, v, geometry), expected, magnitude, terms)
    y = us.kernel_gradient(first(u), first(v), geometry, channels="first")
    assert_within(y, kernel_first(expected), kernel_first(magnitude), terms)


@settings(max_examples=250)
@given(situations(ranks=(1, 2, 3)))
def test_adjoint_identity_with_one_kernel_array(situation):
    geometry, size, rng = situation
    v, kernel, _, u = arrays(geometry, size, rng, integers=True)
    assume(0 not in geometry.output_size(size))
    small, big = us.conv(u, kernel, None, geometry), us.conv_transpose(v, kernel, None, geometry)
    assert np.vdot(small, v) == np.vdot(u, big) == np.vdot(us.kernel_gradient(u, v, geometry), kernel)


@pytest.mark.parametrize("channels", ["last", "first", None])
def test_a_convolution_that_leaves_cells_unread(channels):
    big, small, kernel = np.arange(8.0), np.arange(1.0, 4.0), np.array([1.0, 10.0, 100.0])
    if channels is not None:
        big, small = big.reshape(1, 8, 1), small.reshape(1, 3, 1)
        if channels == "first":
            big, small = first(big), first(small)
    gradient = us.kernel_gradient(big, small, kernel_size=3, stride=2, channels=channels)
    np.testing.assert_array_equal(gradient.ravel(), [16, 22, 28])
    assert us.conv(big, kernel if channels is None else kernel.reshape(3, 1, 1) if channels == "last" else kernel.reshape(1, 1, 3),
                   stride=2, channels=channels).size == 3  # fmt: skip


def test_fields_and_geometry_mean_the_same():
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((2, 4, 5, 6)), rng.standard_normal((3, 2, 2, 6))
    fields = {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2), "dilation": (1, 2), "groups": 2}
    geometry = us.Geometry((3, 2), **fields)
    y = us.conv_transpose(x, kernel, **fields)
    assert y.shape == (2, *geometry.output_size((4, 5)), 4)
    np.testing.assert_array_equal(y, us.conv_transpose(x, kernel, geometry=geometry))
    with pytest.raises(us.GeometryError, match="give one or the other"):
        us.conv_transpose(x, kernel, geometry=geometry, stride=2)
    with pytest.raises(us.GeometryError, match=r"has size \(3, 2\), but the geometry is for \(2, 3\)"):
        us.conv_transpose(x, kernel, geometry=us.Geometry((2, 3)))


def test_same_of_conv_follows_the_size():
    x, kernel = np.arange(7.0), np.array([1.0, 10.0, 100.0])
    np.testing.assert_array_equal(us.conv(x, kernel, stride=2, padding="same", channels=None), [100, 321, 543, 65])
    np.testing.assert_array_equal(us.conv(x[:6], kernel, stride=2, padding="same", channels=None), [210, 432, 54])
    gradient = us.kernel_gradient(x, np.ones(4), kernel_size=3, stride=2, padding="same", channels=None)
    np.testing.assert_array_equal(gradient, [1 + 3 + 5, 0 + 2 + 4 + 6, 1 + 3 + 5])


def test_bare_grids():
    y = us.conv_transpose([[0, 1], [2, 3]], [[0, 1], [2, 3]], channels=None)
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, [[0, 0, 1], [0, 4, 6], [4, 12, 9]])
    np.testing.assert_array_equal(us.conv_transpose([1, 2], [1, 10], 0.5, channels=None), [1.5, 12.5, 20.5])
    assert us.conv_transpose(np.ones((2, 2, 2), np.float32), np.ones((3, 2, 1)), channels=None).shape == (4, 3, 2)


@settings(max_examples=60)
@given(situations(ranks=(1, 2, 3), most_groups=1), st.sampled_from([np.float32, np.float64]))
def test_bare_grids_again_and_again(situation, dtype):
    """A repeated call on bare grids comes from the cache, whatever the arrays' strides and numbers."""
    geometry, size, rng = situation
    assume(0 not in geometry.output_size(size))
    calls = {
        us.conv_transpose: (size, geometry.kernel_size),
        us.conv: (geometry.output_size(size), geometry.kernel_size),
        us.kernel_gradient: (geometry.output_size(size), size),
    }
    for function, shapes in calls.items():
        for _ in range(3):
            a, b = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
            a, b = (one.T.copy().T if rng.integers(2) else one for one in (a, b))
            gradient = function is us.kernel_gradient
            wide = a[None, ..., None], b[None, ..., None] if gradient else b[..., None, None]
            rest = {"geometry": geometry} | ({} if gradient else {"bias": None})
            expected = function(*(np.ascontiguousarray(one) for one in wide), **rest)
            got = function(a, b, channels=None, **rest)
            assert got.shape == (expected[..., 0, 0] if gradient else expected[0, ..., 0]).shape
            tolerance = 200 * np.finfo(dtype).eps * max(1, np.abs(expected).max())
            np.testing.assert_allclose(got, expected[..., 0, 0] if gradient else expected[0, ..., 0], 0, tolerance)


def test_extension_has_the_bias_alone():
    y = us.conv_transpose([1.0, 2.0], [1.0, 10.0], 5.0, padding=((-1, -2),), channels=None)
    np.testing.assert_array_equal(y, [5, 6, 17, 25, 5, 5])


def test_a_result_without_cells():
    y = us.conv_transpose(np.ones((3, 1, 2)), np.ones((2, 4, 2)), padding=1)
    assert y.shape == (3, 0, 4)
    assert us.conv_transpose(np.ones((0, 2, 1)), np.ones((2, 1, 1))).shape == (0, 3, 1)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_types_are_computed_in_float32(dtype):
    rng = np.random.default_rng(1)
    x, kernel = rng.standard_normal((1, 9, 64)).astype(dtype), rng.standard_normal((4, 3, 64)).astype(dtype)
    y = us.conv_transpose(x, kernel, stride=2)
    assert y.dtype == dtype
    exact = us.conv_transpose(x.astype(np.float32), kernel.astype(np.float32), stride=2)
    np.testing.assert_array_equal(y, exact.astype(dtype))


def test_what_a_half_type_cannot_hold_is_infinite_without_a_warning():
    x, kernel = np.full((1, 3, 1), 6e4, np.float16), np.full((2, 1, 1), 4, np.float16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(us.conv_transpose(x, kernel)).all()
        assert np.isinf(us.conv(x, kernel)).all()
        assert np.isinf(us.kernel_gradient(x, x[:, :2], kernel_size=2)).all()


def test_half_types_of_large_strides_are_computed_in_float32():
    x, kernel = np.full((1, 1, 3000), 1, np.float16), np.full((1, 1, 3000), 1, np.float16)
    x[..., 1:] = 2.0**-11  # each lost, if added to 1 in float16
    assert us.conv_transpose(x, kernel, stride=2000)[0, 0, 0] == np.float16(1 + 2999 * 2.0**-11)


def test_the_arrays_decide_the_type_and_lists_follow():
    x, kernel = np.ones((1, 3, 1), np.float32), np.ones((2, 1, 1), np.float32)
    assert us.conv_transpose(x, kernel, [0.5]).dtype == np.float32
    assert us.conv_transpose(x, kernel.astype(float)).dtype == np.float64
    assert us.conv_transpose(np.float16([1, 2]), [1, 2], channels=None).dtype == np.float16
    assert us.conv_transpose(np.array([1, 2]), [0.5, 1], channels=None).tolist() == [0.5, 2, 2]


def test_views_and_byte_orders():
    rng = np.random.default_rng(2)
    x, kernel = rng.standard_normal((4, 10, 6)), rng.standard_normal((3, 2, 3))
    expected = us.conv_transpose(np.ascontiguousarray(x[::-2, 1::3, ::2]), kernel, stride=2)
    np.testing.assert_array_equal(us.conv_transpose(x[::-2, 1::3, ::2], kernel, stride=2), expected)
    np.testing.assert_array_equal(us.conv_transpose(x.astype(">f8")[::-2, 1::3, ::2], kernel, stride=2), expected)


def odd(array, offset=1):
    """The same numbers, at addresses that are no multiples of their size."""
    memory = np.zeros(array.nbytes + offset, np.uint8)
    moved = memory[offset:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    assert array.size == 0 or not moved.flags.aligned
    return moved


@settings(max_examples=100)
@given(situations(ranks=(1, 2, 3)), st.sampled_from(["f4", "f8", "f2"]), st.booleans(), st.integers(1, 3))
def test_numbers_at_odd_addresses_are_copied(situation, dtype, channels_first, offset):
    geometry, size, rng = situation
    v, kernel, bias, u = (a.astype(dtype) for a in arrays(geometry, size, rng))
    assume(0 not in geometry.output_size(size))
    fields = {"geometry": geometry, "channels": "first" if channels_first else "last"}
    if channels_first:
        v, u, kernel = first(v), first(u), kernel_first(kernel)
    small_bias = rng.standard_normal(us.conv(u, kernel, **fields).shape[1 if channels_first else -1]).astype(dtype)
    offset = 1 if dtype == "f2" else offset
    for function, plain in (
        (us.conv_transpose, (v, kernel, bias)),
        (us.conv, (u, kernel, small_bias)),
        (us.kernel_gradient, (u, v)),
    ):
        expected = function(*plain, **fields)
        for _ in range(2):  # the second time from what is known of the call
            np.testing.assert_array_equal(function(*(odd(a, offset) for a in plain), **fields), expected)
        for place in range(len(plain)):
            mixed = [odd(a, offset) if at == place else a for at, a in enumerate(plain)]
            np.testing.assert_array_equal(function(*mixed, **fields), expected)
        out = odd(np.zeros_like(expected), offset)
        assert function(*plain, **fields, out=out) is out
        np.testing.assert_array_equal(out, expected)


def test_files_in_memory_whose_numbers_begin_anywhere(tmp_path):
    x = np.random.default_rng(5).standard_normal((2, 9, 3)).astype("f4")
    kernel = np.ones((3, 2, 3), np.float32)
    expected = us.conv_transpose(x, kernel, stride=2)
    (tmp_path / "numbers").write_bytes(b"head!" + x.tobytes())
    mapped = np.memmap(tmp_path / "numbers", np.float32, "r", offset=5, shape=x.shape)
    read = np.frombuffer(b"head!" + x.tobytes(), np.float32, offset=5).reshape(x.shape)
    for array in (mapped, read):
        assert not array.flags.aligned
        np.testing.assert_array_equal(us.conv_transpose(array, kernel, stride=2), expected)
    bare, taps = np.frombuffer(b"!" + x[0, :, 0].tobytes(), np.float32, offset=1), kernel[:, 0, 0]
    np.testing.assert_array_equal(
        us.conv_transpose(bare, taps, channels=None), us.conv_transpose(x[0, :, 0], taps, channels=None)
    )


def test_masks_are_not_dropped_in_silence():
    x, kernel, y = np.ones((1, 4, 1)), np.ones((2, 1, 1)), np.ones((1, 5, 1))
    us.conv_transpose(x, kernel)  # known calls look too

    def masked(array):
        return np.ma.masked_greater(array, 0)

    for name, call in (
        ("x", lambda: us.conv_transpose(masked(x), kernel)),
        ("x", lambda: us.conv_transpose([masked(x[0])], kernel)),
        ("kernel", lambda: us.conv_transpose(x, masked(kernel))),
        ("kernel", lambda: us.conv(y, masked(kernel))),
        ("bias", lambda: us.conv(y, kernel, masked(np.ones(1)))),
        ("bias", lambda: us.conv_transpose([1, 2], [1, 2], np.ma.masked, channels=None)),
        ("big", lambda: us.kernel_gradient(masked(y), x, kernel_size=2)),
        ("small", lambda: us.kernel_gradient(y, masked(x), kernel_size=2)),
        ("out", lambda: us.conv_transpose(x, kernel, out=masked(y))),
        ("x", lambda: us.explain(masked(np.arange(3)), [1, 2])),
        ("kernel", lambda: us.explain([1, 2], masked(np.arange(3)))),
    ):
        with pytest.raises(TypeError, match=rf"{name} is a masked array; .* {name}.filled\(0\)"):
            call()
    np.testing.assert_array_equal(us.conv_transpose(masked(x).filled(1), kernel), us.conv_transpose(x, kernel))


@pytest.mark.parametrize("mask", [np.ma.nomask, [False] * 4])
def test_a_masked_array_without_a_mask_is_refused_in_other_words(mask):
    """None of its cells lacks a value; what is asked for is a plain array."""
    x = np.ma.array([1.0, 2.0, 3.0, 4.0], mask=mask)
    with pytest.raises(TypeError, match=r"though no cell of it is masked; .* give its numbers, x\.data$"):
        us.conv_transpose(x, [1, 2], channels=None)
    us.conv_transpose(x.data, [1, 2], channels=None)


ONES = np.ones


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: us.conv_transpose(ONES((1, 4, 2), int), ONES((3, 1, 2), int)), TypeError, "x is of type int64; expected float32"),
        (lambda: us.conv_transpose(ONES((4,), complex), ONES(3), channels=None), TypeError, "x is of type complex128"),
        (lambda: us.conv_transpose(ONES((4,), bool), ONES(3, bool), channels=None), TypeError, "x is of type bool"),
        (lambda: us.conv_transpose(["a"], [1], channels=None), TypeError, "x is of type"),
        (lambda: us.conv([1e300, 1], ONES(2, "f4"), channels=None), TypeError, r"x has 1e\+300, more than float32 holds"),
        (lambda: us.conv_transpose(ONES((4, 2)), ONES((3, 1, 2))), us.GeometryError, r"x has 2 dimensions, shape \(4, 2\).*channels=None"),
        (lambda: us.conv_transpose(ONES((1, 4, 2)), ONES((3, 2))), us.GeometryError, "kernel has 2 dimensions"),
        (lambda: us.conv_transpose(ONES((1, 4, 4, 2)), ONES((3, 1, 2))), us.GeometryError, "x has 2 spatial axes"),
        (lambda: us.conv_transpose(ONES((7, 7, 2)), ONES((3, 3, 1, 2))), us.GeometryError, r"x has 1 spatial axis, .* the kernel 2, .* same number; if x is without its batch axis, give x\[None\]"),
        (lambda: us.conv_transpose(ONES((2, 7, 7)), ONES((2, 1, 3, 3)), channels="first"), us.GeometryError, r"x\[None\]"),
        (lambda: us.conv(ONES((7, 7, 1)), ONES((3, 3, 3, 1, 1))), us.GeometryError, r"give x\[None, \.\.\., None\]"),
        (lambda: us.conv(ONES((1, 7, 7, 1)), ONES((3, 3, 1))), us.GeometryError, "same number$"),
        (lambda: us.conv(ONES((1, 7, 7, 7, 1)), ONES((3, 3, 3))), us.GeometryError, r"give kernel\[\.\.\., None, None\]"),
        (lambda: us.kernel_gradient(ONES((1, 7, 1)), ONES((1, 4, 4, 1)), kernel_size=3), us.GeometryError, "big has 1 spatial axis, small 2"),
        (lambda: us.conv_transpose(ONES(4), ONES(3), channels=None, strides=2), TypeError, "strides=2 is no argument of conv_transpose; expected stride: write stride=2. us.conventions reads"),
        (lambda: us.conv(ONES(4), ONES(3), data_format="channels_first"), TypeError, 'of conv; expected channels: write channels="first" or "last"'),
        (lambda: us.kernel_gradient(ONES(4), ONES(3), dilation_rate=2), TypeError, "expected dilation: write dilation=2"),
        (lambda: us.explain([1, 2], [3, 4], strides=2), TypeError, "of explain; expected stride: write stride=2"),
        (lambda: us.explain([1, 2], [3, 4], groups=2), TypeError, "groups=2 is no argument of explain; expected some of x, kernel, bias"),
        (lambda: us.plan((1, 4, 2), (3, 1, 2), strides=2), TypeError, "of plan; expected stride"),
        (lambda: us.solve(7, 14, strides=2), TypeError, "of solve; expected stride"),
        (lambda: us.Geometry(3, paddings=2), TypeError, "of Geometry; expected padding: write padding=2$"),
        (lambda: us.conv_transpose(ONES((1, 4, 3)), ONES((3, 1, 2))), us.GeometryError, "x has 3 channels.*C_small = 2"),
        (lambda: us.conv(ONES((1, 4, 3)), ONES((3, 1, 2))), us.GeometryError, "x has 3 channels.* = 1"),
        (lambda: us.conv_transpose(ONES((1, 4, 3)), ONES((3, 1, 3)), groups=2), us.GeometryError, "2 groups do not divide"),
        (lambda: us.conv_transpose(ONES((1, 4, 2)), ONES((3, 1, 2)), ONES(2)), us.GeometryError, "bias has 2 entries; expected 1"),
        (lambda: us.conv_transpose(ONES(4), ONES(3), ONES(1), channels=None), us.GeometryError, "expected a number"),
        (lambda: us.conv_transpose(ONES((1, 0, 2)), ONES((3, 1, 2))), us.GeometryError, "input size of axis 0 is 0"),
        (lambda: us.conv_transpose(ONES(1), ONES(3), padding=2, channels=None), us.GeometryError, "more than the 3 cells"),
        (lambda: us.conv(ONES(2), ONES(3), channels=None), us.GeometryError, "kernel spans 3 cells"),
        (lambda: us.conv(ONES(2), ONES(3), channels="NHWC"), us.ArgumentError, "channels is 'NHWC'; expected 'last', 'first' or None"),
        (lambda: us.kernel_gradient(ONES(5), ONES(3), channels=None), us.GeometryError, "kernel_size is missing"),
        (lambda: us.kernel_gradient(ONES(5), ONES(3), (3,), channels=None), TypeError, r"geometry is \(3,\); expected a Geometry"),
        (lambda: us.conv_transpose(ONES(5), ONES(3), us.Geometry(3), channels=None), TypeError, "bias is a Geometry"),
        (lambda: us.conv_transpose(None, ONES(3), channels=None), TypeError, "x is None; expected an array"),
        (lambda: us.conv(ONES(5), ONES(3), geometry=us.Geometry(3), stride=np.array([2]), channels=None), us.GeometryError, "give one or"),
        (lambda: us.conv(ONES((5, 5)), ONES(3), channels=None), us.GeometryError, r"of size \(5, 5\), and the kernel 1, of size \(3,\)"),
        (lambda: us.kernel_gradient(ONES(5), ONES(3), kernel_size=2, channels=None), us.GeometryError, "do not belong together"),
        (lambda: us.kernel_gradient(ONES((2, 5, 1)), ONES((1, 4, 1)), kernel_size=2), us.GeometryError, "big has a batch of 2"),
        (lambda: us.kernel_gradient(ONES((2, 5, 3)), ONES((2, 4, 2)), kernel_size=2, groups=2), us.GeometryError, "big has 3 channels"),
    ],
)  # fmt: skip
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_no_argument_is_changed():
    rng = np.random.default_rng(3)
    x, kernel, bias = rng.standard_normal((1, 4, 2)), rng.standard_normal((3, 5, 2)), rng.standard_normal(5)
    kept = [a.copy() for a in (x, kernel, bias)]
    us.conv_transpose(x, kernel, bias, stride=2)
    for a, b in zip((x, kernel, bias), kept, strict=True):
        np.testing.assert_array_equal(a, b)
