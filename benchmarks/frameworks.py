"""Whole small models before and after `accelerate`, in PyTorch and in Keras on each of its backends.

    python benchmarks/frameworks.py [--frameworks torch keras-jax] [--only u-net] [--threads 2] [--quick] [--json FILE]

Each framework runs in its own process (Keras reads its backend once), which holds two copies of every model with the
same weights, one unchanged and one accelerated. They take turns, separately for "forward" and "training"; each one's
best turn counts. Forward is PyTorch's module in evaluation mode without gradients, and Keras's ``predict_on_batch``.
Training is a forward and a backward pass in PyTorch, and ``train_on_batch`` in Keras, which also takes a step of plain
gradient descent. Before the first turn the outputs of the two are compared.

The process is bound to as many cores as there are threads. Twenty milliseconds of sleep before each turn let the
threads of the last one, which may spin for a while, go to sleep. Ratios above 1 mean that the accelerated model is that
many times as fast.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

FRAMEWORKS = ("torch", "keras-jax", "keras-torch", "keras-tensorflow")
NAMES = ("DCGAN generator", "U-Net, 2-D", "FSRCNN x3", "HiFi-GAN, 1-D", "U-Net, 3-D")
MODES = ("forward", "training")
PAUSE = 0.02
TOLERANCE = 2e-3  # of the largest output: sums in another order stay below it, a wrong layer does not
TARGETS = {("torch", "forward"): 1.8, ("keras-jax", "both"): 3.0}
SLOWER = 0.97  # below this a model counts as slower; between this and 1 are the differences between turns

Runs = dict[str, Callable[[], Any]]  # by mode


def pytorch(name: str, options: argparse.Namespace) -> Iterator[tuple[Runs, Any]]:
    """The model unchanged, then accelerated: the functions that run it, and its output."""
    import copy

    import models_torch
    import torch

    import unstride.torch

    make, shape = models_torch.MODELS[name]
    torch.manual_seed(0)
    plain, x = make(), torch.randn(shape)
    if options.channels_last and x.ndim in (4, 5):
        memory = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
        plain, x = plain.to(memory_format=memory), x.to(memory_format=memory)
    fast = copy.deepcopy(plain)
    report = unstride.torch.accelerate(fast)
    if options.verbose:
        print(f"{name}: {report}", file=sys.stderr)
    for module in (plain, fast):

        def forward(module: Any = module) -> Any:
            module.eval()
            with torch.no_grad():
                return module(x)

        def training(module: Any = module) -> Any:
            module.train()
            module.zero_grad()
            module(x).square().mean().backward()

        output = forward().numpy()
        yield {"forward": forward, "training": training}, output


def keras_of(name: str, options: argparse.Namespace) -> Iterator[tuple[Runs, Any]]:
    import keras
    import models_keras

    import unstride.keras

    make, shape = models_keras.MODELS[name]
    keras.utils.set_random_seed(0)
    plain, fast = make(shape[1:]), make(shape[1:])
    fast.set_weights(plain.get_weights())
    report = unstride.keras.accelerate(fast)
    if options.verbose:
        print(f"{name}: {report}", file=sys.stderr)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    target = np.zeros((shape[0], *plain.output_shape[1:]), np.float32)
    for model in (plain, fast):
        model.compile(keras.optimizers.SGD(1e-4), "mse")

        def forward(model: Any = model) -> Any:
            return model.predict_on_batch(x)

        def training(model: Any = model) -> Any:
            return model.train_on_batch(x, target)

        yield {"forward": forward, "training": training}, forward()


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds before and after, by mode."""
    maker = pytorch if options.worker == "torch" else keras_of
    (plain, expected), (fast, got) = maker(name, options)
    row: dict[str, Any] = {"model": name, "agrees": agree(got, expected)}
    for mode in options.modes:
        runs = {"before": plain[mode], "after": fast[mode]}
        seconds = {which: turn(run, 2) for which, run in runs.items()}  # compiles, and warms up
        seconds = {which: turn(run, 1) for which, run in runs.items()}
        best = dict(seconds)
        for number in range(options.rounds):
            for which in sorted(runs, reverse=number % 2 == 0):
                time.sleep(PAUSE)
                calls = max(1, int(options.seconds / seconds[which]))
                seconds[which] = turn(runs[which], calls)
                best[which] = min(best[which], seconds[which])
        row[mode] = {which: second * 1e3 for which, second in best.items()}
    return row


