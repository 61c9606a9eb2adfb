"""Trainings in the background: each is a process, `unstride train` on a run folder.

Pages stay responsive, and because all state is on the disk, any page can find a training. ``runs/.lab/`` contains, for
each run that a lab started, NAME.json (its process) and NAME.log (its output), and the file `lock`. Only the holder of
the lock checks the number of trainings and starts one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from .._files import sweep, write_json
from ..app import runs, tasks
from ..app.errors import RunError
from ..app.runs import Row, Run
from ..app.runs.reading import read_json

FOLDER = Path("runs")
"""The folder of the runs, as on the command line: within the folder in which the lab was started."""

MAX_TRAININGS = 2
"""Simultaneous trainings. More would be slower than one after another."""

CLOCK = 60.0
"""Seconds by which the clock may be changed during a training."""

WATCHED = 0.25
"""Seconds between two checks of a training whether it should stop."""

AGAIN = 10.0
"""Seconds until a training that did not stop is interrupted again."""

# Runs in the new process, at low priority, so that the page and the browser stay responsive. Ctrl-C works as in a
# terminal, even if the lab was started without one. The process interrupts itself when its record asks it to stop, or
# when the lab has ended, because then nobody could stop it. It repeats this after a while, because an interruption can
# be lost while a library is imported.
_CHILD = f"""
import os, pathlib, signal, sys, _thread, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
record, lab = pathlib.Path(sys.argv.pop(1)), os.getppid()
def unwanted():
    try:
        return os.getppid() != lab or '"stopping"' in record.read_text()
    except OSError:
        return False
def interrupt():
    if hasattr(signal, "pthread_kill"):  # also ends a wait
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    else:
        _thread.interrupt_main()
def watch():
    while True:
        time.sleep({WATCHED})
        if unwanted():
            interrupt()
            time.sleep({AGAIN})
if unwanted():
    sys.exit(130)
threading.Thread(target=watch, daemon=True).start()
if hasattr(os, "nice"):
    os.nice(5)
