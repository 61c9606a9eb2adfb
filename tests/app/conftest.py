"""What the tests of the application share: a folder of their own, and a trained run."""

from pathlib import Path

import pytest
from command_line import SMALL

from unstride import __main__ as cli
from unstride.app import runs
from unstride.app.runs import Run


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder is the test's own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small run of the autoencoder. Tests read and evaluate it, and leave the model as it is."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert cli.main(["train", "--quiet", "--run", str(folder), *SMALL]) == 0
    return runs.load(folder)
