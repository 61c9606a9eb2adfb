"""The command line, the lab's command included: what `unstride` and `python -m unstride` run."""

import sys

from .app.cli import add, cli, main
from .lab.command import COMMANDS

__all__ = ["cli", "main"]

add(COMMANDS)

if __name__ == "__main__":
    sys.exit(main())
