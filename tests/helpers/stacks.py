"""Random stacks, and what they compute by the definitions, each number with a bound for float32's rounding errors.

The bounds follow every operation (Higham, Accuracy and Stability of Numerical Algorithms, chapter 3): a sum of n
products, in any order, of numbers that are off by e is off by n * u / (1 - n * u) times the sum of the products' sizes,
and by what the e make of it. An activation passes on what comes in times its greatest slope, and is itself off by a few
roundings. Where the error may take a number across 0, its activation's slope may be that of the other side.
"""

import itertools
from dataclasses import dataclass

import numpy as np

import unstride as us
from unstride import reference
from unstride.stack import ACTIVATIONS, Stack, Stage

UNIT = 2.0**-24
MOST_CELLS = 60
ROUNDINGS = 8  # of a library's tanh, exp and the few operations around it


@dataclass
class Bounded:
    """Numbers, and how far each may be off."""

    value: np.ndarray
    error: np.ndarray


@dataclass
class Truth:
    y: Bounded
    x_gradient: Bounded
    weight_gradients: list


def random_stack(rng, ranks=(1, 2, 3), layout=None):
    rank = int(rng.choice(ranks))
    size = start = tuple(int(n) for n in rng.integers(2, 7 if rank < 3 else 4, rank))
    channels = taken = int(rng.integers(1, 7))
    stages = []
    for _ in range(int(rng.integers(1, 5))):
        stage, size = _random_stage(rng, size, taken)
        stages.append(stage)
        taken = stage.channels
    return Stack(start, channels, stages, layout or str(rng.choice(["last", "first"])))


def _random_stage(rng, size, taken):
    rank = len(size)
    divisors = [d for d in range(1, taken + 1) if taken % d == 0]
    while True:
        groups = int(rng.choice(divisors)) if rng.random() < 0.4 else 1
        geometry = us.Geometry(
            rng.integers(1, 5 if rank < 3 else 3, rank),
            rng.integers(1, 4, rank),
            rng.integers(-2, 3, (rank, 2)),
            None,
            rng.integers(1, 3, rank),
            groups,
        )
        transposed = bool(rng.random() < 0.5)
        try:
            made = (geometry.output_size if transposed else geometry.conv_size)(size)
        except us.GeometryError:
            continue
        if min(made) >= 1 and np.prod(made) <= MOST_CELLS and np.prod(geometry.full_size(made)) <= 4 * MOST_CELLS:
            break
    activation = list(ACTIVATIONS)[rng.integers(len(ACTIVATIONS))]
    slope = {"leaky_relu": 0.0 if rng.random() < 0.2 else 0.3, "elu": 0.0 if rng.random() < 0.2 else 1.5}.get(
        activation
    )
    channels = groups * int(rng.integers(1, 4))
    return Stage(transposed, channels, geometry, bool(rng.random() < 0.7), activation, slope), made


def random_arrays(stack, batch, rng):
    def normal(shape):
        return rng.standard_normal(shape).astype(np.float32)

    # Kernels that keep numbers at about their size, so that no activation is saturated everywhere.
    weights = [
        normal(s) / np.float32(np.sqrt(np.prod(s[1:]) or 1)) if len(s) > 1 else normal(s) for s in stack.weight_shapes
    ]
    return normal(stack.input_shape(batch)), weights, normal(stack.output_shape(batch))


def random_labels(stack, batch, seed=0):
    """x, weights, and targets from 0 to 1."""
    rng = np.random.default_rng(seed)
    x, weights, grad_output = random_arrays(stack, batch, rng)
    target = rng.random(grad_output.shape, dtype=np.float32)
    target[rng.random(target.shape) < 0.2] = 1
    return x, weights, target


def crossentropy_slope(target, y, epsilon):
    """Binary cross-entropy's derivative by y, by the operations of the definition, one by one in float32."""
    low, high = np.float32(epsilon), np.float32(1) - np.float32(epsilon)
    inside = np.clip(y, low, high)
    return np.where((y < low) | (y > high), np.float32(0), (inside - target) / (inside * (1 - inside)))


def autoencoder(layout="last"):
    relu = {"bias": True, "activation": "relu"}
    stages = [
        *(Stage(False, channels, us.Geometry((3, 3)), **relu) for channels in (16, 8)),
        Stage(True, 8, us.Geometry((3, 3), 2), **relu),
        Stage(False, 2, us.Geometry((3, 3), padding=1), True, "sigmoid"),
    ]
    return Stack((9, 8), 1, stages, layout)


def assert_threads_change_nothing(compute):
    """`compute` gives arrays, which are to be the same to the last bit for any number of threads."""
    before = us.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            us.set_num_threads(threads)
            results.append(compute())
    finally:
        us.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def assert_close(got, expected, name):
    got = np.asarray(got)
    assert got.dtype == np.float32
    assert got.shape == expected.value.shape
    excess = np.abs(got.astype(np.float64) - expected.value) - expected.error - 1e-37
    assert excess.size == 0 or excess.max() <= 0, f"{name}: {excess.max():.3g} beyond the bound"


def gamma(terms):
    return terms * UNIT / (1 - terms * UNIT)


