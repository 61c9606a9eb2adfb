"""NumPy in place of the native core: the definitions' numbers over the parameter space, in blocks and by taps too."""

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import stacks
from cases import arrays, assert_within, first, kernel_first, situations, terms_of
from hypothesis import given, settings
from hypothesis import strategies as st

import unstride as us
from unstride import reference
from unstride._core import portable, portable_maps, portable_stack
from unstride.stack import ACTIVATIONS, Stack, Stage

G = us.Geometry


def fields(geometry):
    return geometry.stride, geometry.dilation, tuple(b for b, _ in geometry.crops), geometry.groups


def mapped(transposed, x, kernel, bias, geometry, channels="last", relu=False):
    size = (geometry.output_size if transposed else geometry.conv_size)(x.shape[1:-1])
    count = kernel.shape[-2] * geometry.groups if transposed else kernel.shape[-1]
    out = np.full((len(x), *size, count), 7, x.dtype)
    if channels == "last":
        portable.compute(transposed, x, kernel, bias, out, *fields(geometry), False, False, relu)
        return out
    turned = first(out)
    portable.compute(transposed, first(x), kernel_first(kernel), bias, turned, *fields(geometry), True, True, relu)
    return np.moveaxis(turned, 1, -1)


def gradient(big, small, geometry, like, channels="last"):
    out = np.full_like(like, 7)
    if channels == "last":
        portable.gradient(big, small, out, *fields(geometry), False, False)
        return out
    turned = kernel_first(out)
    portable.gradient(first(big), first(small), turned, *fields(geometry), True, True)
    return np.moveaxis(turned, (0, 1), (-1, -2))


def images(rule, grid, *rest):
    return np.stack([rule(image, *rest) for image in grid])


@settings(max_examples=250)
@given(
    situations(ranks=(1, 2, 3)),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from(["last", "first"]),
    st.sampled_from(["whole", "blocks", "taps"]),
)
def test_the_three_maps(situation, dtype, channels, way):
    geometry, size, rng = situation
    v, kernel, bias, u = (a.astype(dtype) for a in arrays(geometry, size, rng))
    v64, k64, b64, u64 = (a.astype(float) for a in (v, kernel, bias, u))
    terms, many = terms_of(geometry, kernel), len(v) * int(np.prod(size))
    block, zeros = portable_maps._BLOCK, portable_maps._MOST_ZEROS
    try:
        portable_maps._BLOCK = 64 if way == "blocks" else block
        portable_maps._MOST_ZEROS = -(1 << 20) if way == "taps" else zeros
        up = mapped(True, v, kernel, bias, geometry, channels)
        empty = 0 in geometry.output_size(size)
        if not empty:
            down = mapped(False, u, kernel, None, geometry, channels)
            by = gradient(u, v, geometry, kernel, channels)
    finally:
        portable_maps._BLOCK, portable_maps._MOST_ZEROS = block, zeros
    exact = images(reference.scatter, v64, k64, geometry, b64)
    magnitude = images(reference.scatter, abs(v64), abs(k64), geometry, abs(b64))
    assert_within(up, exact, magnitude, terms, dtype)
    if not empty:
        exact, magnitude = (images(reference.conv, a, b, geometry) for a, b in ((u64, k64), (abs(u64), abs(k64))))
        assert_within(down, exact, magnitude, terms, dtype)
        exact, magnitude = (
            sum(reference.kernel_gradient(a, b, geometry) for a, b in zip(big, small, strict=True))
            for big, small in ((u64, v64), (abs(u64), abs(v64)))
        )
        assert_within(by, exact, magnitude, many, dtype)


@settings(max_examples=60)
@given(situations(), st.sampled_from([np.nan, np.inf]), st.integers(0, 2**16))
def test_a_number_that_is_not_finite_meets_no_zero(situation, bad, where):
    """The cells that a tap does not reach stay finite, as in the definitions."""
    geometry, size, rng = situation
    if 0 in geometry.output_size(size):
        return
    v, kernel, _, u = arrays(geometry, size, rng)
    kernel.flat[where % kernel.size] = bad
    with np.errstate(all="ignore"):
        expected = images(reference.scatter, v, kernel, geometry), images(reference.conv, u, kernel, geometry)
    for got, wanted in zip(
        (mapped(True, v, kernel, None, geometry), mapped(False, u, kernel, None, geometry)), expected, strict=True
    ):
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(wanted))
    v.flat[where % v.size] = bad
    with np.errstate(all="ignore"):
        wanted = sum(reference.kernel_gradient(a, b, geometry) for a, b in zip(u, v, strict=True))
    np.testing.assert_array_equal(np.isfinite(gradient(u, v, geometry, kernel)), np.isfinite(wanted))


@pytest.mark.parametrize("stride", [1023, 1025, 5000])
def test_strides_with_more_phases_than_are_planned(stride):
    rng = np.random.default_rng(stride)
    geometry = G(3, stride, 1)
    v, kernel, bias, _ = arrays(geometry, (3,), rng)
    exact = images(reference.scatter, v, kernel, geometry, bias)
    np.testing.assert_allclose(mapped(True, v, kernel, bias, geometry), exact, rtol=1e-12, atol=1e-12)


