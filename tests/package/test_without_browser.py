"""The suite where there is no browser: a newcomer's machine has none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def run_without_browser(tmp_path, **environment):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "",
        "-p",
        "no:cacheprovider",
        "explainer/test_drawing_browser.py",
    ]
    nowhere = {"PATH": str(tmp_path), "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path)}
    unwanted = ("UNSTRIDE_TESTS_REQUIRE_BROWSER", "PYTEST_ADDOPTS")  # as CI sets them
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    done = subprocess.run(
        command, cwd=TESTS, env=kept | nowhere | environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


@pytest.mark.slow
def test_tests_that_need_a_browser_are_skipped_and_one_line_says_how_to_get_one(tmp_path):
    code, output = run_without_browser(tmp_path)
    assert code == 0, output
    told = [line for line in output.splitlines() if "SKIPPED" in line]
    assert len(told) == 1, output
    assert "chromium" in told[0]
    assert "`playwright install chromium`" in told[0]


@pytest.mark.slow
def test_in_ci_they_fail_instead(tmp_path):
    code, output = run_without_browser(tmp_path, UNSTRIDE_TESTS_REQUIRE_BROWSER="1")
    assert code == 1, output
    assert "SKIPPED" not in output
