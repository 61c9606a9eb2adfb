"""What commands print on a terminal of 60 columns, on a console that lacks letters, and of names with odd characters."""

from __future__ import annotations

import io
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from unstride import __main__ as cli
from unstride._messages.wording import escaped, wrapped
from unstride.app.commands import printing, shared
from unstride.app.commands import runs as listing
from unstride.app.runs import Run
from unstride.app.runs.options import Options

WIDTH = 60
ODD = "two\nlines \x1b[31mred.png"
SHOWN = r"two\nlines \x1b[31mred.png"


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both streams are terminals of 60 columns."""
    monkeypatch.setattr(printing, "columns", lambda _: WIDTH)


def said(capsys: pytest.CaptureFixture[str], line: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert cli.main(shlex.split(line)) == code
    return capsys.readouterr()


def words(text: str) -> list[str]:
    return text.split()


LINES = {
    "info": 0,
    "solve 7x7 28x28": 0,
    "solve 28x28 7x7": 0,
    "solve 7x7 14x14 --kernel-size 3 --stride 2": 0,
    "plan 1x16x16x64 4x4x32x64 --stride 2 --padding 1": 0,
    "convert keras 'k=4 s=2 same' torch": 0,
    "convert keras 'k=3 s=2 same' torch": 2,
    "explain --stride 2 --kernel 3x3 --settings": 0,
    "plan 1x7x7x2 3x3x2x4": 2,
}


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("line", LINES)
def test_lines_end_at_blanks(line: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    printed = "".join(said(capsys, line, LINES[line]))
    assert all(len(text) <= WIDTH or " " not in text.strip() for text in printed.splitlines()), printed
    monkeypatch.setattr(printing, "columns", lambda _: None)
    monkeypatch.setenv("COLUMNS", "1000")
    whole = "".join(said(capsys, line, LINES[line]))
    assert max(map(len, whole.splitlines())) > WIDTH
    assert words(printed) == words(whole)


@pytest.mark.parametrize("width", [10, 30, WIDTH])
def test_what_must_be_copied_is_not_broken(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["unstride", "upscale", "my photo.png"])
    kept = ("`unstride train --resume`", 'pip install "unstride[app]"', "'a b c'", "(28, 28, 3)", "my photo.png",
            "/some/where/one name that is long.png", "Keras's own")  # fmt: skip
    text = " and then comes ".join(kept)
    made = printing.fitted(text, width, 2, ["/some/where/one name that is long.png"])
    assert all(one in made for one in kept[:-1]), made
    assert words(made) == words(text)
    assert len(made.splitlines()) > 2
    assert wrapped("no-hyphens nor-parts", 8) == "no-hyphens\nnor-parts"


@pytest.mark.usefixtures("narrow")
def test_a_files_name_before_a_colon_is_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    name = "some/folder with blanks/that has a name which is rather long.png"
    printing.print_problem("error: ", f"{name}: no such file; expected a picture such as a PNG or a JPEG")
    assert f"\n  {name}:\n" in capsys.readouterr().err


@pytest.mark.usefixtures("narrow")
def test_a_command_to_resume_with_is_one_line(monkeypatch: Any, capsys: Any) -> None:
    def stop(*_: object, obj: shared.State, **__: object) -> None:
        obj.resume = "unstride train --resume --run 'runs/a name with many blanks, and a long one'"
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.cli, "main", stop)
    assert cli.main([]) == 130
    assert capsys.readouterr().err.endswith(
        " with: unstride train --resume --run 'runs/a name with many blanks, and a long one'\n"
    )


# Consoles that lack letters.


def printed(monkeypatch: pytest.MonkeyPatch, encoding: str, *arguments: str) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    assert cli.main(arguments) == 0
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize("view", ["scatter", "grid", "matrix", "overlap", "gradient"])
def test_frames_on_an_ascii_console(view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every frame and sign has a stand-in as wide as itself, so that tables stay in line."""
    arguments = ("explain", "--input", "2x3", "--kernel", "2x2", "--stride", "2", "--view", view)
    monkeypatch.setenv("COLUMNS", "100")
    plain, rich = (printed(monkeypatch, encoding, *arguments) for encoding in ("ascii", "utf-8"))
    assert not {"?", "\\"} & set(plain)
    tables = [pair for pair in zip(plain.splitlines(), rich.splitlines(), strict=True) if "│" in pair[1]]
    assert tables
    for ascii_line, line in tables:
        assert [a == "|" for a in ascii_line] == [a == "│" for a in line], ascii_line


