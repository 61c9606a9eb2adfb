"""The peers' own tests, by the scripts beside this file, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PEERS = Path(__file__).parent


def run(script, *arguments, **environment):
    command = [sys.executable, str(PEERS / script), *arguments]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("library", ["numpy", "torch", "jax", "tensorflow"])
def test_onnx_node_tests(library):
    assert "11 cases, 0 failures" in run("onnx_nodes.py", library)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch", "tensorflow"])
def test_keras_conv_transpose_test(backend):
    assert "of Keras's tests passed" in run("keras_conv_transpose.py", KERAS_BACKEND=backend)
