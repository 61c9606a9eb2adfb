"""Who may enter: one token for the whole lab, asked for once, before anything reaches a notebook.

marimo's own token is kept in a cookie of each notebook it serves, so that every chapter would ask again. The lab has
marimo's way of giving it, ``?access_token=``, but one cookie for all.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import secrets
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

PARAMETER = "access_token"
LOGIN = "/login"
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


class Gate:
    """Lets through who has the token, and only requests that this lab's own pages made.

    Parameters
    ----------
    app : ASGI application
    token : str or None
        None: everybody may enter.
    port : int
        Of the server; cookies do not tell ports apart, so it is part of the cookie's name.
    local : bool
        Whether the server listens on this machine's own address only. Then, without a token, a request that calls
        the server by another name was led here by a foreign page, and is refused.
    page : function
        Makes the page that asks for the token, from the form's address and a message.
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
        if refusal := self._foreign(connection.headers):
            await _answer(scope, Response(refusal, 403), receive, send)
        elif self.token is None or self._known(connection):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(code=3000, reason="the lab's token is missing")(scope, receive, send)
        else:
            await (await self._ask(Request(scope, receive)))(scope, receive, send)

    def _foreign(self, headers: Headers) -> str | None:
        """Why a request is none of the lab's own, if so."""
        host = headers.get("host", "")
        if self.local and self.token is None and urlsplit(f"//{host}").hostname not in LOCAL:
            return f"The lab listens on this machine only, and not under the name {host!r}."
        origin = headers.get("origin")
        # Behind a proxy the name that the browser knows is in another header, which no foreign page can set.
        if origin is not None and urlsplit(origin).netloc not in (host, headers.get("x-forwarded-host")):
            return f"A page of {origin!r} may not use the lab."
        return None

    def _known(self, connection: HTTPConnection) -> bool:
        given = connection.cookies.get(self.cookie, "")
        return hmac.compare_digest(given.encode(), self._pass().encode())

    def _pass(self) -> str:
        """What the cookie holds: proof of the token, not the token."""
        assert self.token is not None
        return hmac.new(self.secret, self.token.encode(), hashlib.sha256).hexdigest()

    async def _ask(self, request: Request) -> Response:
        """The way in: a token in the address or in the form, or else the form."""
        path = request.url.path
        wanted = str(request.url.remove_query_params(PARAMETER).replace(scheme="", netloc=""))
        given, tried = request.query_params.get(PARAMETER), PARAMETER in request.query_params
        if request.method == "POST" and path == LOGIN:
            form = parse_qs((await request.body()).decode("utf-8", "replace"))
            given, tried = form.get(PARAMETER, [""])[0], True
            wanted = request.query_params.get("next", "/")
            if not wanted.startswith("/") or wanted.startswith(("//", "/\\")):  # to this server, nowhere else
                wanted = "/"
        if given is not None and self.token and hmac.compare_digest(given.encode(), self.token.encode()):
            answer: Response = RedirectResponse(wanted, 303)
            answer.set_cookie(self.cookie, self._pass(), httponly=True, samesite="lax")
            return answer
        message = "That is not the lab's token." if tried else ""
        form_at = f"{LOGIN}?{urlencode({'next': wanted})}"
        return HTMLResponse(self.page(html.escape(form_at), message), 401)


async def _answer(scope: Scope, answer: Response, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await WebSocketClose(code=3000, reason="refused")(scope, receive, send)
    else:
        await answer(scope, receive, send)


__all__ = ["LOGIN", "PARAMETER", "Gate"]
