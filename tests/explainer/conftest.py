"""Fixtures of the tests in a browser."""

from __future__ import annotations

from typing import Any

import pytest
from browser import Watched, chromium, until

from unstride.explainer.web import page as pages


@pytest.fixture(scope="module")
def chrome():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "explorer.html"
    pages.html(path=path)
    return path.as_uri()


@pytest.fixture
def opened(chrome, address):
    """Opens the page; at the end nothing may have complained, and no request have left it."""
    made: list[Watched] = []

    def open_(after: str = "", **settings: Any) -> Watched:
        watched = Watched(chrome, **settings)
        made.append(watched)
        watched.page.goto(address + after)
        until(watched.page, "globalThis.explorer !== undefined")
        return watched

    yield open_
    for watched in made:
        assert watched.complaints == []
        assert watched.left() == []
        watched.context.close()
