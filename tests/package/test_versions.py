"""Frameworks that are not there, not imported, or too old: none is needed before its arrays appear."""

import subprocess
import sys

import pytest

from unstride import backends

FRAMEWORKS = ["torch", "jax", "tensorflow", "keras"]


def run(code, directory):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory)


@pytest.mark.parametrize("statement", ["import unstride", "from unstride import *", "import unstride.models"])
def test_importing_unstride_imports_no_framework(statement, tmp_path):
    code = (
        f"{statement}\nimport sys, unstride, numpy as np\n"
        "x, kernel = np.ones((1, 4, 2)), np.ones((3, 2, 2))\n"
        "unstride.conv_transpose(x, kernel); unstride.conv(x, kernel); unstride.kernel_gradient(x, x, kernel_size=1)\n"
        f"found = {{name.partition('.')[0] for name in sys.modules}} & set({[*FRAMEWORKS, 'jaxlib', 'onnx']})\n"
        "assert not found, found"
    )
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", FRAMEWORKS)
def test_numpy_works_where_a_framework_is_missing(missing, tmp_path):
    code = f"import sys; sys.modules[{missing!r}] = None; import unstride; unstride.conv([1.0], [1.0], channels=None)"
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_keras_missing_or_too_old(tmp_path):
    done = run("import sys; sys.modules['keras'] = None; import unstride.keras", tmp_path)
    assert 'unstride.keras needs Keras 3.15 or later: pip install "unstride[keras]"' in done.stderr
    (tmp_path / "keras.py").write_text("__version__ = '3.14.1'")
    done = run("import unstride.keras", tmp_path)
    assert "unstride.keras needs Keras 3.15 or later; 3.14.1 is installed" in done.stderr
    done = run("import keras, unstride; unstride.conv([1.0], [1.0], channels=None)", tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("framework", "version", "message"),
    [
        ("torch", "2.5.1+cpu", "unstride needs PyTorch 2.8 or later for its arrays; 2.5.1+cpu is installed"),
        ("jax", "0.4.33", "unstride needs JAX 0.4.34 or later for its arrays; 0.4.33 is installed"),
        ("tensorflow", "2.13.0-rc1", "unstride needs TensorFlow 2.14 or later for its arrays; 2.13.0-rc1 is installed"),
    ],
)
def test_too_old_a_framework_concerns_its_own_arrays_alone(framework, version, message, tmp_path):
    (tmp_path / f"{framework}.py").write_text(f"__version__ = {version!r}\nclass Tensor: pass\n")
    done = run(f"import {framework}, unstride; unstride.conv([1.0], [1.0], channels=None)", tmp_path)
    assert done.returncode == 0, done.stderr
    done = run(f"import {framework}, unstride; unstride.conv({framework}.Tensor(), [1.0], channels=None)", tmp_path)
    assert f"ImportError: {message}" in done.stderr


def test_another_module_of_a_framework_s_name_is_no_concern(tmp_path):
    (tmp_path / "jax.py").write_text("")
    done = run("import jax, unstride; unstride.conv([1.0], [1.0], channels=None)", tmp_path)
    assert done.returncode == 0, done.stderr


def test_versions_are_read_as_they_are_written():
    assert backends.numbers_of("2.13.0+cpu") == (2, 13, 0)
    assert backends.numbers_of("2.18.dev20240801") == (2, 18)
    assert backends.numbers_of("0.4.34rc1") == (0, 4, 34)
    assert backends.numbers_of("2.8") >= backends.OLDEST["torch"][1]
