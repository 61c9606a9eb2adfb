"""The lab as a server: who may enter, two windows at once, how it starts, ends and refuses."""

from __future__ import annotations

import http.client
import json
import logging
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from lab_harness import COMMAND, Visitor, free_port, running, stop
from playwright.sync_api import expect

from unstride.lab import server
from unstride.lab.chapters import CHAPTERS


def asked(lab, path, **headers):
    """The status and the text of an answer to somebody without a cookie."""
    connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=30)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        with connection.getresponse() as answer:
            return answer.status, answer.read().decode()
    finally:
        connection.close()


def shaken(lab, **headers):
    """The status with which a web socket is answered."""
    fields = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in (fields | headers).items()]
    head = ["GET /geometry/ws?session_id=s_123456 HTTP/1.1", f"Host: 127.0.0.1:{lab.port}", *lines, "", ""]
    with socket.create_connection(("127.0.0.1", lab.port), 30) as place:
        place.sendall("\r\n".join(head).encode())
        return int(place.recv(64).split()[1])


@pytest.mark.slow
def test_nobody_enters_without_the_token(lab, visitor):
    for path in ("/", "/geometry/", "/marimo/index.html", "/geometry/api/status", "/?access_token=wrong"):
        status, text = asked(lab, path)
        assert status == 401, path
        assert "token" in text
        assert lab.token not in text
    assert shaken(lab) in (401, 403)
    visitor.page.goto(f"{lab.address}/geometry/")
    visitor.page.get_by_label("Token").fill("guess")
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.get_by_role("alert")).to_have_text("That is not the lab's token.")
    visitor.page.get_by_label("Token").fill(lab.token)
    visitor.page.keyboard.press("Enter")
    visitor.settled()  # where one wanted to go
    expect(visitor.page).to_have_url(f"{lab.address}/geometry/")
    assert [c for c in visitor.complaints if "401" not in c] == []
    assert visitor.outside == []


@pytest.mark.slow
def test_the_token_does_not_stay_in_the_address(lab, visitor):
    visitor.page.goto(f"{lab.address}/frameworks/?access_token={lab.token}")
    visitor.settled()
    expect(visitor.page).to_have_url(f"{lab.address}/frameworks/")
    [cookie] = visitor.context.cookies()
    assert cookie["httpOnly"]
    assert lab.token not in cookie["value"]


def test_the_way_in_leads_nowhere_else(lab):
    for elsewhere in ("//example.com", "https://example.com", "/\\example.com"):
        request = urllib.request.Request(
            f"{lab.address}/login?next={urllib.request.quote(elsewhere)}", data=f"access_token={lab.token}".encode()
        )

        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_):
                return None

        with pytest.raises(urllib.error.HTTPError) as found:
            urllib.request.build_opener(Stay).open(request)
        with found.value as answer:
            assert (answer.code, answer.headers["Location"]) == (303, "/")


@pytest.mark.slow
def test_foreign_pages_are_refused(lab, tmp_path):
    cookie = f"unstride_lab_{lab.port}=x"
    assert asked(lab, "/", Origin="http://example.com", Cookie=cookie)[0] == 403
    assert shaken(lab, Origin="http://localhost:1") in (401, 403)
    with running(tmp_path, "--no-token", "--port", str(free_port())) as open_lab:
        assert asked(open_lab, "/")[0] == 200
        assert asked(open_lab, "/", Host="lab.example.com")[0] == 403  # a name that was made to point here
        assert shaken(open_lab, Origin="http://example.com") == 403
        assert shaken(open_lab, Origin=open_lab.address) == 101


@pytest.mark.slow
def test_an_address_without_a_page_leads_to_the_chapters(lab, visitor):
    for path in ("/nowhere/", "/geometri", "/geometry/nothing/here", "/<b>x"):
        visitor.enter()
        answer = visitor.page.goto(f"{lab.address}{path}")
        assert answer.status == 404
        expect(visitor.page.locator("h1")).to_have_text("There is no such page")
        expect(visitor.page.locator(".lab-lead code")).to_have_text(path)
        links = visitor.page.locator(".lab-chapters a")
        expect(links).to_have_count(len(CHAPTERS))
    links.nth(3).click()
    visitor.settled()
    expect(visitor.page).to_have_url(f"{lab.address}/{CHAPTERS[3].slug}/")
    assert [c for c in visitor.complaints if "404" not in c] == []
    assert visitor.outside == []
    assert asked(lab, "/nowhere")[0] == 401  # to whom has no token nothing is said


