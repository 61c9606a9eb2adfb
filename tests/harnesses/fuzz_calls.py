"""Random calls, most of them right, many of them hostile, until the time is up: `python tests/harnesses/fuzz_calls.py --seconds 60`.

A right call is compared with float64 within the bound of its rounding errors. A hostile one has one argument replaced; it
computes, or raises one of the library's own exceptions with the argument's name. Whatever else happens is printed with the
number that repeats it (`--seed S --only N`), and the exit code is 1.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import traceback
import warnings
from collections import Counter
from contextlib import suppress

import numpy as np
import stacks
from cases import assert_within

import unstride as us
from unstride import conventions, reference

OURS = (us.ArgumentError, us.NotExpressible, TypeError, MemoryError)
NAMED = re.compile(
    r"\b(x|kernel|bias|big|small|geometry|stride|padding|output_padding|dilation|groups|channels|activation|out|kernel_size|"
    r"op|map|dtype|input_size|output_size|axis|crop|batch|result|arrays|limit)\b"
)
MAPS = ("conv_transpose", "conv", "kernel_gradient")
HOSTILE = [
    None, True, False, -1, 0, 1.5, float("nan"), float("inf"), 2**36, 2**40, 2**63, 2**70, -(2**63), "same", "SAME", "", b"1",
    [], (), [[]], [1, "2"], {}, object(), 1j, np.int8(1), np.float32(2), np.array(3), np.array([[1]]), np.zeros((0, 3)), [1] * 9,
    ((0, 1), (2, 3)), ((1,),), "last", range(2), lambda: 1, np.ma.array([1.0], mask=[True]), np.zeros((1, 3, 1), complex),
    np.empty((0, 2**40, 1), np.int8), np.array([None]), np.array(["a"]), us.Geometry(2), type,
]  # fmt: skip


class FindingError(Exception):
    """What should not be."""


def picked(rng, values):
    return values[int(rng.integers(len(values)))]


def random_geometry(rng):
    rank = int(rng.integers(1, 4))
    most = (9, 5, 3)[rank - 1]
    return us.Geometry(
        rng.integers(1, most + 1, rank), rng.integers(1, 5, rank), rng.integers(-2, 4, (rank, 2)), None,
        rng.integers(1, 4, rank), int(rng.integers(1, 4)),
    )  # fmt: skip


def situation(rng):
    """A geometry and the sizes of its two grids, not too large and not empty."""
    while True:
        geometry = random_geometry(rng)
        small = tuple(int(n) for n in rng.integers(1, (30, 9, 4)[geometry.rank - 1], geometry.rank))
        with suppress(us.GeometryError):
            big = geometry.output_size(small)
            if min(big) > 0 and np.prod(big) <= 4000 and geometry.conv_size(big) == small:
                return geometry, small, big


def pairs(geometry, small, big):
    """For every tap the slices of small and of big cells that it joins."""
    for j in np.ndindex(*geometry.kernel_size):
        here, there = [], []
        for at, s, d, (b, _), n, length in zip(
            j, geometry.stride, geometry.dilation, geometry.crops, small, big, strict=True
        ):
            first = max(-((at * d - b) // s), 0)
            end = min((length - 1 + b - at * d) // s + 1, n)
            here.append(slice(first, max(end, first)))
            start = first * s + at * d - b
            there.append(slice(start, start + (max(end, first) - first - 1) * s + 1 if end > first else start, s))
        yield j, tuple(here), tuple(there)


def truth(name, geometry, x, kernel, y):
    """The map by its definition in float64; channels last. `x` is on the small grid, `y` on the big one."""
    groups = geometry.groups
    xs, ys = (array.reshape(*array.shape[:-1], groups, -1) for array in (x, y))
    ks = kernel.reshape(*kernel.shape[:-1], groups, -1)  # (*k, C_big / groups, groups, C_small / groups)
    made = np.zeros({"conv_transpose": ys, "conv": xs, "kernel_gradient": ks}[name].shape)
    for j, here, there in pairs(geometry, x.shape[1:-1], y.shape[1:-1]):
        a, b = (slice(None), *here), (slice(None), *there)
        if name == "conv_transpose":
            made[b] += np.einsum("...gs,bgs->...gb", xs[a], ks[j])
        elif name == "conv":
            made[a] += np.einsum("...gb,bgs->...gs", ys[b], ks[j])
        else:
            flat = (array[at].reshape(-1, *array.shape[-2:]) for array, at in ((ys, b), (xs, a)))
            made[j] = np.einsum("pgb,pgs->bgs", *flat)
    return made.reshape({"conv_transpose": y, "conv": x, "kernel_gradient": kernel}[name].shape)


def dressed(rng, array, library):
    """The array as a view, of another byte order, at an odd address, a tensor: the same numbers."""
    if library == "torch":
        import torch

        tensor = torch.from_numpy(array)
        return tensor.flip(0).flip(0) if rng.random() < 0.2 else tensor
    if library == "jax":
        import jax.numpy as jnp

        return jnp.asarray(array)
    kind = rng.integers(6)
    if kind == 0:
        return array[..., ::-1].copy()[..., ::-1]
    if kind == 1:
        return array.astype(array.dtype.newbyteorder())
    if kind == 2:
        memory = np.zeros(array.nbytes + 1, np.uint8)
        view = memory[1:].view(array.dtype).reshape(array.shape)
        view[...] = array
        return view
    if kind == 3:
        return np.asfortranarray(array)
    return array


def first(array):
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def kernel_first(kernel):
    return np.ascontiguousarray(np.moveaxis(kernel, (-1, -2), (0, 1)))


def right_call(rng, libraries):
    geometry, small, big = situation(rng)
    name, library = picked(rng, MAPS), picked(rng, libraries)
    dtype = np.dtype(picked(rng, [np.float32, np.float64, np.float16] if library == "numpy" else [np.float32]))
    per, batch = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    c_small, c_big = geometry.groups * int(rng.integers(1, 6)), geometry.groups * per
    shapes = [(batch, *small, c_small), (*geometry.kernel_size, per, c_small), (batch, *big, c_big)]
    x, kernel, y = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    channels = picked(rng, ["last", "first"])
    own = [
        dressed(rng, array if channels == "last" else turn(array), library)
        for array, turn in ((x, first), (kernel, kernel_first), (y, first))
    ]
    fields = {"geometry": geometry} if rng.random() < 0.5 else {
        "stride": geometry.stride, "padding": geometry.crops, "dilation": geometry.dilation, "groups": geometry.groups
    }  # fmt: skip
    if name == "conv_transpose":
        made = us.conv_transpose(own[0], own[1], channels=channels, **fields)
    elif name == "conv":
        made = us.conv(own[2], own[1], channels=channels, **fields)
    else:
        if "geometry" not in fields:
            fields["kernel_size"] = geometry.kernel_size
        made = us.kernel_gradient(own[2], own[0], channels=channels, **fields)
    got = np.asarray(made)
    wide = [array.astype(np.float64) for array in (x, kernel, y)]
    expected, magnitude = truth(name, geometry, *wide), truth(name, geometry, *map(np.abs, wide))
    if channels == "first":
        expected, magnitude = ((kernel_first if name == "kernel_gradient" else first)(a) for a in (expected, magnitude))
    terms = (
        batch * int(np.prod(small))
        if name == "kernel_gradient"
        else int(np.prod(geometry.kernel_size)) * max(c_small, per)
    )
    assert_within(got, expected, magnitude, terms, dtype)
    return f"{name}, {library}, {dtype}"


def hostile_call(rng, _):
    geometry, small, big = situation(rng)
    c_small, per = geometry.groups * 2, 2
    batch = 2
    x = rng.standard_normal((batch, *small, c_small)).astype(np.float32)
    y = rng.standard_normal((batch, *big, per * geometry.groups)).astype(np.float32)
    kernel = rng.standard_normal((*geometry.kernel_size, per, c_small)).astype(np.float32)
    fields = {
        "stride": geometry.stride,
        "padding": geometry.crops,
        "dilation": geometry.dilation,
        "groups": geometry.groups,
    }
    name = picked(
        rng, [*MAPS, "plan", "solve", "Geometry", "convolution", *("torch", "keras", "tensorflow", "jax", "onnx")]
    )
    if name == "conv_transpose":
        call, arguments = (
            us.conv_transpose,
            {"x": x, "kernel": kernel, **fields, "output_padding": None, "bias": None, "out": None},
        )
    elif name == "conv":
        call, arguments = us.conv, {"x": y, "kernel": kernel, **fields, "bias": None, "out": None, "activation": None}
    elif name == "kernel_gradient":
        call, arguments = (
            us.kernel_gradient,
            {"big": y, "small": x, "kernel_size": geometry.kernel_size, **fields, "out": None},
        )
    elif name == "plan":
        call, arguments = us.plan, {"x": x.shape, "kernel": kernel.shape, **fields, "op": "conv", "dtype": np.float32}
    elif name == "solve":
        call, arguments = us.solve, {"input_size": small, "output_size": big, "kernel_size": None, "stride": None,
                                     "padding": None, "output_padding": None, "dilation": None, "groups": 1, "limit": 3}  # fmt: skip
    elif name == "Geometry":
        call, arguments = us.Geometry, {"kernel_size": geometry.kernel_size, **fields, "output_padding": None}
    elif name == "convolution":
        call, arguments = us.geometry.convolution, {"size": big, "kernel_size": geometry.kernel_size, **fields}
    else:
        call = getattr(conventions, name)
        arguments = {
            "torch": {"kernel_size": geometry.kernel_size, "stride": geometry.stride, "padding": 0, "output_padding": 0,
                      "groups": 1, "dilation": 1, "output_size": None, "input_size": None},
            "keras": {"kernel_size": geometry.kernel_size, "strides": geometry.stride, "padding": "same", "output_padding": None,
                      "dilation_rate": 1, "groups": 1},
            "tensorflow": {"output_shape": (1, *big, 2), "strides": geometry.stride, "padding": geometry.crops,
                           "kernel_size": geometry.kernel_size, "input_size": small, "dilations": 1},
            "jax": {"strides": geometry.stride, "padding": geometry.crops, "kernel_size": geometry.kernel_size, "rhs_dilation": 1},
            "onnx": {"kernel_shape": geometry.kernel_size, "strides": geometry.stride, "pads": None, "output_padding": None,
                     "dilations": None, "group": 1, "auto_pad": "NOTSET", "output_shape": None, "input_size": small},
        }[name]  # fmt: skip
    changed = picked(rng, list(arguments))
    value = picked(rng, HOSTILE)
    try:
        call(**arguments | {changed: value})
    except OURS as error:
        text = str(error)
        known = NAMED.search(text) or any(argument in text for argument in arguments)
        if not known or "incompatible function arguments" in text:
            raise FindingError(
                f"{name}({changed}={value!r:.60}): names no argument: {type(error).__name__}: {text}"
            ) from error
    except Exception as error:
        raise FindingError(f"{name}({changed}={value!r:.60}): {type(error).__name__}: {error}") from error
    return f"hostile {name}"


def stack_call(rng, _):
    stack = stacks.random_stack(rng)
    batch = int(rng.integers(1, 20))
    x, weights, grad_output = stacks.random_arrays(stack, batch, rng)
    expected = stacks.truth(stack, x, weights, grad_output)
    y, saved = stack.forward(x, weights, keep=True)
    stacks.assert_close(y, expected.y, "y")
    back, _ = stack.backward(grad_output, x, weights, saved, input_gradient=True)
    stacks.assert_close(back, expected.x_gradient, "x's gradient")
    return "Stack"


def sizes_call(rng, _):
    """solve and plan: what they say is so."""
    geometry, small, big = situation(rng)
    for found in us.solve(small, big, limit=5):
        if found.output_size(small) != big:
            raise FindingError(f"solve({small}, {big}): {found}")
    name = picked(rng, MAPS)
    shapes = (2, *small, 2 * geometry.groups), (*geometry.kernel_size, 3, 2 * geometry.groups)
    joined = sum(
        int(np.prod([len(range(*s.indices(n))) for s, n in zip(here, small, strict=True)]))
        for _, here, _ in pairs(geometry, small, big)
    )
    if us.plan(*shapes, geometry, op=name).multiply_adds != joined * 2 * 6 * geometry.groups:
        raise FindingError(f"plan({shapes}, {geometry}, op={name!r}): {joined}")
    for framework in ("torch", "keras", "tensorflow", "jax", "onnx"):
        with suppress(us.NotExpressible):
            geometry.to(framework, small)
    return "solve and plan"


def check_truth():
    """That the truth here is the reference's."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        geometry, small, big = situation(rng)
        shapes = [(1, *small, geometry.groups), (*geometry.kernel_size, 1, geometry.groups), (1, *big, geometry.groups)]
        x, kernel, y = (rng.integers(-9, 10, shape).astype(float) for shape in shapes)
        np.testing.assert_array_equal(
            truth("conv_transpose", geometry, x, kernel, y)[0], reference.scatter(x[0], kernel, geometry)
        )
        np.testing.assert_array_equal(truth("conv", geometry, x, kernel, y)[0], reference.conv(y[0], kernel, geometry))
        expected = reference.kernel_gradient(y[0], x[0], geometry)
        np.testing.assert_array_equal(truth("kernel_gradient", geometry, x, kernel, y), expected)


