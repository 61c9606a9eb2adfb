"""`torch.autocast` around Keras layers and models on PyTorch: types and numbers are those of plain Keras."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="needs the package torch")

CODE = """
import sys, traceback
import numpy as np, keras, torch
import unstride.keras as uk
L = keras.layers

def agree(models, x, dtype):
    found = []
    for model in models:
        given = torch.tensor(x, requires_grad=True)
        with torch.autocast("cpu", dtype):
            y = model(given)
        y.float().square().sum().backward()
        found.append([y.detach(), given.grad, *(v.value.grad for v in model.trainable_variables)])
    step = torch.finfo(dtype).eps
    for other in found[1:]:
        for got, expected in zip(other, found[0], strict=True):
            assert got.dtype == expected.dtype, (got.dtype, expected.dtype)
            # Products are rounded before they are summed in another order, and gradients cancel: some 30 steps were seen.
            assert (got.float() - expected.float()).abs().max() <= 128 * step * expected.float().abs().max()

def check(kind, dtype):
    rank = int(kind[4])
    for data_format in ("channels_last", "channels_first"):
        space = (7, 6, 5)[:rank]
        shape = (20, *space, 3) if data_format == "channels_last" else (20, 3, *space)
        x = np.random.default_rng(0).standard_normal(shape).astype("f")
        for fields in ({}, {"use_bias": False}, {"activation": "relu"}):
            fields |= {"strides": 2, "padding": "same", "data_format": data_format}
            layers = [getattr(module, kind)(4, 3, **fields) for module in (L, uk, L)]
            for layer in layers:
                layer.build(shape)
                layer.set_weights([np.random.default_rng(1).standard_normal(v.shape) for v in layer.variables])
            uk.accelerate(layers[2])
            agree(layers, x, dtype)
        models = []
        for accelerated in (False, True):
            keras.utils.set_random_seed(2)
            made = [getattr(L, kind)(4, 2, data_format=data_format, activation="relu", name=f"l{i}") for i in range(2)]
            models.append(keras.Sequential([keras.Input(shape[1:]), *made]))
        uk.accelerate(models[1])
        agree(models, x, dtype)

for case in sys.argv[1:]:
    kind, name = case.split()
    try:
        check(kind, getattr(torch, name))
        print(case, "agrees", flush=True)
    except Exception:
        print(case, file=sys.stderr)
        traceback.print_exc()
"""
CASES = [
    f"Conv{rank}D{of} {dtype}" for of in ("", "Transpose") for rank in (1, 2, 3) for dtype in ("bfloat16", "float16")
]


@pytest.mark.slow
def test_types_and_numbers_under_autocast():
    """In one process for all of them: most of the time it imports."""
    environment = os.environ | {"KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *CASES], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{case} agrees" for case in CASES], done.stderr
