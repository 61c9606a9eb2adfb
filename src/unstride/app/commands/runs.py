"""`unstride runs`: list runs, and show how some of them differ."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from ..._messages.wording import escaped
from ..errors import OptionError, RunError
from ..runs import Run, folders, load, locked, read_config
from ..runs.options import Options, flag
from ..runs.reading import read_json, trouble, why
from .printing import json_option, print_json
from .shared import console, debug_option, say, table

METRICS = ("loss", "error", "probe_accuracy", "psnr", "ssim", "gain", "mean_iou", "pixels_right")
"""Their order in the output. Others follow."""
GAP = 2
"""Blanks between columns."""
STATE = 10
"""Characters of a state that are never broken."""


@click.command("runs")
@click.argument("names", metavar="[RUN]...", nargs=-1)
@json_option
@debug_option
def runs(names: tuple[str, ...], as_json_: bool) -> None:
    """List the runs in runs/ or in another folder, or show how two or more RUNs differ.

    \b
    unstride runs
    unstride runs elsewhere/
    unstride runs RUN RUN

    A damaged run is listed with the reason.
    """
    if len(names) > 1 or (names and _is_run(Path(names[0]))):
        listed = [described(load(name).path) for name in names]
        if as_json_:
            print_json(listed)
        else:
            _compare(listed)
        return
    folder = Path(names[0]) if names else Path("runs")
    if names and not folder.is_dir():
        raise OptionError(f"{folder}: no such folder; expected one with runs, or runs to compare")
    listed = sorted(map(described, sorted(folders(folder))), key=lambda one: one["date"] or "")
    if as_json_:
        print_json(listed)
    elif not listed:
        place = escaped(str(folder.absolute()))
        say(console(), f"No runs in {place}; `unstride train` makes one.", keep=[place])
    else:
        _list(listed)


def described(path: Path) -> dict[str, Any]:
    """A summary of a run folder. `problem` says what is wrong with it."""
    summary: dict[str, Any] = {
        "run": str(path), "date": None, "state": "damaged", "epochs": None, "options": None, "figures": {},
        "problem": None,
    }  # fmt: skip
    try:
        run = read_config(path)
        summary["options"] = asdict(run.options)
        summary["date"] = _date(path / "config.json")
        summary["epochs"] = len(run.rows())
        summary["figures"] = _metrics(run)
        summary["state"] = _state(run, summary["epochs"])
    except RunError as error:
        summary["problem"] = str(error).removeprefix(f"{path}: ")
    except OSError as error:
        summary["problem"] = f"a file in it cannot be read ({why(error)})"
    if summary["problem"] is not None:
        summary["state"] = "damaged"
    return summary


def _date(file: Path) -> str | None:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(file.stat().st_mtime))
    except (ValueError, OverflowError):  # a time beyond any calendar
        return None


def _metrics(run: Run) -> dict[str, float]:
    """The single numbers in evaluation.json; {} if it does not exist yet."""
    file = run.path / "evaluation.json"
    if not file.exists():
        return {}
    try:
        content = read_json(file)
        numbers = {name: value for name, value in content.items() if type(value) in (int, float)}
        for value in numbers.values():
            float(value)  # whole numbers can be too large
        return {name: value for name, value in numbers.items() if name not in ("images", "scale", "code")}
    except (OSError, ValueError, OverflowError) as error:
        raise RunError(f"{run.path}: its evaluation.json {trouble(error)}") from error


def _state(run: Run, epochs: int) -> str:
    try:
        with locked(run.path):
            pass
    except RunError:
        return "in training"
    if epochs < run.options.epochs:
        return "stopped" if epochs else "stopped in its first epoch"
    return "trained" if run.model.exists() else "stopped after its last epoch"


COLUMNS = ("run", "model", "date", "epochs", "figures", "state")
IMPORTANCE = ("figures", "epochs", "date", "model")
"""The columns that a narrow terminal may leave out, most important first."""


def _list(listed: list[dict[str, Any]]) -> None:
    screen = console()
    if not screen.is_terminal:
        for one in listed:  # one line for each, however long, for grep and cut
            print("\t".join([escaped(one["run"]), *_cells(one)[1:]]))  # the console would make blanks of tabs
        return
    rows = [_cells(one) for one in listed]
    room = _fitting(rows, screen.width)
    grid = Table(box=None, pad_edge=False, header_style="")
    for name, width in room.items():
        grid.add_column(name, justify="right" if name == "epochs" else "left", width=width, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(row[COLUMNS.index(name)]) for name in room))
    screen.print(grid)
    if missing := [name for name in COLUMNS if name not in room]:
        say(screen, f"Not shown in {screen.width} columns: {', '.join(missing)}.")


def _cells(one: dict[str, Any]) -> list[str]:
    """A run's row."""
    options = one["options"] or {}
    epochs = f"{one['epochs']}/{options['epochs']}" if one["epochs"] is not None and options else "–"
    state = one["state"] if one["problem"] is None else f"damaged: {one['problem']}"
    metrics = escaped(_short(one["figures"]))
    return [_name(one), escaped(options.get("model", "–")), one["date"] or "–", epochs, metrics, escaped(state)]


def _fitting(rows: Sequence[Sequence[str]], width: int) -> dict[str, int]:
    """The columns that fit, and their widths.

    Runs have their whole names. States may be broken at blanks. The other columns are taken by importance.
    """
    widths = [max(len(name), *map(len, cells)) for name, cells in zip(COLUMNS, zip(*rows, strict=True), strict=True)]
    needed = dict(zip(COLUMNS, widths, strict=True))
    needed["state"] = min(needed["state"], STATE)
    left = width - needed["run"] - GAP - needed["state"]
    shown = {"run", "state"}
    if left < 0:
        needed["run"] += left
    for name in IMPORTANCE:
        if needed[name] + GAP <= left:
            shown.add(name)
            left -= needed[name] + GAP
    needed["state"] = min(widths[COLUMNS.index("state")], needed["state"] + max(left, 0))
    return {name: needed[name] for name in COLUMNS if name in shown}


def _compare(compared: list[dict[str, Any]]) -> None:
    """Print the options that differ, then the metrics. Of a single run, print all given options."""
    screen = console()
    names = list(Options.__dataclass_fields__)
    values = {name: [one["options"][name] for one in compared] for name in names}
    differing = [name for name in names if len(compared) == 1 or len(set(map(str, values[name]))) > 1]
    rows = [(flag(name), *map(_value, values[name])) for name in differing if set(values[name]) != {None}]
    rows.append(("epochs done", *(str(one["epochs"]) for one in compared)))
    rows.append(("state", *(one["state"] for one in compared)))
    metrics = list(dict.fromkeys(name for one in compared for name in _ordered(one["figures"])))
    rows += [(escaped(name), *(_number(one["figures"].get(name)) for one in compared)) for name in metrics]
    screen.print(table(("", *map(_name, compared)), rows))
    if len(compared) > 1 and not differing:
        say(screen, "All options are equal.")


def _is_run(path: Path) -> bool:
    return path.is_file() or (path / "config.json").exists()


def _name(one: dict[str, Any]) -> str:
    return escaped(Path(one["run"]).name)


def _ordered(metrics: dict[str, float]) -> list[str]:
    return sorted(metrics, key=lambda name: METRICS.index(name) if name in METRICS else len(METRICS))


def _short(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {_number(metrics[name])}" for name in _ordered(metrics)[:2]) or "–"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _value(value: object) -> str:
    return "–" if value is None else escaped(str(value))


COMMANDS = (runs,)
