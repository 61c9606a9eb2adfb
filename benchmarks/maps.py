"""Our three maps against other libraries', on the shapes of shapes.py, in one process and in turns.

    python benchmarks/maps.py [--maps forward input kernel] [--threads 1 2] [--only dcgan u-net] [--json FILE]

Everything is float32. Arrays are in each library's own layout beforehand, and every call makes a new result and drops
it. In each round every contestant makes as many calls in a row as fit into ``--seconds``. The order rotates from round
to round, and each one's best round counts. Twenty milliseconds of sleep between turns let the threads of the last
contestant, which may spin for a while, go to sleep; otherwise each library's setting for spinning stays. A contestant
that has spent three seconds on a shape skips the remaining rounds. Before the first round each one's result is compared
with ours.

The operations are counted as if every input cell used the whole kernel (`Shape.gflop`), so shapes with large crops may
exceed the peak. The peak is that of a loop of fused multiply-adds on registers alone, measured before and after each
shape, because clocks drift. Ratios above 1 mean that we are that many times as fast as the other library. A dash means
that the library is not installed, has no such map, or not for this shape, or that its number of threads cannot be set.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import peers
from peers import Array, Contestant, Problem
from shapes import SHAPES, Shape

import unstride as us
from unstride._core import core
from unstride._native import fma_peak

TITLES = {"forward": "forward", "input": "input gradient", "kernel": "kernel gradient"}
PAUSE = 0.02
PATIENCE = 3.0
PEAK_SECONDS = 0.02
TOLERANCE = 1e-3  # of the largest number: sums in another order stay far below, wrong settings are above
TARGET = 0.75  # of the peak, for compute-bound shapes


@dataclass
class Row:
    """The measurements of one shape: seconds per call for each contestant that took part, including "ours"."""

    map: str
    threads: int
    shape: str
    gflop: float
    compute_bound: bool
    peak: float
    seconds: dict[str, float] = field(default_factory=dict)
    mismatches: list[str] = field(default_factory=list)

    def speed(self, name: str) -> float:
        """GFLOP/s."""
        return self.gflop / self.seconds[name]

    @property
    def of_peak(self) -> float:
        return self.speed("ours") / self.peak

    def best(self, names: Iterable[str]) -> str | None:
        """The fastest of these, if any computed the shape."""
        return min((name for name in names if name in self.seconds), key=self.seconds.__getitem__, default=None)

    def ratio(self, names: Iterable[str]) -> float | None:
        """Our speed relative to the best of these."""
        best = self.best(names)
        return None if best is None else self.seconds[best] / self.seconds["ours"]


def problem_of(shape: Shape, of: str, bias: bool) -> Problem:
    geometry, rng = shape.geometry, np.random.default_rng(0)

    def normal(*size: int) -> Array:
        return rng.standard_normal(size, np.float32)

    return Problem(
        of,
        geometry,
        normal(shape.batch, *shape.size, shape.c_in),
        normal(*geometry.kernel_size, shape.c_out // shape.groups, shape.c_in),
        normal(shape.batch, *geometry.output_size(shape.size), shape.c_out),
        normal(shape.c_out) if bias and of == "forward" else None,
    )


def ours(problem: Problem, channels: str) -> Contestant:
    small, kernel, big, bias = problem.small, problem.kernel, problem.big, problem.bias
    if channels == "first":
        small, kernel, big = peers.first(small), peers.first_kernel(kernel), peers.first(big)
    both: dict[str, Any] = {"geometry": problem.geometry, "channels": channels}
    calls = {
        "forward": lambda: us.conv_transpose(small, kernel, bias, **both),
        "input": lambda: us.conv(big, kernel, **both),
        "kernel": lambda: us.kernel_gradient(big, small, **both),
    }
    read = functools.partial(peers.from_first, problem) if channels == "first" else np.asarray
    return Contestant(calls[problem.map], read)


def measure(shape: Shape, of: str, threads: int, columns: Sequence[str], options: argparse.Namespace) -> Row:
    """All contestants on one shape and map."""
    problem = problem_of(shape, of, options.bias)
    row = Row(of, threads, shape.name, shape.gflop, shape.compute_bound, fma_peak(PEAK_SECONDS, threads))
    contestants = {"ours": ours(problem, options.channels)}
    expected = contestants["ours"].read(contestants["ours"].call())
    for name in columns:
        try:
            contestant = peers.COLUMNS[name][1](problem, threads)
            with contestant.context():
                result = contestant.read(contestant.call())
        except peers.Unable:
            continue
        except Exception as error:  # the other contestants continue after any error
            reason = " ".join(str(error).split())
            print(f"    {name} fails on {shape.name}: {type(error).__name__}: {reason}"[:200], file=sys.stderr)
            continue
        contestants[name] = contestant
        if not agree(result, expected):
            row.mismatches.append(name)
            print(f"!!! MISMATCH: {name}'s result of {shape.name}, {of}, is not ours !!!", flush=True)
    del expected
    race(contestants, row, options)
    row.peak = max(row.peak, fma_peak(PEAK_SECONDS, threads))
    return row


def agree(theirs: Array, expected: Array) -> bool:
    if theirs.shape != expected.shape:
        return False
    return bool(np.abs(theirs - expected).max(initial=0) <= TOLERANCE * np.abs(expected).max(initial=0))


def race(contestants: dict[str, Contestant], row: Row, options: argparse.Namespace) -> None:
    """The rounds; each contestant's best goes into `row`."""
    names = list(contestants)
    last = {name: turn(contestants[name], 1) for name in names}  # already warm: the results have been compared
    spent = dict(last)
    for number in range(options.rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            if spent[name] < PATIENCE:
                time.sleep(PAUSE)
                calls = max(1, int(options.seconds / last[name]))
                last[name] = turn(contestants[name], calls)
                spent[name] += last[name] * calls
            row.seconds[name] = min(last[name], row.seconds.get(name, math.inf))


def turn(contestant: Contestant, calls: int) -> float:
    """Seconds per call."""
    call = contestant.call
    with contestant.context():
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - start) / calls


