"""The explorer as an anywidget: in JupyterLab and in marimo, each opened in a real browser."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import anywidget
import nbformat
import numpy as np
import pytest
from browser import Watched, until
from playwright.sync_api import expect

import unstride as us
from unstride import explain
from unstride.explainer.widget import Explorer

START = {"x": [[1, 2], [3, 4]], "kernel": [[1, 2], [3, 4]], "stride": [2, 2]}


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


@contextmanager
def served(command: list[str], folder: Path, port: int):
    """A server of a process group of its own, whose output is shown if something fails."""
    log = folder / "server.log"
    environment = os.environ | {"HOME": str(folder), "JUPYTER_PLATFORM_DIRS": "1", "PYTHONWARNINGS": "ignore"}
    # Where anywidget's extension of JupyterLab is, also where the tests run in an environment on top of another.
    environment["JUPYTER_PATH"] = str(Path(anywidget.__file__).parents[4] / "share" / "jupyter")
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, env=environment, start_new_session=True)
    try:
        end = time.monotonic() + 90
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            with socket.socket() as place:
                if place.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield log
    except BaseException:
        print(log.read_text()[-5000:])
        raise
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def change_a_cell(watched: Watched) -> None:
    """The input's last cell from 4 to 50, as a reader does it."""
    cell = watched.page.locator("[data-panel=x] .us-cell").nth(3)
    cell.wait_for(timeout=40_000)
    expect(cell).to_have_text("4")
    expect(watched.page.locator(".us-count")).to_have_text("0 / 4")  # nothing is done yet
    expect(watched.page.locator("[data-panel=sum] .us-cell").last).to_have_text("")
    watched.page.click("[aria-label='To the end']")
    cell.click()
    watched.page.keyboard.type("50")
    watched.page.keyboard.press("Enter")
    expect(watched.page.locator("[data-panel=sum] .us-cell").last).to_have_text("200")


def until_file(path: Path, log: Path) -> str:
    end = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end, log.read_text()[-5000:]
        time.sleep(0.05)
    return path.read_text()


CELL = """import unstride as us
from pathlib import Path
from unstride.explainer.widget import Explorer
explorer = Explorer({start})
explorer.observe(lambda change: Path("seen.txt").write_text(str(float(explorer.trace.output.max())))
    if explorer.state["x"] != {start}["x"] else None, "state")
"""


@pytest.mark.slow
def test_in_jupyterlab(chrome, tmp_path):
    code = CELL.format(start=START) + "explorer"
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(code)],
        metadata={"kernelspec": {"name": "here", "display_name": "here", "language": "python"}},
    )
    nbformat.write(book, tmp_path / "book.ipynb")
    kernels = tmp_path / ".local" / "share" / "jupyter" / "kernels" / "here"
    kernels.mkdir(parents=True)
    run = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernels / "kernel.json").write_text(json.dumps({"argv": run, "display_name": "here", "language": "python"}))
    port, token = free_port(), secrets.token_hex(16)
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1",
        "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={tmp_path}",
        "--LabApp.news_url=None", "--LabApp.extension_manager=readonly",
    ]  # fmt: skip
    with served(command, tmp_path, port) as log:
        watched = Watched(chrome, viewport={"width": 1300, "height": 1000})
        watched.page.goto(f"http://127.0.0.1:{port}/lab/tree/book.ipynb?token={token}", timeout=60_000)
        watched.page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
        # A cell that is run before the kernel is there is not run at all.
        watched.page.get_by_text("here | Idle").wait_for(timeout=60_000)
        watched.page.locator(".jp-Notebook .jp-Cell .cm-content").first.click()
        watched.page.keyboard.press("Shift+Enter")
        change_a_cell(watched)
        assert float(until_file(tmp_path / "seen.txt", log)) == 200
        # The notebook's own keys stay out: "a" and "b" would insert cells, arrows move between them.
        cells = watched.page.locator(".jp-Notebook .jp-Cell").count()
        watched.page.locator("[data-panel=sum] .us-cell").first.click()
        for key in ("a", "b", "ArrowDown"):
            watched.page.keyboard.press(key)
        until(watched.page, "document.activeElement.dataset.i === '4'")
        expect(watched.page.locator(".jp-Notebook .jp-Cell")).to_have_count(cells)
        watched.context.close()


@pytest.mark.slow
def test_in_marimo(chrome, tmp_path):
    (tmp_path / "book.py").write_text(
        "import marimo\n\napp = marimo.App()\n\n\n@app.cell\ndef _():\n    import marimo as mo\n"
        + "".join(f"    {line}\n" for line in CELL.format(start=START).splitlines())
        + "    shown = mo.ui.anywidget(explorer)\n    shown\n    return\n\n\nif __name__ == '__main__':\n    app.run()\n"
    )
    port, token = free_port(), secrets.token_hex(16)
    command = [
        sys.executable, "-m", "marimo", "-q", "run", "book.py", "--headless", f"--port={port}", "--host=127.0.0.1",
        "--token", f"--token-password={token}",
    ]  # fmt: skip
    with served(command, tmp_path, port) as log:
        watched = Watched(chrome, viewport={"width": 1300, "height": 1000})
        watched.page.goto(f"http://127.0.0.1:{port}/?access_token={token}", timeout=60_000)
        change_a_cell(watched)
        assert float(until_file(tmp_path / "seen.txt", log)) == 200
        watched.context.close()


def test_the_state_is_a_traitlet_and_the_trace_follows_it():
    explorer = Explorer(explain([1, 2, 3], [1, 10], stride=2, upstream=[1, 2, 3, 4, 5, 6]))
    assert np.array_equal(explorer.trace.output, [1, 10, 2, 20, 3, 30])
    assert np.array_equal(explorer.trace.upstream, [1, 2, 3, 4, 5, 6])
    seen = []
    explorer.observe(lambda change: seen.append(change.new), "state")
    explorer.state = {**explorer.state, "bias": 1, "padding": [[0, 1]], "gradient": None}
    assert len(seen) == 1
    assert np.array_equal(explorer.trace.output, [2, 11, 3, 21, 4])
    assert Explorer().trace.output.shape == (4, 4)
    assert Explorer().state["step"] == 0
    written = Explorer(explain([1, 2, 3], [1, 10], padding="same"))
    assert (written.state["padding"], written.state["step"]) == ("same", 0)
    assert written.trace.written == ("same", None)
    with pytest.raises(us.GeometryError, match="no field"):
        Explorer({"y": 1})
