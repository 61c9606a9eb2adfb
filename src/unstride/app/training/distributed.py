"""Training on several devices or machines: Keras's data parallelism on JAX, every process with its part of each batch.

All processes draw the same batches, as the seed says, and each computes its own part of them; so the losses are those
of one process with the whole batches, but for rounding. The first process alone writes the run's folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import EnvironmentProblem, OptionError
from ..runs import Run
from ..runs.options import Options
from ..tasks.processes import Group

VARIABLES = {
    "coordinator": "UNSTRIDE_COORDINATOR",
    "processes": "UNSTRIDE_PROCESSES",
    "process": "UNSTRIDE_PROCESS",
}


def group(coordinator: str | None, processes: int | None, process: int | None) -> Group:
    """From the options, or else from the environment; alone, with all devices that it has, if neither says more."""
    coordinator = coordinator or os.environ.get(VARIABLES["coordinator"]) or None
    count = processes if processes is not None else _number("processes", 1)
    index = process if process is not None else _number("process", 0)
    if count < 1:
        raise OptionError(f"--processes is {count}; expected at least 1")
    if not 0 <= index < count:
        raise OptionError(f"--process is {index}; expected from 0 to {count - 1}, one less than --processes")
    if count > 1 and not coordinator:
        raise OptionError(
            f"--processes is {count}, but no --coordinator is given; "
            "expected the host:port at which process 0 listens, the same for all"
        )
    return Group(coordinator, count, index)


def _number(name: str, default: int) -> int:
    value = os.environ.get(VARIABLES[name])
    if not value:
        return default
    try:
        return int(value)
    except ValueError:
        raise OptionError(f"{VARIABLES[name]} is {value!r}; expected a whole number") from None


def prepare(options: Options) -> None:
    """Before JAX is imported: how processors talk to each other."""
    if options.backend != "jax":
        raise OptionError(f"--distributed needs the backend jax; --backend is {options.backend}")
    os.environ.setdefault("JAX_CPU_COLLECTIVES_IMPLEMENTATION", "gloo")


def start(group: Group) -> int:
    """Join the other processes and spread what follows over all devices; how many these are."""
    import jax

    from ...backends.keras.imported import keras

    if group.processes > 1:
        try:
            jax.distributed.initialize(group.coordinator, group.processes, group.process)
        except (RuntimeError, ValueError) as error:
            raise EnvironmentProblem(f"the processes cannot be joined at {group.coordinator}: {error}") from error
    # The batches are divided by `part` already.
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    return len(jax.devices())


@contextmanager
def folder() -> Iterator[Path]:
    """Where a process that is not the first keeps its run, for as long as it trains.

    It does all that the first one does: to save a model, Keras wants all processes.
    """
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def apart(run: Run, folder: Path) -> Run:
    """A resumed run with its files in another folder."""
    if run.history.exists():
        shutil.copy(run.history, folder)
    return replace(run, path=folder)


def check(devices: int, options: Options, training: int) -> None:
    """Refuse batches that the devices do not divide evenly."""
    last = training % options.batch_size or options.batch_size
    for name, size in (
        (f"--batch-size is {options.batch_size}", options.batch_size),
        (f"its last batch has {last}", last),
    ):
        if size % devices:
            raise OptionError(
                f"{name}, which {devices} devices do not divide evenly; expected a multiple, for an epoch's "
                f"{training} and for what is left of them too"
            )


def stop(group: Group) -> None:
    """Part from the others; this process goes on alone."""
    import jax

    from ...backends.keras.imported import keras

    keras.distribution.set_distribution(None)
    if group.processes > 1:
        leave: Any = jax.distributed.shutdown
        leave()
