"""`unstride info`: installed versions, and what a call or a command will use. Imports no framework."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ... import configuration
from ..._messages.wording import escaped
from ...backends.keras.keras_backend import choice
from ...configuration import is_found, rows
from ..training import environment
from .printing import json_option, print_json, print_text
from .shared import debug_option


@click.command()
@json_option
@debug_option
def info(as_json_: bool) -> None:
    """Show versions, the native core, threads, installed frameworks, and Keras's backend."""
    facts = collected()
    if as_json_:
        print_json(facts)
        return
    shown = rows(facts)
    shown.insert(2, ("Processor", facts["processor"]))
    backend = facts["keras_backend"]
    shown.append(("Backend", f"{backend['name']}: {backend['reason']}" if backend["name"] else backend["reason"]))
    folder = escaped(facts["runs"]["folder"])
    shown.append(("Runs", f"{folder}, {facts['runs']['number']} there"))
    print_text("\n".join(f"{name:14}{text}" for name, text in shown), 14, [folder])


def collected() -> dict[str, Any]:
    """All facts, as `--json` prints them."""
    runs = Path("runs")
    name, reason = keras_backend()
    return configuration.collected() | {
        "processor": environment.processor(),
        "keras_backend": {"name": name, "reason": reason},
        "runs": {"folder": str(runs.absolute()), "number": len(list(runs.glob("*/config.json")))},
    }


def keras_backend() -> tuple[str | None, str]:
    """Keras's backend and the reason for it; or None, and what to do."""
    if not is_found("keras"):
        return None, "none, as Keras is not installed"
    try:
        chosen = choice()
    except ImportError as error:
        return None, f"none: {error}"
    return chosen.backend, chosen.reason


COMMANDS = (info,)
