"""Training: what Keras is asked to do, equal numbers for equal seeds, no stop that changes the outcome."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from unstride import __main__ as cli
from unstride.app import runs
from unstride.app.runs import Run
from unstride.app.runs.options import Options
from unstride.app.tasks import batches
from unstride.app.tasks.batches import Batches
from unstride.app.tasks.datasets import Dataset, read
from unstride.app.training import environment, training
from unstride.data import grey
from unstride.models import autoencoder

# 48 images for training in batches of 20, 20 and 8; 12 for validation.
SMALL = {"limit": 60, "batch_size": 20}
ARGUMENTS = ["--limit", "60", "--batch-size", "20"]


def train(folder: Path, epochs: int = 3, *more: str) -> Run:
    assert cli.main(["train", "--run", str(folder), "--epochs", str(epochs), *ARGUMENTS, *more]) == 0
    return runs.load(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three epochs that nothing interrupted."""
    return train(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read(Options(**SMALL))


def weights(file: Path) -> list[np.ndarray]:
    model = keras.saving.load_model(file)
    return [keras.ops.convert_to_numpy(variable) for variable in [*model.variables, *model.optimizer.variables]]


def metrics(run: Run) -> list[list[str]]:
    """metrics.csv without the seconds, which differ."""
    with run.history.open(newline="") as file:
        return [[cell for name, cell in row.items() if name != "seconds"] for row in csv.DictReader(file)]


def assert_same_outcome(run: Run, other: Run) -> None:
    for name in ("last.keras", "best.keras", "model.keras"):
        for found, expected in zip(weights(run.path / name), weights(other.path / name), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert metrics(run) == metrics(other)
    evaluations = [json.loads((at.path / "evaluation.json").read_text()) for at in (run, other)]
    assert evaluations[0] == evaluations[1]
    assert not list(run.path.glob(".*"))


def test_batches() -> None:
    images = np.arange(23, dtype=np.uint8)[:, None, None] * np.ones((1, 28, 28), np.uint8)
    batches = Batches(images, 10, seed=3)
    orders = []
    for epoch in (0, 1, 0):
        batches.shuffle(epoch)
        found = [batches[index] for index in range(len(batches))]
        assert [len(inputs) for inputs, _ in found] == [10, 10, 3]
        assert all(inputs is targets for inputs, targets in found)
        orders.append(np.concatenate([inputs[:, 0, 0, 0] for inputs, _ in found]) * 255)
        assert sorted(np.round(orders[-1]).tolist()) == list(range(23))
    assert (orders[0] == orders[2]).all()
    assert (orders[0] != orders[1]).any()
    other = Batches(images, 10, seed=4)
    assert (other.order != np.random.default_rng((3, 0)).permutation(23)).any()
    np.testing.assert_array_equal(other.order, np.random.default_rng((4, 0)).permutation(23))


def test_validation_is_the_last_fifth(dataset: Dataset) -> None:
    everything = read(Options(limit=60, batch_size=1, validation_split=0.5))
    images = np.concatenate([everything.training, everything.validation])
    np.testing.assert_array_equal(dataset.training, images[:48])
    np.testing.assert_array_equal(dataset.validation, images[48:])
    assert len(dataset.test) == 60
    assert dataset.classes == list(range(10))


BY_HAND = """
import sys
from unstride import __main__ as cli
from unstride.app.training import environment
backend, *folders = sys.argv[1:]
settings = ["--epochs", "2", "--seed", "5", "--learning-rate", "0.002", "--limit", "60", "--batch-size", "20"]
settings.append("--no-accelerate")  # by stacks the roundings differ, which Adam makes more of than 1e-6
for folder in folders:
    assert cli.main(["train", "--run", folder, "--backend", backend, *settings]) == 0

# As the reading has it, in the order that the seed and the epoch say, one batch after another.
import keras
import numpy as np
from unstride.data import grey
from unstride.app.tasks.datasets import read
from unstride.models import autoencoder
from unstride.app.runs.options import Options
data = read(Options(limit=60, batch_size=20))
keras.utils.set_random_seed(5)
with environment.compiling_quickly(backend):  # or first weights differ in the last bit, of which Adam makes more, too
    model = autoencoder()
model.compile(keras.optimizers.Adam(0.002), "binary_crossentropy")
images = grey(data.training)[..., None]
for epoch in range(2):
    order = np.random.default_rng((5, epoch)).permutation(48)
    for first in range(0, 48, 20):
        batch = images[order[first : first + 20]]
        model.train_on_batch(batch, batch)
trained = keras.saving.load_model(folders[0] + "/model.keras")
for found, expected in zip(trained.get_weights(), model.get_weights(), strict=True):
    assert np.abs(found - expected).max() < 1e-6
print("as by hand")
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch", "tensorflow"])
def test_as_by_hand(backend: str, tmp_path: Path) -> None:
    """On each backend the weights of a loop over the batches, each in its place: none is prefetched out of its
    epoch. In another process they are the same. And nothing is printed but what is ours."""
    pytest.importorskip(backend)
    folders = [tmp_path / "one", *([tmp_path / "two"] if backend == "jax" else [])]
    done = subprocess.run(
        [sys.executable, "-c", BY_HAND, backend, *map(str, folders)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.endswith("as by hand\n")
    for run in map(runs.load, folders):
        assert run.options.backend == backend
        assert backend in run.environment["versions"]
        assert_same_outcome(run, runs.load(folders[0]))


@pytest.mark.slow
def test_the_loss_falls(whole: Run) -> None:
    rows = whole.rows()
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    losses = [row["val_loss"] for row in rows]
    assert losses == sorted(losses, reverse=True)
    assert all(row["seconds"] > 0 for row in rows)


@pytest.mark.slow
def test_equal_seeds_equal_numbers(whole: Run, tmp_path: Path) -> None:
    assert_same_outcome(train(tmp_path / "same"), whole)
    assert metrics(train(tmp_path / "other", 3, "--seed", "1")) != metrics(whole)


def test_what_a_run_folder_holds(whole: Run, dataset: Dataset) -> None:
    config = json.loads((whole.path / "config.json").read_text())
    assert config["options"] == vars(Options(epochs=3, transpose=False, **SMALL))
    assert (config["dataset"]["training"], config["dataset"]["validation"], config["dataset"]["test"]) == (
        48,
        12,
        60,
    )
    assert config["environment"]["versions"]["keras"] == keras.__version__
    assert config["environment"]["instruction_set"]
    model = keras.saving.load_model(whole.model)
    evaluation = json.loads((whole.path / "evaluation.json").read_text())
    images = grey(dataset.test)[..., None]
    assert evaluation["loss"] == pytest.approx(model.evaluate(images, images, verbose=0), rel=1e-5)
    difference = batches.predict(model, dataset.test) - grey(dataset.test)
    assert evaluation["error"] == pytest.approx(float(np.mean(difference**2)), rel=1e-5)
    assert evaluation["images"] == 60


@pytest.mark.slow
def test_checkpoints(tmp_path: Path, dataset: Dataset) -> None:
    """best.keras is of the epoch with the lowest validation loss, also across a resumption; each epoch's weights are kept."""
    run = train(tmp_path / "run", 1)
    model = training.load(run.last)
    kept: list[int] = []
    saved = training.Checkpoints(
        run, done=1, best=0.5, keep=lambda: kept.append(int(training.load(run.last).optimizer.iterations))
    )
    saved.set_model(model)

    def best() -> int:
        return int(training.load(run.best).optimizer.iterations)

    assert best() == 3
    model.optimizer.iterations.assign(6)
    saved.on_epoch_end(1, {"val_loss": 0.6})
    assert best() == 3
    model.optimizer.iterations.assign(9)
    saved.on_epoch_end(2, {"val_loss": 0.4})
    assert best() == 9
    assert int(training.load(run.last).optimizer.iterations) == 9
    assert saved.done == 3
    assert kept == [3, 6]  # before last.keras is written: a kill between the two repeats the epoch
    assert training.resume(run, dataset)[1] == 3


@pytest.mark.slow
def test_more_epochs_later(whole: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One epoch, raised to three: as three at once."""
    run = train(tmp_path / "run", 1)
    assert "Total params: 12,785" in capsys.readouterr().out
    assert cli.main(["train", "--resume", "--run", str(run.path), "--epochs", "3"]) == 0
    out = capsys.readouterr().out
    assert "Resuming on 48 images" in out
    assert "params" not in out
    assert_same_outcome(runs.load(run.path), whole)
    config = json.loads((run.path / "config.json").read_text())
    assert config["options"]["epochs"] == 3


@pytest.mark.slow
def test_nothing_left_to_do(whole: Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = whole.last.read_bytes()
    whole.report.unlink()
    (whole.path / "evaluation.json").unlink()
    capsys.readouterr()
    assert cli.main(["train", "--resume", "--run", str(whole.path)]) == 0
    assert "trained already, all 3 epochs" in capsys.readouterr().out
    assert whole.report.exists()
    assert (whole.path / "evaluation.json").exists()
    assert whole.last.read_bytes() == before


KILLED = """
import os, signal, sys
from unstride import __main__ as cli
from unstride.app.training import environment
environment.start("jax")
from unstride.app import runs
from unstride.app.training import training

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

point, *arguments = sys.argv[1:]
if point == "batch":  # within the second epoch
    class Kill(training.Stopwatch):
        def on_epoch_begin(self, epoch, logs=None):
            super().on_epoch_begin(epoch)
            self.epoch = epoch
        def on_train_batch_end(self, batch, logs=None):
            if (self.epoch, batch) == (1, 1):
                kill()
    training.Stopwatch = Kill
else:  # within the writing of the second epoch's checkpoint, its row in metrics.csv being there already
    write, sync, written = training.write, os.fsync, []
    def noting(path, save):
        written.append(path.name)
        write(path, save)
    def fsync(file):
        if written.count("last.keras") == 3 and written[-1] == "last.keras":  # the untrained one is the first
            kill()
        sync(file)
    training.write = noting
    os.fsync = fsync
cli.main(arguments)
"""


@pytest.mark.slow
@pytest.mark.parametrize("point", ["batch", "checkpoint"])
def test_killed_and_resumed(point: str, whole: Run, tmp_path: Path) -> None:
    """A real SIGKILL; then the weights, bit for bit, of the run that nothing interrupted."""
    folder = tmp_path / "run"
    arguments = ["train", "--run", str(folder), "--epochs", "3", *ARGUMENTS]
    killed = subprocess.run([sys.executable, "-c", KILLED, point, *arguments], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    run = runs.load(folder)
    assert len(run.rows()) == (1 if point == "batch" else 2)
    assert bool(list(folder.glob(".*"))) == (point == "checkpoint")
    assert int(training.load(run.last).optimizer.iterations) == 3
    assert not run.model.exists()
    assert cli.main(["evaluate", str(folder)]) == 0  # usable as it is
    assert cli.main(["train", "--resume", "--run", str(folder)]) == 0
    assert_same_outcome(run, whole)


@pytest.mark.slow
def test_killed_before_the_first_checkpoint(whole: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    whole_config = (whole.path / "config.json").read_bytes()
    (folder / "config.json").write_bytes(whole_config)
    assert cli.main(["train", "--resume", "--run", str(folder)]) == 0
    assert_same_outcome(runs.load(folder), whole)


@pytest.mark.slow
def test_interrupted_and_resumed(
    whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C in the second epoch: exit code 130, the command that resumes, and that command's outcome."""
    from unstride.app.training import progress

    class Interrupting(progress.TrainingProgress):
        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            super().on_train_batch_end(batch, logs)
            if batch == 1 and len(runs.load(folder).rows()) == 1:
                signal.raise_signal(signal.SIGINT)

    folder = tmp_path / "a run"
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(progress, "TrainingProgress", Interrupting)
        code = cli.main(["train", "--run", str(folder), "--epochs", "3", *ARGUMENTS])
    assert code == 130
    assert signal.getsignal(signal.SIGINT) is handler
    out, err = capfd.readouterr()
    assert "Stopping after this batch" in out
    command = f"unstride train --resume --run '{folder}'"
    assert err == f"unstride: stopped after epoch 1; resume with: {command}\n"
    assert len(runs.load(folder).rows()) == 1
    assert cli.main(["train", "--resume", "--run", str(folder)]) == 0
    assert_same_outcome(runs.load(folder), whole)


@pytest.mark.slow
def test_interrupted_from_outside(tmp_path: Path) -> None:
    """A process of its own, and the end of the system: SIGTERM, which does what Ctrl-C does."""
    folder = tmp_path / "run"
    arguments = ["train", "--run", str(folder), "--epochs", "500", *ARGUMENTS]
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from unstride.__main__ import main; sys.exit(main())", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch   1/500"):
            break
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert re.fullmatch(r"unstride: stopped after epoch \d+; resume with: [^\n]*\n", err), err
    run = runs.load(folder)
    assert run.last.exists()
    assert not list(folder.glob(".*"))
    assert not (folder / runs.PROGRESS).exists()


@pytest.mark.parametrize("number", training.Interruption.SIGNALS)
def test_a_signal_waits_for_the_batch_and_a_second_does_not(number: signal.Signals) -> None:
    interruption = training.Interruption(lambda: None)
    before = [signal.getsignal(each) for each in interruption.SIGNALS]
    try:
        signal.signal(number, signal.default_int_handler)
        with interruption.listening():
            interruption.on_train_batch_end(0)
            signal.raise_signal(number)
            with pytest.raises(KeyboardInterrupt):
                interruption.on_train_batch_end(1)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        for each, handler in zip(interruption.SIGNALS, before, strict=True):
            signal.signal(each, handler)
    assert [signal.getsignal(each) for each in interruption.SIGNALS] == before


def test_another_process_trains_it(whole: Run, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("fcntl")
    with runs.locked(whole.path):
        assert cli.main(["train", "--resume", "--run", str(whole.path)]) == 2
    assert "another process is training this run" in capsys.readouterr().err


@pytest.mark.slow
def test_other_data(tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """A run on the user's files, which change before it is resumed."""
    import struct

    folder = tmp_path / "files"
    folder.mkdir()
    images, labels = dataset.gallery[:30], dataset.gallery_labels[:30]
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, 30, 28, 28) + images.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 30) + labels.tobytes())
    run = tmp_path / "run"
    arguments = ["train", "--data", str(folder), "--run", str(run), "--batch-size", "24", "--epochs", "1"]
    assert cli.main(arguments) == 0
    assert runs.load(run).options.data == str(folder)
    assert runs.load(run).dataset["training"] == 24
    changed = images[::-1]
    (folder / "train-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, 30, 28, 28) + changed.tobytes())
    capsys.readouterr()
    assert cli.main(["train", "--resume", "--run", str(run), "--epochs", "2"]) == 2
    assert "is no longer what the run was started with" in capsys.readouterr().err


@pytest.mark.slow
def test_a_damaged_checkpoint(tmp_path: Path, whole: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_bytes((whole.path / "config.json").read_bytes())
    for content in (b"", b"not a zip", whole.last.read_bytes()[:5000]):
        (folder / "last.keras").write_bytes(content)
        assert cli.main(["evaluate", str(folder)]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"unstride: error: {folder / 'last.keras'}: not a model that can be loaded")
        assert error.count("\n") == 1


def test_compiling_quickly_ends() -> None:
    import jax

    name = "jax_disable_most_optimizations"
    with environment.compiling_quickly("torch"):
        assert not jax.config.values[name]
    with environment.compiling_quickly("jax"):
        assert jax.config.values[name]
    assert not jax.config.values[name]


@pytest.mark.slow
def test_first_weights_do_not_depend_on_what_was_compiled_before(dataset: Dataset) -> None:
    """JAX keeps what it has compiled. Programs that were optimised give first weights that differ in the last bit."""
    import jax

    def first_weights() -> list[np.ndarray]:
        return training._build(Options(**SMALL), dataset).get_weights()

    jax.clear_caches()
    expected = first_weights()
    jax.clear_caches()
    autoencoder()
    for found, weights in zip(first_weights(), expected, strict=True):
        np.testing.assert_array_equal(found, weights)
