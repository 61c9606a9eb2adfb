"""The peers' own tests, by the scripts beside this file, each in a process of its own."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

PEERS = Path(__file__).parent
LIBRARIES = ["numpy", "torch", "jax", "tensorflow"]


def run(script, *arguments, **environment):
    command = [sys.executable, str(PEERS / script), *arguments]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_onnx_node_tests():
    """Of all libraries in one process: ONNX's cases take longer to make than to compute."""
    out = run("onnx_nodes.py", *LIBRARIES)
    assert "11 cases, 0 failures" in out
    assert Counter(line.split()[1] for line in out.splitlines() if line.startswith("ok ")) == dict.fromkeys(
        LIBRARIES, 11
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch", "tensorflow"])
def test_keras_conv_transpose_test(backend):
    assert "of Keras's tests passed" in run("keras_conv_transpose.py", KERAS_BACKEND=backend)