@pytest.mark.slow
def test_two_windows_do_not_disturb_each_other(visit):
    one, other = visit(), visit()
    for window in (one, other):
        window.open("geometry")
        expect(window.fact("sizes", "Full grid")).to_have_text("9 cells")
    one.slide("Input n", ["ArrowRight", "ArrowRight"])
    expect(one.fact("sizes", "Full grid")).to_have_text("13 cells")
    other.slide("Kernel k", ["ArrowRight"])
    expect(other.fact("sizes", "Full grid")).to_have_text("10 cells")
    expect(one.fact("sizes", "Full grid")).to_have_text("13 cells")
    for window in (one, other):
        window.untroubled()


@pytest.mark.slow
def test_it_ends_while_a_page_is_open(chrome, tmp_path):
    with running(tmp_path) as lab:
        visitor = Visitor(chrome, lab)
        visitor.open("geometry")
        assert stop(lab.process, signal.SIGINT) == 130
        assert "Traceback" not in lab.log.read_text()
        visitor.close()


def refused(*arguments):
    done = subprocess.run([*COMMAND, "lab", "--no-browser", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


@pytest.mark.slow
def test_errors_speak(lab, tmp_path):
    assert "there is no chapter 'eleven'; there are 1 to 10, or what-it-is," in refused("eleven")
    message = refused("--port", str(lab.port))
    assert f"port {lab.port}: Address already in use; name another --port" in message
    assert "--host nowhere.invalid" in refused("--host", "nowhere.invalid")
    assert "--token and --no-token are both given" in refused("--no-token", "--token", "x")
    assert "--token is empty" in refused("--token", " ")
    assert "any web page that you visit could then run code" in refused("--edit", "--no-token")
    file = tmp_path / "file"
    file.touch()
    assert "is a file; expected a folder" in refused("--edit", "--folder", str(file))


def test_without_marimo():
    hide = "import importlib.util as u, sys; f = u.find_spec; u.find_spec = lambda n, *a: None if n == 'marimo' else f(n, *a)"
    done = subprocess.run(
        [sys.executable, "-c", f"{hide}; from unstride.__main__ import main; sys.exit(main())", "lab"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert 'marimo is not installed, which the lab needs; pip install "unstride[app]"' in done.stderr


def test_a_chapter_by_number_and_the_address():
    assert server.find("3") is server.find("why-transposed") is CHAPTERS[2]
    assert server.find(None) is None
    assert server.address("0.0.0.0", 80, None) == "http://127.0.0.1:80/"
    assert server.address("::1", 80, "t", CHAPTERS[0]) == "http://[::1]:80/what-it-is/?access_token=t"
    assert [server.is_local(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.com")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_its_own_port_or_a_free_one():
    first = server.bind("127.0.0.1", None)
    second = server.bind("127.0.0.1", None)
    try:
        assert first.getsockname()[1] != second.getsockname()[1]
        with socket.create_connection(first.getsockname(), 5):
            pass  # a browser may come before the server answers
    finally:
        first.close()
        second.close()


def test_nothing_of_it_is_imported_before_it_is_asked_for():
    code = "import sys, unstride, unstride.app.cli, json; print(json.dumps([m for m in sys.modules if '.' not in m]))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert not {"marimo", "uvicorn", "starlette", "anywidget", "jinja2"} & set(loaded)


@pytest.mark.parametrize("debug", [False, True])
def test_an_error_in_answering_is_a_line_and_with_debug_a_traceback(debug, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("uvicorn"), "propagate", True)  # which a server in this process turns off

    async def failing(*_):
        raise RuntimeError("a page of ours")

    scope = {"type": "http", "method": "POST", "path": "/geometry/api/run"}
    with pytest.raises(
        StopIteration
    ):  # it ends without waiting; asyncio.run may not be called while Playwright's loop runs
        server._Found(failing, debug)(scope, None, None).send(None)
    assert "POST /geometry/api/run: RuntimeError: a page of ours" in caplog.text
    assert ("Traceback" in caplog.text and "in failing" in caplog.text) == debug


@pytest.mark.slow
def test_edit_opens_a_copy_of_the_code(chrome, tmp_path):
    with running(tmp_path, "geometry", "--edit", "--port", str(free_port())) as lab:
        copy = tmp_path / "unstride-lab" / "geometry.py"
        assert copy.read_text() == CHAPTERS[1].notebook.read_text()
        visitor = Visitor(chrome, lab)
        visitor.page.goto(f"{lab.address}/?access_token={lab.token}", timeout=60_000)
        visitor.page.locator("[data-lab=sizes]").wait_for(timeout=60_000)
        assert visitor.page.locator(".cm-editor").count() > 0
        assert visitor.outside == []
        visitor.close()
    copy.write_text("# mine")
    with running(tmp_path, "--edit", "--port", str(free_port())):
        assert copy.read_text() == "# mine"
        assert (copy.parent / "lab.css").exists()
