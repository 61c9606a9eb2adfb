"""The tests that need only NumPy, pytest, hypothesis and ml_dtypes, on the unstride that is installed, on any system.

The mathematics, the maps of NumPy arrays and the explainer's numbers; and, where the native core computes, its own
tests and those of stacks. With UNSTRIDE_ISA=numpy it does not compute.
Arguments go to pytest.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from unstride._core import why_missing

TESTS = Path(__file__).resolve().parents[1] / "tests"
FILES = [
    *("mathematics/test_geometry.py", "mathematics/test_reference.py", "core/test_*.py", "ops/test_ops.py"),
    *("explainer/test_trace.py", "explainer/test_text.py"),
]
NATIVE = ["native/test_*.py", "stacks/test_stack.py"]

files = [str(file) for pattern in FILES + NATIVE * (why_missing is None) for file in sorted(TESTS.glob(pattern))]
# Without conftest.py, which sets up JAX, and from a folder where no source stands in for what is installed.
options = ["-p", "fewer", "--hypothesis-profile=fewer", "--quiet", "--noconftest", "-p", "no:cacheprovider"]
with tempfile.TemporaryDirectory() as elsewhere:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *sys.argv[1:], *files],
        cwd=elsewhere, env=os.environ | {"PYTHONPATH": str(TESTS / "native")}, check=False,
    )  # fmt: skip
sys.exit(done.returncode)
