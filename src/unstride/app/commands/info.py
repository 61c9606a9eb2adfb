"""`unstride info`: installed versions, and what a call or a command will use. Imports no framework."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

import click
import numpy as np

from ... import __version__, _native
from ..._messages.wording import escaped
from ...backends import OLDEST, numbers_of
from ...backends.keras.keras_backend import choice
from ...threads import get_num_threads
from ..training import environment
from .printing import json_option, print_json, print_text
from .shared import debug_option

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


@click.command()
@json_option
@debug_option
def info(as_json_: bool) -> None:
    """Show versions, the native core, threads, installed frameworks, and Keras's backend."""
    facts = collected()
    if as_json_:
        print_json(facts)
        return
    rows = [
        ("unstride", facts["unstride"]),
        ("Native core", f"{facts['native']['instruction_set']}, of {', '.join(facts['native']['available'])}"),
        ("Processor", facts["processor"]),
        ("Threads", f"{facts['threads']['number']}, {facts['threads']['reason']}"),
        ("Python", f"{facts['python']}, {facts['system']}"),
        ("NumPy", facts["numpy"]),
    ]
    for module, (name, *_) in FRAMEWORKS.items():
        rows.append((name, _said(facts["frameworks"][module])))
    backend = facts["keras_backend"]
    rows.append(("Backend", f"{backend['name']}: {backend['reason']}" if backend["name"] else backend["reason"]))
    folder = escaped(facts["runs"]["folder"])
    rows.append(("Runs", f"{folder}, {facts['runs']['number']} there"))
    print_text("\n".join(f"{name:14}{text}" for name, text in rows), 14, [folder])


def collected() -> dict[str, Any]:
    """All facts, as `--json` prints them."""
    runs = Path("runs")
    name, reason = keras_backend()
    return {
        "unstride": __version__,
        "native": {"instruction_set": _native.instruction_set(), "available": list(_native.instruction_sets())},
        "processor": environment.processor(),
        "threads": {"number": get_num_threads(), "reason": _threads_reason()},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "numpy": np.__version__,
        "frameworks": {module: framework(module) for module in FRAMEWORKS},
        "keras_backend": {"name": name, "reason": reason},
        "runs": {"folder": str(runs.absolute()), "number": len(list(runs.glob("*/config.json")))},
    }


def framework(module: str) -> dict[str, Any]:
    """A framework's version and whether it is new enough, or how to install it."""
    _, install, distributions = FRAMEWORKS[module]
    if not _is_found(module):
        return {"version": None, "usable": False, "install": install}
    version = next(filter(None, map(_version, distributions)), None)
    oldest = OLDEST_KERAS if module == "keras" else OLDEST.get(module, ("", ()))[1]
    usable = version is None or numbers_of(version) >= oldest
    return {"version": version, "usable": usable, "needs": ".".join(map(str, oldest)) or None}


def keras_backend() -> tuple[str | None, str]:
    """Keras's backend and the reason for it; or None, and what to do."""
    if not _is_found("keras"):
        return None, "none, as Keras is not installed"
    try:
        chosen = choice()
    except ImportError as error:
        return None, f"none: {error}"
    return chosen.backend, chosen.reason


def _said(facts: dict[str, Any]) -> str:
    if "install" in facts:
        return f"not installed; {facts['install']}"
    version = facts["version"] or "of an unknown version"
    return version if facts["usable"] else f"{version}, too old: unstride needs {facts['needs']} or later"


def _threads_reason() -> str:
    if os.environ.get("UNSTRIDE_NUM_THREADS"):
        return _native.thread_setting_problem() or "as UNSTRIDE_NUM_THREADS says"
    return "one for each processor that this process may use"


def _is_found(module: str) -> bool:
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


COMMANDS = (info,)
