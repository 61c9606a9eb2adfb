"""The choice of Keras's backend before Keras is imported, and the reason for it. Imports no framework.

A backend that was chosen stays: by an earlier import of Keras, by ``KERAS_BACKEND``, or by ``keras.json``. Otherwise
the first installed one is used: JAX, PyTorch, TensorFlow. Keras itself would use TensorFlow, installed or not.

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
"""The backends in the order of preference, and the command that installs each."""

MODULES = {"jax": ("jax", "jaxlib")}
"""The modules that a backend needs, if they are not the one module of its name."""

DEFAULT = "tensorflow"
"""The backend that Keras uses by default, and writes to keras.json."""

WRITTEN = {"floatx": "float32", "epsilon": 1e-07, "backend": DEFAULT, "image_data_format": "channels_last"}
"""The keras.json that Keras writes by itself."""

LOGGER = logging.getLogger("unstride")


class NoBackend(ImportError):  # noqa: N818 - it names the missing thing, like Python's ModuleNotFoundError
    """None of the backends is installed."""


@dataclass(frozen=True)
class Choice:
    """A backend and the reason for its choice, both as text for people.

    >>> print(Choice("jax", "KERAS_BACKEND is set to it"))
    jax: KERAS_BACKEND is set to it
    """

    backend: str
    reason: str

    def __str__(self) -> str:
        return f"{self.backend}: {self.reason}"


_taken: Choice | None = None  # the choice with which `settled` has imported Keras


def choice() -> Choice:
    """The backend that Keras has, or will have if one of our modules imports it now, and the reason.

    Nothing is imported and nothing is changed.

    Raises
    ------
    NoBackend
        No backend was chosen, and none is installed.
    ImportError
        KERAS_BACKEND or keras.json names a backend that is not installed. Both errors say in one line what to do.
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
    """A context in which Keras is imported with the backend of `choice`.

    It sets KERAS_BACKEND, which stays set unless the import fails. The logger "unstride" gets an INFO record of the
    choice. Modules left over from a failed import of Keras are removed first, because they have the backend of that
    import.

    Raises
    ------
    ImportError
        As in `choice`.
    """
    global _taken
    if "keras" in sys.modules:
        yield
        return
    chosen = choice()
    for name in [name for name in sys.modules if name.startswith("keras.")]:
        del sys.modules[name]
    before = os.environ.get("KERAS_BACKEND")
    _taken = chosen
    if not before:
        os.environ["KERAS_BACKEND"] = chosen.backend
    try:
        yield
    except BaseException:
        _taken = None
        if not before:
            os.environ["KERAS_BACKEND"] = ""  # for Keras this means unset
        raise
    LOGGER.info("Keras backend %s", chosen)


def is_installed(backend: str) -> bool:
    """Whether the modules that `backend` needs can be found. None is imported."""
    return all(_is_found(module) for module in MODULES.get(backend, (backend,)))


def _is_found(module: str) -> bool:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # blocked, or an invalid name
        return False
    return spec is not None and spec.origin is not None  # a folder of this name has no origin


def config_file() -> Path:
    """The keras.json that Keras reads, and writes if there is none."""
    if "KERAS_HOME" in os.environ:
        folder = Path(os.environ["KERAS_HOME"])
    else:
        home = os.path.expanduser("~")  # noqa: PTH111 - Path.expanduser raises an error without a home
        folder = Path(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    return Path(os.path.expanduser(folder / "keras.json"))  # noqa: PTH111


def _from_file() -> Choice | None:
    """The choice in keras.json, if there is one."""
    file = config_file()
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):  # no file, or one that Keras ignores too
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
    """The end of an error message for a backend that is not installed: its name and the remedy."""
    if backend in INSTALL:
        return f"{backend!r}, which is not installed; {INSTALL[backend]}"
    return f"{backend!r}; expected one of {', '.join(INSTALL)}"
