"""What follows a training in a user's own code: the lines that the command line and the report give, executed as they
stand, without unstride; an autoencoder's training as a program; and `--quick`."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from unstride import __main__ as cli
from unstride.app import runs, tasks
from unstride.app.runs.options import Options
from unstride.app.tasks.autoencoder.keras_program import program
from unstride.app.tasks.compressor import report
from unstride.app.training import training

SMALL = {
    "autoencoder": ["--limit", "40", "--batch-size", "16"],
    "compressor": ["--limit", "40", "--batch-size", "16", "--code", "4", "--upsample", "subpixel"],
    "upscaler": ["--limit", "6", "--batch-size", "3", "--scale", "3"],
    "segmenter": ["--limit", "6", "--batch-size", "3"],
}
SHAPES = {
    "autoencoder": "(1, 28, 28, 1)",
    "compressor": "(1, 4) (1, 28, 28, 1)",
    "upscaler": "(1, 192, 144, 1)",
    "segmenter": "(1, 96, 128)",
}
INPUTS = {"autoencoder": (2, 28, 28, 1), "compressor": (2, 28, 28, 1), "upscaler": (1, 21, 30, 1), "segmenter": (1, 37, 50, 3)}  # fmt: skip
WITHOUT = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "unstride":
            raise ModuleNotFoundError("No module named 'unstride'", name="unstride")
sys.meta_path.insert(0, Blocker())
"""


