"""The buttons of a chapter that trains (start, stop, continue), and the choice of the run that it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .jobs import Job, JobError, Progress


@dataclass(frozen=True)
class Controls:
    """The states of a notebook that its buttons set and its cells read.

    The job must be looked up in a separate cell: marimo does not run a cell again if a button that the cell made sets a
    state that it reads.

    Attributes
    ----------
    query : dict
        The page's query parameters, which keep the run's name when the page is reloaded.
    set_name, set_problem : callable
        Set the run's name, and the message of an error ("" for none).
    set_changes : callable
        Counts changes of the job.
    """

    query: Any
    set_name: Callable[[Any], None]
    set_problem: Callable[[Any], None]
    set_changes: Callable[[Any], None]
    started: list[Job] = field(default_factory=list)
    """Jobs that this page has started, in order. A second click may come before the page shows the first job."""

    def choose(self, name: str) -> None:
        """Show this run."""
        self.set_problem("")
        self.query["run"] = name
        self.set_name(name)
        self.changed()

    def changed(self) -> None:
        """Note that the job has changed."""
        self.set_changes(lambda count: count + 1)

    def reporting(self, action: Callable[[], object]) -> Callable[[object], None]:
        """A handler of a button that runs `action` and shows its error on the page."""

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
        """Start a training and show it, unless this page's last one or `job`, which it shows, is active."""
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
        """The buttons that start a training, stop `job`, and continue it.

        Parameters
        ----------
        job : Job or None
            The shown job.
        start : (str, callable)
            The label of the first button, and the function that starts a new job.
        more : callable
            Called with an inactive job and its progress. Returns the label and the action of the third button, or
            None if there is nothing to continue.
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
