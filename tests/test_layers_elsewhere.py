"""The layers' tests on the other Keras backends, each in a process of its own: Keras reads its backend once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EVERYWHERE = ["test_layers", "test_keras_accelerate", "test_keras_symbols", "test_keras_refusals"]
EVERYWHERE.append("test_keras_assignments")
RUNS = [(backend, name) for backend in ("torch", "tensorflow") for name in EVERYWHERE]
RUNS.append(("torch", "test_stack_keras"))  # TensorFlow has no stacks


@pytest.mark.parametrize(("backend", "name"), RUNS)
def test_layers(backend, name):
    tests = Path(__file__).with_name(f"{name}.py")
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tests.parents[1], check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
