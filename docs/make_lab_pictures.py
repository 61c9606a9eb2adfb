"""Makes pictures of the lab: `python docs/make_lab_pictures.py [FOLDER]`. Needs Playwright and a Chromium.

Without a folder, it makes the README's two. With one, it writes every chapter to it, at the sizes of a laptop and of a
phone, light and dark.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from unstride.lab.chapters import CHAPTERS

HERE = Path(__file__).parent
README = {"why-transposed": ("It is not deconvolution", 600), "autoencoder": ("Which cells of the code", 900)}
"""The README's chapters: the heading at which the picture begins, and its height in pixels."""

WIDE, NARROW = (1280, 900), (360, 740)


@contextmanager
def lab() -> Iterator[str]:
    """Start a lab and yield its address."""
    command = [sys.executable, "-m", "unstride", "lab", "--no-browser", "--no-token"]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder, text=True)
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1].rstrip("/")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


@contextmanager
def chapter(browser: Browser, address: str, slug: str, size: tuple[int, int], theme: str) -> Iterator[Page]:
    """A chapter's page at its full height."""
    width, height = size
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
    page.goto(f"{address}/{slug}/")
    page.locator(".lab-foot").wait_for(state="attached", timeout=120_000)
    page.wait_for_timeout(3000)  # pictures and formulas
    tall = page.evaluate("Math.max(...[...document.querySelectorAll('#App, #App *')].map((e) => e.scrollHeight))")
    page.set_viewport_size({"width": width, "height": min(tall + 40, 12_000)})
    page.wait_for_timeout(1500)
    yield page
    page.close()


def main() -> None:
    with lab() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        if len(sys.argv) > 1:
            folder = Path(sys.argv[1])
            folder.mkdir(parents=True, exist_ok=True)
            for slug in (each.slug for each in CHAPTERS):
                for size, theme in ((WIDE, "light"), (WIDE, "dark"), (NARROW, "light"), (NARROW, "dark")):
                    with chapter(browser, address, slug, size, theme) as page:
                        page.screenshot(path=folder / f"{slug}-{size[0]}-{theme}.png")
        else:
            for slug, (heading, tall) in README.items():
                with chapter(browser, address, slug, WIDE, "light") as page:
                    box = page.get_by_role("heading", name=heading).first.bounding_box()
                    assert box is not None
                    clip = {"x": 60, "y": box["y"] - 30, "width": 1140, "height": tall}
                    page.screenshot(path=HERE / f"lab-{slug}.png", clip=clip)  # type: ignore[arg-type]
        browser.close()


if __name__ == "__main__":
    main()
