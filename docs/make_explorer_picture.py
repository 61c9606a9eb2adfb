"""The README's picture of the explorer: `python docs/make_explorer_picture.py`. Needs Playwright and a Chromium."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

import unstride as us
from unstride.explainer.web import page

SHOWN = {"width": 1400, "height": 1020}


def main() -> None:
    trace = us.explain([[0, 1], [2, 3]], [[0, 1], [2, 3]], stride=2)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "explorer.html"
        page.html({**page.state(trace), "step": 3}, file)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        view = browser.new_page(viewport=SHOWN, reduced_motion="reduce")
        view.goto(file.as_uri())
        view.get_by_role("tab", name="Scatter").wait_for()
        view.screenshot(path=Path(__file__).parent / "explorer.png")
        browser.close()


if __name__ == "__main__":
    main()
