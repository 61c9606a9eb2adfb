"""The errors of commands, and the one line that each exception becomes for the user."""

from __future__ import annotations

import errno

from .._files import FileNameError
from .._messages.wording import escaped
from ..data import DataError
from ..geometry import ArgumentError, NotExpressible


class RunError(ValueError):
    """A folder is not a run, or the options do not fit it."""


class OptionError(ValueError):
    """An option has an invalid value. The message names it as on the command line."""


class Interrupted(Exception):  # noqa: N818 - not an error
    """Ctrl-C stopped a training. Its folder holds the state after epoch number `epochs`."""

    def __init__(self, epochs: int) -> None:
        super().__init__(f"stopped after epoch {epochs}")
        self.epochs = epochs


class EnvironmentProblem(RuntimeError):  # noqa: N818 - EnvironmentError is OSError's old name
    """Something is not installed, or a backend is unknown. The message says what to install."""


NAMING_FILES = (DataError, FileNameError, OptionError, OSError, RunError)
"""Errors whose messages contain file names, in which alone a line break may be."""

EXPECTED = (*NAMING_FILES, EnvironmentProblem, ArgumentError, NotExpressible)
"""Errors whose message is enough for the user."""

DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def missing(error: ModuleNotFoundError) -> str:
    package = (error.name or "a package").partition(".")[0]
    return f'{package} is not installed; pip install "unstride[app]"'


def message(error: BaseException) -> str:
    """The line for any exception except an interruption."""
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
    """The line for Ctrl-C, with the command that resumes, if any; None for any other exception."""
    import click

    if not isinstance(error, (Interrupted, KeyboardInterrupt, click.Abort)):
        return None
    where = f" after epoch {error.epochs}" if isinstance(error, Interrupted) else ""
    return f"stopped{where}" + (f"; resume with: {resume}" if resume else "")


def _one_line(text: str) -> str:
    return escaped(" ".join(text.split()))
