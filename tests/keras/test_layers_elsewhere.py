"""The layers' tests on the other Keras backends, each in a process of its own: Keras reads its backend once."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EVERYWHERE = [f"keras/test_{name}.py" for name in ("layers", "accelerate", "symbols", "refusals", "assignments")]
RUNS = {"torch": [*EVERYWHERE, "stacks/test_keras.py"], "tensorflow": EVERYWHERE}  # TensorFlow has no stacks


@pytest.mark.slow
@pytest.mark.parametrize("backend", RUNS)
def test_layers(backend):
    here = Path(__file__).parents[1]
    tests = [str(here / name) for name in RUNS[backend]]
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=here.parent, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|skipped)", done.stdout)}
    assert counts["passed"] > 5 * counts.get("skipped", 0)
