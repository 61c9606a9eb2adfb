"""Training and prediction of small-channel convolutional models: ours, Keras on each backend, and plain PyTorch.

    python benchmarks/training.py [--model reading other] [--rounds 3] [--steps 3] [--only ours-jax keras-tensorflow]
    python benchmarks/training.py --predict

Each contender runs in its own process, which loads the data, takes two steps to warm up, and then waits. The processes
take turns, one at a time, round after round, and each one's best round counts. All train the same model on the same
data, in steps of 1,000 images (``--batch``). The table has images per second; the share of the peak of fused
multiply-adds on registers (forward and backward of every layer counted as plain sums, without the first layer's input
gradient); the maximum of the memory that training added to the process with the data loaded; and the time that 25
epochs of 48,000 images would take. ``--predict`` measures prediction, with ONNX Runtime among the contenders.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

# (transposed, channels, kernel size, stride): all convolutions are "valid" except the last one, which is "same".
MODELS: dict[str, list[tuple[bool, int, int, int]]] = {
    "reading": [*((False, c, 3, 1) for c in (32, 16, 8)), *((True, c, 3, 1) for c in (8, 16, 32)), (False, 1, 3, 1)],
    "other": [(False, 12, 4, 2), (False, 24, 3, 1), (True, 24, 3, 1), (True, 10, 4, 2), (False, 1, 5, 1)],
}
TRAINERS = ("ours-jax", "ours-torch", "keras-tensorflow", "keras-torch", "keras-jax", "torch", "torch-micro")
PREDICTORS = ("ours-jax", "onnxruntime", "keras-tensorflow", "keras-torch", "torch")
SIDE = 28


def sizes(model: str) -> list[tuple[int, int]]:
    """The side of the result and the products of one image, for each stage."""
    stages, side, taken = [], SIDE, 1
    for index, (transposed, channels, kernel, stride) in enumerate(MODELS[model]):
        before = side
        same = index == len(MODELS[model]) - 1
        side = side if same else (before - 1) * stride + kernel if transposed else (before - kernel) // stride + 1
        small = before if transposed else side
        stages.append((side, small * small * kernel * kernel * taken * channels))
        taken = channels
    return stages


def gflop(model: str, training: bool) -> float:
    """The operations of one image."""
    products = [count for _, count in sizes(model)]
    total = 3 * sum(products) - products[0] if training else sum(products)
    return 2e-9 * total


def keras_model(model: str) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    layers: list[Any] = [keras.Input((SIDE, SIDE, 1))]
    for index, (transposed, channels, kernel, stride) in enumerate(MODELS[model]):
        last = index == len(MODELS[model]) - 1
        kind = keras.layers.Conv2DTranspose if transposed else keras.layers.Conv2D
        activation, padding = ("sigmoid", "same") if last else ("relu", "valid")
        layers.append(kind(channels, kernel, stride, padding, activation=activation, kernel_initializer="he_normal"))
    network = keras.Sequential(layers)
    network.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")
    return network


def torch_model(model: str) -> Any:
    from torch import nn

    layers: list[Any] = []
    taken = 1
    for index, (transposed, channels, kernel, stride) in enumerate(MODELS[model]):
        last = index == len(MODELS[model]) - 1
        if transposed:
            layers.append(nn.ConvTranspose2d(taken, channels, kernel, stride))
        else:
            layers.append(nn.Conv2d(taken, channels, kernel, stride, padding="same" if last else 0))
        layers.append(nn.Sigmoid() if last else nn.ReLU())
        taken = channels
    return nn.Sequential(*layers)


def contender(name: str, model: str, x: Any, batch: int, predict: bool) -> Any:
    """A function that takes some steps over some batches."""
    if name in ("torch", "torch-micro"):
        return _torch(name, model, x, batch, predict)
    if name == "onnxruntime":
        return _onnxruntime(model, x, batch)
    import keras

    network = keras_model(model)
    if name.startswith("ours"):
        import unstride.keras

        unstride.keras.accelerate(network)
    side = sizes(model)[-1][0]
    target = x if side == SIDE else np.zeros((len(x), side, side, 1), np.float32)

    def steps(count: int) -> None:
        images = x[: count * batch]
        if predict:
            network.predict(images, batch_size=batch, verbose=0)
        else:
            network.fit(images, target[: count * batch], batch_size=batch, verbose=0, shuffle=False)

    del keras
    return steps


def _torch(name: str, model: str, x: Any, batch: int, predict: bool) -> Any:
    import torch

    torch.manual_seed(0)
    network, images = torch_model(model), torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()
    side = sizes(model)[-1][0]
    targets = images if side == SIDE else torch.zeros(len(x), 1, side, side)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    part = 50 if name == "torch-micro" else batch

    def steps(count: int) -> None:
        for begin in range(0, count * batch, batch):
            if predict:
                with torch.inference_mode():
                    network(images[begin : begin + batch])
                continue
            optimizer.zero_grad()
            for at in range(begin, begin + batch, part):
                end = min(at + part, begin + batch)
                loss = torch.nn.functional.binary_cross_entropy(network(images[at:end]), targets[at:end])
                (loss * ((end - at) / batch)).backward()
            optimizer.step()

    return steps


def _onnxruntime(model: str, x: Any, batch: int) -> Any:
    import tempfile
    import warnings
    from pathlib import Path

    import onnxruntime
    import torch

    images = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = str(Path(folder) / "model.onnx")
        example = torch.from_numpy(images[:2])
        axes = {"x": {0: "n"}}
        torch.onnx.export(
            torch_model(model).eval(), (example,), file, dynamo=False, input_names=["x"], dynamic_axes=axes
        )
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def steps(count: int) -> None:
        for begin in range(0, count * batch, batch):
            session.run(None, {"x": images[begin : begin + batch]})

    return steps


def serve(name: str, model: str, batch: int, steps: int, predict: bool) -> None:
    """The contender's process: a line for each requested turn, with its seconds and the memory added."""
    x = np.random.default_rng(0).random((steps * batch, SIDE, SIDE, 1), dtype=np.float32)
    loaded = contender(name, model, x, batch, predict)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loaded(2 if steps > 1 else 1)
    print("ready", flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        loaded(steps)
        seconds = time.perf_counter() - begin
        print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, flush=True)


