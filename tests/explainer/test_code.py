"""Every program that a trace writes, run: its result is the trace's output."""

import contextlib
import io

import numpy as np
import pytest
from cases import assert_within, samples

import unstride as us
from unstride import reference
from unstride.explainer.presets import PRESETS

FRAMEWORKS = ("keras", "torch", "tensorflow", "jax", "onnx", "numpy", "unstride")


def run(trace, framework):
    """The program's y, and what it printed."""
    names = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(trace.code(framework), f"<{framework}>", "exec"), names)
    assert printed.getvalue().strip()
    return np.asarray(names["y"])


def assert_computes(trace, framework):
    y = run(trace, framework)
    small, big = np.abs(trace.input)[..., None], np.abs(trace.kernel)[..., None, None]
    rule = reference.scatter if trace.transposed else reference.conv
    bound = rule(small, big, trace.geometry)[..., 0] + abs(trace.bias or 0)
    dtype = np.float64 if framework in ("numpy", "unstride") else np.float32
    assert_within(np.asarray(y, np.float64), trace.output, bound, trace.kernel.size + 1, dtype)


def cases(count, seed, ranks):
    rng = np.random.default_rng(seed)
    for index, (geometry, size, _) in enumerate(samples(count, seed, ranks=ranks)):
        geometry = us.Geometry(geometry.kernel_size, geometry.stride, geometry.crops, None, geometry.dilation)
        if 0 in geometry.output_size(size):
            continue
        bias = round(rng.normal(), 2) if index % 2 else None
        kernel = rng.normal(size=geometry.kernel_size)
        yield us.explain(rng.normal(size=size), kernel, bias, geometry)
        big = geometry.output_size(size)
        yield us.explain(rng.normal(size=big), kernel, bias, geometry, op="conv")


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("ranks", "seed"), [((1,), 1), ((2,), 2), ((3,), 3)])
def test_programs_compute_the_output(framework, ranks, seed):
    for trace in cases(12 if ranks != (3,) else 4, seed, ranks):
        try:
            assert_computes(trace, framework)
        except Exception as error:
            raise AssertionError(f"{trace!r}\n{trace.code(framework)}") from error


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", PRESETS)
def test_presets(framework, name):
    assert_computes(PRESETS[name].trace(), framework)
