"""Run folders: the options, the progress and the results of a training. Needs no Keras.

| file | content |
|---|---|
| config.json | the options, the data and the machine; written at the start and when a run is resumed |
| metrics.csv | the history: a row for each epoch, from 0, by `keras.callbacks.CSVLogger` |
| last.keras, best.keras | the model and its optimizer after the last and the best epoch |
| last.npz | the weights after the last epoch, for use without Keras |
| model.keras, weights.npz | the trained model, which opens in Keras without unstride, and its weights alone |
| train_in_keras.py | an autoencoder's training as a Keras program |
| evaluation.json | the metrics on the test images |
| progress.json | during training: the epoch, from 0, the batch and the number of batches |
| report.html, pictures/ | the report |
"""

from __future__ import annotations

import csv
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..._files import write_bytes, write_json
from ..._messages.wording import counted
from ..errors import RunError
from .options import Options
from .reading import content, read_json, trouble, why

Row = dict[str, float]

PROGRESS = "progress.json"


@dataclass(frozen=True)
class Run:
    """A run folder and the content of its config.json."""

    path: Path
    options: Options
    dataset: dict[str, Any]
    environment: dict[str, Any]

    @property
    def last(self) -> Path:
        return self.path / "last.keras"

    @property
    def best(self) -> Path:
        return self.path / "best.keras"

    @property
    def program(self) -> Path:
        return self.path / "train_in_keras.py"

    @property
    def model(self) -> Path:
        return self.path / "model.keras"

    @property
    def history(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def save(self) -> None:
        config = {"options": asdict(self.options), "dataset": self.dataset, "environment": self.environment}
        write_json(self.path / "config.json", config)

    def rows(self) -> list[Row]:
        """The rows of metrics.csv, in order; [] before the end of the first epoch.

        Raises
        ------
        RunError
            The file is damaged or cannot be read.
        """
        try:
            header, *lines = self._lines() or [b""]
            names = next(csv.reader([header.decode()]), [])
            if missing := {"epoch", "loss", "val_loss"} - set(names) if lines else ():
                raise ValueError(f"it has no column {min(missing)}")
            return [_row(names, line, epoch) for epoch, line in enumerate(lines)]
        except (OSError, ValueError, csv.Error) as error:
            raise RunError(f"{self.path}: its metrics.csv {trouble(error)}") from error

    def rewind(self, epoch: int) -> list[Row]:
        """Remove the epochs from `epoch` on from metrics.csv, because a kill may come between it and the checkpoint.

        Returns the remaining rows.
        """
        # Lines are kept unchanged, so that a resumed run's file equals that of an uninterrupted one.
        self.rows()  # raises if the file is damaged, which is then left unchanged
        header, *lines = self._lines() or [b""]
        kept = lines[:epoch]
        if kept:
            write_bytes(self.history, b"".join([header, *kept]))
        else:
            self.history.unlink(missing_ok=True)
        return self.rows()

    def _lines(self) -> list[bytes]:
        try:
            lines = content(self.history).splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return [line for line in lines if line.endswith(b"\n")]  # a line without its end was cut off by a kill


def _row(names: list[str], line: bytes, epoch: int) -> Row:
    """The numbers in the line of metrics.csv for `epoch`."""
    values = next(csv.reader([line.decode()]), [])
    if len(values) != len(names):
        raise ValueError(f"row {epoch + 1} has {counted(len(values), 'value')} for {counted(len(names), 'column')}")
    row = {name: float(value) for name, value in zip(names, values, strict=True)}
    if row["epoch"] != epoch:
        raise ValueError(f"row {epoch + 1} is of epoch {values[names.index('epoch')]:.20}; expected {epoch}")
    if not 0 <= row.get("seconds", 0) < math.inf:
        raise ValueError(f"row {epoch + 1} took {row['seconds']} seconds")
    return row


def create(path: str | os.PathLike[str] | None, name: str) -> Path:
    """Create an empty run folder: `path`, or runs/NAME-DATE-TIME in the current folder."""
    if path is None:
        return _create_stamped(Path("runs"), f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    if not os.fspath(path):  # Path("") would be the current folder
        raise RunError("--run is empty; expected a folder's name")
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise RunError(
            f"--run {folder} is not empty; nothing in it was changed. "
            "Continue it with --resume, or name a folder that is new"
        )
    return folder


def _create_stamped(parent: Path, name: str) -> Path:
    for attempt in itertools.count(1):
        folder = parent / (name if attempt == 1 else f"{name}-{attempt}")
        with suppress(FileExistsError):  # taken by another run of the same second
            folder.mkdir(parents=True)
            break
    return folder


def load(path: str | os.PathLike[str]) -> Run:
    """The run in the folder `path`.

    Raises
    ------
    RunError
        It is not a run, or its config.json or metrics.csv is damaged. The message names the folder and says why.
    """
    run = read_config(path)
    run.rows()
    return run


def read_config(path: str | os.PathLike[str]) -> Run:
    """As `load`, but reads config.json only."""
    if not os.fspath(path):
        raise RunError("the name of a run is empty; expected a folder, as `unstride train` makes them")
    folder = Path(path)
    try:
        return _read_config(folder)
    except OSError as error:
        raise RunError(f"{folder}: a folder that cannot be read ({why(error)})") from error


def _read_config(folder: Path) -> Run:
    if folder.is_file():
        inside = (folder.parent / "config.json").is_file()
        if inside:
            raise RunError(f"{folder}: a file of the run {folder.parent}; give the run's folder, {folder.parent}")
        raise RunError(f"{folder}: a file; expected the folder of a run")
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; expected a run, as `unstride train` makes them")
    try:
        config = read_json(folder / "config.json")
        for name in ("options", "dataset", "environment"):
            if not isinstance(config[name], dict):
                raise TypeError(f"{name} is {config[name]!r:.60}; expected an object")
        known = {field.name for field in fields(Options)}
        options = Options(**{name: value for name, value in config["options"].items() if name in known})
        return Run(folder, options, config["dataset"], config["environment"])
    except FileNotFoundError:
        raise RunError(f"{folder}: not a run: it has no config.json, which `unstride train` writes first") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"{folder}: not a run: its config.json {trouble(error)}") from error


def is_run(path: Path) -> bool:
    """Whether a folder looks like a run, damaged or not. A folder that cannot be read may be one."""
    try:
        return path.is_dir() and not {"config.json", "metrics.csv"}.isdisjoint(part.name for part in path.iterdir())
    except OSError:
        return True


def folders(folder: str | os.PathLike[str] = "runs") -> list[Path]:
    """The run folders in `folder`, including damaged ones, in the order in which they were started or resumed.

    Hidden folders are left out, because the lab keeps its files in one.
    """
    try:
        paths = [path for path in sorted(Path(folder).iterdir()) if not path.name.startswith(".") and is_run(path)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(paths, key=_started)


def _started(path: Path) -> int:
    try:
        return (path / "config.json").stat().st_mtime_ns
    except OSError:
        return 0


def newest(folder: str | os.PathLike[str] = "runs", skipped: Callable[[RunError], object] = lambda _: None) -> Run:
    """The undamaged run in `folder` that was started or resumed last.

    `skipped` is called with the error of each newer, damaged run. If all are damaged, the newest's error is raised.
    """
    problems = []
    for path in reversed(folders(folder)):
        try:
            run = load(path)
        except RunError as error:
            problems.append(error)
            continue
        for problem in problems:
            skipped(problem)
        return run
    if problems:
        raise problems[0]
    raise RunError(f"no run to resume in {folder}{os.sep} here; name one with --run")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a run for training, or raise if another process has locked it. The lock ends with its process."""
    try:
        import fcntl
    except ImportError:  # Windows has no such lock, so there the user must take care
        yield
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise RunError(f"{path}: another process is training this run") from None
    finally:
        os.close(folder)


def duration(seconds: float) -> str:
    """Seconds in words: 45 s, 4 min 12 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
