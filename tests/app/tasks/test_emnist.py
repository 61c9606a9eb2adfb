"""Sets like EMNIST all through the command line: other names, labels that start at 1, many classes, turned images."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from unstride import __main__ as cli
from unstride.app import runs
from unstride.app.runs.options import Options
from unstride.app.tasks import datasets
from unstride.app.tasks.compressor import report

PARTS = {"train": 120, "test": 70}


@pytest.fixture(autouse=True)
def _short_lessons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "STEPS_OF_A_LESSON", (2, 2))  # test_compressor.py has lessons of their full length


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def letters(folder: Path, split: str, first: int, classes: int) -> Path:
    """Sets of images, each with as many bright columns as its class's number says, all classes in both parts."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, count in PARTS.items():
        labels = np.arange(count) % classes + first
        images = rng.integers(0, 60, (count, 28, 28))
        for image, label in zip(images, labels, strict=True):
            image[4:24, : 1 + label % 27] += 150
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            (folder / f"emnist-{split}-{part}-{name}-ubyte.gz").write_bytes(gzip.compress(idx(array)))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "split", "first", "classes"), [("autoencoder", "letters", 1, 26), ("compressor", "byclass", 0, 62)]
)
def test_trained_judged_and_reported(
    model: str, split: str, first: int, classes: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    letters(tmp_path / "data", split, first, classes)
    arguments = ["--transpose", "--epochs", "1", "--batch-size", "32", "--run", "run"]
    assert cli.main(["train", model, "data", *arguments]) == 0
    assert "EMNIST" not in capsys.readouterr().out
    figures = json.loads(Path("run/evaluation.json").read_text())
    if model == "compressor":
        assert 0.1 < figures["probe_accuracy"] <= 1  # by chance it would be 0.016
    assert [row["label"] for row in figures["classes"]] == list(range(first, first + classes))
    assert f"{classes} classes" in Path("run/report.html").read_text()
    assert json.loads(Path("run/config.json").read_text())["options"]["transpose"] is True
    assert cli.main(["evaluate", "run"]) == 0
    out = capsys.readouterr().out
    assert f"{figures['error']:.5f}" in out  # of the same images, turned too
    assert f" {first + classes - 1} " in out
    assert cli.main(["reconstruct", "run", "-o", "all.png"]) == 0
    assert f"class {first + classes - 1} " in capsys.readouterr().out


@pytest.mark.slow
def test_the_autoencoder_resumes_with_the_images_as_they_were(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    letters(tmp_path / "data", "letters", 1, 26)
    arguments = ["train", "autoencoder", "data", "--epochs", "1", "--batch-size", "32"]
    assert cli.main([*arguments, "--transpose", "--run", "turned"]) == 0
    assert cli.main([*arguments, "--run", "stored"]) == 0
    assert "--transpose turns them upright" in capsys.readouterr().err
    turned, stored = (runs.load(name) for name in ("turned", "stored"))
    assert (turned.options.transpose, stored.options.transpose) == (True, False)
    np.testing.assert_array_equal(
        datasets.read(turned.options).training, datasets.read(stored.options).training.transpose(0, 2, 1)
    )
    assert cli.main(["train", "--resume", "--run", "turned", "--epochs", "2"]) == 0
    assert cli.main(["train", "--resume", "--run", "stored", "--epochs", "2", "--transpose"]) == 2
    assert "--transpose is given, but stored was started without it; leave it out to resume" in capsys.readouterr().err


def test_the_walk_of_a_single_class_is_between_two_of_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = datasets.read(Options(data=str(letters(tmp_path / "data", "digits", 5, 1)), batch_size=32))
    assert images.classes == [5]
    network = SimpleNamespace(
        encoded=lambda images: images[:, 10, :2].astype(np.float32),
        decoded=lambda values: np.zeros((len(values), 28, 28), np.float32),
    )
    rows = []
    monkeypatch.setattr(report.charts, "table", lambda _, lines, __: rows.extend(lines))
    monkeypatch.setattr(report, "draw", lambda *arguments: arguments[-1](None))
    report._walk(None, network, images)
    assert [len(tiles) for _, tiles in rows] == [report.STEPS]


def test_what_has_no_use_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "autoencoder", "--transpose"]) == 2
    assert "--transpose turns the images of a FOLDER such as EMNIST's" in capsys.readouterr().err
    assert cli.main(["train", "segmenter", "--transpose"]) == 2
    assert "--transpose is an option of autoencoder; segmenter has no use for it" in capsys.readouterr().err
    assert not Path("runs").exists()
