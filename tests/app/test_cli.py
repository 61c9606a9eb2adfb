"""The command line: what it prints, and one line for every mistake."""

from __future__ import annotations

import errno
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import unstride
from unstride import __main__ as cli
from unstride.app import runs, tasks
from unstride.app.runs import Run
from unstride.data import mnist

SMALL = ["--epochs", "1", "--limit", "60", "--batch-size", "48"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert cli.main(["train", "--run", str(folder), *SMALL]) == 0
    return runs.load(folder)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is left in the current folder is left in the test's own."""
    monkeypatch.chdir(tmp_path)


def own_process(*arguments: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys\n{before}\nfrom unstride.__main__ import main\nsys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on the standard error, without its beginning; nothing on the standard output."""
    capsys.readouterr()
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("unstride: error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err.removeprefix("unstride: error: ").rstrip("\n")


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"unstride {unstride.__version__}\n"
    for arguments in ([], ["-h"], ["--help"]):
        assert cli.main(arguments) == 0
        out = capsys.readouterr().out
        assert all(command in out for command in ("train", "evaluate", "reconstruct"))
    assert cli.main(["train", "-h"]) == 0
    out = capsys.readouterr().out
    for option in (
        "epochs",
        "batch-size",
        "validation-split",
        "learning-rate",
        "limit",
        "seed",
        "run",
        "resume",
    ):
        assert f"--{option}" in out
    for default in ("25", "1000", "0.2", "0.001"):
        assert f"[default: {default}]" in out


@pytest.mark.slow
def test_train_prints_what_it_does(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """In its own folder of runs/, of which a second one never touches the first."""
    assert cli.main(["train", *SMALL]) == 0
    out = capsys.readouterr().out
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("autoencoder-2")
    for line in (
        "Total params: 12,785",
        "conv2d_transpose_3",
        "epoch 1/1  loss ",
        "Test loss   ",
        "Test error  ",
        "Time        ",
        f"Report      {Path('runs') / folder.name / 'report.html'}\n",
    ):
        assert line in out
    assert "\x1b" not in out
    content = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert cli.main(["train", "autoencoder", *SMALL]) == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == content


def test_the_bar_on_a_terminal(tmp_path: Path) -> None:
    from unstride.app.training.progress import TrainingProgress

    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    with TrainingProgress(console, 1, tmp_path) as progress:
        progress.set_params({"epochs": 12, "steps": 2})
        progress.on_train_begin()
        progress.on_epoch_begin(1)
        progress.on_train_batch_end(0, {"loss": 0.5})
        progress.on_train_batch_end(1, {"loss": 0.4321})
        progress.on_epoch_end(1, {"loss": 0.4321, "val_loss": 0.31})
        progress.on_epoch_begin(2)
        progress.on_train_batch_end(0, {"loss": 0.3})
        assert progress.bar.tasks[0].completed == 5  # two batches of the epoch before, three now
        assert progress.bar.tasks[0].total == 24
        said = json.loads((tmp_path / "progress.json").read_text())
        assert (said["epoch"], said["batches"]) == (2, 2)
    assert list(tmp_path.iterdir()) == []
    last = screen.getvalue().split("epoch")[-1]
    assert last.startswith("  3/12")
    assert "loss 0.3000  val_loss 0.3100" in last
    assert "left" in last
    assert all(len(line) <= 100 for line in last.split("\n"))


def test_a_kill_while_the_progress_is_written_leaves_nothing_that_a_resumption_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unstride._files import sweep
    from unstride.app.training.progress import TrainingProgress

    def kill(*_: object) -> None:
        raise SystemExit

    progress = TrainingProgress(Console(file=io.StringIO()), 0, tmp_path)
    progress.set_params({"epochs": 1, "steps": 2})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", kill)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # a killed process tidies nothing up
        with pytest.raises(SystemExit):
            progress._write(1)
    assert len(list(tmp_path.iterdir())) == 1
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("color_system", [None, "standard"])
def test_a_terminal_of_60_columns_keeps_a_line_for_each_epoch(tmp_path: Path, color_system: str | None) -> None:
    from unstride.app.training.progress import TrainingProgress

    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=60, color_system=color_system, legacy_windows=False)
    with TrainingProgress(console, 0, tmp_path) as progress:
        progress.set_params({"epochs": 25, "steps": 1})
        progress.on_train_begin()
        progress.begin -= 5000  # so that the times are long
        for epoch in range(25):
            progress.on_epoch_begin(epoch)
            progress.on_train_batch_end(0, {"loss": 0.5})
            progress.on_epoch_end(epoch, {"loss": 0.5, "val_loss": 0.4 + epoch / 1000})
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", screen.getvalue()).replace("\r", "\n")
    for epoch in range(25):
        assert f"epoch {epoch + 1:2}/25  loss 0.5000  val_loss {0.4 + epoch / 1000:.4f}  1 h 23 min\n" in plain
    assert max(map(len, plain.split("\n"))) <= 60


@pytest.mark.slow
def test_evaluate(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert cli.main(["evaluate", str(run.path)]) == 0
    out = capsys.readouterr().out
    evaluation = json.loads((run.path / "evaluation.json").read_text())
    assert f"Test loss   {evaluation['loss']:.4f}" in out
    assert f"floor for these images is {evaluation['floor']:.4f}" in out
    assert f"Test error  {evaluation['error']:.5f}" in out
    for row in evaluation["classes"]:
        assert f"│ {row['label']}     │     {row['images']:2} │" in out


def test_reconstruct_digits(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert cli.main(["reconstruct", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert all(f"class {label}" in out for label in range(10))
    assert "Picture     reconstructions.png" in out
    with Image.open(tmp_path / "reconstructions.png") as image:
        assert image.size == (5 * 38 * 4, 2 * 84 * 4)


@pytest.mark.parametrize(
    ("name", "format"),
    [("o.png", "PNG"), ("o.jpg", "JPEG"), ("O.WEBP", "WEBP"), ("o.gif", "GIF"), ("o.pdf", "PDF")],
)
def test_reconstruct_images(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, format: str
) -> None:
    """Several at once, in whatever format is asked for, over an older file."""
    digits = mnist()[1][0][:3]
    for number, digit in enumerate(digits):
        Image.fromarray(255 - digit).resize((56, 56)).save(tmp_path / f"{number} [bold].png")
    (tmp_path / name).write_text("old")
    images = [f"{number} [bold].png" for number in range(3)]
    capsys.readouterr()
    assert cli.main(["reconstruct", str(run.path), *images, "-o", name]) == 0
    out = capsys.readouterr().out
    assert all(image in out for image in images)
    if format == "PDF":
        assert (tmp_path / name).read_bytes().startswith(b"%PDF")
    else:
        with Image.open(tmp_path / name) as image:
            assert image.format == format
            assert image.size == (3 * 38 * 4, 84 * 4)
            shown = np.asarray(image.convert("L"))[20 : 20 + 112 : 4, 20 : 20 + 112 : 4].astype(float)
        assert np.abs(shown - digits[0]).mean() < 12
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*images, name])


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


@pytest.mark.slow
def test_the_runs_own_options_may_be_repeated(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "train",
        "autoencoder",
        "--resume",
        "--run",
        str(run.path),
        *SMALL,
        "--backend",
        "jax",
        "--seed",
        "0",
    ]
    assert cli.main(arguments) == 0
    assert "trained already" in capsys.readouterr().out


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
