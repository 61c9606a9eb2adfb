"""Chooses and starts the Keras backend of a command, and describes the environment of a run."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..._core import core
from ...backends.keras import keras_backend
from ...backends.keras.keras_backend import INSTALL
from ..errors import EnvironmentProblem

APP = ("keras", "matplotlib", "PIL", "jinja2")
"""The modules that commands import in addition to click and rich."""


def default_backend() -> str:
    """The backend that `keras_backend.choice` names. If none is installed, the first one: `require` then says so."""
    try:
        choice = keras_backend.choice()
    except keras_backend.NoBackend:
        return next(iter(INSTALL))
    except ImportError as error:
        raise EnvironmentProblem(str(error)) from error
    if choice.backend not in INSTALL:
        raise EnvironmentProblem(
            f"unknown backend '{choice.backend}' ({choice.reason}); there are {', '.join(INSTALL)}"
        )
    return choice.backend


def require(backend: str) -> None:
    """Raise unless `backend` and the modules in `APP` are installed. Imports none of them."""
    if backend not in INSTALL:
        raise EnvironmentProblem(f"unknown backend '{backend}'; there are {', '.join(INSTALL)}")
    for module in APP:
        if importlib.util.find_spec(module) is None:
            raise EnvironmentProblem(f'{module} is not installed; pip install "unstride[app]"')
    if not keras_backend.is_installed(backend):
        raise EnvironmentProblem(f"the backend {backend} is not installed; {INSTALL[backend]}")


@contextmanager
def compiling_quickly(backend: str) -> Iterator[None]:
    """A context in which XLA barely optimises, for programs that run once and briefly.

    It takes 1.4 seconds instead of 6.1 to compile the seven programs that draw the first weights of the reading's
    model. Results may differ in the last bit from those of optimised programs. Programs that were compiled before are
    not reused, because JAX caches those of this context under another key.
    """
    if backend != "jax":
        yield
        return
    jax = importlib.import_module("jax")
    name = "jax_disable_most_optimizations"  # not part of that key
    before = jax.config.values[name]
    jax.config.update(name, True)
    try:
        with jax.default_matmul_precision("float32"):  # part of it, without another effect here
            yield
    finally:
        jax.config.update(name, before)


def start(backend: str) -> None:
    """Import Keras on `backend`, quietly, and so that equal seeds give equal numbers.

    If the process has imported Keras already, the backend must be the same.
    """
    require(backend)
    if "keras" in sys.modules:
        _check(backend)
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("jax", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # On a GPU the fastest algorithms add in any order, unless this is set before its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    flags = os.environ.get("XLA_FLAGS", "")
    if backend == "jax" and "deterministic" not in flags and _has_cuda():
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    try:
        if importlib.util.find_spec("tensorflow") is not None:
            # Keras imports TensorFlow on every backend, to seed it, and it logs before it reads its log level.
            with _quiet():
                importlib.import_module("tensorflow")
        importlib.import_module("...backends.keras.imported", __package__)
    except ImportError as error:
        raise EnvironmentProblem(f"Keras cannot be imported on the backend {backend}: {error}") from error
    _check(backend)
    if backend == "tensorflow":
        importlib.import_module("tensorflow").config.experimental.enable_op_determinism()
    elif backend == "torch":
        importlib.import_module("torch").use_deterministic_algorithms(True, warn_only=True)


def _check(backend: str) -> None:
    from ...backends.keras.imported import keras

    running = keras.config.backend()
    if running != backend:
        raise EnvironmentProblem(f"Keras runs on {running} in this process already; {backend} needs a new one")


@contextmanager
def _quiet() -> Iterator[None]:
    """Withhold what native code writes to the standard error, and show it only if an exception follows."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except BaseException:
            file.seek(0)
            os.write(kept, file.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def describe(backend: str) -> dict[str, Any]:
    """The versions and the machine, on which a run's numbers may depend."""
    return {
        "versions": {"python": platform.python_version()}
        | {name: _version(name) for name in ("unstride", "keras", backend, "numpy")},
        "instruction_set": core.instruction_set(),
        "processor": processor(),
        "cores": _cores(),
        "device": _device(backend),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _has_cuda() -> bool:
    """Whether JAX can use a GPU. (JAX aborts the process at a flag that it does not know.)"""
    return any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))


def _version(name: str) -> str:
    # The module is asked, because distributions may have other names (tensorflow-cpu).
    if name == "unstride":
        return importlib.metadata.version(name)
    return str(importlib.import_module(name).__version__)


def _cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """The name of the processor, if the system knows it."""
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123 - not a regular file
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _device(backend: str) -> str:
    """The device of the backend: "CPU", or the name of its first accelerator."""
    module = importlib.import_module(backend)
    if backend == "jax":
        device = module.devices()[0]
        return "CPU" if device.platform == "cpu" else str(device.device_kind)
    if backend == "torch":
        return str(module.cuda.get_device_name(0)) if module.cuda.is_available() else "CPU"
    gpus = module.config.list_physical_devices("GPU")
    return str(module.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")) if gpus else "CPU"