def process(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In the current folder, with no backend chosen."""
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=False
    )


@pytest.fixture(autouse=True)
def _short_lessons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "STEPS_OF_A_LESSON", (2, 2))  # test_compressor.py has lessons of their full length


@pytest.mark.slow
@pytest.mark.parametrize("model", SMALL)
def test_lines_that_are_printed_open_the_model_without_unstride(
    model: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As they stand; the same ones in the report; and the model gives the same numbers."""
    folder = tmp_path / "a run"
    assert cli.main(["train", model, *SMALL[model], "--epochs", "1", "--run", "a run"]) == 0
    printed = capsys.readouterr().out
    head, lines = printed.split("which opens in Keras without unstride:\n\n")
    assert head.endswith(f"Model       {Path('a run', 'model.keras')}, ")
    assert lines.startswith("import os\n")
    assert "unstride" not in lines.replace(str(folder), "")
    assert max(map(len, lines.splitlines())) < 90
    page = (folder / "report.html").read_text()
    shown = html.unescape(re.findall(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)[0])
    assert shown.replace(str(folder), "a run").strip() == lines.strip()

    images = np.random.default_rng(0).random(INPUTS[model], np.float32)
    np.save("x.npy", images)
    done = process(f"{WITHOUT}\n{lines}\nnp.save('y.npy', model.predict(np.load('x.npy'), verbose=0))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == SHAPES[model]
    expected = training.load(folder / "model.keras").predict(images, verbose=0)
    np.testing.assert_allclose(np.load("y.npy"), expected, rtol=1e-4, atol=1e-5)

    with zipfile.ZipFile(folder / "model.keras") as file:
        assert "add the line" not in file.read("config.json").decode()
    assert (folder / "train_in_keras.py").exists() == (model == "autoencoder")


@pytest.mark.slow
@pytest.mark.parametrize("unstride", [True, False])
def test_the_program_runs(unstride: bool, tmp_path: Path) -> None:
    """With few images, with and without unstride, where Keras finds the images that it has downloaded before."""
    options = Options(epochs=1, limit=40, batch_size=16, layers="conv 8 3 2, conv 4 3, up 8 3, up 8 4 2")
    run = tmp_path / "run"
    run.mkdir()
    (run / "train_in_keras.py").write_text(program(options))
    before = "import runpy\n"
    if not unstride:
        before += WITHOUT
        before += (
            "import os; os.environ.setdefault('KERAS_BACKEND', 'jax')\n"
            "import keras.datasets.mnist as module, numpy as np\n"
            "images = np.zeros((60, 28, 28), np.uint8), np.zeros(60, np.uint8)\n"
            "module.load_data = lambda: (images, images)\n"
        )
    done = process(f"{before}runpy.run_path('run/train_in_keras.py', run_name='__main__')")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^test loss: 0\.\d{4}$", done.stdout, re.MULTILINE)
    assert "reconstructions.png: 10 test digits" in done.stdout
    assert (run / "reconstructions.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "reconstructions.png").exists()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.001, 0.9])
def test_the_program_refuses_numbers_that_it_cannot_train_with(share: float, tmp_path: Path) -> None:
    """In a line, before Keras is imported."""
    (tmp_path / "train_in_keras.py").write_text(program(Options(validation_split=share)))
    mistakes = [("--images", "0"), ("--images", "-5"), ("--images", "1"), ("--epochs", "0"), ("--batch-size", "0")]
    for option, number in mistakes if share == 0.2 else mistakes[2:3]:
        done = subprocess.run(
            [sys.executable, "-S", "train_in_keras.py", option, number],  # without packages
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert f"argument {option}: {number}; expected at least" in done.stderr
        assert "Traceback" not in done.stderr
    least = int(re.search(r"expected at least (\d+), to learn and", program(Options(validation_split=share)))[1])  # type: ignore[index]
    assert Options(validation_split=share, batch_size=1).split(least)


@pytest.mark.parametrize("layers", [None, "conv 8 3 2, conv 4 3, up 8 3, up 8 4 2"])
def test_the_program_builds_the_runs_model(layers: str | None) -> None:
    """Of Keras's own layers, with the names, initializers and settings that ours have."""
    from unstride.models import autoencoder

    text = program(Options(layers=layers))
    assert "unstride" not in text[text.index("model = keras.Sequential") : text.index("model.summary()")]
    made: dict[str, keras.Model] = {}
    building = text[text.index("model = keras.Sequential") : text.index("model.summary()")]
    exec(building, {"keras": keras}, made)
    found, expected = made["model"], autoencoder(layers)
    for one, other in zip(found.layers, expected.layers, strict=True):
        assert type(one) is getattr(keras.layers, type(other).__name__)
        ours, own = other.get_config(), one.get_config()
        own.setdefault("groups", 1), ours.setdefault("groups", 1)
        assert own == ours
    found.set_weights(expected.get_weights())
    images = np.random.default_rng(1).random((1, 28, 28, 1), np.float32)
    np.testing.assert_allclose(found.predict(images, verbose=0), expected.predict(images, verbose=0), atol=1e-5)


def test_lines_quote_what_a_path_may_hold() -> None:
    lines = tasks.get("autoencoder").loading(Options(), Path('it\'s "mine"') / "model.keras")
    (line,) = [line for line in lines.splitlines() if "load_model" in line]
    assert eval(line.partition("(")[2][:-1]) == str(Path('it\'s "mine"') / "model.keras")


@pytest.mark.parametrize("model", tasks.NAMES)
def test_quick_has_defaults_of_its_own_and_what_is_given_wins(model: str) -> None:
    task = tasks.get(model)
    usual, quick = task.options({}), task.options({"quick": True})
    assert {name for name in vars(usual) if getattr(usual, name) != getattr(quick, name)} == {"quick", *task.quick}
    assert quick.epochs <= 2
    given = task.options({"quick": True, "epochs": 3, "batch_size": 7})
    assert (given.epochs, given.batch_size) == (3, 7)


@pytest.mark.slow
def test_quick_at_work(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["train", "--quick", "--limit", "60", "--batch-size", "24"]
    assert cli.main([*arguments, "--epochs", "1", "--run", "quick"]) == 0
    options = runs.load("quick").options
    assert options.quick
    assert (options.epochs, options.batch_size) == (1, 24)
    assert options.learning_rate == tasks.get("autoencoder").quick["learning_rate"]
    page = (tmp_path / "quick" / "report.html").read_text()
    assert "A quick training (<code>--quick</code>)" in page
    # It may be continued, with the option and without it; but a run that was none does not become one.
    assert cli.main(["train", "--quick", "--resume", "--epochs", "2", "--run", "quick"]) == 0
    assert runs.load("quick").options.epochs == 2
    assert cli.main(["train", *arguments[2:], "--epochs", "1", "--run", "usual"]) == 0
    assert "--quick" not in (tmp_path / "usual" / "report.html").read_text()
    capsys.readouterr()
    assert cli.main(["train", "--quick", "--resume", "--run", "usual"]) == 2
    assert (
        "--quick is for new runs, and usual was started without it; leave it out to resume" in capsys.readouterr().err
    )


def test_quick_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--help"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert words.count("--quick ") >= 1 + len(tasks.NAMES)
    for name in tasks.NAMES:
        for option, value in tasks.get(name).quick.items():
            assert f"{runs.options.flag(option)} {value}" in words
