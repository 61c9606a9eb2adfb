"""Access control: one token for the whole lab, asked for once, before a request reaches a notebook.

marimo keeps its token in a cookie for each notebook, so that every chapter would ask again. The lab accepts the token
as marimo does, in ``?access_token=``, but has one cookie for all chapters.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

PARAMETER = "access_token"
LOGIN = "/login"
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_REQUEST_BYTES = 64 * 2**20
"""The largest request. Uploaded pictures are the largest ones."""
FORM_BYTES = 4096
"""The largest form with a token, which anybody may send."""
HOST = re.compile(r"([\w.~%-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?", re.ASCII)
INSIDE = re.compile(r"/(?!/)[^\\\x00-\x20\x7f]*")
"""A path that a browser resolves on this server. (Browsers skip blanks and read a backslash as a slash.)"""


class Gate:
    """Middleware that admits visitors with the token, and only requests from the lab's own pages.

    Parameters
    ----------
    app : ASGI application
    token : str or None
        None admits everybody.
    port : int
        The server's port, which is part of the cookie's name because cookies do not distinguish ports.
    local : bool
        Whether the server listens on a local address only. Without a token, requests with another host name are then
        refused, because a foreign page has sent them.
    page : callable
        Returns the page that asks for the token, from the form's address and a message.
    """

    def __init__(
        self, app: ASGIApp, token: str | None, port: int, local: bool, page: Callable[[str, str], str]
    ) -> None:
        self.app = app
        self.token = token
        self.local = local
        self.page = page
        self.cookie = f"unstride_lab_{port}"
        self.secret = secrets.token_bytes(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        if problem := _malformed(connection.headers):
            await _answer(scope, Response(problem, 400), receive, send)
        elif refusal := self._foreign(connection.headers):
            await _answer(scope, Response(refusal, 403), receive, send)
        elif self.token is None or self._known(connection):
            await _bounded(self.app, scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(code=3000, reason="the lab's token is missing")(scope, receive, send)
        else:
            await (await self._ask(Request(scope, receive)))(scope, receive, send)

    def _foreign(self, headers: Headers) -> str | None:
        """Why a request does not come from the lab's own pages; None if it does."""
        host = headers.get("host", "")
        if self.local and self.token is None and _name(host) not in LOCAL:
            return f"The lab listens on this machine only, and not under the name {host!r}."
        origin = headers.get("origin")
        # Behind a proxy the browser's name for the server is in another header, which a foreign page cannot set.
        if origin is not None and urlsplit(origin).netloc not in (host, headers.get("x-forwarded-host")):
            return f"A page of {origin!r} may not use the lab."
        return None

    def _known(self, connection: HTTPConnection) -> bool:
        given = connection.cookies.get(self.cookie, "")
        return hmac.compare_digest(given.encode(), self._pass().encode())

    def _pass(self) -> str:
        """The content of the cookie: a proof of the token, not the token itself."""
        assert self.token is not None
        return hmac.new(self.secret, self.token.encode(), hashlib.sha256).hexdigest()

    async def _ask(self, request: Request) -> Response:
        """Accept a token in the address or the form, or else answer with the form."""
        kept = [(name, value) for name, value in request.query_params.multi_items() if name != PARAMETER]
        wanted = quote(request.scope["path"]) + (f"?{urlencode(kept)}" if kept else "")
        given, tried = request.query_params.get(PARAMETER), PARAMETER in request.query_params
        if request.method == "POST" and request.scope["path"] == LOGIN:
            content = await _form(request)
            if content is None:
                return Response(f"Expected the lab's token, in no more than {FORM_BYTES} bytes.", 413)
            form = parse_qs(content.decode("utf-8", "replace"))
            given, tried = form.get(PARAMETER, [""])[0], True
            wanted = request.query_params.get("next", "/")
        if not INSIDE.fullmatch(wanted):  # never redirect to another server
            wanted = "/"
        if given is not None and self.token and hmac.compare_digest(given.encode(), self.token.encode()):
            answer: Response = RedirectResponse(wanted, 303)
            answer.set_cookie(self.cookie, self._pass(), httponly=True, samesite="lax")
            return answer
        message = "That is not the lab's token." if tried else ""
        form_at = f"{LOGIN}?{urlencode({'next': wanted})}"
        return HTMLResponse(self.page(html.escape(form_at), message), 401)


def _malformed(headers: Headers) -> str:
    """What is wrong with the Host and Origin headers; "" if nothing."""
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    if len(hosts) > 1 or any(not HOST.fullmatch(host) for host in hosts):
        return "The Host header is malformed."
    if len(origins) > 1 or any(origin != "null" and not HOST.fullmatch(_netloc(origin)) for origin in origins):
        return "The Origin header is malformed."
    return ""


def _netloc(address: str) -> str:
    try:
        return urlsplit(address).netloc
    except ValueError:
        return ""


def _name(host: str) -> str:
    """The host without its port."""
    return host.rsplit(":", 1)[0].strip("[]").lower() if not host.endswith("]") else host.strip("[]").lower()


async def _form(request: Request) -> bytes | None:
    """The body, or None if it is too large. Reading stops at the limit."""
    content = b""
    with suppress(ClientDisconnect):  # the client is gone
        async for part in request.stream():
            content += part
            if len(content) > FORM_BYTES:
                return None
    return content


class TooLargeError(Exception):
    """A request is larger than `MAX_REQUEST_BYTES`."""


async def _bounded(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run `app`, but answer 413 to a request of more than `MAX_REQUEST_BYTES`, without reading the rest."""
    if scope["type"] != "http":
        await app(scope, receive, send)
        return
    got, begun = 0, False

    async def counted() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > MAX_REQUEST_BYTES:
            raise TooLargeError
        return message

    async def watched(message: Message) -> None:
        nonlocal begun
        begun = True
        await send(message)

    said = Headers(scope=scope).get("content-length", "0")
    try:
        if said.isdecimal() and int(said[:20]) > MAX_REQUEST_BYTES:
            raise TooLargeError
        await app(scope, counted, watched)
    except TooLargeError:
        if not begun:
            await Response(f"Expected no more than {MAX_REQUEST_BYTES // 2**20} MB.", 413)(scope, receive, send)


async def _answer(scope: Scope, answer: Response, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await WebSocketClose(code=3000, reason="refused")(scope, receive, send)
    else:
        await answer(scope, receive, send)


__all__ = ["LOGIN", "MAX_REQUEST_BYTES", "PARAMETER", "Gate", "TooLargeError"]
