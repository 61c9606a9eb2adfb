"""The frame times of the explorer while it plays, for each view, in a real Chromium.

    python benchmarks/explorer.py [--size 12] [--kernel 5] [--stride 1 2] [--seconds 3] [--views grid ...] [--trace]

Plays each view at 60 steps per second and prints, in ms: the time between two frames (median, 95th percentile,
longest); the page's own work for a step (median; its JavaScript, without style, layout and painting); and the processor
time of all of the browser's processes for a frame, on all cores together. A screen with 60 frames per second has 16.7
ms for each. Without a graphics card Chromium paints on the processor, and other processes there delay frames; the last
column hardly depends on them. With ``--trace`` it prints the parts of a frame's time that Chromium's tracing reports,
in ms, largest first. Needs Playwright and a Chromium.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

import unstride as us
from unstride.explainer.web import page as pages

VIEWS = ("scatter", "grid", "matrix", "overlap", "gradient")
TRACED = ["devtools.timeline", "disabled-by-default-devtools.timeline", "cc", "viz", "blink"]
PLAY = """(seconds) => new Promise((done) => {
    const { player } = explorer;
    const [frames, work, go] = [[], [], explorer.go];
    explorer.go = (step) => {
        const start = performance.now();
        go.call(explorer, step);
        work.push(performance.now() - start);
    };
    player.speed.value = "60";
    player.to(0);
    const tick = (time) => {
        frames.push(time);
        if (time - frames[0] < 1000 * seconds) {
            if (!player.playing) player.play();  // again and again, if there are few steps
            requestAnimationFrame(tick);
            return;
        }
        player.stop();
        delete explorer.go;
        done({ frames, work });
    };
    requestAnimationFrame(tick);
})"""


def played(page: Page, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """The times between frames, and of the page's own work for a step, in ms."""
    times = page.evaluate(PLAY, seconds)
    return np.diff(times["frames"]), np.array(times["work"])


def processor(session: CDPSession) -> float:
    """The processor time of all of the browser's processes so far, in ms."""
    return 1000 * sum(process["cpuTime"] for process in session.send("SystemInfo.getProcessInfo")["processInfo"])


def traced(browser: Browser, page: Page, seconds: float) -> dict[str, float]:
    """The processor's ms per frame by job, with Chromium's names; one job may be part of another."""
    browser.start_tracing(page=page, categories=TRACED)
    frames, _ = played(page, seconds)
    events: list[dict[str, Any]] = json.loads(browser.stop_tracing())["traceEvents"]
    total: Counter[str] = Counter()
    for event in events:
        if event.get("ph") == "X":
            total[event["name"]] += event.get("tdur", 0) / 1000
    return {name: ms / len(frames) for name, ms in total.most_common(25)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=12)
    parser.add_argument("--kernel", type=int, default=5)
    parser.add_argument("--stride", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--views", nargs="+", default=VIEWS, choices=VIEWS)
    parser.add_argument("--trace", action="store_true")
    arguments = parser.parse_args()
    n, k = arguments.size, arguments.kernel
    x, kernel = np.arange(n * n).reshape(n, n) % 10, np.arange(k * k).reshape(k, k) % 10
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        session = browser.new_browser_cdp_session()
        for stride in arguments.stride:
            file = Path(folder) / f"explorer{stride}.html"
            pages.html(us.explain(x, kernel, stride=stride), file)
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            page.goto(file.as_uri())
            page.locator(".us-cell").first.wait_for()
            print(f"input {n}×{n}, kernel {k}×{k}, stride {stride}; ms")
            print(f"  {'view':<10}{'median':>8}{'95%':>8}{'longest':>9}{'own work':>10}{'processor':>11}")
            for view in arguments.views:
                page.evaluate("(view) => explorer.apply({ ...explorer.state, view, step: 0 })", view)
                played(page, 0.5)
                before = processor(session)
                frames, work = played(page, arguments.seconds)
                spent = (processor(session) - before) / len(frames)
                times = f"{np.median(frames):8.1f}{np.quantile(frames, 0.95):8.1f}{frames.max():9.1f}"
                print(f"  {view:<10}{times}{np.median(work):10.2f}{spent:11.1f}", flush=True)
                if arguments.trace:
                    for name, ms in traced(browser, page, arguments.seconds).items():
                        print(f"      {name:<52}{ms:8.2f}")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
