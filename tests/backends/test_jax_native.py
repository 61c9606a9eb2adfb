"""The three maps on JAX arrays: the numbers of the definitions, and every transformation that JAX has for them."""

import itertools

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import arrays, assert_within, first, kernel_first, situations, terms_of
from hypothesis import assume, given, settings
from jax.test_util import check_grads

import unstride as us
from unstride.backends.jax import batching

EACH = {"last": (np.asarray, np.asarray), "first": (first, kernel_first)}
# Kernel, stride, padding, output padding, dilation, groups; then a small size.
KINDS = {
    "one axis": (us.Geometry(3, 2), (4,)),
    "groups": (us.Geometry((3, 2), (2, 1), 1, None, 1, 2), (3, 4)),
    "dilation": (us.Geometry((3, 2), (2, 3), ((1, 2), (0, 1)), None, (2, 1)), (3, 2)),
    "signed crops": (us.Geometry((2, 3), 2, ((-2, 1), (1, -3))), (2, 3)),
    "k < s": (us.Geometry((2, 1), (4, 3), 0, (1, 2)), (2, 3)),
    "three axes": (us.Geometry((2, 1, 3), (2, 1, 1), ((1, 0), (0, 0), (-1, 1)), None, 1, 3), (2, 2, 3)),
}


def numbers(geometry, size, seed=0, batch=2, dtype=np.float64):
    """A small grid, a kernel, the two biases and a big grid, channels last."""
    rng = np.random.default_rng(seed)
    c_small, per_group = 2 * geometry.groups, 3
    shapes = (
        (batch, *size, c_small),
        (*geometry.kernel_size, per_group, c_small),
        (per_group * geometry.groups,),
        (c_small,),
        (batch, *geometry.output_size(size), per_group * geometry.groups),
    )
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def maps(geometry, channels):
    """Each map of two arrays."""
    return {
        "conv_transpose": lambda x, k: us.conv_transpose(x, k, None, geometry, channels=channels),
        "conv": lambda x, k: us.conv(x, k, None, geometry, channels=channels),
        "kernel_gradient": lambda u, v: us.kernel_gradient(u, v, geometry, channels=channels),
    }


def operands_of(name, small, kernel, big):
    return {"conv_transpose": (small, kernel), "conv": (big, kernel), "kernel_gradient": (big, small)}[name]