def agree(got: Any, expected: Any) -> bool:
    return got.shape == expected.shape and bool(np.abs(got - expected).max() <= TOLERANCE * np.abs(expected).max())


def turn(run: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def work(options: argparse.Namespace) -> None:
    """In the framework's own process: a line of JSON for each model."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    import unstride

    unstride.set_num_threads(options.threads)
    if options.worker.endswith("torch"):
        import torch

        torch.set_num_threads(options.threads)
    if options.worker.endswith("tensorflow"):
        import tensorflow

        tensorflow.config.threading.set_intra_op_parallelism_threads(options.threads)
    for name in chosen(options):
        print(json.dumps(measure(name, options)), flush=True)


def chosen(options: argparse.Namespace) -> list[str]:
    return [name for name in NAMES if not options.only or any(part.lower() in name.lower() for part in options.only)]


def rows_of(framework: str) -> Iterator[dict[str, Any]]:
    """The measurements of the framework's process, as they arrive."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    if framework.startswith("keras-"):
        environment["KERAS_BACKEND"] = framework.removeprefix("keras-")
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", framework]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                yield json.loads(line)
    if process.returncode:
        raise SystemExit(f"{framework} ended with status {process.returncode}")


def ratio(row: dict[str, Any], mode: str) -> float:
    return float(row[mode]["before"] / row[mode]["after"])


def line(row: dict[str, Any], modes: list[str]) -> str:
    cells = [f"{row[m]['before']:>11.2f}{row[m]['after']:>9.2f}{ratio(row, m):>7.2f}" for m in modes]
    return f"{row['model']:<18}{''.join(cells)}{'' if row['agrees'] else '   !!! MISMATCH !!!'}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frameworks", nargs="+", choices=FRAMEWORKS, default=list(FRAMEWORKS))
    parser.add_argument("--only", nargs="+", metavar="SUBSTRING", help="only models with one of these in their names")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="of a turn, about; one call at least")
    parser.add_argument("--channels-last", action="store_true", help="PyTorch's models in that memory format")
    parser.add_argument("--quick", action="store_true", help="three rounds")
    parser.add_argument("--verbose", action="store_true", help="print what accelerate reports")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all numbers")
    parser.add_argument("--worker", choices=FRAMEWORKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.threads < 1 or options.rounds < 1:
        parser.error("--threads and --rounds take numbers of at least 1")
    if options.quick:
        options.rounds = min(options.rounds, 3)
    if not chosen(options):
        parser.error(f"no model has that in its name; there are: {', '.join(NAMES)}")
    return options


def main() -> int:
    options = arguments()
    if options.worker:
        work(options)
        return 0
    tables: dict[str, list[dict[str, Any]]] = {}
    slower = []
    for framework in options.frameworks:
        print(f"\n{framework}, {options.threads} threads, milliseconds")
        print(" " * 18 + "".join(f"{mode:>11}{'after':>9}{'ratio':>7}" for mode in options.modes))
        tables[framework] = []
        for row in rows_of(framework):
            tables[framework].append(row)
            print(line(row, options.modes), flush=True)
        for mode in [*options.modes, *["both"] * (len(options.modes) == 2)]:
            modes = options.modes if mode == "both" else [mode]
            mean = statistics.geometric_mean(ratio(row, one) for row in tables[framework] for one in modes)
            target = TARGETS.get((framework, mode))
            goal = f" (the goal is {target})" if target else ""
            print(f"{mode}: {mean:.2f} times as fast (geometric mean){goal}")
        for mode in options.modes:
            slower += [f"{r['model']} ({framework}, {mode})" for r in tables[framework] if ratio(r, mode) < SLOWER]
    print(f"\nslower after than before: {'; '.join(slower) or 'none'}")
    if options.json:
        options.json.write_text(json.dumps(tables, indent=1))
    wrong = [f"{row['model']} ({name})" for name, rows in tables.items() for row in rows if not row["agrees"]]
    if wrong:
        print(f"!!! MISMATCHES: {'; '.join(wrong)} !!!")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
