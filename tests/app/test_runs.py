"""Run folders: options, names, checkpoints' rows, and files that are whole whatever happens."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from unstride import _files
from unstride.app import runs
from unstride.app.errors import OptionError, RunError
from unstride.app.runs import Run, duration
from unstride.app.runs.options import Options


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "--epochs is 0; expected at least 1"),
        ({"batch_size": -5}, "--batch-size is -5; expected at least 1"),
        ({"limit": 0}, "--limit is 0; expected at least 1"),
        ({"validation_split": 0.0}, "--validation-split is 0.0; expected a share between 0 and 1"),
        ({"validation_split": 1.0}, "--validation-split is 1.0"),
        ({"validation_split": float("nan")}, "--validation-split is nan"),
        ({"learning_rate": 0.0}, "--learning-rate is 0.0; expected a positive number"),
        ({"learning_rate": float("inf")}, "--learning-rate is inf"),
        ({"seed": -1}, "--seed is -1; expected a number from 0 to 4294967295"),
        ({"seed": 2**32}, "--seed is 4294967296"),
    ],
)
def test_options_that_cannot_be(values: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Options(**values)


def test_the_readings_settings() -> None:
    options = Options()
    assert (options.epochs, options.batch_size, options.validation_split) == (25, 1000, 0.2)
    assert options.split(60000) == (48000, 12000)
    assert options.steps(48000) == 48


def test_split() -> None:
    assert Options(batch_size=3).split(4) == (3, 1)
    assert Options(batch_size=20).steps(48) == 3
    with pytest.raises(OptionError, match=r"the data has 1 image; .* leaves 0 for training"):
        Options().split(1)
    with pytest.raises(OptionError, match=r"--limit leaves 4 images; .* takes 0 for validation"):
        Options(limit=4, validation_split=1e-20).split(4)
    with pytest.raises(OptionError, match=r"--batch-size is 1000; expected at most 80, the images for training"):
        Options(limit=100).split(100)


def test_new_folders_never_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs.time, "strftime", lambda _: "20260102-030405")
    made = [runs.create(None, "autoencoder") for _ in range(3)]
    assert [str(path) for path in made] == [
        f"runs{os.sep}autoencoder-20260102-030405{suffix}" for suffix in ("", "-2", "-3")
    ]
    assert all(path.is_dir() for path in made)


def test_a_named_folder_has_to_be_empty(tmp_path: Path) -> None:
    assert runs.create(tmp_path / "a" / "b", "x") == tmp_path / "a" / "b"
    assert runs.create(tmp_path / "a" / "b", "x").is_dir()
    (tmp_path / "a" / "b" / "file").touch()
    with pytest.raises(RunError, match=r"b is not empty; nothing in it was changed"):
        runs.create(tmp_path / "a" / "b", "x")
    with pytest.raises(FileExistsError):
        runs.create(tmp_path / "a" / "b" / "file", "x")


def a_run(folder: Path, **options: object) -> Run:
    folder.mkdir(exist_ok=True)
    run = Run(folder, Options(**options), {"name": "MNIST", "sha256": "0"}, {"cores": 2})
    run.save()
    return run


def test_config_round_trip(tmp_path: Path) -> None:
    run = a_run(tmp_path / "r", epochs=3, limit=60, data="/digits", backend="torch")
    assert runs.load(tmp_path / "r") == run
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["options"]["epochs"] == 3
    # A later version's option is none of ours.
    config["options"]["novelty"] = 1
    (tmp_path / "r" / "config.json").write_text(json.dumps(config))
    assert runs.load(tmp_path / "r") == run


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"options": 3, "dataset": {}, "environment": {}}', "\x00", '{"options": {}}'],
)
def test_a_damaged_config(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(RunError, match=r"not a run: its config.json is damaged"):
        runs.load(tmp_path)


def test_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a run: it has no config.json"):
        runs.load(tmp_path)
    with pytest.raises(RunError, match="no such folder"):
        runs.load(tmp_path / "none")


def test_newest(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run to resume"):
        runs.newest(tmp_path)
    for number, name in enumerate(["b", "c", "a"]):
        a_run(tmp_path / name)
        os.utime(tmp_path / name / "config.json", (1000 + number, 1000 + number))
    (tmp_path / "none").mkdir()
    assert runs.newest(tmp_path).path == tmp_path / "a"


METRICS = b"epoch,loss,seconds,val_loss\r\n0,0.5,1.0,0.4\r\n1,0.3,1.0,0.25\r\n2,0.2,1.0,0.1\r\n"


@pytest.mark.parametrize("torn", [b"", b"3", b"3,0.1", b"3,0.1,1.0,0.05", b"3,0.1,1.0,0.05\r"])
def test_rewind(tmp_path: Path, torn: bytes) -> None:
    """A kill may leave rows of epochs that no checkpoint has, and a torn one."""
    run = a_run(tmp_path)
    run.history.write_bytes(METRICS + torn)
    assert [row["epoch"] for row in run.rows()] == [0, 1, 2]
    assert [row["val_loss"] for row in run.rewind(2)] == [0.4, 0.25]
    assert run.history.read_bytes() == METRICS[: METRICS.index(b"2,0.2")]
    assert run.rewind(0) == []
    assert not run.history.exists()
    assert run.rewind(0) == run.rows() == []


def test_rewind_a_torn_header(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    run.history.write_bytes(b"epoch,lo")
    assert run.rewind(0) == []
    assert not run.history.exists()


def test_write_is_all_or_nothing(tmp_path: Path) -> None:
    file = tmp_path / "f.txt"
    _files.write_text(file, "old")

    def fail(beside: Path) -> None:
        beside.write_text("half")
        assert beside.suffix == ".txt"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left") as caught:
        _files.write(file, fail)
    assert caught.value.filename == str(file)
    assert caught.value.errno == errno.ENOSPC

    def interrupt(beside: Path) -> None:
        beside.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _files.write(file, interrupt)
    assert file.read_text() == "old"
    _files.write_text(file, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["f.txt"]
    assert file.read_text() == "new"


def test_write_as_others_do(tmp_path: Path) -> None:
    """With the user's own permissions, through links, and never in the place of a device."""
    before = os.umask(0o022)
    try:
        _files.write_text(tmp_path / "f", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o644
    (tmp_path / "link").symlink_to(tmp_path / "f")
    _files.write_text(tmp_path / "link", "y")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "f").read_text() == "y"
    with pytest.raises(OSError, match="not a regular file"):
        _files.write_text(tmp_path, "z")


def test_sweep(tmp_path: Path) -> None:
    """What a killed `write` leaves is found, and nothing else."""
    code = (
        "import os, signal, sys; from pathlib import Path; from unstride import _files\n"
        "_files.write(Path(sys.argv[1]), lambda b: (b.write_text('x'), os.kill(os.getpid(), signal.SIGKILL)))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "last.keras")], check=False)
    (tmp_path / "mine.tmp").touch()
    assert len(list(tmp_path.iterdir())) == 2
    _files.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.tmp"]


def test_lock(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with (
        runs.locked(tmp_path),
        pytest.raises(RunError, match="another process is training this run"),
        runs.locked(tmp_path),
    ):
        pass
    with runs.locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (3.14, "3.1 s"),
        (45.4, "45 s"),
        (59.6, "1 min 00 s"),
        (252, "4 min 12 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