def heading(columns: Sequence[str]) -> str:
    theirs = "".join(f"{name:>9}" for name in columns)
    return f"{'shape':<22}{'GFLOP':>9}{'ms':>10}{'GFLOP/s':>9}{'% peak':>8}{theirs}{'/torch':>8}{'/best':>8}  best peer"


def line(row: Row, columns: Sequence[str]) -> str:
    theirs = "".join(f"{short(row.speed(name)) if name in row.seconds else '-':>9}" for name in columns)
    both = row.ratio(torch_of(columns)), row.ratio(columns)
    ratios = "".join(f"{'-' if ratio is None else short(ratio):>8}" for ratio in both)
    start = f"{row.shape:<22}{row.gflop:>9.3g}{row.seconds['ours'] * 1e3:>10.4f}{short(row.speed('ours')):>9}"
    return f"{start}{row.of_peak * 100:>8.1f}{theirs}{ratios}  {row.best(columns) or '-'}"


def short(number: float) -> str:
    """The number with two or three digits."""
    digits = ".0f" if number >= 100 else ".1f" if number >= 10 else ".2f" if number >= 0.1 else ".2g"
    return format(number, digits)


def torch_of(columns: Sequence[str]) -> list[str]:
    return [name for name in columns if peers.COLUMNS[name][0] == "torch"]


