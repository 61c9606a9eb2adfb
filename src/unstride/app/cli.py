"""The command line `unstride`, which gathers the commands of `unstride.app.commands`."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

from .. import __version__
from . import errors

try:
    import click

    from .commands import codes, completion, evaluate, explain, geometry, info, runs, segment, train, upscale
    from .commands.printing import EXIT_CODES, print_problem, printable
    from .commands.shared import State, debug_option
except ModuleNotFoundError as error:
    # Without click and rich, nothing below can be defined, not even `main`.
    print(f"unstride: error: {errors.missing(error)}", file=sys.stderr)
    raise SystemExit(2) from None


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=False,
    invoke_without_command=True,
    epilog=f"{EXIT_CODES} Completion of commands and names by Tab: unstride completion --help.",
)
@click.version_option(__version__, prog_name="unstride", message="%(prog)s %(version)s")
@debug_option
@click.pass_context
def cli(context: click.Context) -> None:
    """Transposed convolution at work: train a model, evaluate it, and see what it does."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def add(commands: Sequence[click.Command]) -> None:
    for command in commands:
        cli.add_command(command)
    completion.complete(cli)


for module in (train, evaluate, runs, codes, upscale, segment, explain, geometry, info, completion):
    add(module.COMMANDS)


@printable()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (see `unstride.app.commands.printing`).

    An error is printed as one line. With --debug, its traceback comes first.
    """
    state = State()
    try:
        result = cli.main(arguments, prog_name="unstride", standalone_mode=False, obj=state)
        return result if isinstance(result, int) else 0
    except SystemExit:
        raise
    except BaseException as error:
        if state.debug:
            traceback.print_exc()
        interruption = errors.interruption(error, state.resume)
        if interruption:
            print(f"unstride: {interruption}", file=sys.stderr)  # not wrapped, because it ends with a command
            return 130
        print_problem("error: ", errors.message(error))
        return 2
