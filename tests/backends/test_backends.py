"""The three maps on PyTorch, JAX and TensorFlow arrays: the numbers of NumPy's, differentiable, in the array's own kind."""

import itertools
import subprocess
import sys

import jax
import jax.numpy as jnp
import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
import torch
from cases import arrays, assert_within, first, kernel_first, samples, terms_of

import unstride as us

GRAPH = "tensorflow graph"  # which computes by other means than eager TensorFlow
MAKE = {"torch": torch.tensor, "jax": jnp.asarray, "tensorflow": tf.constant, GRAPH: tf.constant}
KIND = {"torch": torch.Tensor, "jax": jax.Array, "tensorflow": tf.Tensor, GRAPH: tf.Tensor}
LIBRARIES = ["torch", "jax", "tensorflow"]
COUNTS = {"torch": 150, "jax": 20, "tensorflow": 150, GRAPH: 60}


def pulled_back(library, function, values, weights):
    """function(*values) and the gradients of its inner product with weights, as NumPy arrays."""
    if library == "torch":
        leaves = [torch.tensor(value, requires_grad=True) for value in values]
        y = function(*leaves)
        (y * torch.tensor(weights)).sum().backward()
        return y.detach().numpy(), [leaf.grad.numpy() for leaf in leaves]
    if library == "jax":

        @jax.jit  # one compilation instead of one for each operation
        def both(values, weights):
            y, pull = jax.vjp(function, *values)
            return y, pull(weights)

        y, gradients = both([jnp.asarray(value) for value in values], jnp.asarray(weights))
        return np.asarray(y), [np.asarray(g) for g in gradients]
    leaves = [tf.Variable(value) for value in values]

    def both():
        with tf.GradientTape() as tape:
            y = function(*leaves)
        return y, tape.gradient(y, leaves, tf.constant(weights))

    y, found = (tf.function(both) if library == GRAPH else both)()
    return y.numpy(), [tf.convert_to_tensor(g).numpy() for g in found]


@pytest.mark.slow
@pytest.mark.parametrize("channels", ["last", "first"])
@pytest.mark.parametrize("library", MAKE)
def test_values_and_gradients(library, channels):
    here, taps = (first, kernel_first) if channels == "first" else (np.asarray, np.asarray)
    for geometry, size, rng in samples(COUNTS[library], seed=len(channels), ranks=(1, 2, 3)):
        if 0 in geometry.output_size(size):
            continue
        v, kernel, bias, u = (a.astype(np.float32) for a in arrays(geometry, size, rng))
        terms = terms_of(geometry, kernel)
        many = len(u) * int(np.prod(size)) + len(u)

        def check(got, rule, *values, terms, layout, geometry=geometry):
            exact = rule(*(a.astype(np.float64) for a in values), geometry)
            magnitude = rule(*(abs(a.astype(np.float64)) for a in values), geometry)
            assert_within(got, layout(exact), layout(magnitude), terms, np.float32)

        def transposed(x, k, b):
            return us.conv_transpose(x, k, b, geometry, channels=channels)  # noqa: B023 - called in this round

        y, (gx, gk, gb) = pulled_back(library, transposed, (here(v), taps(kernel), bias), here(u))
        check(y, lambda x, k, b, g: us.conv_transpose(x, k, b, g), v, kernel, bias, terms=terms, layout=here)
        check(gx, lambda x, k, g: us.conv(x, k, None, g), u, kernel, terms=terms, layout=here)
        check(gk, us.kernel_gradient, u, v, terms=many, layout=taps)
        axes = tuple(range(u.ndim - 1))
        assert_within(gb, u.astype(float).sum(axes), abs(u.astype(float)).sum(axes), u[..., 0].size, np.float32)

        def convolved(x, k):
            return us.conv(x, k, None, geometry, channels=channels)  # noqa: B023 - called in this round

        y, (gx, gk) = pulled_back(library, convolved, (here(u), taps(kernel)), here(v))
        check(y, lambda x, k, g: us.conv(x, k, None, g), u, kernel, terms=terms, layout=here)
        check(gx, lambda x, k, g: us.conv_transpose(x, k, None, g), v, kernel, terms=terms, layout=here)
        check(gk, us.kernel_gradient, u, v, terms=many, layout=taps)

        pair = MAKE[library](here(u)), MAKE[library](here(v))

        def gradient(u, v):
            return us.kernel_gradient(u, v, geometry, channels=channels)  # noqa: B023 - called in this round

        got = (tf.function(gradient) if library == GRAPH else gradient)(*pair)
        assert isinstance(got, KIND[library])
        check(got, us.kernel_gradient, u, v, terms=many, layout=taps)


