"""The lab in a process of its own, and a visitor with a real Chromium who can reach nothing else."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

LOCAL = ("127.0.0.1", "localhost")
_MAIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from unstride.__main__ import main
sys.exit(main())
"""
COMMAND = [sys.executable, "-c", _MAIN]
"""`unstride`, of the Python that runs the tests, as a terminal starts it: Ctrl-C interrupts it, even where the tests run as a
shell's background job, which ignores Ctrl-C and hands that down."""

# Chromium says so of two of marimo's pictures, which it shows only when the connection is lost.
HARMLESS = "was preloaded using link preload but not used"

expect.set_options(timeout=30_000)


@dataclass
class Lab:
    """A lab that runs: its address without a path, its token (None: it has none), its process and what that said."""

    address: str
    token: str | None
    process: subprocess.Popen[str]
    log: Path

    @property
    def port(self) -> int:
        port = urlsplit(self.address).port
        assert port is not None
        return port


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


@contextmanager
def running(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[Lab]:
    """`unstride lab` with these arguments, in `folder`; what it said is shown if something fails."""
    log = folder / f"lab-{time.monotonic_ns()}.log"
    own = os.environ | {"HOME": str(folder), "PYTHONUNBUFFERED": "1"} | (environment or {})
    with log.open("w") as out:
        process = subprocess.Popen(
            [*COMMAND, "lab", "--no-browser", *arguments],
            cwd=folder,
            stdout=out,
            stderr=out,
            env=own,
            text=True,
            start_new_session=True,
        )
    try:
        yield _lab(process, log)
    except BaseException:
        print(log.read_text()[-5000:])
        raise
    finally:
        stop(process)


def _lab(process: subprocess.Popen[str], log: Path) -> Lab:
    """When it says where it is."""
    end = time.monotonic() + 120
    while "http://" not in log.read_text() or not log.read_text().endswith("\n"):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    url = next(word for word in log.read_text().split() if word.startswith("http://"))
    parts = urlsplit(url)
    token = parts.query.partition("access_token=")[2] or None
    return Lab(f"{parts.scheme}://{parts.netloc}", token, process, log)


def stop(process: subprocess.Popen[str], how: int = signal.SIGINT) -> int:
    """End it, as Ctrl-C does; its exit code."""
    if process.poll() is None:
        os.killpg(process.pid, how)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    return process.returncode


_spare: WeakKeyDictionary[Browser, dict[str, list[BrowserContext]]] = WeakKeyDictionary()
"""Contexts that no window uses, by their settings. What they have in their cache, marimo's code above all, is most of what
a window has to load."""


class Visitor:
    """A browser window of its own, with its own cookies.

    Nothing but this machine can be reached; whoever tries is in `outside`. Whatever the console or the server
    complains of is in `complaints`.
    """

    def __init__(self, browser: Browser, lab: Lab, width: int = 1280, height: int = 900, **settings: Any) -> None:
        self.lab = lab
        settings |= {"viewport": {"width": width, "height": height}}
        self._spare = _spare.setdefault(browser, {}).setdefault(repr(settings), [])
        self.context: BrowserContext = self._spare.pop() if self._spare else browser.new_context(**settings)
        self.outside: list[str] = []
        self.complaints: list[str] = []
        self.context.on("request", self._request)
        self.context.on("response", self._response)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("websocket", lambda socket: self._seen(socket.url))

    def _seen(self, url: str) -> bool:
        parts = urlsplit(url)
        local = parts.scheme in ("data", "blob", "about") or parts.hostname in LOCAL
        if not local:
            self.outside.append(url)
        return local

    def _request(self, request: Any) -> None:
        self._seen(request.url)

    def _response(self, response: Any) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status} {response.url}")

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning") and HARMLESS not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def _token(self) -> str:
        return f"?access_token={self.lab.token}" if self.lab.token else ""

    def enter(self) -> None:
        """Through the address that the command prints."""
        self.page.goto(f"{self.lab.address}/{self._token()}", timeout=60_000)

    def open(self, slug: str) -> Page:
        """A chapter, from its first line to its last."""
        self.page.goto(f"{self.lab.address}/{slug}/{'' if self.context.cookies() else self._token()}", timeout=60_000)
        self.settled()
        return self.page

    def settled(self) -> None:
        """Until every cell has run: the last one makes the links to other chapters."""
        self.page.locator(".lab-foot").wait_for(state="attached", timeout=120_000)

    def lab_part(self, name: str) -> Locator:
        """What the notebook named."""
        return self.page.locator(f'[data-lab="{name}"]')

    def fact(self, part: str, name: str) -> Locator:
        """One of the numbers of `page.facts`."""
        row = self.lab_part(part).locator(
            "div", has=self.page.locator("dt", has_text=re.compile(f"^{re.escape(name)}"))
        )
        return row.locator("dd").first

    def choose(self, label: str, option: str) -> None:
        """From a drop-down list."""
        self.page.get_by_role("combobox", name=label, exact=True).select_option(label=option)

    def slide(self, label: str, keys: Sequence[str]) -> None:
        """Move a slider by keys."""
        slider = self.page.get_by_role("slider", name=label, exact=True)
        slider.focus()
        for key in keys:
            slider.press(key)

    def untroubled(self) -> None:
        """Nothing complained, and nobody asked the network for anything."""
        assert self.outside == []
        assert self.complaints == []

    def close(self) -> None:
        """The next window with these settings finds nothing of this one but what the cache holds."""
        if self.page.url.startswith("http"):
            self.page.evaluate("localStorage.clear()")
        self.context.remove_listener("request", self._request)
        self.context.remove_listener("response", self._response)
        for page in self.context.pages:
            page.close()
        self.context.clear_cookies()
        self.context.clear_permissions()
        self._spare.append(self.context)


def png(image: Image.Image, format: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, format)
    return file.getvalue()


def bring(visitor: Visitor, name: str, content: bytes) -> None:
    file = {"name": name, "mimeType": "image/png", "buffer": content}
    visitor.page.locator('input[type="file"]').set_input_files(file)  # type: ignore[arg-type]