@pytest.mark.slow
@pytest.mark.parametrize("channels", ["last", "first"])
@settings(max_examples=40)
@given(situation=situations(ranks=(1, 2, 3)))
def test_the_definitions_numbers_and_gradients(channels, situation):
    geometry, size, rng = situation
    assume(0 not in geometry.output_size(size))
    v, kernel, bias, u = (a.astype(np.float32) for a in arrays(geometry, size, rng))
    here, taps = EACH[channels]
    many = len(u) * int(np.prod(size)) + len(u)

    def check(got, rule, *values, terms, layout=here):
        right, magnitude = rule(*map(np.float64, values)), rule(*(abs(np.float64(value)) for value in values))
        assert_within(got, layout(right), layout(magnitude), terms, np.float32)

    def scattered(x, k, b=0.0):
        return exact.scatter(x, k, geometry, b)

    def convolved(x, k):
        return exact.conv(x, k, geometry)

    def correlated(x, y):
        return exact.kernel_gradient(x, y, geometry)

    @jax.jit
    def everything(v, kernel, bias, u):
        y, pull = jax.vjp(lambda *o: us.conv_transpose(*o, geometry, channels=channels), v, kernel, bias)
        z, back = jax.vjp(lambda *o: us.conv(*o, None, geometry, channels=channels), u, kernel)
        rectified = us.conv_transpose(v, kernel, bias, geometry, channels=channels, activation="relu")
        return y, pull(u), z, back(v), rectified, us.kernel_gradient(u, v, geometry, channels=channels)

    y, (gx, gk, gb), z, (gu, gw), rectified, gradient = everything(here(v), taps(kernel), bias, here(u))
    terms = terms_of(geometry, kernel)
    check(y, scattered, v, kernel, bias, terms=terms)
    np.testing.assert_array_equal(rectified, np.maximum(y, 0))
    check(gx, convolved, u, kernel, terms=terms)
    check(z, convolved, u, kernel, terms=terms)
    check(gu, scattered, v, kernel, terms=terms)
    for got in (gk, gw, gradient):
        check(got, correlated, u, v, terms=many, layout=taps)
    axes = tuple(range(u.ndim - 1))
    assert_within(gb, u.sum(axes, np.float64), abs(u).sum(axes, np.float64), u[..., 0].size, np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("channels", ["last", "first"])
@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_of_second_order_forwards_and_backwards(kind, channels):
    geometry, size = KINDS[kind]
    here, taps = EACH[channels]
    small, kernel, bias, other, big = numbers(geometry, size)
    small, kernel, big = here(small), taps(kernel), here(big)
    with jax.enable_x64(True):
        for name, rule in maps(geometry, channels).items():
            check_grads(rule, operands_of(name, small, kernel, big), order=2, modes=("fwd", "rev"))
        check_grads(
            lambda x, k, b: us.conv_transpose(x, k, b, geometry, channels=channels, activation="relu") ** 3,
            (small, kernel, bias),
            order=2,
        )
        check_grads(
            lambda x, k, b: us.conv(x, k, b, geometry, channels=channels, activation="relu") ** 3,
            (big, kernel, other),
            order=2,
        )


def test_derivatives_where_a_convolution_leaves_cells_unread():
    rng = np.random.default_rng(3)
    with jax.enable_x64(True):
        big, kernel = rng.standard_normal((2, 9, 8, 3)), rng.standard_normal((2, 3, 3, 4))
        check_grads(lambda u, k: us.conv(u, k, stride=(3, 4), dilation=2), (big, kernel), order=2)


def test_derivatives_of_what_is_cropped_to_nothing():
    x, kernel, bias = np.ones((3, 1, 2), "f"), np.ones((2, 4, 2), "f"), np.ones(4, "f")
    y, pull = jax.vjp(lambda *o: us.conv_transpose(*o, padding=1), x, kernel, bias)
    assert y.shape == (3, 0, 4)
    for gradient, operand in zip(pull(y), (x, kernel, bias), strict=True):
        np.testing.assert_array_equal(gradient, np.zeros_like(operand))
    _, dy = jax.jvp(lambda *o: us.conv_transpose(*o, padding=1), (x, kernel, bias), (x, kernel, bias))
    assert dy.shape == (3, 0, 4)


def test_relu_has_the_slope_that_jax_gives_it():
    x = jnp.float32([[[-1.0], [0.0], [2.0], [np.nan]]])
    kernel = jnp.ones((1, 1, 1))

    def fused(x):
        return us.conv_transpose(x, kernel, activation="relu")

    y, dy = jax.jvp(fused, (x,), (jnp.full_like(x, 3),))
    z, dz = jax.jvp(jax.nn.relu, (x,), (jnp.full_like(x, 3),))
    np.testing.assert_array_equal(y, z)
    np.testing.assert_array_equal(dy, dz)
    kernels = jnp.zeros((3, 1, 1, 1))

    def of_all(kernels):
        return jax.vmap(lambda k: us.conv_transpose(x[:, :3], k, jnp.zeros(1), activation="relu"))(kernels).sum()

    np.testing.assert_array_equal(jax.grad(of_all)(kernels), jnp.zeros_like(kernels))
    with pytest.raises(NotImplementedError, match="relu is not linear"):
        jax.linear_transpose(fused, x)(y)


def test_transposes_of_linear_functions():
    geometry, size = KINDS["groups"]
    small, kernel, bias, _, big = numbers(geometry, size, dtype=np.float32)
    found = jax.linear_transpose(lambda x: us.conv(x, kernel, None, geometry), big)(small)[0]
    np.testing.assert_allclose(found, us.conv_transpose(small, kernel, None, geometry), rtol=1e-4, atol=1e-5)
    found = jax.linear_transpose(lambda b: us.conv_transpose(jnp.asarray(small), kernel, b, geometry), bias)(big)[0]
    np.testing.assert_allclose(found, big.sum((0, 1, 2)), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("in_groups", [True, False])
@pytest.mark.parametrize("channels", ["last", "first"])
@pytest.mark.parametrize("kind", ["one axis", "groups", "signed crops", "three axes"])
def test_vmap_over_each_argument_and_all(kind, channels, in_groups, monkeypatch):
    monkeypatch.setattr(batching, "MOST_IN_GROUPS", 2**60 if in_groups else -1)
    geometry, size = KINDS[kind]
    here, taps = EACH[channels]
    sets = [numbers(geometry, size, seed, dtype=np.float32) for seed in range(3)]
    sets = [(here(small), taps(kernel), bias, other, here(big)) for small, kernel, bias, other, big in sets]

    def with_bias(name):
        return lambda x, k, b: getattr(us, name)(x, k, b, geometry, channels=channels, activation="relu")

    rules = [(rule, [operands_of(n, s[0], s[1], s[4]) for s in sets]) for n, rule in maps(geometry, channels).items()]
    rules.append((with_bias("conv_transpose"), [(s[0], s[1], s[2]) for s in sets]))
    rules.append((with_bias("conv"), [(s[4], s[1], s[3]) for s in sets]))
    for rule, each in rules:
        count = len(each[0])
        for many in itertools.product([False, True], repeat=count):
            if not any(many):
                continue
            # The axis that is mapped over is another one for each operand.
            axes = [min(i + 1, each[0][i].ndim) if one else None for i, one in enumerate(many)]
            given = [
                each[0][i] if axis is None else np.stack([operands[i] for operands in each], axis)
                for i, axis in enumerate(axes)
            ]
            got = jax.jit(jax.vmap(rule, axes, 1))(*given)
            apart = [[operands[i] if one else each[0][i] for i, one in enumerate(many)] for operands in each]
            expected = np.stack([rule(*operands) for operands in apart], 1)
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4, err_msg=f"{many}")


@pytest.mark.slow
def test_vmap_of_vmap_and_of_gradients():
    geometry, size = KINDS["groups"]
    rng = np.random.default_rng(4)
    small, kernel, *_ = numbers(geometry, size, dtype=np.float32)
    xs = rng.standard_normal((3, *small.shape)).astype("f")
    kernels = rng.standard_normal((2, *kernel.shape)).astype("f")

    def energy(x, k):
        return (us.conv_transpose(x, k, None, geometry) ** 2).sum()

    table = jax.vmap(jax.vmap(jax.grad(energy, (0, 1)), (0, None)), (None, 0))(xs, kernels)
    for i, j in itertools.product(range(2), range(3)):
        for got, expected in zip(table, jax.grad(energy, (0, 1))(xs[j], kernels[i]), strict=True):
            np.testing.assert_allclose(got[i, j], expected, rtol=1e-3, atol=1e-3)
    assert jax.vmap(energy)(xs[:0], kernels[:0, None][:0, 0]).shape == (0,)


@pytest.mark.slow
def test_jacobians_and_hessians_agree():
    geometry, size = KINDS["signed crops"]
    with jax.enable_x64(True):
        small, kernel, bias, *_ = (jnp.asarray(a) for a in numbers(geometry, size, batch=1))

        def rule(x, k, b):
            return us.conv_transpose(x, k, b, geometry) ** 2

        forwards = jax.jacfwd(rule, (0, 1, 2))(small, kernel, bias)
        for one, other in zip(forwards, jax.jacrev(rule, (0, 1, 2))(small, kernel, bias), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-10)
        energy = jax.jit(lambda x, k: (us.conv_transpose(x, k, bias, geometry) ** 4).sum())
        twice = [
            jax.jacfwd(jax.grad(energy, 1), 0),
            jax.jacrev(jax.jacfwd(energy, 1), 0),
            jax.jacrev(jax.grad(energy, 1), 0),
        ]
        first_way, *others = (jax.jit(way)(small, kernel) for way in twice)
        for other in others:
            np.testing.assert_allclose(first_way, other, atol=1e-8)
        hessian = jax.hessian(lambda k: energy(small, k))(kernel).reshape(kernel.size, kernel.size)
        np.testing.assert_allclose(hessian, hessian.T, atol=1e-8)
        step, direction = 1e-5, np.random.default_rng(5).standard_normal(kernel.shape)
        ahead, behind = (jax.grad(energy, 1)(small, kernel + h * direction) for h in (step, -step))
        slope = (ahead - behind).ravel() / (2 * step)
        np.testing.assert_allclose(hessian @ direction.ravel(), slope, rtol=1e-5, atol=1e-5 * abs(slope).max())


def test_checkpoint_scan_and_disabled_jit():
    geometry, size = KINDS["one axis"]
    small, kernel, bias, other, _ = numbers(geometry, size, dtype=np.float32)

    def there_and_back(x, _=None):
        y = us.conv_transpose(x, kernel, bias, geometry, activation="relu")
        return us.conv(y, kernel, other, geometry) / 30, None

    def repeated(step, x):
        return (jax.lax.scan(step, x, None, length=3)[0] ** 2).sum()

    def unrolled(x):
        for _ in range(3):
            x, _ = there_and_back(x)
        return (x**2).sum()

    expected = jax.grad(unrolled)(jnp.asarray(small))
    for step in (there_and_back, jax.checkpoint(there_and_back)):
        np.testing.assert_allclose(jax.grad(lambda x: repeated(step, x))(small), expected, rtol=1e-5, atol=1e-7)  # noqa: B023
    with jax.disable_jit():
        np.testing.assert_allclose(jax.grad(unrolled)(jnp.asarray(small)), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_single(dtype):
    geometry, size = us.Geometry((3, 3), 2, 1), (5, 5)
    small, kernel, bias, other, big = numbers(geometry, size, dtype=np.float32)

    def slope(x, k, b):
        return jax.grad(lambda k: us.conv(x, k, b, geometry).astype(jnp.float32).sum())(k)

    for rule, operands in (
        (lambda x, k, b: us.conv_transpose(x, k, b, geometry, activation="relu"), (small, kernel, bias)),
        (lambda x, k, b: us.conv(x, k, b, geometry), (big, kernel, other)),
        (lambda u, v: us.kernel_gradient(u, v, geometry), (big, small)),
        (slope, (big, kernel, other)),
    ):
        half = [jnp.asarray(a).astype(dtype) for a in operands]
        y = rule(*half)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, rule(*(a.astype(jnp.float32) for a in half)).astype(dtype))


@pytest.mark.parametrize("channels", ["last", "first"])
def test_an_empty_batch(channels):
    geometry, size = KINDS["groups"]
    here, taps = EACH[channels]
    small, kernel, _, _, big = numbers(geometry, size, batch=0, dtype=np.float32)
    small, kernel, big = here(small), taps(kernel), here(big)
    for name, rule in maps(geometry, channels).items():
        operands = operands_of(name, small, kernel, big)
        y, pull = jax.vjp(jax.jit(rule), *operands)
        assert y.size == 0 or not np.any(y)
        for gradient, operand in zip(pull(jnp.ones_like(y)), operands, strict=True):
            np.testing.assert_array_equal(gradient, np.zeros_like(operand))


def test_a_stride_beyond_what_the_kernels_plan_for():
    rng = np.random.default_rng(6)
    x, kernel = rng.standard_normal((1, 2, 2)).astype("f"), rng.standard_normal((2, 3, 2)).astype("f")
    y = us.conv_transpose(jnp.asarray(x), jnp.asarray(kernel), stride=1500)
    np.testing.assert_allclose(y, us.conv_transpose(x, kernel, stride=1500), rtol=1e-5, atol=1e-5)