def summarise(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """The last lines of one table."""
    for what, names in (("PyTorch's better layout", torch_of(columns)), ("the best peer", columns)):
        ratios = [ratio for row in rows if (ratio := row.ratio(names)) is not None]
        if ratios:
            slower = sum(ratio < 1 for ratio in ratios)
            mean = statistics.geometric_mean(ratios)
            print(f"against {what}: {mean:.2f} times as fast (geometric mean); slower on {slower} of {len(ratios)}")
    rated = [row for row in rows if row.ratio(columns) is not None]
    if rated:
        worst = min(rated, key=lambda row: row.ratio(columns) or 0)
        print(f"worst: {worst.shape}, {worst.ratio(columns):.2f} of {worst.best(columns)}")
    bound = [row for row in rows if row.compute_bound]
    if bound:
        below = sorted((row for row in bound if row.of_peak < TARGET), key=lambda row: row.of_peak)
        reached = len(bound) - len(below)
        share = f"{reached} of {len(bound)} ({reached / len(bound):.0%})"
        print(f"compute-bound shapes at {TARGET:.0%} of the peak or above: {share}")
        if below:
            print("  below:", ", ".join(f"{row.shape} {row.of_peak:.0%}" for row in below))


def scaling(rows: Sequence[Row]) -> None:
    """The speedup by more threads, for shapes that are large enough to be shared."""
    ones = {(row.map, row.shape): row for row in rows if row.threads == 1}
    for threads in sorted({row.threads for row in rows} - {1}):
        for of in TITLES:
            gains = {
                row.shape: ones[of, row.shape].seconds["ours"] / row.seconds["ours"]
                for row in rows
                if row.map == of and row.threads == threads and (of, row.shape) in ones
                if ones[of, row.shape].seconds["ours"] > 5e-3
            }
            if gains:
                worst = min(gains, key=gains.__getitem__)
                mean = statistics.geometric_mean(gains.values())
                print(
                    f"{of}: {threads} threads against one, {len(gains)} shapes over 5 ms: {mean:.2f} times as fast "
                    f"(geometric mean), at worst {gains[worst]:.2f} ({worst})"
                )


def save(path: Path, about: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write a temporary file, then rename it: an interruption leaves the last complete file."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(about | {"rows": [asdict(row) for row in rows]}, indent=1))
    temporary.replace(path)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--maps", nargs="+", choices=list(TITLES), default=list(TITLES), help="input and kernel are gradients"
    )
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, peers.cores()}))
    parser.add_argument("--channels", choices=("last", "first"), default="last", help="the layout of our arrays")
    parser.add_argument("--peers", nargs="*", choices=peers.MODULES, default=list(peers.MODULES))
    parser.add_argument("--only", nargs="+", metavar="SUBSTRING", help="only shapes with one of these in their names")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.02, help="of a contestant's turn in a round, about")
    parser.add_argument("--bias", action="store_true", help="forward with a bias")
    parser.add_argument("--quick", action="store_true", help="three rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all numbers, saved after each shape")
    options = parser.parse_args()
    if min(options.threads) < 1 or options.rounds < 1:
        parser.error("--threads and --rounds take numbers of at least 1")
    if options.quick:
        options.rounds = min(options.rounds, 3)
    return options


def main() -> int:
    options = arguments()
    shapes = [s for s in SHAPES if options.only is None or any(part.lower() in s.name.lower() for part in options.only)]
    if not shapes:
        print("no shape has that in its name; there are:", ", ".join(shape.name for shape in SHAPES), file=sys.stderr)
        return 2
    here = [peer for peer in options.peers if peers.installed(peer)]
    columns = [name for name, (peer, _) in peers.COLUMNS.items() if peer in here]
    versions = {peer: str(importlib.import_module(peer).__version__) for peer in here}
    machine = {
        "processor": platform.machine(),
        "instruction set": core.instruction_set(),
        "cores": peers.cores(),
        # Another process on a core slows down those most that wait for all threads: check it before trusting a table.
        "load before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
    print(", ".join(f"{key}: {value}" for key, value in (machine | versions).items()))
    about = {"machine": machine, "versions": versions, "channels": options.channels, "bias": options.bias}
    rows: list[Row] = []
    for threads in options.threads:
        us.set_num_threads(threads)
        print(f"\npeak on {threads} thread{'s'[: threads > 1]}: {fma_peak(0.2, threads):.1f} GFLOP/s")
        for of in options.maps:
            print(
                f"\n{TITLES[of]}, threads: {threads}, our channels {options.channels}\n{heading(columns)}", flush=True
            )
            table = []
            for shape in shapes:
                row = measure(shape, of, threads, columns, options)
                print(line(row, columns), flush=True)
                table.append(row)
                rows.append(row)
                if options.json:
                    save(options.json, about, rows)
            summarise(table, columns)
    print()
    scaling(rows)
    wrong = [f"{row.shape} ({row.map}): {', '.join(row.mismatches)}" for row in rows if row.mismatches]
    if wrong:
        print(f"!!! MISMATCHES: {'; '.join(wrong)} !!!")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