def test_gradient_where_a_convolution_leaves_cells_unread():
    big, kernel = np.arange(16.0, dtype=np.float32).reshape(1, 8, 2), np.ones((3, 2, 4), np.float32)
    for library in LIBRARIES:
        y, (gx, gk) = pulled_back(library, lambda u, k: us.conv(u, k, stride=2), (big, kernel), np.ones((1, 3, 4), "f"))
        np.testing.assert_array_equal(gx[0, :, 0], [4, 4, 8, 4, 8, 4, 4, 0])
        np.testing.assert_array_equal(gk[:, 0, 0], [0 + 4 + 8, 2 + 6 + 10, 4 + 8 + 12])
        assert y.shape == (1, 3, 4)


def test_second_derivative_on_jax():
    rng = np.random.default_rng(0)
    x, kernel = jnp.asarray(rng.standard_normal((1, 4, 2))), jnp.asarray(rng.standard_normal((3, 2, 2)))

    def energy(x, k):
        return (us.conv_transpose(x, k, stride=2) ** 3).sum()

    slope = jax.grad(lambda x: (jax.grad(energy)(x, kernel) ** 2).sum())(x)
    step = 1e-2
    direction = jnp.asarray(rng.standard_normal(x.shape))
    ahead, behind = ((jax.grad(energy)(x + h * direction, kernel) ** 2).sum() for h in (step, -step))
    np.testing.assert_allclose((ahead - behind) / (2 * step), jnp.vdot(slope, direction), rtol=1e-2)


def test_jax_does_not_abort_where_its_own_transposed_convolution_does():
    # jaxlib 0.10.2 ends the process on this configuration of jax.lax.conv_transpose.
    x, kernel = np.random.default_rng(0).standard_normal((2, 3, 2, 2)), np.ones((2, 4, 3, 2))
    fields = {"stride": (2, 3), "padding": "same", "output_padding": 0}
    y = us.conv_transpose(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32), **fields)
    np.testing.assert_allclose(y, us.conv_transpose(x, kernel, **fields), atol=1e-5)


@pytest.mark.parametrize("library", LIBRARIES)
def test_kinds_types_and_mixtures(library):
    make = MAKE[library]
    x, kernel = np.float32([[1, 2], [3, 4]]), np.float32([[1, 2], [3, 5]])
    y = us.conv_transpose(make(x), kernel, 0.5, stride=2, channels=None)
    assert isinstance(y, KIND[library])
    assert "float32" in str(y.dtype)
    np.testing.assert_array_equal(y, us.conv_transpose(x, kernel, 0.5, stride=2, channels=None))
    half = make(np.float16(x))
    y = us.conv_transpose(half, make(np.float16(kernel)), channels=None)
    assert y.dtype == half.dtype
    with pytest.raises(TypeError, match="x is of type int32"):
        us.conv_transpose(make(np.ones((1, 4, 2), np.int32)), make(np.ones((2, 1, 2), np.int32)))
    y = us.conv_transpose(make(np.int32([1, 2])), make(np.int32([1, 10])), channels=None)
    np.testing.assert_array_equal(y, [1, 12, 20])
    assert us.conv_transpose(make(np.ones((3, 1, 2), "f")), make(np.ones((2, 4, 2), "f")), padding=1).shape == (3, 0, 4)


