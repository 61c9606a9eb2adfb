"""One lab and one browser for all of the lab's tests; a window for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest
from browser import chromium
from lab_harness import Lab, Visitor, running
from playwright.sync_api import Browser


@pytest.fixture(scope="module")  # not longer: of Playwright two cannot run at once
def chrome() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with a token, in a folder and a home of its own."""
    with running(tmp_path_factory.mktemp("lab")) as found:
        yield found


@pytest.fixture
def visit(chrome: Browser, lab: Lab) -> Iterator[Callable[..., Visitor]]:
    """Makes windows; each is closed when the test ends."""
    windows: list[Visitor] = []

    def new(**settings: Any) -> Visitor:
        windows.append(Visitor(chrome, lab, **settings))
        return windows[-1]

    yield new
    for window in windows:
        window.close()
    for child in psutil.Process(lab.process.pid).children():
        with suppress(psutil.Error):  # it may end just now
            if "train" in child.cmdline():  # a failed test's, which would slow all that follow
                child.kill()


@pytest.fixture
def visitor(visit: Callable[..., Visitor]) -> Visitor:
    """A window on a laptop's screen."""
    return visit()
