"""The command line of `unstride` and `python -m unstride`, including the lab's command."""

import sys

from .app.cli import add, cli, main
from .lab.command import COMMANDS

__all__ = ["cli", "main"]

add(COMMANDS)

if __name__ == "__main__":
    sys.exit(main())
