"""Run folders that are damaged in any way: they are listed as damaged, with why, and hide none of the others."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unstride import __main__ as cli
from unstride.app import runs
from unstride.app.errors import RunError
from unstride.app.runs import Run
from unstride.app.runs.options import Options

GOOD = ["autoencoder-1", "autoencoder-3"]
BAD = "autoencoder-2"
FILES = ("config.json", "metrics.csv", "evaluation.json", "progress.json", "weights.npz", "last.npz", "last.keras")
METRICS = "epoch,loss,seconds,val_loss\r\n0,0.5,1.0,0.4\r\n1,0.3,1.0,0.25\r\n2,0.2,1.0,0.1\r\n"


def a_run(path: Path) -> Run:
    """Three epochs of five."""
    path.mkdir(parents=True)
    run = Run(path, Options(epochs=5, limit=60, batch_size=20), {"name": "MNIST", "sha256": "0"}, {"cores": 2})
    run.save()
    run.history.write_bytes(METRICS.encode())
    (path / "evaluation.json").write_text('{"loss": 0.1, "error": 0.2}')
    (path / "progress.json").write_text('{"epoch": 3, "batch": 1, "batches": 3}')
    for name in ("weights.npz", "last.npz", "last.keras"):
        (path / name).write_bytes(b"PK not really")
    return run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """runs/ with two good runs and one between them, which a test damages."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate([GOOD[0], BAD, GOOD[1]]):
        config = a_run(tmp_path / "runs" / name).path / "config.json"
        os.utime(config, (1000 + number, 1000 + number))
    return tmp_path / "runs"


def config_with(**options: Any) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        config = json.loads((path / "config.json").read_text())
        config["options"] |= options
        (path / "config.json").write_text(json.dumps(config))

    return damage


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    return lambda path: (path / name).write_bytes(content.encode() if isinstance(content, str) else content)


def folder_instead(name: str) -> Callable[[Path], None]:
    return lambda path: ((path / name).unlink(), (path / name).mkdir())  # type: ignore[func-returns-value, return-value]


def fifo_instead(name: str) -> Callable[[Path], None]:
    return lambda path: ((path / name).unlink(), os.mkfifo(path / name))  # type: ignore[func-returns-value, return-value]


def sparse(name: str) -> Callable[[Path], None]:
    return lambda path: os.truncate(path / name, 2**40)


def nested(name: str) -> Callable[[Path], None]:
    return text(name, '{"options": ' + "[" * 100_000 + "]" * 100_000 + "}")


HUGE = "1" + "0" * 400

CONFIGS = {
    "empty": text("config.json", ""),
    "NULs": text("config.json", b"\0" * 500),
    "half": text("config.json", '{"options": {"model": "auto'),
    "no UTF-8": text("config.json", b"\xff\xfe\xfd"),
    "a list": text("config.json", "[]"),
    "a number": text("config.json", "1e999"),
    "nested": nested("config.json"),
    "a folder": folder_instead("config.json"),
    "a pipe": fifo_instead("config.json"),
    "gigabytes": sparse("config.json"),
    "no dataset": text("config.json", '{"options": {}, "environment": {}}'),
    "dataset of pairs": text("config.json", '{"options": {}, "dataset": [[1, 2]], "environment": {}}'),
    "model: list": config_with(model=["autoencoder"]),
    "epochs: null": config_with(epochs=None),
    "epochs: true": config_with(epochs=True),
    "epochs: text": config_with(epochs="5"),
    "epochs: huge": config_with(epochs=int(HUGE)),
    "rate: text": config_with(learning_rate="fast"),
    "rate: huge": config_with(learning_rate=int(HUGE)),
    "split: list": config_with(validation_split=[0.2]),
    "data: number": config_with(data=3),
    "quick: text": config_with(quick="yes"),
    "long": config_with(data=["x" * 100_000]),
}
"""What `Run` needs is damaged."""

