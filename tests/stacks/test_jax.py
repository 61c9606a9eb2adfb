"""Stacks as primitives of JAX: derivatives of every kind, vmap, and where the stages are computed one by one."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stacks

import unstride as us
from unstride._stacks import jax as jax_stack
from unstride._stacks.choice import MOST_KEPT
from unstride.backends.jax import dispatch as backend
from unstride.stack import Stack, Stage

backend.primitives()
G = us.Geometry
STACK = Stack(
    (9, 8),
    2,
    [
        Stage(False, 4, G((3, 2), 2), True, "leaky_relu", 0.25),
        Stage(True, 6, G((3, 3), (2, 1), groups=2), True, "elu"),
        Stage(False, 1, G((2, 2), padding=((1, -1), (0, 1))), False, "sigmoid"),
    ],
)


def arrays(batch, seed=0):
    x, weights, grad_output = stacks.random_arrays(STACK, batch, np.random.default_rng(seed))
    return (x, *weights), grad_output


def ours(x, *weights):
    return jnp.sum(jax_stack.applied(STACK, x, weights) ** 2)


def theirs(x, *weights):
    return jnp.sum(jax_stack.one_by_one(STACK, x, *weights) ** 2)


def all_close(got, expected, rtol=2e-5):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=rtol * float(jnp.abs(b).max(initial=0)), rtol=0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("batch", [17, MOST_KEPT + 6])
def test_against_the_definitions(seed, batch):
    rng = np.random.default_rng(seed)
    stack = stacks.random_stack(rng)
    x, weights, grad_output = stacks.random_arrays(stack, batch, rng)
    expected = stacks.truth(stack, x, weights, grad_output)
    y, pullback = jax.vjp(lambda x, *w: jax_stack.applied(stack, x, w), x, *weights)
    gx, *gradients = pullback(grad_output)
    stacks.assert_close(y, expected.y, "y")
    stacks.assert_close(gx, expected.x_gradient, "x's gradient")
    for got, wanted in zip(gradients, expected.weight_gradients, strict=True):
        stacks.assert_close(got, wanted, "a gradient")


@pytest.mark.slow
@pytest.mark.parametrize("batch", [3, MOST_KEPT + 6])
def test_derivatives_of_every_kind(batch):
    operands, _ = arrays(batch)
    every = tuple(range(len(operands)))
    tangents, _ = arrays(batch, 1)
    all_close(jax.jit(ours)(*operands), theirs(*operands))
    for argnums in (every, every[1:], (0,), (2, 4)):
        all_close(jax.jit(jax.grad(ours, argnums))(*operands), jax.grad(theirs, argnums)(*operands))
    if batch > MOST_KEPT:
        return
    all_close(jax.jvp(ours, operands, tangents), jax.jvp(theirs, operands, tangents))

    def twice(function):
        return jax.grad(lambda *own: sum(jnp.sum(g * g) for g in jax.grad(function, every)(*own)), every)(*operands)

    all_close(twice(ours), twice(theirs), 1e-4)
    forward_over_reverse = [jax.jvp(jax.grad(function, every), operands, tangents) for function in (ours, theirs)]
    all_close(*forward_over_reverse, 1e-4)
    reverse_over_forward = [
        jax.grad(lambda *own, f=function: jax.jvp(f, own, tangents)[1], every)(*operands) for function in (ours, theirs)
    ]
    all_close(*reverse_over_forward, 1e-4)
    all_close(jax.grad(jax.checkpoint(ours), every)(*operands), jax.grad(theirs, every)(*operands))


@pytest.mark.slow
def test_under_vmap():
    (x, *weights), _ = arrays(5)
    xs, many = np.stack([x, x * 2, -x], 1), [np.stack([w, w * 2, -w]) for w in weights]
    nothing = [None] * len(weights)
    for axes, operands in (([1, *nothing], [xs, *weights]), ([1] + [0] * len(many), [xs, *many])):
        for wrap in (lambda f: f, lambda f: jax.jit(jax.grad(f, (0, 1, 3)))):
            all_close(*(jax.vmap(wrap(f), axes)(*operands) for f in (ours, theirs)), 1e-4)
    inside = [jax.grad(lambda xs, f=f: jax.vmap(f, [1, *nothing])(xs, *weights).sum())(xs) for f in (ours, theirs)]
    all_close(*inside)


@pytest.mark.slow
def test_in_a_loop_and_without_jit():
    (x, *weights), _ = arrays(4)
    xs = np.stack([x, x * 2])

    def total(function):
        return jax.lax.scan(
            lambda c, x: (c + jax.grad(function, 1)(x, *weights), function(x, *weights)), weights[0], xs
        )

    all_close(total(ours), total(theirs))
    with jax.disable_jit():
        all_close(jax.grad(ours)(x, *weights), jax.grad(theirs)(x, *weights))


def text_of(function, *operands):
    return jax.jit(function).lower(*operands).as_text()


def test_what_becomes_of_it_in_a_program():
    operands, _ = arrays(17)
    forward, backward = "unstride_stack_forward", "unstride_stack_backward"
    alone = text_of(ours, *operands)
    assert alone.count(f"@{forward}(") == 1
    assert backward not in alone
    assert "unstride_conv" not in alone
    both = text_of(jax.grad(ours), *operands)
    assert both.count(f"@{forward}(") == both.count(f"@{backward}(") == 1
    assert f"tensor<{STACK.saved(17)}xf32>" in both  # what is kept
    many, _ = arrays(MOST_KEPT + 1)
    assert f"tensor<{STACK.saved(MOST_KEPT + 1)}xf32>" not in text_of(jax.grad(ours), *many)
    nobody, _ = arrays(0)
    assert forward not in text_of(ours, *nobody)
    assert "unstride_" not in str(jax.export.export(jax.jit(jax.grad(ours)))(*operands).mlir_module())


def test_no_images():
    operands, _ = arrays(0)
    y = jax_stack.applied(STACK, jnp.asarray(operands[0]), operands[1:])
    assert y.shape == STACK.output_shape(0)
    gx, gk = jax.grad(ours, (0, 1))(*operands)
    assert gx.shape == operands[0].shape
    assert not gk.any()


@pytest.mark.slow
def test_on_several_devices():
    """XLA splits the stages among them."""
    code = (
        "import test_jax as t, jax, numpy as np\n"
        "from jax.sharding import Mesh, NamedSharding, PartitionSpec as P\n"
        "mesh = Mesh(np.array(jax.devices()), ('batch',))\n"
        "(x, *w), _ = t.arrays(32)\n"
        "split = jax.device_put(x, NamedSharding(mesh, P('batch')))\n"
        "w = jax.device_put(w, NamedSharding(mesh, P()))\n"
        "program = jax.jit(jax.grad(t.ours, (0, 1)))\n"
        "assert 'unstride' not in program.lower(split, *w).as_text()\n"
        "t.all_close(program(split, *w), jax.grad(t.theirs, (0, 1))(x, *map(np.asarray, w)))\n"
    )
    here = Path(__file__).parent
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "PYTHONPATH": os.pathsep.join(map(str, (here.parent / "helpers", *sys.path))),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_partial_application_is_traced_once():
    """Equal stacks made anew are one program."""
    traced = []

    @partial(jax.jit, static_argnums=0)
    def program(stack, x, weights):
        traced.append(stack)
        return jax_stack.applied(stack, x, weights)

    (x, *weights), _ = arrays(3)
    for _ in range(2):
        program(Stack(STACK.input_size, STACK.channels, STACK.stages), x, weights)
    assert len(traced) == 1
