"""What pages show of trainings: a bar, loss curves, the list of runs, and their models."""

from __future__ import annotations

import io
import re
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from .. import codes
from .._messages.wording import counted
from ..app import weights
from ..app.errors import RunError
from ..app.runs import duration
from ..app.runs.reading import why
from ..app.tasks.compressor.inference import activity, random_weights, stretched
from ..app.weights import ExportedModel
from ..data import grey, mnist_test
from . import page
from .jobs import Job, Progress, listing

WORDS = {
    "starting": "Starting: Keras is being loaded",
    "training": "Training",
    "stopping": "Stopping after this batch",
    "reporting": "Trained; writing the report",
    "stopped": "Stopped",
    "finished": "Finished",
    "failed": "Failed",
    "damaged": "Damaged",
}
SHIPPED = "shipped"
"""The entry in the list of runs for the trained model in the package."""


def panel(job: Job, progress: Progress) -> Any:
    """The state and the progress of a training."""
    parts = []
    if progress.epochs:
        share = (progress.done + progress.share) / progress.epochs
        now = f"{100 * min(share, 1):.0f}"
        parts.append(
            f'<div class="lab-bar" role="progressbar" aria-label="Training" aria-valuemin="0" aria-valuemax="100" '
            f'aria-valuenow="{now}"><div style="width:{now}%"></div></div>'
        )
    words = WORDS[progress.state]
    if progress.epochs:
        words += f", {progress.done} of {counted(progress.epochs, 'epoch')} done"
    if progress.rows:
        last = progress.rows[-1]
        words += f"; loss {last['loss']:.4f}, validation {last['val_loss']:.4f}"
        if progress.state == "training":
            seconds = last.get("seconds", 0.0)
            left = (progress.epochs - progress.done - progress.share) * seconds
            words += f"; {duration(seconds)} an epoch, about {duration(left)} left"
    parts.append(f'<p class="lab-state" role="status">{escape(words)}. <code>{escape(str(job.path))}</code></p>')
    if progress.message:
        parts.append(page.problem(progress.message, name="training-problem").text)
    return page.html(
        f'<div data-lab="training" data-state="{progress.state}" data-done="{progress.done}">{"".join(parts)}</div>'
    )


def curves(progress: Progress, name: str) -> Any:
    """The losses of all epochs. `name` is the name of the loss."""
    from ..app.report import charts

    rows = progress.rows
    if not rows:
        return page.html('<p class="lab-soft">The curves begin with the end of the first epoch.</p>')
    theme = charts.Theme(paper="#fffffe", ink="#010203", faint="#010204", first="#010205", second="#010206")
    file = io.StringIO()
    charts.losses(rows, None, theme, name).savefig(file, format="svg", transparent=True, metadata={"Date": None})
    drawn = file.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for place, colour in (
        (theme.ink, "currentColor"),
        (theme.faint, "var(--lab-line)"),
        (theme.first, "var(--lab-accent)"),
        (theme.second, "var(--lab-bad)"),
        (theme.paper, "var(--lab-paper)"),
    ):
        drawn = drawn.replace(place, colour)
    # The ids of two drawings on a page must differ.
    drawn = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>c{len(rows)}{abs(hash(name)) % 997}-", drawn)
    drawn = drawn.replace(
        "<svg ", f'<svg role="img" aria-label="{escape(charts.losses_in_words(rows))}" class="lab-curves" ', 1
    )
    return page.figure(drawn, scroll=False, name="curves")


def exported(model: str, job: Job | None) -> ExportedModel:
    """The model of a run after its last epoch, or the one in the package if `job` is None.

    Raises
    ------
    RunError
        The run has not finished an epoch, or its weights are damaged or those of another model.
    """
    if job is None:
        return weights.find(model, model, None)
    newest = max((job.path / name for name in (weights.FILE, weights.LAST)), key=_age)
    if not _age(newest):
        raise RunError(f"{job.name} has no whole epoch behind it, so there is nothing to see of it yet")
    try:
        model_weights = weights.load(newest)
    except OSError as error:
        raise RunError(f"{newest}: it cannot be read ({why(error)})") from error
    if model_weights.about.get("model") != model:
        raise RunError(f"{newest}: weights of {model_weights.about.get('model')}; expected those of {model}")
    return model_weights


def _age(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns if path.is_file() else 0
    except OSError:
        return 0


def choices(model: str, chosen: Job | None) -> dict[str, str]:
    """The entries of a list of runs: from the shown text to the run's name."""
    names = {"The trained one that ships with unstride": SHIPPED}
    jobs = listing(model)
    if chosen is not None and chosen.name not in [job.name for job in jobs]:
        jobs.insert(0, chosen)  # just started, still without a folder
    for job in jobs:
        progress = job.progress()
        how = f"{progress.done} of {counted(progress.epochs, 'epoch')}" if progress.epochs else "no epoch yet"
        if progress.state == "damaged":
            how = progress.message
        names[f"{job.name} ({WORDS[progress.state].split(':')[0].lower()}, {how})"] = job.name
    return names


def shared() -> list[Any]:
    """A note for a list of runs that visitors share; empty if the lab has no other visitors."""
    if not page.has_others():
        return []
    words = (
        "This lab is open to other machines, and its runs are everybody's: whoever uses it sees those that you start, "
        "and can stop and continue them, as you can theirs."
    )
    return [page.note(words, name="shared-runs")]


@cache
def untrained(upsample: str, kernel: int) -> tuple[Any, float]:
    """How strongly each pixel of an untrained decoder responds, scaled to 0 to 1, and the checkerboard in that."""
    strength = activity(random_weights(8, upsample, kernel, 0), upsample, 0, codes=16)
    return stretched(strength), codes.checkerboard(strength[None])


class Digits:
    """MNIST's test images, read once for all pages."""

    _known: tuple[Any, Any] | None = None

    @classmethod
    def read(cls) -> tuple[Any, Any]:
        """Images (10000, 28, 28) from 0 to 1, and labels."""
        if cls._known is None:
            images, labels = mnist_test()
            cls._known = grey(images), labels
        return cls._known

    @classmethod
    def one_each(cls) -> Any:
        """The first image of each class, (10, 28, 28)."""
        images, labels = cls.read()
        return images[[int(np.flatnonzero(labels == label)[0]) for label in range(10)]]
