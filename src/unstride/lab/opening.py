"""Opens a page in the browser without its token in a command line, which every local user can read."""

from __future__ import annotations

import secrets
import socket
import threading
import time
import webbrowser
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

PATIENCE = 60.0
"""Seconds in which the browser has to ask, and the server has to start."""


def once(address: str, patience: float = PATIENCE) -> str:
    """An address on this machine that redirects the first request, within `patience` seconds, to `address`.

    The answer waits until a server listens there.
    """
    key = secrets.token_urlsafe(16)

    class Leading(BaseHTTPRequestHandler):
        timeout = 5  # for silent connections

        def do_GET(self) -> None:
            if self.path != f"/{key}" or done.is_set():
                self.send_error(404)
                return
            done.set()
            _wait_for(address, end)
            self.send_response(303)
            for name, value in (
                ("Location", address),
                ("Cache-Control", "no-store"),
                ("Referrer-Policy", "no-referrer"),
            ):
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write nothing to the terminal."""

    end, done = time.monotonic() + patience, threading.Event()
    server = HTTPServer(("127.0.0.1", 0), Leading)
    server.timeout = 0.5

    def serve() -> None:
        with server:
            while not done.is_set() and time.monotonic() < end:
                server.handle_request()

    threading.Thread(target=serve, name="unstride-lab-opening", daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/{key}"


def open_browser(address: str) -> None:
    """Open a browser in the background. Without a browser nothing happens; the terminal shows the address."""
    threading.Thread(target=webbrowser.open, args=[once(address)], name="unstride-lab-browser", daemon=True).start()


def _wait_for(address: str, end: float) -> None:
    parts = urlsplit(address)
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection((parts.hostname or "", parts.port or 80), 1):
            return
        time.sleep(0.1)
