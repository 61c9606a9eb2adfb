"""A real Chromium for the explorer's tests, and the explorer's module in it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from unstride import explain

NO_BROWSER = "no Chromium: install the system's package chromium, or run `playwright install chromium`"

# What is asserted of a page straight after something was done is asserted with `expect`, `shows` or `until`, which wait:
# the browser is another process, and only some of what is done to it is answered when the page has dealt with it.
expect.set_options(timeout=20_000)


# The second keeps it from a container's small /dev/shm, the third from every other machine: who asks for one is refused.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, or else Playwright's own. Without either the test is skipped.

    With UNSTRIDE_TESTS_REQUIRE_BROWSER set, as in CI, it fails instead.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        if path is None and not Path(playwright.chromium.executable_path).exists():
            if os.environ.get("UNSTRIDE_TESTS_REQUIRE_BROWSER"):
                pytest.fail(NO_BROWSER)
            pytest.skip(NO_BROWSER)
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page of its own context, of which every complaint and every request is kept."""

    def __init__(self, browser: Browser, **settings: Any) -> None:
        self.context: BrowserContext = browser.new_context(**settings)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page.set_default_timeout(15_000)

    def left(self) -> list[str]:
        """Requests for anything but the page's own file and what is in it."""
        return [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]

    def state(self) -> dict[str, Any]:
        """What the explorer shows."""
        return self.page.evaluate("explorer.get()")

    def shows(self, seconds: float = 20, **fields: Any) -> None:
        """Until these fields of the state are so: what was done may still be on its way to the page."""
        end = time.monotonic() + seconds
        while (found := {name: self.state()[name] for name in fields}) != fields:
            assert time.monotonic() < end, f"the state is {found}, not {fields}"
            self.page.wait_for_timeout(20)


def traced(state: dict[str, Any]) -> Any:
    """The trace of a state of the explorer."""
    fields = {name: state[name] for name in ("stride", "padding", "output_padding", "dilation")}
    return explain(state["x"], state["kernel"], state["bias"] or None, op=state["map"], **fields)


def until(page: Page, condition: str, seconds: float = 20) -> None:
    """Until a JavaScript expression is true. (Playwright's own waiting uses eval, which the page forbids.)"""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"it never came true: {condition}"
        page.wait_for_timeout(20)


def load(page: Page, module: str) -> None:
    """The explorer's `parts` as the blank page's global of that name."""
    page.goto("about:blank")
    page.evaluate(
        """async (text) => {
            const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
            globalThis.parts = (await import(url)).parts;
        }""",
        module,
    )


def computed(page: Page, function: str, cases: list[Any]) -> list[Any]:
    """`function`, in JavaScript, of every case, all in one call."""
    text = json.dumps(cases)
    return json.loads(page.evaluate(f"(text) => JSON.stringify(JSON.parse(text).map({function}))", text))