from unstride.app.cli import main
sys.exit(main())
"""


class JobError(RuntimeError):
    """A training cannot be started, stopped or continued. The message says why."""


@dataclass(frozen=True)
class Progress:
    """The progress of a training.

    Attributes
    ----------
    state : {"starting", "training", "stopping", "reporting", "stopped", "finished", "failed", "damaged"}
    done, epochs : int
        Epochs that are finished, and all epochs.
    share : float
        The finished part of the present epoch, from 0 to 1.
    rows : list
        The rows of metrics.csv.
    message : str
        The error; "" if there is none.
    """

    state: str
    done: int = 0
    epochs: int = 0
    share: float = 0.0
    rows: tuple[Row, ...] = ()
    message: str = ""

    @property
    def active(self) -> bool:
        """Whether its process is running."""
        return self.state in ("starting", "training", "stopping", "reporting")

    @property
    def resumable(self) -> bool:
        return self.state in ("stopped", "failed") and self.epochs > 0


@dataclass(frozen=True)
class Job:
    """A run in `folder`, whether a lab or the command line trains it."""

    name: str
    folder: Path

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder / self.name

    @property
    def log(self) -> Path:
        """The file with the output of the process."""
        return self.folder / ".lab" / f"{self.name}.log"

    @property
    def record(self) -> Path:
        """The file that names the process."""
        return self.folder / ".lab" / f"{self.name}.json"

    def run(self) -> Run | None:
        """The run, or None if it does not exist yet or is damaged."""
        try:
            return runs.load(self.path)
        except RunError:
            return None

    def damage(self) -> str:
        """Why the folder cannot be read as a run; "" if it can, or does not exist yet."""
        try:
            runs.load(self.path)
        except RunError as error:
            return str(error).removeprefix(f"{self.path}: ") if runs.is_run(self.path) else ""
        return ""

    def process(self) -> psutil.Process | None:
        """The process that trains the run now, if a lab started it."""
        known = self._known()
        try:
            process = psutil.Process(int(known["pid"]))
            # Process numbers are reused, so the time of creation is compared, too. It moves when the clock is set.
            same = abs(process.create_time() - known["created"]) < CLOCK
            if same and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except (psutil.Error, KeyError, TypeError, ValueError, OverflowError):
            pass
        return None

    def progress(self) -> Progress:
        """The progress, from a few small files."""
        at_work = self.process() is not None
        run = self.run()
        if run is None:
            damage = self.damage()
            if at_work:
                state = "stopping" if self._known().get("stopping") else "training" if damage else "starting"
                return Progress(state, message=damage)
            if damage:
                return Progress("damaged", message=damage)
            if not self.record.exists():
                return Progress("failed", message=f"{self.path}: no such run")
            return self._ended_before_it_began()
        rows = tuple(run.rows())
        done, epochs = len(rows), run.options.epochs
        if at_work:
            state = "stopping" if self._known().get("stopping") else "training" if done < epochs else "reporting"
            return Progress(state, done, epochs, self._share(run, done), rows)
        if done >= epochs and (run.report.exists() or not self._says("error")):
            return Progress("finished", done, epochs, 0.0, rows)
        message = self._says("error")
        return Progress("failed" if message else "stopped", done, epochs, 0.0, rows, message)

    def stop(self) -> None:
        """Stop after the current batch, like Ctrl-C. The run can be continued."""
        with _alone(self.folder):
            process = self.process()
            if process is None:
                raise JobError(f"{self.name} is not being trained now, so there is nothing to stop")
            try:
                self._remember(self._known() | {"stopping": True})  # which the process checks
            except OSError:  # the disk may be full
                process.terminate()

    def resume(self, epochs: int | None = None) -> None:
        """Continue after the last epoch, with more epochs in all if `epochs` is larger."""
        run = self.run()
        if run is None:
            if damage := self.damage():
                raise JobError(f"{self.name} cannot be continued: {damage}")
            raise JobError(f"{self.name} was stopped before it had begun; start a new training")
        more = ["--epochs", str(epochs)] if epochs is not None and epochs > run.options.epochs else []
        with _alone(self.folder):
            if self.process() is not None:
                raise JobError(f"{self.name} is being trained already")
            _check_room(self.folder)
            self._spawn(["train", "--resume", "--run", str(self.path), *more])

    def _spawn(self, arguments: Sequence[str]) -> None:
        """Start the process and record it. The caller holds the lock and has called `_check_room`."""
        self._remember({})  # forget an earlier process
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(self.record), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is for the lab only
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        created = psutil.Process(child.pid).create_time()
        threading.Thread(target=child.wait, daemon=True).start()  # so that it does not become a zombie
        try:
            self._remember({"pid": child.pid, "created": created, "started": time.time()})
        except BaseException:
            child.kill()  # without a record, nobody could see or stop it
            raise

    def _remember(self, known: dict[str, Any]) -> None:
        write_json(self.record, known)

    def _known(self) -> dict[str, Any]:
        try:
            return read_json(self.record)
        except (OSError, ValueError):
            return {}

    def _share(self, run: Run, done: int) -> float:
        """The finished part of the present epoch, by progress.json."""
        try:
            said = read_json(run.path / runs.PROGRESS)
            share = float(said["batch"] / said["batches"]) if said["epoch"] == done else 0.0
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError):
            return 0.0
        return share if 0 <= share <= 1 else 0.0

    def _says(self, what: str) -> str:
        """The message of the error with which the process ended; "" if there is none."""
        try:
            lines = self.log.read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        head = f"unstride: {what}: "
        return lines[-1][len(head) :] if lines and lines[-1].startswith(head) else ""

    def _ended_before_it_began(self) -> Progress:
        message = self._says("error")
        if message:
            return Progress("failed", message=message)
        return Progress("stopped", message="It was stopped before it had begun: there is nothing to continue.")


def start(model: str, options: Sequence[str], folder: Path | None = None) -> Job:
    """Start a training of `model`, with options as on the command line.

    Raises
    ------
    JobError
        Too many trainings are running.
    """
    folder = FOLDER if folder is None else folder
    with _alone(folder):
        _check_room(folder)
        job = _named(folder, f"{model}-{time.strftime('%Y%m%d-%H%M%S')}")
        try:
            job._spawn(["train", model, "--run", str(job.path), *options])
        except BaseException:
            job.record.unlink(missing_ok=True)
            raise
    return job


_THREADS = threading.RLock()
"""Held together with a folder's lock, for systems without file locks."""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock that admits one thread, of all labs on this folder, to the records.

    It belongs to an open file, so that it ends with the process.
    """
    place = folder / ".lab"
    place.mkdir(parents=True, exist_ok=True)
    with _THREADS, (place / "lock").open("ab") as file:
        try:
            import fcntl
        except ImportError:  # Windows
            pass
        else:
            fcntl.flock(file, fcntl.LOCK_EX)
        sweep(place)  # under the lock, a temporary file is that of a killed lab
        yield


def find(name: str | None, folder: Path | None = None) -> Job | None:
    """The job with this name; None if there is none or the name is empty."""
    folder = FOLDER if folder is None else folder
    if not name or name != Path(name).name or name.startswith("."):
        return None
    job = Job(name, folder)
    try:
        return job if job.path.is_dir() or job.record.exists() else None
    except OSError:  # the name is too long
        return None


def listing(model: str, folder: Path | None = None) -> list[Job]:
    """The jobs of a model: first those that are starting, then the others, the newest first.

    Runs of the command line and damaged runs are included. A run with a damaged config.json is assigned by its name.
    """
    folder = FOLDER if folder is None else folder
    begun = [Job(path.name, folder) for path in reversed(runs.folders(folder))]
    starting = [job for job in _recorded(folder) if job not in begun and job.process() is not None]
    starting.sort(key=lambda job: job.name, reverse=True)
    return [job for job in starting if job.name.startswith(f"{model}-")] + [job for job in begun if _is_of(job, model)]


def _is_of(job: Job, model: str) -> bool:
    try:
        return runs.read_config(job.path).options.model == model
    except RunError:
        return job.name.partition("-")[0] not in set(tasks.NAMES) - {model}


def _named(folder: Path, name: str) -> Job:
    """A job with a name that no other page has taken."""
    for attempt in range(1, 1000):
        job = Job(name if attempt == 1 else f"{name}-{attempt}", folder)
        if job.path.exists():
            continue
        try:
            job.record.open("x").close()
        except FileExistsError:
            continue
        return job
    raise JobError(f"{folder}: too many runs of one second")


def _check_room(folder: Path) -> None:
    at_work = [job.name for job in _recorded(folder) if job.process() is not None]
    if len(at_work) >= MAX_TRAININGS:
        raise JobError(f"{' and '.join(at_work)} are being trained; stop one, or wait for its end")


def _recorded(folder: Path) -> list[Job]:
    """The jobs that a lab started. (The names of unfinished records begin with a dot.)"""
    return [Job(record.stem, folder) for record in (folder / ".lab").glob("[!.]*.json")]
