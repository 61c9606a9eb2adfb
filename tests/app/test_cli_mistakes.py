"""The command line: one line for every mistake, and what it leaves on the disk."""

from __future__ import annotations

import errno
import importlib.util
import os
import re
from pathlib import Path

import pytest
from command_line import SMALL, error, own_process

from unstride import __main__ as cli
from unstride.app import runs, tasks
from unstride.app.runs import Run

MISTAKES = {
    "unknown model": (
        ["train", "vgg"],
        "unknown model 'vgg'; expected one of: autoencoder, compressor, upscaler, segmenter",
    ),
    "unknown backend": (
        ["train", "--backend", "mxnet"],
        "unknown backend 'mxnet'; there are jax, torch, tensorflow",
    ),
    "unknown command": (["trane"], "No such command 'trane'"),
    "unknown option": (["train", "--epoch-count", "3"], "No such option"),
    "no number": (["train", "--epochs", "many"], "'many' is not a valid integer"),
    "zero epochs": (["train", "--epochs", "0"], "--epochs is 0; expected at least 1"),
    "negative batch": (["train", "--batch-size", "-1"], "--batch-size is -1; expected at least 1"),
    "zero limit": (["train", "--limit", "0"], "--limit is 0; expected at least 1"),
    "limit too small": (["train", "--limit", "1"], "--limit leaves 1 image; "),
    "batch too large": (["train", "--limit", "60"], "--batch-size is 1000; expected at most 48"),
    "batch larger than all": (
        ["train", "--batch-size", "50000"],
        "--batch-size is 50000; expected at most 48000",
    ),
    "no split": (["train", "--validation-split", "0"], "--validation-split is 0.0; expected a share"),
    "negative rate": (
        ["train", "--learning-rate", "-1"],
        "--learning-rate is -1.0; expected a positive number",
    ),
    "negative seed": (["train", "--seed", "-1"], "--seed is -1"),
    "no data": (["train", "--data", "nowhere"], "nowhere: no such folder"),
    "nothing to resume": (["train", "--resume"], "no run to resume in runs/ here; name one with --run"),
    "nowhere to resume": (["train", "--resume", "--run", "nowhere"], "nowhere: no such folder"),
    "evaluate nothing": (["evaluate", "nowhere"], "nowhere: no such folder"),
    "evaluate what": (["evaluate"], "Missing argument 'RUN'"),
    "evaluate a folder": (["evaluate", "."], "not a run: it has no config.json"),
    "reconstruct nothing": (["reconstruct", "nowhere"], "nowhere: no such folder"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments, message = MISTAKES[mistake]
    assert message in error(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []  # no run was begun


def test_mistakes_with_a_run(run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = str(run.path)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    (tmp_path / "words.png").write_text("words")
    for arguments, message in (
        (["train", "--run", folder], "is not empty; nothing in it was changed. Continue it with --resume"),
        (
            ["train", "--resume", "--run", folder, "--seed", "4"],
            "--seed is 4, but .* was started with 0; leave it out",
        ),
        (
            ["train", "--resume", "--run", folder, "--backend", "torch"],
            "--backend is torch, but .* started with jax",
        ),
        (
            ["train", "--resume", "--run", folder, "--limit", "61"],
            "--limit is 61, but .* was started with 60",
        ),
        (["evaluate", folder, "--backend", "mxnet"], "unknown backend 'mxnet'"),
        (["evaluate", folder, "--backend", "torch"], "Keras runs on jax in this process already"),
        (["reconstruct", folder, "words.png"], "words.png: not an image that Pillow can read"),
        (["reconstruct", folder, "none.png"], "none.png: no such file"),
        (["reconstruct", folder, "-o", "out.xyz"], "-o out.xyz: no picture format ends with '.xyz'"),
        (["reconstruct", folder, "-o", "out"], "-o out has no ending"),
        (["reconstruct", folder, "-o", "nowhere/out.png"], "nowhere/out.png: No such file or directory"),
    ):
        found = error(capsys, *arguments)
        assert re.search(message, found), found
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["words.png"]


def test_epochs_are_not_lowered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path / "r", runs.options.Options(epochs=5), {}, {})
    run.path.mkdir()
    run.save()
    message = error(capsys, "train", "--resume", "--run", "r", "--epochs", "4")
    assert message == "--epochs is 4, but r was started with 5; it may be raised, not lowered"


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("jax", 'the backend jax is not installed; pip install "unstride[keras]"'),
        ("torch", 'the backend torch is not installed; pip install "unstride[torch]"'),
        ("tensorflow", "the backend tensorflow is not installed; pip install tensorflow"),
        ("matplotlib", 'matplotlib is not installed; pip install "unstride[app]"'),
        ("keras", 'keras is not installed; pip install "unstride[app]"'),
    ],
)
def test_not_installed(
    missing: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == missing else find(name, *a))
    backend = missing if missing in ("torch", "tensorflow") else "jax"
    assert error(capsys, "train", "--backend", backend) == message


@pytest.mark.parametrize("missing", ["click", "rich", "PIL"])
def test_nothing_of_the_app_installed(missing: str, run: Run) -> None:
    """Without what the command line itself is made of, there is still the one line."""
    block = f"sys.modules[{missing!r}] = None"
    done = own_process("reconstruct", str(run.path), before=block)
    assert done.returncode == 2
    assert done.stderr == f'unstride: error: {missing} is not installed; pip install "unstride[app]"\n'


def test_the_environments_backend(run: Run) -> None:
    done = own_process("evaluate", str(run.path), KERAS_BACKEND="mxnet")
    assert (done.returncode, done.stderr) == (
        2,
        "unstride: error: unknown backend 'mxnet'; there are jax, torch, tensorflow\n",
    )


@pytest.mark.parametrize("arguments", [["--debug", "evaluate", "nowhere"], ["evaluate", "nowhere", "--debug"]])
def test_debug(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last)")
    assert err.endswith("unstride: error: nowhere: no such folder; expected a run, as `unstride train` makes them\n")


def test_an_error_that_nobody_expected(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise KeyError("two\nlines")

    monkeypatch.setattr(runs, "load", fail)
    found = error(capsys, "evaluate", str(run.path))
    assert found == r"KeyError: 'two\nlines'; run with --debug for the traceback"


def test_interrupted(run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "load", interrupt)
    capsys.readouterr()
    assert cli.main(["evaluate", str(run.path)]) == 130
    assert capsys.readouterr().err.strip() == "unstride: stopped"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What JAX would otherwise compile, and keep for the tests after it, while there is no space."""
    assert cli.main(["train", "--run", str(tmp_path_factory.mktemp("compiled") / "run"), *SMALL]) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("size", "file"), [(300, "config.json"), (100_000, "last.keras"), (400_000, "report.html")])
def test_a_full_disk(size: int, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A limit on the size of files fails as a full disk does; here at one after another of a run's files."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    capsys.readouterr()
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        assert cli.main(["train", "--run", "run", *SMALL]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert capsys.readouterr().err == (
        f"unstride: error: {Path('run') / file}: the disk is full, or a limit on files is reached: File too large\n"
    )
    assert not list((tmp_path / "run").rglob(".*"))
    if file != "config.json":
        assert cli.main(["train", "--resume", "--run", "run"]) == 0  # with space again
        assert (tmp_path / "run" / "model.keras").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["metrics", "report"])
def test_a_full_disk_under_files_that_others_write(
    place: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Keras writes metrics.csv: its error names no file. The run is listed, and goes on with space again."""
    import keras

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if place == "metrics":
            patch.setattr(keras.callbacks.CSVLogger, "on_epoch_end", fail)
        else:
            patch.setattr(type(tasks.get("autoencoder")), "report", fail)
        capsys.readouterr()
        assert cli.main(["train", "--run", "run", *SMALL]) == 2
    assert capsys.readouterr().err == (
        "unstride: error: run: the disk is full, or a limit on files is reached: No space left on device\n"
    )
    assert cli.main(["runs", "run"]) == 0
    assert "damaged" not in capsys.readouterr().out
    assert cli.main(["train", "--resume", "--run", "run"]) == 0


def test_folders_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").touch()
    assert error(capsys, "train", *SMALL).startswith("runs")

    def refuse(path: Path, *_: object, **__: object) -> None:  # a folder's mode would not keep root out
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert "locked/run: Permission denied" in error(capsys, "train", *SMALL, "--run", "locked/run")