def test_relu_and_empty_inputs():
    kernel, bias = np.ones((2, 3, 1), np.float32), np.array([1, -1, 0], np.float32)
    out = np.full((0, 4, 3), 7, np.float32)
    portable.compute(True, np.zeros((0, 2, 1), np.float32), kernel, bias, out, (2,), (1,), (0,), 1, False, False, True)
    out = np.full((2, 4, 3), 7, np.float32)
    x = np.array([[[1], [-9]], [[0], [0]]], np.float32)
    portable.compute(True, x, kernel, bias, out, (2,), (1,), (0,), 1, False, False, True)
    assert out.tolist() == [[[2, 0, 1]] * 2 + [[0, 0, 0]] * 2, [[1, 0, 0]] * 4]


@settings(max_examples=100)
@given(seed=st.integers(0, 2**32 - 1), batch=st.sampled_from([1, 2, 17]), keep=st.booleans())
def test_stacks(seed, batch, keep):
    rng = np.random.default_rng(seed)
    stack = stacks.random_stack(rng)
    x, weights, grad_output = stacks.random_arrays(stack, batch, rng)
    expected = stacks.truth(stack, x, weights, grad_output)
    y = np.full_like(grad_output, 7)
    saved = np.full(portable_stack.stack_saved(stack.code, batch), 7, np.float32) if keep else None
    portable.stack_forward(stack.code, x, weights, y, saved)
    stacks.assert_close(y, expected.y, "y")
    gx, gradients = np.full_like(x, 7), [np.zeros_like(weight) for weight in weights]
    portable.stack_backward(stack.code, x, weights, grad_output, saved, gx, gradients)
    stacks.assert_close(gx, expected.x_gradient, "x's gradient")
    for index, (got, wanted) in enumerate(zip(gradients, expected.weight_gradients, strict=True)):
        stacks.assert_close(got, wanted, f"the gradient of weight {index}")
    portable.stack_backward(
        stack.code, x, weights, grad_output, saved, None, again := [np.zeros_like(w) for w in weights]
    )
    for a, b in zip(again, gradients, strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_activation_and_the_loss():
    assert [ACTIVATIONS[name] for name in (None, "relu", "leaky_relu", "elu", "tanh", "sigmoid")] == [
        portable_stack.NONE, portable_stack.RELU, portable_stack.LEAKY_RELU, portable_stack.ELU, portable_stack.TANH,
        portable_stack.SIGMOID,
    ]  # fmt: skip
    down = Stage(False, 3, G((3, 3), 2), activation="elu", slope=1.5)
    stack = Stack((9, 8), 2, [down, Stage(True, 1, G((3, 4), 2), activation="sigmoid")])
    x, weights, target = stacks.random_labels(stack, 5)
    expected = stack.binary_crossentropy(x, weights, target, 1e-3)
    y, loss, gradients = np.empty_like(target), np.empty_like(target), [np.zeros_like(w) for w in weights]
    portable.stack_crossentropy(stack.code, x, weights, target, 1e-3, y, loss, gradients)
    for got, wanted in zip((y, loss, *gradients), (*expected[:2], *expected[2]), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)


def test_it_has_the_functions_of_the_native_core():
    """The same names of arguments, so that callers need not know which of the two they have."""
    declared = ast.parse(Path(us.__file__).with_name("_native.pyi").read_text(encoding="utf-8"))
    functions = {one.name: [a.arg for a in one.args.args] for one in declared.body if isinstance(one, ast.FunctionDef)}
    for name in portable.__all__:
        if name in functions:
            assert list(inspect.signature(getattr(portable, name)).parameters) == functions[name], name
    assert {"compute", "gradient", "describe", "stack_forward", "stack_backward"} <= {*functions} & {*portable.__all__}


@pytest.mark.native
def test_its_limits_are_the_native_cores():
    native = pytest.importorskip("unstride._native")
    assert (portable.max_phases, portable.max_threads) == (native.max_phases, native.max_threads)


WITHOUT = """
import importlib.machinery, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "unstride._native":
            {answer}
sys.meta_path.insert(0, Hidden())
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import unstride as us
print([str(one.message) for one in caught])
print(us.conv_transpose([[0, 1], [2, 3]], [[0, 1], [2, 3]], stride=2, channels=None).tolist())
us.show_config()
"""


def started(program, **environment):
    environment = {"UNSTRIDE_ISA": ""} | environment
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_core_that_cannot_be_loaded_warns_once_and_numpy_computes(tmp_path):
    broken = tmp_path / "_native.so"
    broken.write_bytes(b"no library")
    answer = (
        f"loader = importlib.machinery.ExtensionFileLoader(name, {str(broken)!r}); "
        f"return importlib.machinery.ModuleSpec(name, loader, origin={str(broken)!r})"
    )
    warned, result, *config = started(WITHOUT.format(answer=answer), UNSTRIDE_ISA="")
    assert warned.count("native core is not used") == 1
    assert str(broken) in warned  # the system's reason
    assert result == "[[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 2.0, 3.0], [0.0, 2.0, 0.0, 3.0], [4.0, 6.0, 6.0, 9.0]]"
    assert any("none, NumPy computes: it cannot be loaded" in line for line in config)


def test_asked_for_by_the_environment():
    warned, result, *config = started(WITHOUT.format(answer="pass"), UNSTRIDE_ISA="numpy")
    assert warned == "[]"
    assert result.startswith("[[0.0, 0.0, 0.0, 1.0]")
    assert any("NumPy computes: UNSTRIDE_ISA is 'numpy'" in line for line in config)