def test_only_what_is_lacking_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(monkeypatch, "latin-1", "explain")
    assert "0 × kernel" in text
    assert "|  4  6    |" in text


# Names with odd characters.


def test_odd_names_are_escaped_in_errors(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (f"upscale {shlex.quote(ODD)} -o out.png", f"segment {shlex.quote(ODD)} -o out.png",
                 f"evaluate {shlex.quote(ODD)}", f"explain --svg {shlex.quote(ODD)}", f"runs {shlex.quote(ODD)}"):  # fmt: skip
        err = said(capsys, line, 2)[1]
        assert SHOWN in err, err
        assert err.count("\n") == 1
    shared.remark(f"{ODD}: the first of its 2 pages")
    shared.complain(OSError(2, "No such file", ODD))
    err = capsys.readouterr().err
    assert err.count(SHOWN) == err.count("\n") == 2


def test_odd_names_are_escaped_in_successes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(ODD)
    for line in (f"upscale {shlex.quote(ODD)} -o out.png", f"segment {shlex.quote(ODD)} -o out.png",
                 f"explain --png {shlex.quote('a' + ODD)}"):  # fmt: skip
        out = said(capsys, line)[0]
        assert SHOWN in out
        assert out.count("\n") == 1
        assert "\x1b" not in out
    run = Run(Path("runs", ODD), Options(), {}, {})
    run.path.mkdir(parents=True)
    run.save()
    assert SHOWN in said(capsys, "runs")[0]
    assert SHOWN in on_terminal(monkeypatch, run.path)
    made = shared.table(("", ODD), [(ODD, "1")])
    screen = Console(file=io.StringIO(), width=200)
    screen.print(made)
    assert screen.file.getvalue().count(SHOWN) == 2  # type: ignore[attr-defined]
    assert escaped("caf\u00e9 \u6570.png") == "caf\u00e9 \u6570.png"


# The list of runs.


def on_terminal(monkeypatch: pytest.MonkeyPatch, *names: Path, width: int = WIDTH, colour: str | None = None) -> str:
    file = io.StringIO()
    screen = Console(file=file, force_terminal=True, width=width, color_system=colour, legacy_windows=False)  # type: ignore[arg-type]
    monkeypatch.setattr(listing, "console", lambda: screen)
    assert cli.main(["runs", *map(str, names)]) == 0
    return file.getvalue()


@pytest.fixture
def three_runs() -> list[str]:
    names = ["autoencoder-20240101-120000", "autoencoder-20240101-120000-2", "compressor-20240101-120031"]
    for name in names:
        run = Run(Path("runs", name), Options(model=name.partition("-")[0]), {}, {})
        run.path.mkdir(parents=True)
        run.save()
        (run.path / "evaluation.json").write_text('{"loss": 0.0631, "error": 0.00331}')
    Path("runs", names[2], "config.json").write_text("{")
    return names


@pytest.mark.parametrize(
    ("width", "shown"), [(44, ()), (WIDTH, ("epochs",)), (120, ("model", "date", "epochs", "figures"))]
)
@pytest.mark.parametrize("colour", [None, "standard"])
def test_names_of_runs_are_whole(
    width: int, shown: tuple[str, ...], colour: str | None, three_runs: list[str], monkeypatch: Any
) -> None:
    text = on_terminal(monkeypatch, width=width, colour=colour)
    assert max(map(len, text.splitlines())) <= width or colour
    assert "…" not in text
    first = [line.split()[0] for line in text.splitlines() if "-2024" in line]
    assert first == [three_runs[2], *three_runs[:2]]  # the damaged one has no date
    head = text.splitlines()[0]
    assert all(name in head for name in ("run", "state", *shown))
    assert ("Not shown" in text) == (width < 100)


@pytest.mark.parametrize("width", [*range(44, 78, 3), 90, 120])
@pytest.mark.usefixtures("three_runs")
def test_states_of_runs_are_whole(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    words = on_terminal(monkeypatch, width=width).partition("Not shown")[0].split()
    assert [words.count(word) for word in ("stopped", "first", "epoch")] == [2] * 3


def test_runs_compared_keep_their_names_apart(three_runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = on_terminal(monkeypatch, *(Path("runs", name) for name in three_runs[:2]), width=40)
    assert "…" not in text
    columns = [[part.strip() for part in line.split("\u2503")] for line in text.splitlines() if "\u2503" in line]
    assert ["".join(line[place] for line in columns) for place in (2, 3)] == three_runs[:2]
