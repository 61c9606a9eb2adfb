"""The buttons of a chapter that trains: start, stop, continue; and which run the page shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .jobs import Job, JobError, Progress


@dataclass(frozen=True)
class Controls:
    """What a press of a button changes on the page: the states of a notebook, set here and read in its cells.

    The job must be found in a cell of its own: marimo does not run a cell again when what it made itself (a button,
    say) sets the state that it reads.

    Attributes
    ----------
    query : dict
        The page's address, which keeps the run's name, so that a page that is loaded again shows it again.
    set_name, set_problem : callable
        Take the run's name, and what could not be done ("" for nothing).
    set_changes : callable
        Counts what has happened to the job.
    """

    query: Any
    set_name: Callable[[Any], None]
    set_problem: Callable[[Any], None]
    set_changes: Callable[[Any], None]
    started: list[Job] = field(default_factory=list)
    """What this page has started, the last one last: a second click may come before the page shows the first's job."""

    def choose(self, name: str) -> None:
        """Show this run."""
        self.set_problem("")
        self.query["run"] = name
        self.set_name(name)
        self.changed()

    def changed(self) -> None:
        """The job is no longer what the page shows."""
        self.set_changes(lambda count: count + 1)

    def reporting(self, action: Callable[[], object]) -> Callable[[object], None]:
        """Does it when a button is pressed, and says on the page what is wrong with it."""

        def act(_: object) -> None:
            try:
                action()
            except (JobError, OSError) as error:
                self.set_problem(str(error))
            else:
                self.set_problem("")
                self.changed()

        return act

    def begin(self, job: Job | None, make: Callable[[], Job]) -> None:
        """Start a training and show it. If this page's last one, or `job`, which it shows, is at work, show that."""
        for other in (*self.started[-1:], *([job] if job is not None else [])):
            if other.progress().active:
                self.choose(other.name)
                return
        self.started.append(make())
        self.choose(self.started[-1].name)

    def buttons(
        self,
        job: Job | None,
        start: tuple[str, Callable[[], Job]],
        more: Callable[[Job, Progress], tuple[str, Callable[[], object]] | None],
    ) -> tuple[Any, Any, Any]:
        """To start a training, to stop `job`, to continue it.

        Parameters
        ----------
        job : Job or None
            The one that is shown.
        start : (str, callable)
            The first button's words, and what makes a new job.
        more : callable
            Takes the job and its progress when it is not at work; returns the third button's words and what it does,
            or None if there is nothing to continue.
        """
        import marimo as mo

        now = job.progress() if job is not None else None
        further = more(job, now) if job is not None and now is not None and not now.active else None
        words, proceed = further or ("Continue", lambda: None)
        return (
            mo.ui.button(
                label=start[0],
                kind="success",
                disabled=now is not None and now.active,
                on_click=self.reporting(lambda: self.begin(job, start[1])),
            ),
            mo.ui.button(
                label="Stop",
                kind="danger",
                disabled=now is None or not now.active,
                on_click=self.reporting(lambda: job.stop() if job is not None else None),
            ),
            mo.ui.button(label=words, disabled=further is None, on_click=self.reporting(proceed)),
        )