ROWS = {
    "short row": text("metrics.csv", METRICS + "3,0.1\r\n"),
    "long row": text("metrics.csv", METRICS + "3,0.1,1,0.1,9\r\n"),
    "NUL row": text("metrics.csv", METRICS.encode() + b"\0" * 20 + b"\n"),
    "row in words": text("metrics.csv", METRICS + "3,much,1,0.1\r\n"),
    "torn quotes": text("metrics.csv", METRICS + '3,"0.1,1,0.1\r\n'),
    "no UTF-8 row": text("metrics.csv", METRICS.encode() + b"\xff,1,1,1\n"),
    "columns missing": text("metrics.csv", "epoch,loss\n0,1\n"),
    "epochs missing": text("metrics.csv", METRICS + "7,0.1,1,0.1\r\n"),
    "endless epoch": text("metrics.csv", METRICS + "inf,0.1,1,0.1\r\n"),
    "endless seconds": text("metrics.csv", METRICS + "3,0.1,inf,0.1\r\n"),
    "one long cell": text("metrics.csv", METRICS + "3," + "1" * 200_000 + ",1,1\r\n"),
    "metrics a folder": folder_instead("metrics.csv"),
    "metrics a pipe": fifo_instead("metrics.csv"),
    "metrics of gigabytes": sparse("metrics.csv"),
    "no config": lambda path: (path / "config.json").unlink(),
}
"""What `load` refuses, too."""

FIGURES = {
    "figures half": text("evaluation.json", '{"loss": '),
    "figures nested": nested("evaluation.json"),
    "figures huge": text("evaluation.json", '{"loss": ' + HUGE + "}"),
    "figures a folder": folder_instead("evaluation.json"),
    "figures a pipe": fifo_instead("evaluation.json"),
}
"""What only the list shows."""


