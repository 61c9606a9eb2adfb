"""Which backend Keras computes with, decided before Keras is imported, and why. Imports no framework.

A backend that was chosen stays: by Keras that is imported already, by ``KERAS_BACKEND``, or by ``keras.json``. Where
none was, the first that is installed is taken: JAX, PyTorch, TensorFlow. Keras itself would take TensorFlow, installed
or not.

Keras writes ``keras.json`` when it is first imported, with "tensorflow" in it, even if that import then fails. Such a
file is not a choice.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

INSTALL = {
    "jax": 'pip install "unstride[keras]"',
    "torch": 'pip install "unstride[torch]"',
    "tensorflow": "pip install tensorflow",
}
"""The backends in the order in which they are taken, and how to get each."""

MODULES = {"jax": ("jax", "jaxlib")}
"""What a backend needs, where that is not one module of its name."""

DEFAULT = "tensorflow"
"""The one that Keras takes, and writes to keras.json."""

WRITTEN = {"floatx": "float32", "epsilon": 1e-07, "backend": DEFAULT, "image_data_format": "channels_last"}
"""The keras.json that Keras writes by itself."""

LOGGER = logging.getLogger("unstride")


class NoBackend(ImportError):  # noqa: N818 - as Python's own exceptions of import, it names what is missing
    """None of the backends is installed."""


@dataclass(frozen=True)
class Choice:
    """A backend, and why it is this one: both for people to read.

    >>> print(Choice("jax", "KERAS_BACKEND is set to it"))
    jax: KERAS_BACKEND is set to it
    """

    backend: str
    reason: str

    def __str__(self) -> str:
        return f"{self.backend}: {self.reason}"


_taken: Choice | None = None  # with which `settled` has imported Keras


def choice() -> Choice:
    """The backend that Keras has, or will have if one of our modules imports it now, and the reason.

    Nothing is imported and nothing is changed.

    Raises
    ------
    NoBackend
        If no backend was chosen, and none is installed.
    ImportError
        If KERAS_BACKEND or keras.json names one that is not installed. Either error says in one line what to do.
    """
    keras = sys.modules.get("keras")
    if keras is not None and hasattr(keras, "config"):
        backend = str(keras.config.backend())
        if _taken is not None and _taken.backend == backend:
            return _taken
        return Choice(backend, "Keras was imported with it")
    named = os.environ.get("KERAS_BACKEND")
    if named:
        if _taken is not None and _taken.backend == named:
            return _taken
        if not is_installed(named):
            raise ImportError(f"KERAS_BACKEND is {_lacking(named)}, or unset KERAS_BACKEND")
        return Choice(named, "KERAS_BACKEND is set to it")
    return _from_file() or _installed()


@contextmanager
def settled() -> Iterator[None]:
    """Within it, Keras is imported with the backend of `choice`, by KERAS_BACKEND, which stays unless that fails.

    The logger "unstride" gets an INFO record of the choice. What an import of Keras that failed left behind is
    forgotten first, because it holds the backend of that import.

    Raises
    ------
    ImportError
        As `choice` does.
    """
    global _taken
    if "keras" in sys.modules:
        yield
        return
    made = choice()
    for name in [name for name in sys.modules if name.startswith("keras.")]:
        del sys.modules[name]
    before = os.environ.get("KERAS_BACKEND")
    _taken = made
    if not before:
        os.environ["KERAS_BACKEND"] = made.backend
    try:
        yield
    except BaseException:
        _taken = None
        if not before:
            os.environ["KERAS_BACKEND"] = ""  # which Keras takes for unset
        raise
    LOGGER.info("Keras backend %s", made)


def is_installed(backend: str) -> bool:
    """Whether the modules that `backend` needs can be found. None of them is imported."""
    return all(_is_found(module) for module in MODULES.get(backend, (backend,)))


def _is_found(module: str) -> bool:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # blocked, or with a name that is none
        return False
    return spec is not None and spec.origin is not None  # a folder of that name has no origin


def config_file() -> Path:
    """The keras.json that Keras reads, and writes if there is none."""
    if "KERAS_HOME" in os.environ:
        folder = Path(os.environ["KERAS_HOME"])
    else:
        home = os.path.expanduser("~")  # noqa: PTH111 - Path.expanduser raises where there is no home
        folder = Path(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    return Path(os.path.expanduser(folder / "keras.json"))  # noqa: PTH111


def _from_file() -> Choice | None:
    """The choice in keras.json, if there is one."""
    file = config_file()
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):  # none, or one that Keras overlooks too
        return None
    named = content.get("backend") if isinstance(content, dict) else None
    if not isinstance(named, str) or not named or content == WRITTEN:
        return None
    if is_installed(named):
        return Choice(named, f"{file} names it")
    if named == DEFAULT:
        return None
    raise ImportError(f'{file} names the backend {_lacking(named)}, or change "backend" there')


def _installed() -> Choice:
    for backend in INSTALL:
        if is_installed(backend):
            return Choice(backend, f"none was chosen, and it is the first that is installed of {', '.join(INSTALL)}")
    raise NoBackend(f"Keras has no backend here: none of {', '.join(INSTALL)} is installed; {INSTALL['jax']}")


def _lacking(backend: str) -> str:
    """A backend that is not installed, and what to do about it."""
    if backend in INSTALL:
        return f"{backend!r}, which is not installed; {INSTALL[backend]}"
    return f"{backend!r}; expected one of {', '.join(INSTALL)}"
