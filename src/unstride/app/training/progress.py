"""Shows the progress of a training: a line for each epoch and, on a terminal, a bar."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..._files import write_text
from ...backends.keras.imported import keras
from ..runs import PROGRESS, duration

SECONDS = 0.25
"""The time between two writes of progress.json."""


class TrainingProgress(keras.callbacks.Callback):  # type: ignore[misc]
    """A callback, and a context manager around `fit`, that shows the losses, the epoch and the time left."""

    def __init__(self, console: Console, done: int, folder: Path) -> None:
        super().__init__()
        self.console = console
        self.done = done
        self.file = folder / PROGRESS
        self.epoch = done
        self.written = 0.0
        # The speed is measured over minutes, because a batch can take many seconds.
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[losses]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=not console.is_terminal,
            speed_estimate_period=600,
            expand=True,
        )

    def __enter__(self) -> TrainingProgress:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bar.stop()
        self.file.unlink(missing_ok=True)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self.epochs = self.params["epochs"]
        self.begin = time.perf_counter()
        self.losses = {"loss": "", "val_loss": ""}
        steps = self.params["steps"]
        self.task = self.bar.add_task(
            "",
            total=self.epochs * steps,
            completed=self.done * steps,
            epoch=self._epoch(self.done),
            losses="",
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self.bar.update(self.task, epoch=self._epoch(epoch))
        self.epoch = epoch
        self._write(0)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._show(logs)
        self.bar.advance(self.task)
        if time.monotonic() - self.written >= SECONDS:
            self._write(batch + 1)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._show(logs)
        passed = time.perf_counter() - self.begin
        coming = self.epochs - epoch - 1
        said = coming and not self.console.is_terminal  # the bar says it there
        left = f", {duration(passed / (epoch + 1 - self.done) * coming)} left" if said else ""
        self.say(f"epoch {self._epoch(epoch)}  {self._text()}  {duration(passed)}{left}")

    def _write(self, batch: int) -> None:
        """Write progress.json atomically, so that a reader never sees half of it."""
        self.written = time.monotonic()
        content = json.dumps({"epoch": self.epoch, "batch": batch, "batches": self.params["steps"]})
        with suppress(OSError):  # the checkpoint reports a full disk
            write_text(self.file, content, durable=False)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def _epoch(self, epoch: int) -> str:
        return f"{min(epoch + 1, self.epochs):{len(str(self.epochs))}}/{self.epochs}"

    def _show(self, logs: dict[str, Any] | None) -> None:
        # A batch's logs have no val_loss, so that of the last epoch stays.
        self.losses |= {name: f"{name} {value:.4f}" for name, value in (logs or {}).items() if name in self.losses}
        self.bar.update(self.task, losses=self._text())

    def _text(self) -> str:
        return "  ".join(text for text in self.losses.values() if text)
