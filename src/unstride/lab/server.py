"""The server of the lab: an index at ``/``, and each chapter's notebook, as an app, at its slug."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import ipaddress
import logging
import re
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import marimo
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import page
from .chapters import BY_SLUG, CHAPTERS, Chapter
from .gate import MAX_REQUEST_BYTES, PARAMETER, Gate, TooLargeError
from .opening import open_browser

PORT = 2741
"""The default port."""

ASSETS = "/marimo"
"""The address of marimo's own files, which is the same for all chapters, so that browsers load them once."""


HEAD = "<style>[data-testid='notebook-actions-dropdown'] { display: none; }</style>"
"""Hides marimo's menu, which has a button without a name and exports pages that need the network."""


class LabError(RuntimeError):
    """The lab cannot start. The message says why and what to do."""


def application(token: str | None, port: int, local: bool = True, debug: bool = False) -> ASGIApp:
    """The lab as an ASGI application.

    Parameters
    ----------
    token : str or None
        The token that visitors must give; None admits everybody.
    port : int
        The port at which it will be served.
    local : bool
        Whether it is served to this machine only.
    debug : bool
        Whether the terminal gets the traceback of an error in answering a request.
    """
    page.in_lab(True)
    # A cell that ends while another window imports Matplotlib, but not yet marimo's module for it, would end its page.
    # So both are imported before there are pages.
    with contextlib.suppress(ImportError):
        importlib.import_module("marimo._output.mpl")
    frontend = Path(marimo.__file__).parent / "_static"
    builder = marimo.create_asgi_app(quiet=True, include_code=False, asset_url=ASSETS, html_head=HEAD)
    for chapter in CHAPTERS:
        builder = builder.with_app(path=f"/{chapter.slug}", root=str(chapter.notebook))
    chapters = builder.build()
    first = page.index(_assets(frontend))

    async def index(_: Request) -> Response:
        return HTMLResponse(first)

    async def favicon(_: Request) -> Response:
        return RedirectResponse(f"{ASSETS}/favicon.ico")

    routes: list[BaseRoute] = [
        Route("/", index),
        Route("/favicon.ico", favicon),
        Mount(ASSETS, _Kept(directory=frontend)),
        Mount("/", _Found(chapters, debug)),
    ]
    quiet = _Quiet()

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        threading.Thread(target=_import_ahead, args=(quiet,), name="unstride-lab-imports", daemon=True).start()
        try:
            yield
        finally:
            await _close(chapters)

    gate = Middleware(Gate, token=token, port=port, local=local, page=page.entrance)
    return Starlette(routes=routes, middleware=[Middleware(quiet.watching), gate], lifespan=lifespan)


def _assets(frontend: Path) -> list[str]:
    """marimo's files that every chapter loads, for the index to prefetch."""
    page = (frontend / "index.html").read_text(encoding="utf-8")
    names = re.findall(r'(?:href|src)="\./(assets/[^"]+\.(?:js|css|woff2))"', page)
    return [f"{ASSETS}/{name}" for name in dict.fromkeys(names)]


class _Kept(StaticFiles):
    """Static files. Those in marimo's assets folder never change, because their names depend on their content."""

    def file_response(self, full_path: str, *args: object, **settings: object) -> Response:  # type: ignore[override]
        answer = super().file_response(full_path, *args, **settings)  # type: ignore[arg-type]
        if Path(full_path).parent.name == "assets":
            answer.headers["Cache-Control"] = "private, max-age=31536000, immutable"
        return answer


class _Found:
    """Wraps `app` and replaces its 404 answers by the lab's own page.

    If `app` raises, it has answered 500 already. The terminal then gets one line, and with `debug` the traceback.
    (marimo raises on requests that its pages never make.)
    """

    def __init__(self, app: ASGIApp, debug: bool = False) -> None:
        self.app = app
        self.debug = debug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answered(scope, receive, send)
        except TooLargeError:
            raise
        except Exception as error:
            if scope["type"] != "http":
                raise
            logging.getLogger("uvicorn.error").warning(  # uvicorn would always log the traceback
                "%s %s: %s: %s",
                scope["method"],
                ascii(scope["path"])[1:-1],
                type(error).__name__,
                ascii(str(error))[1:-1],
                exc_info=error if self.debug else None,
            )

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or "/api/" in scope["path"]:
            await self.app(scope, receive, send)
            return
        missing = False

        async def passed(message: Message) -> None:
            nonlocal missing
            missing = missing or (message["type"] == "http.response.start" and message["status"] == 404)
            if not missing:
                await send(message)

        await self.app(scope, receive, passed)
        if missing:
            await HTMLResponse(page.missing(scope["path"]), 404)(scope, receive, send)