def installed():
    import importlib.util

    found = [name for name in ("torch", "jax") if importlib.util.find_spec(name)]
    return (
        ["numpy"] * 40 + ["torch"] * 12 * ("torch" in found) + ["jax"] * ("jax" in found)
    )  # JAX compiles for each shape


FORGETTING = 20_000
KINDS = [right_call] * 10 + [hostile_call] * 9 + [sizes_call] * 2 + [stack_call]


def one(seed, number, libraries):
    rng = np.random.default_rng((seed, number))
    return picked(rng, KINDS)(rng, libraries)


def run(seconds, seed, calls=None):
    """What was tried, and what was found, until the time or the number of calls is over."""
    check_truth()
    libraries, tried, found = installed(), Counter(), []
    end, number = time.monotonic() + seconds, 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module="jax|torch")
        while time.monotonic() < end and (calls is None or number < calls):
            try:
                tried[one(seed, number, libraries)] += 1
            except Exception as error:
                found.append((number, error))
                tried["findings"] += 1
            number += 1
            if number % FORGETTING == 0 and "jax" in libraries:
                sys.modules["jax"].clear_caches()  # a program for each shape: gigabytes in an hour
    return number, tried, found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", type=int, help="the number of one call")
    given = parser.parse_args()
    if given.only is not None:
        print(one(given.seed, given.only, installed()))
        return 0
    number, tried, found = run(given.seconds, given.seed)
    for name, count in sorted(tried.items()):
        print(f"{count:9,}  {name}")
    for at, error in found[:20]:
        print(f"--seed {given.seed} --only {at}: {type(error).__name__}: {error}")
        traceback.print_exception(error, limit=-3) if not isinstance(error, FindingError) else None
    print(f"{number:,} calls, seed {given.seed}, {len(found)} findings")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
