"""The command line in tests."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from unstride import __main__ as cli

SMALL = ["--epochs", "1", "--limit", "60", "--batch-size", "48"]
"""Options of a training that takes a second."""


def own_process(*arguments: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """`unstride ARGUMENTS` in a new process, which runs the code `before` first."""
    code = f"import sys\n{before}\nfrom unstride.__main__ import main\nsys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on the standard error, without its beginning; nothing on the standard output."""
    capsys.readouterr()
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("unstride: error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err.removeprefix("unstride: error: ").rstrip("\n")
