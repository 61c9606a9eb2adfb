"""Two processes that train together end where one does, and a resumed pair too."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from unstride import __main__ as cli
from unstride.app import runs
from unstride.app.errors import OptionError
from unstride.app.runs.options import Options
from unstride.app.tasks.processes import ALONE, Group
from unstride.app.training import distributed

CODE = "import sys; from unstride.__main__ import main; sys.exit(main())"
ARGUMENTS = ["train", "--limit", "60", "--batch-size", "24", "--distributed"]


def together(folder: Path, *arguments: str) -> None:
    """Two processes, the second told by its environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    first = [*arguments, "--run", str(folder), "--coordinator", coordinator, "--processes", "2", "--process", "0"]
    second = [*arguments, "--run", str(folder)]
    told = {"UNSTRIDE_COORDINATOR": coordinator, "UNSTRIDE_PROCESSES": "2", "UNSTRIDE_PROCESS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    both = [
        subprocess.Popen([sys.executable, "-c", CODE, *given], env=settings, **pipes)
        for given, settings in ((first, environment), (second, environment | told))
    ]
    try:
        outputs = [process.communicate(timeout=200)[0] for process in both]
    finally:
        for process in both:
            process.kill()  # one that waits for another that has failed would wait for ever
    assert [process.returncode for process in both] == [0, 0], "\n".join(outputs)
    assert "Test loss" in outputs[0]
    assert "Test loss" not in outputs[1]


@pytest.mark.slow
def test_two_processes_are_as_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    alone = [argument for argument in ARGUMENTS if argument != "--distributed"]
    assert cli.main([*alone, "--epochs", "3", "--run", str(one)]) == 0
    together(two, *ARGUMENTS, "--epochs", "2")
    together(two, "train", "--resume", "--epochs", "3", "--distributed")
    expected, found = (runs.load(at).rows() for at in (one, two))
    assert len(found) == 3
    # Adam divides each gradient by its own size: where one is little more than rounding, and two processes round otherwise
    # than one, its first steps differ wholly (1e-5 of the loss here).
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose([row[name] for row in found], [row[name] for row in expected], rtol=0, atol=1e-4)
    assert sorted(at.name for at in two.iterdir()) == sorted(at.name for at in one.iterdir())


def test_parts_make_the_whole_batch() -> None:
    from unstride.app.tasks.batches import Batches

    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    whole = Batches(images, 10, seed=1)
    parts = [Batches(images, 10, seed=1) for _ in range(2)]
    for number, part in enumerate(parts):
        part.part = Group("somewhere:1", 2, number)
    np.testing.assert_array_equal(np.concatenate([part[1][0] for part in parts]), whole[1][0])


def test_group(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distributed.group(None, None, None) == ALONE
    monkeypatch.setenv("UNSTRIDE_PROCESSES", "3")
    monkeypatch.setenv("UNSTRIDE_PROCESS", "2")
    monkeypatch.setenv("UNSTRIDE_COORDINATOR", "a:1")
    assert distributed.group(None, None, None) == Group("a:1", 3, 2)
    assert distributed.group("b:2", 4, 0) == Group("b:2", 4, 0)  # options before the environment
    monkeypatch.setenv("UNSTRIDE_PROCESS", "two")
    with pytest.raises(OptionError, match="UNSTRIDE_PROCESS is 'two'; expected a whole number"):
        distributed.group(None, None, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--processes", "2"], "are for --distributed, which is missing"),
        (["--distributed", "--processes", "2"], "--processes is 2, but no --coordinator is given"),
        (["--distributed", "--processes", "2", "--process", "2"], "--process is 2; expected from 0 to 1"),
        (["--distributed", "--processes", "0"], "--processes is 0; expected at least 1"),
        (["--distributed", "--backend", "torch"], "--distributed needs the backend jax; --backend is torch"),
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_batches_that_cannot_be_divided() -> None:
    distributed.check(2, Options(batch_size=24), 48)
    distributed.check(2, Options(batch_size=20), 48)
    with pytest.raises(OptionError, match="--batch-size is 25, which 2 devices do not divide evenly"):
        distributed.check(2, Options(batch_size=25), 50)
    with pytest.raises(OptionError, match="its last batch has 9, which 2 devices do not divide"):
        distributed.check(2, Options(batch_size=20), 49)