def start(name: str, model: str, options: argparse.Namespace) -> subprocess.Popen[str]:
    backend = name.partition("-")[2] if name.startswith(("keras", "ours")) else "torch"
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, "--serve", name, "--model", model, "--batch", str(options.batch)]
    command += ["--steps", str(options.steps), *(["--predict"] if options.predict else [])]
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def answer(process: subprocess.Popen[str]) -> str | None:
    assert process.stdout is not None
    line = process.stdout.readline()
    return line.strip() or None


def race(model: str, options: argparse.Namespace) -> None:
    from unstride import get_num_threads
    from unstride._native import fma_peak

    known = PREDICTORS if options.predict else TRAINERS
    processes = {name: start(name, model, options) for name in options.only or known}
    running = {name: process for name, process in processes.items() if answer(process) == "ready"}
    for name in sorted(set(processes) - set(running)):
        print(f"    {name} does not run here", file=sys.stderr)
    best: dict[str, float] = {}
    memory: dict[str, float] = {}
    peak, names = 0.0, list(running)
    for number in range(options.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            peak = max(peak, fma_peak(0.02, get_num_threads()))
            process = running[name]
            assert process.stdin is not None
            print("turn", file=process.stdin, flush=True)
            seconds, added = map(float, (answer(process) or "inf 0").split())
            best[name], memory[name] = min(best.get(name, seconds), seconds), max(memory.get(name, 0), added)
    for process in processes.values():
        process.stdin.close()  # type: ignore[union-attr]
        process.wait()
    what = "prediction" if options.predict else "training"
    print(f"\n{model}: {what}, batch {options.batch}; peak {peak:.0f} GFLOP/s")
    print(f"{'':18}{'images/s':>10}{'of peak':>9}{'memory':>11}{'25 epochs':>12}")
    for name in sorted(best, key=best.__getitem__):
        speed = options.steps * options.batch / best[name]
        share = speed * gflop(model, not options.predict) / peak
        whole = "" if options.predict else f"{25 * 48_000 / speed / 60:8.1f} min"
        print(f"{name:18}{speed:10,.0f}{share:9.0%}{memory[name]:8,.0f} MB{whole:>12}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--only", nargs="+", choices=sorted({*TRAINERS, *PREDICTORS}))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="in each round")
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--predict", action="store_true")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.model[0], options.batch, options.steps, options.predict)
        return
    for model in options.model:
        race(model, options)


if __name__ == "__main__":
    main()
