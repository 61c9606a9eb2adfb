"""`unstride completion`: Tab completion of commands, options, files and runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from ...backends.keras.keras_backend import INSTALL
from .. import tasks

SHELLS = ("bash", "zsh", "fish")
FILES = {"images", "output", "codes_file", "first", "last", "data", "svg", "png", "gif", "html", "folder", "source"}
RUNS = {"run", "names"}
WORDS = {
    "backend": tuple(INSTALL),
    "model": tasks.NAMES,
    "framework": ("keras", "torch", "tensorflow", "jax", "onnx", "unstride"),
    "target": ("keras", "torch", "tensorflow", "jax", "onnx", "unstride"),
    "shell": SHELLS,
}


class Completed(click.ParamType):  # type: ignore[type-arg]  # in newer versions of click
    """A parameter that the shell completes. Its value stays as typed."""

    name = "text"

    def __init__(self, parameter: str) -> None:
        self.parameter = parameter

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        if self.parameter in WORDS:
            return [CompletionItem(word) for word in WORDS[self.parameter] if word.startswith(incomplete)]
        if self.parameter in RUNS:
            runs = sorted(str(config.parent) for config in Path("runs").glob("*/config.json"))
            matching = [CompletionItem(run) for run in runs if run.startswith(incomplete)]
            return matching or [CompletionItem(incomplete, type="dir")]
        return click.Path().shell_complete(ctx, param, incomplete)


def complete(group: click.Group) -> None:
    """Give the commands' parameters their completions. What they accept does not change."""
    for command in group.commands.values():
        for parameter in command.params:
            known = parameter.name in FILES | RUNS | WORDS.keys()
            if known and isinstance(parameter.type, click.types.StringParamType):
                option = parameter.name == "model" and isinstance(parameter, click.Option)  # --model takes a run
                parameter.type = Completed("run" if option else str(parameter.name))


@click.command()
@click.argument("shell", metavar="bash|zsh|fish")
def completion(shell: str) -> None:
    """Print the script with which a shell completes unstride's commands, options, runs and files by Tab.

    \b
    bash, in ~/.bashrc:  eval "$(unstride completion bash)"
    zsh, in ~/.zshrc:    eval "$(unstride completion zsh)"
    fish:                unstride completion fish > ~/.config/fish/completions/unstride.fish
    """
    completer = get_completion_class(shell) if shell in SHELLS else None
    if completer is None:
        raise click.UsageError(f"there is no completion for {shell!r}; expected one of {', '.join(SHELLS)}")
    group = click.get_current_context().find_root().command
    script = completer(group, {}, "unstride", "_UNSTRIDE_COMPLETE")
    # `source()` would start bash to check its version, and warn on the standard output.
    click.echo(script.source_template % script.source_vars())


COMMANDS = (completion,)
