"""The command line: `unstride train` and what follows it. The commands are in `unstride.app.commands`."""

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
    # Nothing below can be defined without click and rich, `main` neither.
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
    """Transposed convolution at work: train a model, judge it, and see what it does."""
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
    """Run the command line; its exit code, as `unstride.app.commands.printing` has them.

    Every error is one line, unless --debug asks for its traceback.
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
            print(f"unstride: {interruption}", file=sys.stderr)  # it ends with a command, which is not to be broken
            return 130
        print_problem("error: ", errors.message(error))
        return 2
