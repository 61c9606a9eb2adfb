"""`unstride explain` and `unstride quiz`: every step of a small example, and questions about more of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import numpy as np
from rich.console import Console

from ..._files import FileNameError, check_ending
from ..._messages.wording import escaped
from ...explainer.drawing import FORMATS
from ...explainer.numbers import OPS, VIEWS
from ...explainer.presets import PRESETS, preset
from ...explainer.trace import Trace
from ...explainer.web.page import HTML_ENDINGS
from ...geometry import ArgumentError
from .printing import print_text
from .shared import debug_option
from .values import FIELDS, in_options, numbers, padding

PAIR = "0 1; 2 3"
FRAMEWORKS = ("keras", "torch", "tensorflow", "jax", "onnx", "numpy", "unstride")
CASE = ("x", "kernel", "bias", "stride", "padding", "output_padding", "dilation", "kind")  # the options that define it
OPTIONS = FIELDS | {
    "a part of x": "a part of it",
    "x": "--input",
    "kernel": "--kernel",
    "bias": "--bias",
    "op": "--map",
    "view": "--view",
    "preset": "--preset",
    "framework": "--code",
}
"""The options, by the names that error messages of the library use."""
SIZE = re.compile(r"\d+(x\d+)*x?")
NEXT, BACK, QUIT = ("\r", "\n", " ", "n", "\x1b[C"), ("b", "p", "\x7f", "\x1b[D"), ("q", "\x1b", "\x04")


@click.command("explain")
@click.option("--preset", "name", metavar="NAME", help=f"An example to start from: {', '.join(PRESETS)}.")
@click.option("--input", "x", metavar="GRID", help=f'Rows separated by ;, or a size to fill: 4x4. Default: "{PAIR}".')
@click.option("--kernel", metavar="GRID", help="As --input.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the numbers that fill a size.")
@click.option("--bias", type=float, help="Added to every output cell.")
@click.option("--stride", metavar="N", help="A number, or one for each axis: 2,1.")
@click.option("--padding", metavar="P", help="A number, one or begin:end for each axis (1:0,1:0), same or valid.")
@click.option("--output-padding", metavar="N", help="A number, or one for each axis.")
@click.option("--dilation", metavar="N", help="A number, or one for each axis.")
@click.option("--map", "kind", metavar="|".join(OPS), help="conv: explain the ordinary convolution instead.")
@click.option("--view", metavar="|".join(VIEWS), help="Default: scatter; grid for --map conv.")
@click.option("--step", "stepwise", is_flag=True, help="One step at a time, by key. In a pipe: all steps.")
@click.option("--settings", is_flag=True, help="Show the same setting in each framework's arguments.")
@click.option("--code", metavar="|".join(FRAMEWORKS), help="Print a program that computes this.")
@click.option("--svg", metavar="FILE", help="Write an animated drawing.")
@click.option("--png", metavar="FILE", help="Write a picture.")
@click.option("--gif", metavar="FILE", help="Write an animation.")
@click.option("--html", metavar="FILE", help="Write a page on which this case can be explored offline.")
@debug_option
def explain(**options: Any) -> None:
    """Show every step of a transposed convolution of a small grid.

    \b
    unstride explain --input "0 1; 2 3" --kernel "0 1; 2 3" --stride 2
    unstride explain --preset example-2 --view grid --step
    unstride explain --input 4x4 --kernel 3x3 --stride 2 --code torch > program.py
    """
    ways = {"--step": "stepwise", "--settings": "settings", "--code": "code"}
    chosen = [flag for flag, key in ways.items() if options[key]]
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(chosen)} are given together; give one of them")
    console = _console()
    color = bool(console.is_terminal and console.color_system and not console.no_color)
    with _usage_errors():
        case = _case(options)
        view = case.view_named(options["view"])
        files = {kind: options[kind] for kind in ("svg", "png", "gif", "html") if options[kind] is not None}
        for kind, path in files.items():
            endings, what = FORMATS.get(kind, (HTML_ENDINGS, "an HTML page"))
            check_ending(path, endings, what, f"--{kind}")
        if options["code"]:
            print(case.code(options["code"]).rstrip("\n"))
        elif options["settings"]:
            from ...explainer.settings import settings_text

            print(settings_text(case, console.width))
        elif options["stepwise"]:
            _walk(case, view, color, console.width)
        elif not files:
            changed = any(options[name] is not None for name in CASE)  # the preset's note may then be wrong
            _show(case, view, None if changed else options["name"], color, console)
        for kind, path in files.items():
            write: Callable[..., object] = getattr(case, kind)
            write(path, view=options["view"] if kind == "html" else view)  # the page has its own default
            name = escaped(path)
            print_text(f"{name} written", keep=[name], file=sys.stderr if options["code"] else None)


@click.command("quiz")
@click.option("--seed", type=int, help="Equal seeds give equal questions. Default: a random seed.")
@click.option("--count", type=click.IntRange(1, 100), default=5, show_default=True, help="Number of questions.")
@debug_option
def quiz(seed: int | None, count: int) -> None:
    """Ask about sizes, cells, geometries and checkerboards, and explain wrong answers.

    Answer with a letter; q ends the quiz. In a pipe, answers are read line by line.
    """
    from ...explainer import quiz as questions

    if seed is None:
        seed = int(np.random.default_rng().integers(10**6))
    console = _console()
    right = asked = 0
    for number, question in enumerate(questions.questions(seed, count), 1):
        print(f"Question {number} of {count} (seed {seed})\n\n{question.show(console.width)}\n")
        answer = _answer(len(question.choices))
        if answer is None:
            break
        asked += 1
        right += question.choices[answer].correct
        print(f"\n{question.judge(answer, console.width)}\n")
    print(f"{right} of {asked} right." if asked else "No question answered.")


def _answer(count: int) -> int | None:
    """The index of the typed answer, or None to end."""
    letters = "abcdefgh"[:count]
    while True:
        click.echo(f"Your answer ({letters[0]}–{letters[-1]}, q to end): ", nl=False)
        line = sys.stdin.readline()
        if not sys.stdin.isatty():
            click.echo(line.rstrip("\n"))
        typed = line.strip().lower().rstrip(").")
        if not line or typed == "q":
            return None
        if len(typed) == 1 and typed in letters:
            return letters.index(typed)
        click.echo(f"'{escaped(line.strip())}' is none of {', '.join(letters)}.")


def _console() -> Console:
    return Console(file=sys.stdout)


@contextmanager
def _usage_errors() -> Iterator[None]:
    """Turn the errors that a wrong option causes into usage errors, which have no traceback."""
    try:
        yield
    except (FileNameError, ArgumentError, TypeError) as error:
        raise click.UsageError(in_options(escaped(str(error)), OPTIONS)) from error


def _case(options: dict[str, Any]) -> Trace:
    """The trace of the case that the options describe. A preset gives what they leave out."""
    base = None if options["name"] is None else preset(options["name"])
    fields: dict[str, Any] = {} if base is None else dict(base.fields)
    for name in ("stride", "output_padding", "dilation"):
        if options[name] is not None:
            fields[name] = numbers(FIELDS[name], options[name])
    if options["padding"] is not None:
        fields["padding"] = padding(options["padding"])
    if options["kind"] is not None:
        fields["op"] = options["kind"]
    grids: list[Any] = [PAIR, PAIR] if base is None else [base.x, base.kernel]
    for place, name in enumerate(("x", "kernel")):
        if options[name] is not None:
            grids[place] = options[name]
    x, kernel = (
        _grid(name, grid, options["seed"], place) if isinstance(grid, str) else grid
        for place, (name, grid) in enumerate(zip(("--input", "--kernel"), grids, strict=True))
    )
    return Trace(x, kernel, options["bias"], **fields)


def _grid(name: str, text: str, seed: int, stream: int) -> Any:
    """The numbers of a grid: "0 1; 2 3" is 2×2, "0 1" is 1-D and "0 1;" is 1×2; | separates the slices of a 3-D grid.

    A size is filled with digits: "4x4", or "4x" for 1-D.
    """
    if SIZE.fullmatch(text.strip()) and "x" in text:
        size = [int(n) for n in text.strip().rstrip("x").split("x")]
        rng = np.random.default_rng([abs(seed), stream])
        return rng.choice([-2, -1, 1, 2, 3, 4], size) if stream else rng.integers(1, 10, size)

    def row(words: str) -> list[float]:
        return [float(word) for word in words.replace(",", " ").split()]

    def rows(words: str) -> list[list[float]]:
        return [row(part) for part in words.rstrip("; ").split(";")]

    try:
        if "|" in text:
            return [rows(part) for part in text.split("|")]
        return rows(text) if ";" in text else row(text)
    except ValueError:
        raise click.UsageError(
            f'{name} is {text!r}; expected numbers in rows apart by ;, for example "{PAIR}", or a size like 4x4'
        ) from None


def _show(case: Trace, view: str, name: str | None, color: bool, console: Console) -> None:
    from ...explainer.tables import BOLD, paint, paragraph

    if name is not None:
        shown = preset(name)
        print(f"{paint(shown.title, BOLD if color else '')}\n{paragraph(shown.note, console.width)}\n")
    print(case.text(view, color=color, width=console.width))
    if console.is_terminal:
        others = " ".join(other for other in VIEWS if other != view)
        print(f"\n{paragraph(f'Also: --view {others}; --step for each step; --settings; --code torch', console.width)}")


def _walk(case: Trace, view: str, color: bool, width: int) -> None:
    """Show the steps from the beginning: by key in a terminal, otherwise all of them."""
    from ...explainer.text import beginning

    count = len(case.steps(view))

    def page(step: int) -> str:
        return case.text(view, step - 1, color, width) if step else beginning(case, view, color, width)

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(f"\n\n{'─' * min(width, 40)}\n\n".join(map(page, range(count + 1))))
        return
    step = 0
    while True:
        click.clear()
        print(page(step))
        print(f"\n{'Enter: next · ' * (step < count)}{'b: back · ' * (step > 0)}q: quit")
        key = click.getchar()
        if key in QUIT:
            return
        step = min(step + 1, count) if key in NEXT else max(step - 1, 0) if key in BACK else step


COMMANDS = (explain, quiz)