@pytest.mark.parametrize("library", LIBRARIES)
def test_types_promote_and_lists_follow(library):
    make = MAKE[library]
    x = np.float32([[[1], [2]]])
    kernel = make(np.float16([[[1]], [[10]]]))
    assert "float32" in str(us.conv_transpose(make(x), kernel).dtype)
    assert "float16" in str(us.conv_transpose(make(np.float16(x)), kernel, bias=[0.5]).dtype)
    y = us.conv_transpose(make(np.float32([1, 2])), [1, 10], channels=None)
    assert "float32" in str(y.dtype)
    np.testing.assert_array_equal(y, [1, 12, 20])
    np.testing.assert_array_equal(
        us.conv_transpose(make(np.int32([1, 2])), [0.5, 1], 7.5, channels=None), [8, 9.5, 9.5]
    )


TYPES = ["bool", "int8", "uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64"]
FULL = {
    "numpy": (lambda shape, name: np.ones(shape, ml_dtypes.bfloat16 if name == "bfloat16" else name), np.promote_types),
    "torch": (lambda shape, name: torch.ones(shape, dtype=getattr(torch, name)), torch.promote_types),
    "jax": (lambda shape, name: jnp.ones(shape, name), jnp.promote_types),
    # TensorFlow promotes nothing itself.
    "tensorflow": (
        lambda shape, name: tf.ones(shape, name),
        lambda a, b: np.promote_types(a.as_numpy_dtype, b.as_numpy_dtype),
    ),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype:UserWarning")  # JAX's float64, which it has as float32
@pytest.mark.parametrize("library", FULL)
def test_every_pair_of_types_promotes_as_the_library_does_or_is_a_type_error(library):
    full, promote = FULL[library]
    for channels, x_shape, kernel_shape in (("last", (1, 3, 1), (2, 1, 1)), (None, (3,), (2,))):
        for one, other in itertools.product(TYPES, TYPES):
            x, kernel = full(x_shape, one), full(kernel_shape, other)
            case = f"{one} {other} channels={channels}"
            try:
                common = promote(x.dtype, kernel.dtype)
            except TypeError:  # NumPy knows none of int32 and bfloat16, for one
                common = None
            name = str(common).removeprefix("torch.")
            if common is None and "complex64" not in (one, other):
                with pytest.raises(TypeError, match=f"no common type: x of type .*{one}.*, kernel of type .*{other}"):
                    us.conv_transpose(x, kernel, channels=channels)
            elif common is None or name.startswith("complex") or name == "bool" or ("int" in name and channels):
                with pytest.raises(TypeError):
                    us.conv_transpose(x, kernel, channels=channels)
            else:
                y = us.conv_transpose(x, kernel, channels=channels)
                expected = {"jax": "float32"}.get(library, "float64") if "int" in name else name
                assert str(getattr(y.dtype, "name", y.dtype)).removeprefix("torch.") == expected, case
                y = y.double() if library == "torch" else y
                np.testing.assert_array_equal(np.asarray(y, np.float64).ravel(), [1, 2, 2, 1], case)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", ["contiguous", "channels_last", "last", None])
def test_tensors_at_odd_addresses(dtype, form):
    """Such as torch.frombuffer makes of a file's bytes."""
    rng = np.random.default_rng(8)
    number = getattr(torch, dtype)

    def odd(tensor):
        memory = bytearray(tensor.numel() * tensor.element_size() + 1)
        moved = torch.frombuffer(memory, dtype=number, offset=1).as_strided(tensor.shape, tensor.stride())
        return moved.copy_(tensor)

    def drawn(*shape):
        return torch.tensor(rng.standard_normal(shape), dtype=number)

    x, kernel, bias, y = drawn(2, 5, 6, 5), drawn(5, 3, 3, 2), drawn(3), drawn(2, 3, 13, 10)
    channels = {"last": "last", None: None}.get(form, "first")
    if form == "channels_last":
        x, kernel, y = (a.to(memory_format=torch.channels_last) for a in (x, kernel, y))
    elif form == "last":
        x, y = x.permute(0, 2, 3, 1).contiguous(), y.permute(0, 2, 3, 1).contiguous()
        kernel = kernel.permute(2, 3, 1, 0).contiguous()
    elif form is None:
        x, kernel, bias, y = drawn(6, 5), drawn(3, 2), drawn(), drawn(13, 10)
    small = drawn(*bias.shape) if form is None else drawn(5)
    for function, given, own in (
        (us.conv_transpose, (x, kernel, bias), {}),
        (us.conv, (y, kernel, small), {}),
        (us.kernel_gradient, (y, x), {"kernel_size": (3, 2)}),
    ):
        fields = own | {"stride": 2, "channels": channels}
        for watched in (False, True):
            results = []
            for make in (torch.clone, odd):
                leaves = [make(a).requires_grad_(watched) for a in given]
                result = function(*leaves, **fields)
                if watched:
                    result.sin().sum().backward()
                results.append([result.detach(), *(leaf.grad for leaf in leaves if watched)])
            for plain, moved in zip(*results, strict=True):
                assert torch.equal(plain, moved), (function.__name__, watched)


@pytest.mark.parametrize("library", MAKE)
def test_an_empty_batch(library):
    x, kernel = np.zeros((0, 3, 3, 1), np.float32), np.ones((2, 2, 4, 1), np.float32)
    for stride in (1, 2):
        y, (gx, gk) = pulled_back(
            library,
            lambda a, b: us.conv_transpose(a, b, stride=stride),  # noqa: B023 - called in this round
            (x, kernel),
            np.zeros((0, *us.Geometry((2, 2), stride).output_size(3), 4), np.float32),
        )
        assert (y.shape[0], gx.shape) == (0, x.shape)
        np.testing.assert_array_equal(gk, np.zeros_like(kernel))


def test_jit_and_graphs():
    x, kernel = np.random.default_rng(1).standard_normal((2, 5, 4, 3)).astype("f"), np.ones((3, 3, 2, 3), "f")
    expected = us.conv_transpose(x, kernel, stride=2, padding="same")
    jitted = jax.jit(lambda a, b: us.conv_transpose(a, b, stride=2, padding="same"))
    np.testing.assert_allclose(jitted(x, kernel), expected, atol=1e-4)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3))])
    def graph(a):
        return us.conv_transpose(a, kernel, stride=2, padding=((1, 0), (-1, 2)))

    np.testing.assert_allclose(graph(x), us.conv_transpose(x, kernel, stride=2, padding=((1, 0), (-1, 2))), atol=1e-4)
    assert graph(x[:, :2]).shape == (2, 4, 8, 2)


