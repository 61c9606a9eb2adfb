"""`show_config`: what this installation consists of, and what computes. Imports no framework."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from typing import Any

import numpy as np

from ._core import core, why_missing
from .backends import OLDEST, numbers_of
from .threads import VARIABLE, get_num_threads, setting_problem

FRAMEWORKS = {  # module: its name, how to install it, the distributions that contain it
    "keras": ("Keras", 'pip install "unstride[keras]"', ("keras", "keras-nightly")),
    "jax": ("JAX", 'pip install "unstride[keras]"', ("jax",)),
    "torch": ("PyTorch", 'pip install "unstride[torch]"', ("torch",)),
    "tensorflow": (
        "TensorFlow",
        "pip install tensorflow",
        ("tensorflow", "tensorflow-cpu", "tensorflow-macos", "tensorflow-intel", "tf-nightly", "tf-nightly-cpu"),
    ),
    "onnxruntime": ("ONNX Runtime", "pip install onnxruntime", ("onnxruntime", "onnxruntime-gpu")),
}
OLDEST_KERAS = (3, 15)


def show_config() -> None:
    """Print the version, the native core or why it is missing, threads, and the frameworks that are installed.

    `unstride info` prints the same, and more, in a terminal.
    """
    print("\n".join(f"{name:14}{text}" for name, text in rows(collected())))


def collected() -> dict[str, Any]:
    """What `show_config` prints, as data."""
    from . import __version__

    return {
        "unstride": __version__,
        "native": {
            "instruction_set": core.instruction_set(),
            "available": list(core.instruction_sets()),
            "missing": why_missing,
        },
        "threads": {"number": get_num_threads(), "reason": _threads_reason()},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "numpy": np.__version__,
        "frameworks": {module: framework(module) for module in FRAMEWORKS},
    }


def rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """A name and a sentence for each of the facts."""
    native = facts["native"]
    sets = f"{native['instruction_set']} (this machine runs {', '.join(native['available'])})"
    return [
        ("unstride", facts["unstride"]),
        ("Native core", sets if native["missing"] is None else f"none, NumPy computes: {native['missing']}"),
        ("Threads", f"{facts['threads']['number']}, {facts['threads']['reason']}"),
        ("Python", f"{facts['python']}, {facts['system']}"),
        ("NumPy", facts["numpy"]),
        *((name, _said(facts["frameworks"][module])) for module, (name, *_) in FRAMEWORKS.items()),
    ]


def framework(module: str) -> dict[str, Any]:
    """A framework's version and whether it is new enough, or how to install it."""
    _, install, distributions = FRAMEWORKS[module]
    if not is_found(module):
        return {"version": None, "usable": False, "install": install}
    version = next(filter(None, map(_version, distributions)), None)
    oldest = OLDEST_KERAS if module == "keras" else OLDEST.get(module, ("", ()))[1]
    usable = version is None or numbers_of(version) >= oldest
    return {"version": version, "usable": usable, "needs": ".".join(map(str, oldest)) or None}


def _said(facts: dict[str, Any]) -> str:
    if "install" in facts:
        return f"not installed; {facts['install']}"
    version = facts["version"] or "of an unknown version"
    return version if facts["usable"] else f"{version}, too old: unstride needs {facts['needs']} or later"


def _threads_reason() -> str:
    if why_missing is not None:
        return "for the native core; NumPy's matrix products run on the threads of its BLAS"
    if os.environ.get(VARIABLE):
        return setting_problem() or f"as {VARIABLE} says"
    return "one for each processor that this process may use"


def is_found(module: str) -> bool:
    """Whether a module could be imported. It is not."""
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # a module without a spec, imported by hand
        return True


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
