"""What commands print for other programs, and how little they print for none; what their exit codes mean.

Every command ends with

* 0: all is done;
* 1: of several inputs some failed, each named on the standard error; the rest is done;
* 2: nothing is done: a mistake in the command line, or a failure, named in one line;
* 130: stopped by Ctrl-C.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import click

EXIT_CODES = (
    "Exit codes: 0 done; 1 some of several inputs failed, the rest is done; 2 nothing is done, the mistake or failure "
    "is named; 130 stopped by Ctrl-C."
)

json_option = click.option("--json", "as_json_", is_flag=True, help="Print JSON, and nothing else.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")


def print_json(content: Any) -> None:
    """In ASCII, so that every console takes it; numbers that JSON lacks as null."""
    print(json.dumps(_plain(content), indent=2, allow_nan=False))


def _plain(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _plain(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if isinstance(content, float) and content - content != 0:
        return None
    return content


def print_text(text: str) -> None:
    """To where UTF-8 may not be written too."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))


def exit_code(failed: int, count: int) -> int:
    """Of a command that had `count` inputs."""
    return 0 if not failed else 2 if failed == count else 1
