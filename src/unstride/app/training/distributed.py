"""Training on several devices or machines, with Keras's data parallelism on JAX.

All processes draw the same batches from the seed, and each computes its part of every batch. The losses are therefore
those of one process with whole batches, except for rounding. Only the first process writes to the run folder.
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
    """The group by the options, or else by the environment. Default: one process, with all its devices."""
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
    """Choose how CPUs communicate, before JAX is imported."""
    if options.backend != "jax":
        raise OptionError(f"--distributed needs the backend jax; --backend is {options.backend}")
    os.environ.setdefault("JAX_CPU_COLLECTIVES_IMPLEMENTATION", "gloo")


def start(group: Group) -> int:
    """Join the other processes and distribute over all devices. Returns the number of devices."""
    import jax

    from ...backends.keras.imported import keras

    if group.processes > 1:
        try:
            jax.distributed.initialize(group.coordinator, group.processes, group.process)
        except (RuntimeError, ValueError) as error:
            raise EnvironmentProblem(f"the processes cannot be joined at {group.coordinator}: {error}") from error
    # `part` has divided the batches already.
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    return len(jax.devices())


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary run folder for a process that is not the first.

    It saves models like the first one, because Keras saves with all processes.
    """
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def apart(run: Run, folder: Path) -> Run:
    """A resumed run, moved to another folder."""
    if run.history.exists():
        shutil.copy(run.history, folder)
    return replace(run, path=folder)


def check(devices: int, options: Options, training: int) -> None:
    """Refuse batches that do not divide evenly among the devices."""
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
    """Leave the group. This process continues alone."""
    import jax

    from ...backends.keras.imported import keras

    keras.distribution.set_distribution(None)
    if group.processes > 1:
        leave: Any = jax.distributed.shutdown
        leave()
