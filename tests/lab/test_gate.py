"""The lab's gate, asked as no browser would: malformed names, large bodies, ways out; and the browser's one-time address."""

from __future__ import annotations

import asyncio
import logging
import socket
import string
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse

from unstride.lab import editing, opening, page
from unstride.lab.gate import FORM_BYTES, INSIDE, MAX_REQUEST_BYTES, Gate

TOKEN = "a token"
HOST = "127.0.0.1:2741"


async def inside(scope, receive, send):
    """The lab behind the gate: says how much it was sent."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await PlainTextResponse(str(size))(scope, receive, send)


def asked(
    path="/", *, token=TOKEN, method="GET", query="", parts=(b"",), headers=(("host", HOST),), local=True, known=False
):
    """The status, the headers and the text of an answer, and how many parts of the body were read."""
    gate = Gate(inside, token, 2741, local, lambda form, message: f"{form} {message}")
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    if known:
        fields.append((b"cookie", f"{gate.cookie}={gate._pass()}".encode()))
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": path,
        "query_string": query.encode("latin-1"), "headers": fields, "server": ("127.0.0.1", 2741),
    }  # fmt: skip
    read, said = 0, []

    async def receive():
        nonlocal read
        read += 1
        if read > len(parts):
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": parts[read - 1], "more_body": read < len(parts)}

    async def send(message):
        said.append(message)

    asyncio.run(gate(scope, receive, send))
    start = said[0]
    text = b"".join(message.get("body", b"") for message in said[1:]).decode()
    return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, text, read


NAMES = st.text(st.characters(max_codepoint=255), max_size=20) | st.sampled_from(
    [
        "[",
        "[::1",
        "]",
        "::1",
        "http://[",
        "a b",
        "a:b:c",
        "a\tb",
        "//",
        "http://a:99999999",
        "x@y",
        "127.0.0.1:2741\x00",
    ]
)


@given(NAMES, NAMES | st.none(), st.booleans(), st.booleans())
def test_whatever_the_names_are_the_answer_is_the_visitors_fault(host, origin, local, with_token):
    headers = [("host", host)] + ([("origin", origin)] if origin is not None else [])
    status, _, text, _ = asked(headers=headers, local=local, token=TOKEN if with_token else None)
    assert status in ((400, 401, 403) if with_token else (200, 400, 403))
    assert TOKEN not in text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("host", HOST)], 200),
        ([("host", "localhost:2741")], 200),
        ([("host", "[::1]:2741")], 200),
        ([("host", "[::1]")], 200),
        ([("host", HOST), ("origin", f"http://{HOST}")], 200),
        ([("host", HOST), ("origin", "null")], 403),
        ([("host", HOST), ("origin", "http://example.com")], 403),
        ([("host", "example.com")], 403),
        ([("host", "127.0.0.1.example.com")], 403),
        ([("host", HOST), ("host", "example.com")], 400),
        ([("host", "[::1")], 400),
        ([("host", HOST), ("origin", "http://[")], 400),
    ],
)
def test_without_a_token_only_this_machines_own_names(headers, status):
    assert asked(token=None, headers=headers)[0] == status


def test_a_form_is_read_no_further_than_a_token_is_long():
    form = {"path": "/login", "method": "POST"}
    status, headers, _, _ = asked(**form, parts=[b"access_token=a+token"], query="next=/geometry/")
    assert (status, headers["location"]) == (303, "/geometry/")
    assert asked(**form, parts=[b"access_token=guess"])[0] == 401
    status, _, _, read = asked(**form, parts=[b"a=1&" * 256] * 100)
    assert status == 413
    assert read <= FORM_BYTES // 1024 + 1
    assert asked(**form, parts=[])[0] == 401  # who left before the end
    assert asked(path="/elsewhere", method="POST", parts=[b"x" * 1000] * 100)[3] == 0  # not read at all


def test_what_a_visitor_sends_is_bounded():
    part = bytes(1 << 20)
    assert asked(known=True, parts=[part] * 3, method="POST")[2] == str(3 << 20)
    status, _, _, read = asked(known=True, parts=[part] * 100, method="POST")
    assert (status, read) == (413, MAX_REQUEST_BYTES // 2**20 + 1)
    for said in (str(MAX_REQUEST_BYTES + 1), "9" * 4000):
        headers = [("host", HOST), ("content-length", said)]
        assert asked(known=True, parts=[b"x"], method="POST", headers=headers)[::3] == (413, 0)


WAYS_OUT = [
    "//example.com",
    "/\\example.com",
    "https://example.com",
    "\\\\example.com",
    "/\t/example.com",
    "/\n/example.com",
    " //example.com",
    "example.com",
    "",
]


@pytest.mark.parametrize("wanted", WAYS_OUT)
def test_the_way_in_leads_nowhere_else(wanted):
    right = "access_token=a+token"
    form = asked("/login", method="POST", parts=[right.encode()], query=f"next={urllib.request.quote(wanted, safe='')}")
    assert (form[0], form[1]["location"]) == (303, "/")
    status, headers, _, _ = asked(wanted, query=right)
    assert status == 303
    assert INSIDE.fullmatch(headers["location"]), headers


@given(st.text(string.printable, max_size=30))
def test_no_address_leads_out(path):
    status, headers, _, _ = asked(f"/{path}", query="access_token=a+token&b=1")
    assert status == 303
    assert INSIDE.fullmatch(headers["location"])


def test_the_rest_of_the_address_stays():
    assert asked("/geometry/é/", query="a=1&access_token=a+token&b=%2F")[1]["location"] == "/geometry/%C3%A9/?a=1&b=%2F"


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def led(address):
    try:
        urllib.request.build_opener(Stay).open(address, timeout=10)
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.headers["Location"]
    except OSError:
        return None


def test_the_browsers_address_leads_there_once():
    with socket.create_server(("127.0.0.1", 0)) as place:
        target = f"http://127.0.0.1:{place.getsockname()[1]}/?access_token=secret"
        address = opening.once(target)
        assert "secret" not in address
        assert led(address.rsplit("/", 1)[0] + "/guess")[0] == 404
        assert led(address) == (303, target)
        assert led(address) in (None, (404, None))


def test_it_is_over_when_nobody_asks():
    address = opening.once("http://127.0.0.1:9/", patience=0)
    for thread in threading.enumerate():
        if thread.name == "unstride-lab-opening":
            thread.join(10)
            assert not thread.is_alive()
    assert led(address) is None


def test_the_editors_token_is_in_no_command_line(tmp_path, monkeypatch):
    seen = {}

    def run(command, **_):
        seen["command"] = command
        seen["token"] = Path(command[-1]).read_text()
        return editing.subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(editing.subprocess, "run", run)
    monkeypatch.setattr(opening.webbrowser, "open", lambda address: seen.setdefault("opened", address))
    assert editing.edit(None, str(tmp_path / "lab"), "127.0.0.1", 2741, "hidden", browser=True) == 0
    for thread in threading.enumerate():
        if thread.name == "unstride-lab-browser":
            thread.join(10)
    assert seen["token"] == "hidden"
    assert not any("hidden" in part for part in [*seen["command"], seen["opened"]])


def test_a_sliders_value_is_between_its_ends(caplog):
    caplog.set_level(logging.CRITICAL)
    slider = page.slider(1, 8, value=3)
    for sent, value in (
        (5, 5),
        (10**9, 8),
        (-1, 1),
        (float("nan"), 1),
        (float("inf"), 8),
        ("7", 1),
        (None, 1),
        ([2], 1),
    ):
        slider._update(sent)
        assert slider.value == value, sent
