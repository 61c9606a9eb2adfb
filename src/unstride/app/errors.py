"""What to tell the user of an exception: one line."""

from __future__ import annotations

import errno

from .._files import FileNameError
from .._messages.wording import escaped
from ..data import DataError
from ..geometry import GeometryError, NotExpressible


class RunError(ValueError):
    """A folder that is no run, or options that do not fit it."""


class OptionError(ValueError):
    """An option with a value that it cannot have. The message names it as the command line does."""


class Interrupted(Exception):  # noqa: N818 - it is none
    """Ctrl-C in a training, whose folder is that of its last whole epoch: the `epochs`-th."""

    def __init__(self, epochs: int) -> None:
        super().__init__(f"stopped after epoch {epochs}")
        self.epochs = epochs


class EnvironmentProblem(RuntimeError):  # noqa: N818 - EnvironmentError is OSError's old name
    """Something that is not installed, or an unknown backend. The message says what to install."""


NAMING_FILES = (DataError, FileNameError, OptionError, OSError, RunError)
"""A line break in one of their messages is in a file's name."""

EXPECTED = (*NAMING_FILES, EnvironmentProblem, GeometryError, NotExpressible)
"""Those whose message says all that there is to know."""

DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def missing(error: ModuleNotFoundError) -> str:
    package = (error.name or "a package").partition(".")[0]
    return f'{package} is not installed; pip install "unstride[app]"'


def message(error: BaseException) -> str:
    """The line for anything but an interruption."""
    import click

    if isinstance(error, click.ClickException):
        return _one_line(error.format_message())
    if isinstance(error, OSError) and error.strerror:
        place = f"{escaped(str(error.filename))}: " if error.filename else ""
        full = "the disk is full, or a limit on files is reached: " if error.errno in DISK_FULL else ""
        return f"{place}{full}{error.strerror}"
    if isinstance(error, ModuleNotFoundError):
        return missing(error)
    line = escaped(str(error)) if isinstance(error, NAMING_FILES) else _one_line(str(error))
    if isinstance(error, EXPECTED):
        return line
    kind = type(error).__name__
    return f"{kind}: {line}; run with --debug for the traceback" if line else f"{kind}; run with --debug"


def interruption(error: BaseException, resume: str | None) -> str | None:
    """The line for Ctrl-C, with the command that resumes, if there is something to; None for any other error."""
    import click

    if not isinstance(error, (Interrupted, KeyboardInterrupt, click.Abort)):
        return None
    where = f" after epoch {error.epochs}" if isinstance(error, Interrupted) else ""
    return f"stopped{where}" + (f"; resume with: {resume}" if resume else "")


def _one_line(text: str) -> str:
    return escaped(" ".join(text.split()))
