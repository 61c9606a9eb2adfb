"""The command line: what it prints."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from command_line import SMALL
from PIL import Image
from rich.console import Console

import unstride
from unstride import __main__ as cli
from unstride.app.runs import Run
from unstride.data import mnist


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
