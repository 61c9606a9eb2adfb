"""What the models share: options that belong to one, resuming, evaluating, folders of one's own, the files that ship."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from unstride import __main__ as cli
from unstride.app import errors, runs, tasks, weights
from unstride.app.tasks.base import cosine_decay
from unstride.app.tasks.compressor import report
from unstride.models import MODELS

SMALL = {
    "compressor": ["--limit", "40", "--batch-size", "16", "--code", "4"],
    "upscaler": ["--limit", "6", "--batch-size", "3", "--scale", "3"],
    "segmenter": ["--limit", "6", "--batch-size", "3"],
}


@pytest.fixture(autouse=True)
def _short_lessons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "STEPS_OF_A_LESSON", (2, 2))  # test_compressor.py has lessons of their full length


def metrics(folder: Path) -> list[list[str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [[cell for name, cell in row.items() if name != "seconds"] for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.parametrize("model", SMALL)
def test_interrupted_resumed_and_judged(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C in the second epoch, then the rest: the same numbers as at once; and `evaluate` says them again."""
    from unstride.app.training import progress

    class Interrupting(progress.TrainingProgress):
        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            super().on_train_batch_end(batch, logs)
            if len(runs.load(tmp_path / "two").rows()) == 1:
                signal.raise_signal(signal.SIGINT)

    arguments = ["train", model, *SMALL[model], "--epochs", "3"]
    assert cli.main([*arguments, "--run", "one"]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(progress, "TrainingProgress", Interrupting)
        assert cli.main([*arguments, "--run", "two"]) == 130
    assert len(metrics(tmp_path / "two")) == 1
    assert cli.main(["train", "--resume", "--run", "two"]) == 0
    assert metrics(tmp_path / "one") == metrics(tmp_path / "two")
    evaluations = [json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("one", "two")]
    assert evaluations[0] == evaluations[1]
    for found, expected in zip(
        *(keras.saving.load_model(tmp_path / name / "model.keras").get_weights() for name in ("one", "two")),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)
    capsys.readouterr()
    assert cli.main(["evaluate", "two"]) == 0
    out = capsys.readouterr().out
    value = evaluations[0][{"compressor": "error", "upscaler": "psnr_ours", "segmenter": "mean_iou"}[model]]
    assert f"{value:.{ {'compressor': 5, 'upscaler': 2, 'segmenter': 4}[model] }f}" in out
    page = (tmp_path / "two" / "report.html").read_text()
    assert "{{" not in page
    assert model.capitalize() in page


def test_names() -> None:
    assert set(tasks.NAMES) == set(MODELS)
    for name in tasks.NAMES:
        assert tasks.get(name).name == name


def test_the_rate_falls() -> None:
    options = runs.options.Options(epochs=10, learning_rate=0.5)
    rates = [cosine_decay(options, epoch) for epoch in range(10)]
    assert rates[0] == 0.5
    assert rates == sorted(rates, reverse=True)
    assert 0.005 < rates[-1] < 0.02


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["autoencoder", "--scale", "2"], "--scale is an option of upscaler; autoencoder has no use for it"),
        (["upscaler", "--noise", "0.1"], "--noise is an option of compressor; upscaler has no use for it"),
        (["upscaler", "--scale", "5"], "--scale is 5; expected 2, 3 or 4"),
        (["compressor", "--code", "0"], "--code is 0; expected at least 1"),
        (["compressor", "--kernel", "1"], "--kernel is 1; expected at least 2"),
        (["compressor", "--upsample", "nearest"], "--upsample is nearest; expected transposed, resize or subpixel"),
        (["compressor", "--precision", "half"], "--precision is half; expected float32 or bfloat16"),
        (["compressor", "--noise", "-1"], "--noise is -1.0; expected a deviation of at least 0"),
        (["upscaler", "nowhere"], "nowhere: no such folder; expected one of photographs"),
        (["segmenter", "nowhere"], "nowhere: no such folder; expected images and masks"),
        (["upscaler", "a", "--data", "b"], "FOLDER is a and --data is b; they are the same, so give one"),
        (["upscaler", "--limit", "3"], "--batch-size is 16; expected at most 3, the pieces of an epoch"),
        (["segmenter", "--limit", "3"], "--batch-size is 16; expected at most 3, the scenes of an epoch"),
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["train", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_help_says_every_models_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "-h"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    for name in tasks.NAMES:
        task = tasks.get(name)
        assert task.data_help in words
        for option, value in task.defaults.items():
            assert (
                runs.options.flag(option) if value in (None, False) else f"{runs.options.flag(option)} {value}"
            ) in words


@pytest.mark.slow
@pytest.mark.parametrize("model", ["autoencoder", *SMALL])
def test_precision(model: str, tmp_path: Path) -> None:
    """bfloat16 between the layers, in the saved model too; float32 weights; and it learns, and is resumed."""
    small = SMALL.get(model, ["--limit", "40", "--batch-size", "16"])
    assert cli.main(["train", model, *small, "--epochs", "1", "--precision", "bfloat16", "--run", "run"]) == 0
    loaded = keras.saving.load_model(tmp_path / "run" / "model.keras")
    assert {str(variable.dtype) for variable in loaded.trainable_variables} == {"float32"}
    first = loaded if model != "compressor" else loaded.get_layer("encoder")
    assert first.layers[-1].compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"
    if model == "autoencoder":  # of the others the programs take long to compile, and this rule is one for all
        assert cli.main(["train", "--resume", "--run", "run", "--epochs", "2"]) == 0


@pytest.mark.slow
def test_photographs_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(rng.integers(0, 256, (150, 140, 3), np.uint8)).save(folder / f"{number}.png")
    Image.fromarray(rng.integers(0, 256, (150, 140, 3), np.uint8)).convert("CMYK").save(folder / "inks.jpg")
    (folder / "torn.png").write_bytes((folder / "0.png").read_bytes()[:900])
    arguments = ["train", "upscaler", "photos", "--limit", "4", "--batch-size", "2", "--epochs", "1", "--run", "run"]
    assert cli.main(arguments) == 1
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 2
    assert "inks.jpg: inks (CMYK)" in err
    assert "torn.png: a damaged image" in err
    assert "PSNR" in out
    Image.fromarray(rng.integers(0, 256, (20, 30), np.uint8)).save("small.png")
    assert cli.main(["upscale", "small.png", "-o", "large.png", "--model", "run"]) == 0
    with Image.open("large.png") as image:
        assert image.size == (60, 40)


def test_photographs_that_are_too_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (127, 200)).save(tmp_path / "photos" / f"{number}.png")
    assert cli.main(["train", "upscaler", "photos"]) == 2
    assert "no photograph is large enough; expected one of at least 128 pixels a side" in capsys.readouterr().err


def test_weights_keep_what_they_are(tmp_path: Path) -> None:
    made = weights.ExportedModel(
        {"model": "x", "classes": ["ä"]}, {"a/kernel": np.ones((2, 3), np.float32), "a/bias": np.zeros(3, np.float32)}
    )
    weights.save(tmp_path / "w.npz", made)
    again = weights.load(tmp_path / "w.npz")
    assert again.about == made.about
    np.testing.assert_array_equal(again.layer("a")[0], made.weights["a/kernel"])
    with pytest.raises(errors.RunError, match=r"w.npz: weights of x; expected those of upscaler"):
        weights.find("upscaler", "", str(tmp_path / "w.npz"))
