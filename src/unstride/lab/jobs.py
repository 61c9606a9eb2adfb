"""Trainings in the background: each a process of its own, `unstride train` on a run folder.

A process, so that the page answers while it computes; and all that is known of it is on the disk, so that a page that
is opened again, or another one, finds it. Beside the run folders of ``runs/`` lies ``runs/.lab/``, which holds for
each run that a lab started NAME.json (which process it is) and NAME.log (what it says), and the file `lock`, whose
holder alone looks for room and starts a training.
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
"""Where the runs are, as on the command line: below the folder that the lab was started in."""

MAX_TRAININGS = 2
"""Trainings at once: more would make each slower than one after the other."""

CLOCK = 60.0
"""Seconds that the clock may be set by while a training goes on."""

WATCHED = 0.25
"""Seconds between two looks of a training at whether it should stop."""

AGAIN = 10.0
"""Seconds until one that was interrupted, and is still there, is interrupted once more."""

# In the new process: gentle to the page and the browser; Ctrl-C as a terminal has it, even if the lab was started
# without one. It interrupts itself when its record asks it to stop, or once the lab is gone, as nobody could stop it
# any more; again after a while, because an interruption may be lost in a library that is just being imported.
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
    if hasattr(signal, "pthread_kill"):  # which ends a wait, too
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
    """A training that cannot be started, stopped or continued. The message says why."""


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes
    ----------
    state : {"starting", "training", "stopping", "reporting", "stopped", "finished", "failed", "damaged"}
    done, epochs : int
        Whole epochs behind it, and asked for.
    share : float
        Of the present epoch, from 0 to 1.
    rows : list
        metrics.csv's.
    message : str
        What went wrong; "" if nothing did.
    """

    state: str
    done: int = 0
    epochs: int = 0
    share: float = 0.0
    rows: tuple[Row, ...] = ()
    message: str = ""

    @property
    def active(self) -> bool:
        """Whether its process is at work."""
        return self.state in ("starting", "training", "stopping", "reporting")

    @property
    def resumable(self) -> bool:
        return self.state in ("stopped", "failed") and self.epochs > 0


@dataclass(frozen=True)
class Job:
    """A run in `FOLDER`, trained by a lab or not."""

    name: str
    folder: Path

    @property
    def path(self) -> Path:
        """Its run folder."""
        return self.folder / self.name

    @property
    def log(self) -> Path:
        """What its process says."""
        return self.folder / ".lab" / f"{self.name}.log"

    @property
    def record(self) -> Path:
        """Which process it is."""
        return self.folder / ".lab" / f"{self.name}.json"

    def run(self) -> Run | None:
        """Its run, once there is one that is not damaged."""
        try:
            return runs.load(self.path)
        except RunError:
            return None

    def damage(self) -> str:
        """Why its folder cannot be read as a run's; "" if it can be, or is not there yet."""
        try:
            runs.load(self.path)
        except RunError as error:
            return str(error).removeprefix(f"{self.path}: ") if runs.is_run(self.path) else ""
        return ""

    def process(self) -> psutil.Process | None:
        """The process that trains it now, if a lab started it."""
        known = self._known()
        try:
            process = psutil.Process(int(known["pid"]))
            # A process's number is given again; its number and the time it was created are not. That time moves a
            # little with the clock, from which it is reckoned.
            same = abs(process.create_time() - known["created"]) < CLOCK
            if same and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except (psutil.Error, KeyError, TypeError, ValueError, OverflowError):
            pass
        return None

    def progress(self) -> Progress:
        """How far it is. Reads a few small files."""
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
        """As Ctrl-C does: after the batch, in a state that can be continued."""
        with _alone(self.folder):
            process = self.process()
            if process is None:
                raise JobError(f"{self.name} is not being trained now, so there is nothing to stop")
            try:
                self._remember(self._known() | {"stopping": True})  # where it looks
            except OSError:  # the disk may be full, which is a reason to stop
                process.terminate()

    def resume(self, epochs: int | None = None) -> None:
        """Go on where its last epoch ended; with more epochs, if that many are asked for."""
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
        """Start its process and record it. The caller must hold the lock, and have checked for room under it."""
        self._remember({})  # a process that was stopped, if there was one, is no longer this one
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(self.record), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the terminal's Ctrl-C is the lab's own
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        created = psutil.Process(child.pid).create_time()
        threading.Thread(target=child.wait, daemon=True).start()  # so that none stays a zombie
        try:
            self._remember({"pid": child.pid, "created": created, "started": time.time()})
        except BaseException:
            child.kill()  # without a record nobody could see or stop it
            raise

    def _remember(self, known: dict[str, Any]) -> None:
        write_json(self.record, known)

    def _known(self) -> dict[str, Any]:
        try:
            return read_json(self.record)
        except (OSError, ValueError):
            return {}

    def _share(self, run: Run, done: int) -> float:
        """How much of the present epoch is done, as the training itself says."""
        try:
            said = read_json(run.path / runs.PROGRESS)
            share = float(said["batch"] / said["batches"]) if said["epoch"] == done else 0.0
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError):
            return 0.0
        return share if 0 <= share <= 1 else 0.0

    def _says(self, what: str) -> str:
        """The last line with which the command line ended in an error; "" if it did not."""
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
    """A new training of `model`, with options as on the command line.

    Raises
    ------
    JobError
        If too many are at work.
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
"""Held with each folder's lock: some systems have locks for threads only."""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one thread, of all labs on this folder, look at the records and change them.

    The lock is the open file's, so a lab that is killed leaves none behind.
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
        sweep(place)  # records are written here only, so what is left is of a lab that was killed
        yield


def find(name: str | None, folder: Path | None = None) -> Job | None:
    """The run of that name; None if there is none, or no name."""
    folder = FOLDER if folder is None else folder
    if not name or name != Path(name).name or name.startswith("."):
        return None
    job = Job(name, folder)
    try:
        return job if job.path.is_dir() or job.record.exists() else None
    except OSError:  # a name that is too long
        return None


def listing(model: str, folder: Path | None = None) -> list[Job]:
    """The runs of a model: first those that only start, then all others, the newest first.

    Those too that the command line made, and damaged ones: these by their names, unless their config.json is whole.
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
    """One that no other page has taken meanwhile."""
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
    """Those that a lab started. A record that is just being written has a name that begins with a dot."""
    return [Job(record.stem, folder) for record in (folder / ".lab").glob("[!.]*.json")]