def listed(capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert cli.main(["runs", *more]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def check_lab(folder: Path, damaged: bool) -> None:
    """The lab's list has all three, and its page of the damaged one says why."""
    from unstride.lab import jobs, training

    names = [job.name for job in jobs.listing("autoencoder", folder)]
    assert set(names) == {*GOOD, BAD}
    assert [name for name in names if name != BAD] == GOOD[::-1]
    assert jobs.listing("compressor", folder) == []
    job = jobs.find(BAD, folder)
    assert job is not None
    progress = job.progress()
    assert (progress.state == "damaged") == damaged, progress
    assert bool(progress.message) == damaged
    assert not (damaged and (progress.resumable or progress.active))
    shown = [words for words, name in training.choices("autoencoder", job).items() if name == BAD]
    assert len(shown) == 1
    assert ("damaged" in shown[0]) == damaged
    training.panel(job, progress)
    training.curves(progress, "loss")
    with pytest.raises(RunError, match=BAD):
        training.exported("autoencoder", job)


@pytest.mark.parametrize("kind", [*CONFIGS, *ROWS])
def test_a_damaged_run_is_listed_with_why(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unstride.lab.jobs.FOLDER", folder)
    (CONFIGS | ROWS)[kind](folder / BAD)
    found = {Path(one["run"]).name: one for one in json.loads(listed(capsys, "--json"))}
    assert set(found) == {*GOOD, BAD}
    assert [found[name]["state"] for name in GOOD] == ["stopped", "stopped"]
    assert found[BAD]["state"] == "damaged"
    assert 0 < len(found[BAD]["problem"]) < 200
    assert "\n" not in found[BAD]["problem"]
    line = next(line for line in listed(capsys).splitlines() if BAD in line)
    assert "\tdamaged: " in line
    with pytest.raises(RunError, match=BAD):
        runs.load(folder / BAD)
    assert runs.newest(folder).path == folder / GOOD[1]
    check_lab(folder, damaged=True)


@pytest.mark.parametrize("kind", FIGURES)
def test_damaged_figures_are_listed_with_why(kind: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    FIGURES[kind](folder / BAD)
    found = {Path(one["run"]).name: one for one in json.loads(listed(capsys, "--json"))}
    assert "evaluation.json is damaged" in found[BAD]["problem"]
    assert listed(capsys).count("damaged: ") == 1
    assert runs.load(folder / BAD).options.epochs == 5


@pytest.mark.parametrize("place", [BAD, f"{BAD}/config.json", f"{BAD}/metrics.csv"])
def test_what_must_not_be_read_is_listed_with_why(
    place: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a user who is not root; in his place, opening, looking and listing are refused."""
    denied = os.fspath(folder / place)

    def refusing(function: Callable[..., Any], is_folder_itself: bool = False) -> Callable[..., Any]:
        def refuse(path: Any, *more: Any, **named: Any) -> Any:
            inside = os.fspath(Path.absolute(Path(path))).startswith(denied + os.sep)
            if inside or (is_folder_itself and os.fspath(Path.absolute(Path(path))) == denied):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return function(path, *more, **named)

        return refuse

    monkeypatch.setattr(Path, "stat", refusing(Path.stat))
    monkeypatch.setattr(Path, "open", refusing(Path.open, True))
    monkeypatch.setattr(Path, "iterdir", refusing(Path.iterdir, True))
    monkeypatch.setattr("unstride.lab.jobs.FOLDER", folder)
    found = {Path(one["run"]).name: one for one in json.loads(listed(capsys, "--json"))}
    assert set(found) == {*GOOD, BAD}
    assert found[BAD]["problem"].endswith("(Permission denied)")
    with pytest.raises(RunError, match=f"{BAD}: .*Permission denied"):
        runs.load(folder / BAD)
    check_lab(folder, damaged=True)


def test_the_newest_that_is_not_damaged_is_resumed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text("config.json", "{")(folder / GOOD[1])
    skipped: list[RunError] = []
    assert runs.newest(folder, skipped.append).path == folder / BAD
    assert [str(error).split(":")[0] for error in skipped] == [str(folder / GOOD[1])]
    assert cli.main(["train", "--resume", "--seed", "1"]) == 2
    err = capsys.readouterr().err
    assert f"note: runs/{GOOD[1]}: not a run: its config.json is damaged" in err
    assert f"runs/{BAD} was started with 0" in err
    for name in (GOOD[0], BAD):
        text("config.json", "{")(folder / name)
    with pytest.raises(RunError, match=f"{BAD}: not a run"):  # the last one that was written
        runs.newest(folder)


def test_odd_times_and_letters_are_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config_with(model="auto\x1b[2J\nencoder", data="a\nb\x1b[2J")(folder / BAD)
    text("evaluation.json", json.dumps({"new\nfigure\x1b[2J": 1.5, "loss": 1e999, "\ud800": 2}))(folder / BAD)
    os.utime(folder / BAD / "config.json", (2**40, 2**40))
    assert len(listed(capsys).splitlines()) == 3
    assert len(json.loads(listed(capsys, "--json"))) == 3
    compared = listed(capsys, f"runs/{BAD}", f"runs/{GOOD[0]}")
    assert "\x1b" not in compared
    assert r"new\nfigure" in compared


VALUES = (b"\0", b"\xff", b"\n", b",", b'"', b"{", b"]", b"-", b"1e999", b"null", b"true", b"[]", b"{}", b"NaN",
          HUGE.encode(), b"'", b"\\", b"\x1b[2J")  # fmt: skip


def mutated(content: bytes, chance: random.Random) -> bytes:
    """With one to three pieces cut out, doubled or replaced."""
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(content) + 1)
        end = min(len(content), start + chance.choice([0, 1, 2, 8, 40]))
        piece = chance.choice([b"", content[start:end] * 2, chance.choice(VALUES)])
        content = content[:start] + piece + content[end:]
    return content


@pytest.mark.parametrize("seed", range(3))
def test_no_change_of_a_file_breaks_a_list(
    seed: int, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from unstride.lab import jobs, training

    monkeypatch.setattr("unstride.lab.jobs.FOLDER", folder)
    chance = random.Random(seed)
    original = {name: (folder / BAD / name).read_bytes() for name in FILES}
    for _ in range(60):
        name = chance.choice(FILES[:4])
        change = mutated(original[name], chance)
        (folder / BAD / name).write_bytes(change)
        found = {Path(one["run"]).name: one for one in json.loads(listed(capsys, "--json"))}
        assert set(found) == {*GOOD, BAD}, change
        assert [found[good]["state"] for good in GOOD] == ["stopped", "stopped"]
        assert len(listed(capsys).splitlines()) == 3, change
        try:
            runs.load(folder / BAD)
        except RunError as error:
            assert BAD in str(error)
            assert found[BAD]["state"] == "damaged"
        else:
            assert name == "evaluation.json" or found[BAD]["state"] != "damaged", change
        runs.newest(folder)
        assert {*GOOD} <= {job.name for job in jobs.listing("autoencoder", folder)}
        job = jobs.find(BAD, folder)
        assert job is not None
        training.panel(job, job.progress())
        training.choices("autoencoder", job)
        (folder / BAD / name).write_bytes(original[name])


def test_a_damaged_record_is_no_process(tmp_path: Path) -> None:
    from unstride.lab.jobs import Job

    job = Job("autoencoder-1", tmp_path)
    job.record.parent.mkdir()
    for content in ("", "[]", "3", '{"pid": 1e999, "created": 0}', '{"pid": ' + HUGE + "}", '{"pid": -1, "created": 0}',
                    '{"pid": true, "created": "x"}', '{"pid": [], "stopping": {}}', "[" * 100_000):  # fmt: skip
        job.record.write_text(content)
        assert job.process() is None
        assert job.progress().state == "stopped"
    job.record.unlink()
    job.record.mkdir()
    assert job.progress().state == "stopped"
    shutil.rmtree(job.record)
