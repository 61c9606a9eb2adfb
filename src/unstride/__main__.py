"""`python -m unstride`: the command line, where the `unstride` command is not on the path."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
