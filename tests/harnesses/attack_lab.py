"""Random requests to a lab, few of them welcome, until the time is up: `python tests/harnesses/attack_lab.py --seconds 60`.

On this machine only. Who has no token gets nothing but the question for it; whatever is sent, the lab answers, says nothing of
its token and writes no traceback; afterwards it serves as before. What is otherwise is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
from lab_harness import running

from unstride.lab.chapters import CHAPTERS
from unstride.lab.gate import FORM_BYTES, MAX_REQUEST_BYTES

PATHS = [
    "/", "/login", "/favicon.ico", "/nowhere", "//example.com", "//example.com/%2e%2e", "/%2e%2e/%2e%2e/etc/passwd", "/\\example.com",
    "/marimo/../../etc/passwd", "/marimo/assets/..%2f..%2f", "/marimo/index.html", "/\x00", "/é", "/" + "a" * 5000, "*", "http://a/",
    *(f"/{chapter.slug}{rest}" for chapter in CHAPTERS[:3] for rest in (
        "", "/", "/ws?session_id=s_1", "/api/status", "/api/kernel/run", "/api/kernel/instantiate", "/api/files/list_files",
        "/api/kernel/set_ui_element_value", "/@file/1-x.png", "/auth/login", "/health")),
]  # fmt: skip
METHODS = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW", "get"]
STRANGE = [
    "",
    "[",
    "[::1",
    "]",
    "a b",
    "example.com",
    "localhost",
    "127.0.0.1",
    "127.0.0.1:1",
    "a" * 3000,
    "\xff",
    "null",
    "http://[",
]
LEAST_MEMORY = 300 * 2**20
"""Bytes that the lab may grow by while it is asked."""


def request(rng, lab, cookie):
    """A request's bytes, and whether it has the token."""
    host = rng.choice([f"127.0.0.1:{lab.port}"] * 6 + STRANGE)
    headers = [f"Host: {host}"] * rng.choice([1] * 12 + [0, 2])
    if rng.random() < 0.4:
        headers.append("Origin: " + rng.choice([lab.address, "http://example.com", "null", *STRANGE]))
    path, method, known = rng.choice(PATHS), rng.choice(["GET", "GET", "POST", *METHODS]), False
    kind = rng.random()
    if kind < 0.2:
        headers.append(f"Cookie: {cookie}")
        known = True
    elif kind < 0.4:
        headers.append(
            rng.choice(
                ["Cookie: ", f"Cookie: {cookie[:-1]}", "Cookie: unstride_lab_1=x; =;;", "Authorization: Bearer x"]
            )
        )
    elif kind < 0.6:
        path += ("&" if "?" in path else "?") + "access_token=" + rng.choice(["", "x", "%00", "%ff", "x" * 3000])
    if rng.random() < 0.2:
        headers += [
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ]
    body = b""
    if method == "POST":
        size = rng.choice([0, 1, 100, FORM_BYTES, FORM_BYTES + 1, 10**5])
        body = (rng.choice([b"a=1&", b"\x00", b"{", b'{"a":[', b"access_token=x&"]) * size)[:size]
        said = rng.choice([str(size)] * 6 + [str(MAX_REQUEST_BYTES + 1), "-1", "x", "9" * 30])
        headers.append(f"Content-Length: {said}")
    line = f"{method} {path} {rng.choice(['HTTP/1.1'] * 9 + ['HTTP/1.0', 'HTTP/9', ''])}"
    return "\r\n".join([line, *headers, "", ""]).encode("latin-1") + body, known


def answered(lab, content, patience=20):
    """The first bytes of the answer; None if the lab closed the connection without one."""
    with socket.create_connection(("127.0.0.1", lab.port), patience) as place:
        place.settimeout(patience)
        try:
            place.sendall(content)
            place.shutdown(socket.SHUT_WR)
            return place.recv(65536) or None
        except (BrokenPipeError, ConnectionResetError):
            return None


def judged(lab, answer, known):
    """What is wrong with an answer, "" if nothing; and its status."""
    if answer is None:
        return "", "closed"
    status = answer.split(b" ", 2)[1].decode() if answer.startswith(b"HTTP/") else "none"
    if lab.token.encode() in answer:
        return "the token is in the answer", status
    if not status.isdecimal() or (int(status) >= 500 and not known):  # marimo's own, to who may enter, are in one line
        return f"status {status}", status
    if not known and int(status) < 400 and b"location" not in answer.lower():
        return f"status {status} without a token", status
    return "", status


def entered(lab):
    """The cookie of who gave the token."""
    answer = answered(lab, f"GET /?access_token={lab.token} HTTP/1.1\r\nHost: 127.0.0.1:{lab.port}\r\n\r\n".encode())
    line = next(line for line in answer.decode("latin-1").split("\r\n") if line.lower().startswith("set-cookie:"))
    return line.partition(":")[2].partition(";")[0].strip()


def flood(lab, seconds):
    """Forms of many megabytes at once, and connections that say nothing: meanwhile somebody else is answered."""
    form = (
        b"POST /login HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 24000000\r\n\r\n" % lab.port
        + b"a=1&" * 6_000_000
    )
    end = time.monotonic() + seconds

    def send():
        while time.monotonic() < end:
            answered(lab, form)

    threads = [threading.Thread(target=send) for _ in range(4)]
    idle = [socket.create_connection(("127.0.0.1", lab.port), 5) for _ in range(50)]
    for thread in threads:
        thread.start()
    slowest = 0.0
    while time.monotonic() < end:
        start = time.monotonic()
        answered(lab, f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{lab.port}\r\n\r\n".encode())
        slowest = max(slowest, time.monotonic() - start)
    for thread in threads:
        thread.join()
    for place in idle:
        place.close()
    return slowest


def run(seconds, seed):
    """How many requests were sent, with which answers, and what was found."""
    rng, tried, found = random.Random(seed), Counter(), []
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as lab:
        cookie, process = entered(lab), psutil.Process(lab.process.pid)
        answered(lab, f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{lab.port}\r\n\r\n".encode())
        time.sleep(5)  # what chapters import is imported ahead
        before = process.memory_info().rss
        end = time.monotonic() + 0.8 * seconds
        while time.monotonic() < end:
            content, known = request(rng, lab, cookie)
            try:
                problem, status = judged(lab, answered(lab, content), known)
            except TimeoutError:
                problem, status = "no answer", "none"
            tried[status] += 1
            if problem:
                found.append(f"{problem}: {content[:300]!r}")
        slowest = flood(lab, 0.2 * seconds)
        grown = process.memory_info().rss - before
        if slowest > 5:
            found.append(f"while it was flooded an answer took {slowest:.1f} s")
        if grown > LEAST_MEMORY:
            found.append(f"it grew by {grown:,} bytes")
        if not answered(
            lab, f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{lab.port}\r\nCookie: {cookie}\r\n\r\n".encode()
        ).startswith(b"HTTP/1.1 200"):
            found.append("it no longer serves who has the token")
        said = lab.log.read_text()
        if "Traceback" in said:
            found.append("a traceback: " + said[said.index("Traceback") :][:1500])
    return tried, found, {"slowest answer, s": round(slowest, 2), "grown, bytes": grown}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    tried, found, measured = run(given.seconds, given.seed)
    for status, count in sorted(tried.items()):
        print(f"{count:9,}  {status}")
    print(json.dumps(measured))
    for problem in found[:20]:
        print(problem)
    print(f"{sum(tried.values()):,} requests, seed {given.seed}, {len(found)} findings")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