def truth(stack, x, weights, grad_output):
    """y and all gradients, by the convolutions' matrices in float64."""
    first = stack.layout == "first"
    last = (lambda array: np.moveaxis(array, 1, -1)) if first else (lambda array: array)
    kernel_last = (lambda kernel: np.moveaxis(kernel, (0, 1), (-1, -2))) if first else (lambda kernel: kernel)
    batch = len(x)
    grid = np.asarray(last(x), np.float64).reshape(batch, -1)
    here = Bounded(grid, np.zeros_like(grid))
    rest, tape = iter(weights), []
    for stage, (before, after) in zip(stack.stages, itertools.pairwise(stack.sizes), strict=True):
        kernel = np.asarray(kernel_last(next(rest)), np.float64)
        bias = np.asarray(next(rest), np.float64) if stage.bias else np.zeros(stage.channels)
        small, big = (before, after) if stage.transposed else (after, before)
        geometry = stage.geometry.fitted(small, big)
        linear = reference.matrix(kernel, geometry, small)
        labels = reference.matrix(np.arange(1.0, kernel.size + 1).reshape(kernel.shape), geometry, small)
        linear, labels = (linear, labels) if stage.transposed else (linear.T, labels.T)
        offset = np.tile(bias, int(np.prod(after)))
        made = _product(here, linear, offset)
        given, here = here, _activated(stage, made)
        tape.append((stage, kernel, linear, labels, given, made, here))
    y = here
    grid = np.asarray(last(grad_output), np.float64).reshape(batch, -1)
    back = Bounded(grid, np.zeros_like(grid))
    gradients = []
    for stage, kernel, linear, labels, given, made, left in reversed(tape):
        back = _through_activation(stage, made, left, back)
        own = [_kernel_gradient(kernel, labels, given, back)]
        if stage.bias:
            own.append(_sum(back, stage.channels))
        gradients = own + gradients
        back = _product(back, linear.T, None)
    shaped = [
        Bounded(*(np.moveaxis(a, (-1, -2), (0, 1)) if first and a.ndim > 1 else a for a in (g.value, g.error)))
        for g in gradients
    ]
    return Truth(_shaped(y, stack.output_shape(batch), first), _shaped(back, stack.input_shape(batch), first), shaped)


def _shaped(flat, shape, first):
    if not first:
        return Bounded(flat.value.reshape(shape), flat.error.reshape(shape))
    turned = (shape[0], *shape[2:], shape[1])
    return Bounded(*(np.moveaxis(a.reshape(turned), -1, 1) for a in (flat.value, flat.error)))


def _product(given, linear, offset):
    """given @ linear + offset."""
    terms = int((linear != 0).sum(0).max(initial=0)) + 2
    size = (np.abs(given.value) + given.error) @ np.abs(linear) + (0 if offset is None else np.abs(offset))
    value = given.value @ linear + (0 if offset is None else offset)
    return Bounded(value, given.error @ np.abs(linear) + gamma(terms) * size)


def _function(stage, z):
    name, slope = stage.activation, stage.slope
    if name == "relu":
        return np.maximum(z, 0)
    if name == "leaky_relu":
        return np.where(z > 0, z, slope * z)
    if name == "elu":
        return np.where(z > 0, z, slope * np.expm1(np.minimum(z, 0)))
    if name == "tanh":
        return np.tanh(z)
    if name == "sigmoid":
        return 1 / (1 + np.exp(-z))
    return z


def _activated(stage, made):
    value = _function(stage, made.value)
    steepest = max(1.0, stage.slope or 0.0)
    size = {"elu": stage.slope or 0.0, "tanh": 1.0, "sigmoid": 1.0}.get(stage.activation, 0.0)
    rounding = ROUNDINGS * UNIT * (np.abs(value) + size) if stage.activation else 0
    return Bounded(value, made.error * steepest + rounding)


def _through_activation(stage, made, left, back):
    name, slope, y = stage.activation, stage.slope, left.value
    if name is None:
        return back
    below = {"relu": 0.0, "leaky_relu": slope}.get(name)
    if below is not None:
        factor = np.where(made.value > 0, 1.0, below)
        wrong = np.where(np.abs(made.value) <= made.error, abs(1 - below), 0.0)
    elif name == "elu":
        factor = np.where(made.value > 0, 1.0, y + slope)
        wrong = left.error + ROUNDINGS * UNIT * (1 + slope)
        wrong = wrong + np.where(np.abs(made.value) <= made.error, abs(1 - slope), 0.0)
    elif name == "tanh":
        factor, wrong = 1 - y * y, 2 * left.error * np.abs(y) + left.error**2 + ROUNDINGS * UNIT
    else:
        factor, wrong = y * (1 - y), left.error + left.error**2 + ROUNDINGS * UNIT
    value = back.value * factor
    error = (np.abs(back.value) + back.error) * wrong + back.error * np.abs(factor)
    return Bounded(value, error + 2 * UNIT * np.abs(value))


def _kernel_gradient(kernel, labels, given, back):
    """Of every pair of cells that a tap of the kernel connects, the product, added to the tap's."""
    at = labels.astype(int).ravel()

    def gathered(a, b):
        return np.bincount(at, (a.T @ b).ravel(), kernel.size + 1)[1:].reshape(kernel.shape)

    value = gathered(given.value, back.value)
    size = gathered(np.abs(given.value) + given.error, np.abs(back.value) + back.error)
    propagated = size - gathered(np.abs(given.value), np.abs(back.value))
    pairs = int(np.bincount(at, minlength=kernel.size + 1)[1:].max(initial=0)) * len(given.value) + 2
    return Bounded(value, propagated + gamma(pairs) * size)


def _sum(back, channels):
    def added(array):
        return array.reshape(-1, channels).sum(0)

    terms = back.value.size // channels + 1
    return Bounded(added(back.value), added(back.error) + gamma(terms) * added(np.abs(back.value) + back.error))