def test_keras_variables():
    kernel = keras.Variable(np.float32([1, 10]))
    y = us.conv_transpose(np.float32([1, 2]), kernel, channels=None)
    np.testing.assert_array_equal(y, [1, 12, 20])


def test_import_needs_numpy_only():
    code = (
        "import sys, unstride; "
        "heavy = {'keras', 'torch', 'jax', 'tensorflow', 'matplotlib', 'PIL', 'click', 'rich', 'jinja2'} & set(sys.modules); "
        "assert not heavy, heavy; unstride.conv_transpose([1.0], [1.0, 2.0], channels=None); "
        "assert not {'keras', 'torch', 'jax', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_native_core_names_the_instruction_set():
    from unstride._core import core as _native

    found = _native.instruction_set()
    assert found in ("avx512", "avx2", "neon", "baseline")
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123 - no file of ours
            flags = set(file.read().split())
    except OSError:  # no Linux
        return
    if found in ("avx512", "avx2"):
        assert {"avx2", "fma"} <= flags
    assert (found == "avx512") == ({"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= flags)


def test_a_masked_kernel_beside_a_tensor_is_refused():
    kernel = np.ma.masked_greater(np.ones((2, 1, 1)), 0)
    with pytest.raises(TypeError, match=r"kernel is a masked array; .* kernel.filled\(0\)"):
        us.conv_transpose(torch.ones(1, 3, 1), kernel)