class _Quiet:
    """Knows when the last request came."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def watching(self, app: ASGIApp) -> ASGIApp:
        """Wrap `app` to note the time of each request."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            self.last = time.monotonic()
            await app(scope, receive, send)

        return watched

    def wait(self, seconds: float) -> None:
        """Wait until there was no request for `seconds`."""
        while (left := self.last + seconds - time.monotonic()) > 0:
            time.sleep(left)


def _import_ahead(quiet: _Quiet) -> None:
    """Import the chapters' slow modules: the first chapter's at once, the others while no page is being loaded."""
    for name in dict.fromkeys(name for chapter in CHAPTERS for name in chapter.imports):
        if name not in CHAPTERS[0].imports:
            quiet.wait(1.5)
        with contextlib.suppress(Exception):  # the chapter that needs it will show the error
            importlib.import_module(name)


async def _close(chapters: object) -> None:
    """End the sessions of all open pages, whose threads would keep the process alive.

    marimo does this when its application shuts down, but a mounted application gets no such event.
    """
    for route in getattr(chapters, "routes", ()):
        manager = getattr(getattr(getattr(route, "app", None), "state", None), "session_manager", None)
        if manager is not None:
            done = manager.shutdown()
            if inspect.isawaitable(done):
                await done


def bind(host: str, port: int | None) -> socket.socket:
    """A listening socket at this address. Without a port, it has the default one or any free one."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise LabError(f"--host {host}: {error.strerror}; expected a name or an address of this machine") from error
    for wanted in (port,) if port is not None else (PORT, 0):
        place = socket.socket(family, kind, protocol)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((address[0], wanted, *address[2:]))
            place.listen(128)
        except OSError as error:
            place.close()
            if port is not None or wanted == 0:
                raise LabError(
                    f"cannot listen on {host}, port {wanted}: {error.strerror}; name another --port, or none"
                ) from error
        else:
            return place
    raise AssertionError("unreachable")


def is_local(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address(host: str, port: int, token: str | None, chapter: Chapter | None = None) -> str:
    """The URL of the lab, or of a chapter."""
    shown = "127.0.0.1" if host == "0.0.0.0" else "[::1]" if host == "::" else f"[{host}]" if ":" in host else host
    path = f"{chapter.slug}/" if chapter else ""
    return f"http://{shown}:{port}/{path}" + (f"?{PARAMETER}={token}" if token else "")


def find(name: str | None) -> Chapter | None:
    """The chapter with this slug or number."""
    if name is None:
        return None
    if name in BY_SLUG:
        return BY_SLUG[name]
    if name.isdecimal() and 1 <= int(name) <= len(CHAPTERS):
        return CHAPTERS[int(name) - 1]
    raise LabError(f"there is no chapter {name!r}; there are 1 to {len(CHAPTERS)}, or {', '.join(BY_SLUG)}")


def new_token() -> str:
    """A random token that can be part of a URL."""
    return secrets.token_urlsafe(16)


def serve(
    place: socket.socket, host: str, token: str | None, chapter: Chapter | None, *, browser: bool, debug: bool = False
) -> None:
    """Serve the lab on a bound socket until it is interrupted."""
    port = place.getsockname()[1]
    if browser:
        open_browser(address(host, port, token, chapter))
    config = uvicorn.Config(
        application(token, port, is_local(host), debug),
        log_level="warning",
        timeout_graceful_shutdown=1,  # open pages keep their connections
        ws_max_size=MAX_REQUEST_BYTES,  # uploads come through the web socket
    )
    uvicorn.Server(config).run(sockets=[place])
