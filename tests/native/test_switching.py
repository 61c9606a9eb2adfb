"""The instruction set in use may be changed at any time: a call reads it once."""

import threading

import numpy as np
import pytest
from cases import assert_within, first, kernel_first
from stacks import random_stack
from switches import instruction_set

import unstride as us
from unstride import _native

SETS = _native.instruction_sets()
pytestmark = pytest.mark.skipif(len(SETS) < 2, reason="this machine has one instruction set")

CASES = [
    ((2, 30, 31, 33), (3, 3, 40, 33), us.Geometry((3, 3), 2, 1)),
    ((2, 40, 41, 21), (5, 5, 2, 21), us.Geometry((5, 5), 2, 2)),
    ((2, 40, 40, 37), (3, 3, 1, 37), us.Geometry((3, 3), 1, 1, groups=37)),
]


def test_another_thread_may_switch_it_during_calls():
    """Channels come first: there is much to do between the choice of a plan and that of the kernels that run it."""
    stop, failures = threading.Event(), []

    def switch():
        while not stop.is_set():
            for name in SETS:
                _native.use_instruction_set(name)

    def work(shape, taps, geometry):
        rng = np.random.default_rng(0)
        x, kernel = rng.standard_normal(shape), rng.standard_normal(taps)
        u = rng.standard_normal((shape[0], *geometry.output_size(shape[1:-1]), taps[-2] * geometry.groups))

        def results(x, u, kernel, dtype):
            x, u, kernel = first(x.astype(dtype)), first(u.astype(dtype)), kernel_first(kernel.astype(dtype))
            return (
                us.conv_transpose(x, kernel, None, geometry, channels="first"),
                us.conv(u, kernel, None, geometry, channels="first"),
                us.kernel_gradient(u, x, geometry, channels="first"),
            )

        try:
            exact, magnitude = results(x, u, kernel, np.float64), results(abs(x), abs(u), abs(kernel), np.float64)
            terms = np.prod(taps[:-1]), np.prod(taps[:-2]) * taps[-1], np.prod(shape[:-1])
            for _ in range(20):
                for got, *bound in zip(results(x, u, kernel, np.float32), exact, magnitude, terms, strict=True):
                    assert_within(got, *bound, np.float32)
        except Exception as error:  # in a thread nobody would see it
            failures.append(error)

    with instruction_set(_native.instruction_set()):
        workers = [threading.Thread(target=work, args=case) for case in CASES]
        switcher = threading.Thread(target=switch)
        switcher.start()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        stop.set()
        switcher.join()
    assert not failures, failures[0]


@pytest.mark.parametrize("seed", range(4))
def test_a_stack_goes_back_by_the_set_that_went_forward(seed):
    """16 images are whole groups of every set: the numbers that are kept have the same count, but lie otherwise."""
    rng = np.random.default_rng(seed)
    stack = random_stack(rng)
    x = rng.standard_normal(stack.input_shape(16)).astype(np.float32)
    weights = [rng.standard_normal(shape).astype(np.float32) for shape in stack.weight_shapes]
    for one in SETS:
        with instruction_set(one):
            y, saved = stack.forward(x, weights, keep=True)
            grad_output = rng.standard_normal(y.shape).astype(np.float32)
            gx, gradients = stack.backward(grad_output, x, weights, saved)
        for other in SETS:
            with instruction_set(other):
                gx_again, again = stack.backward(grad_output, x, weights, saved)
            np.testing.assert_array_equal(gx_again, gx)
            for a, b in zip(again, gradients, strict=True):
                np.testing.assert_array_equal(a, b)
