"""The lab's widgets on an empty page, with a model of traits that is only an object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from browser import Watched, until
from playwright.sync_api import Browser

from unstride.lab import widgets

HARNESS = """
async ([text, state]) => {
    document.body.innerHTML = '<div id="at"></div>';
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const listeners = {};
    globalThis.saved = 0;
    globalThis.state = state;
    globalThis.model = {
        get: (name) => state[name],
        set: (name, value) => {
            state[name] = value;
            for (const listener of listeners[`change:${name}`] ?? []) listener();
        },
        on: (name, listener) => (listeners[name] ??= new Set()).add(listener),
        off: (name, listener) => listeners[name]?.delete(listener),
        save_changes: () => { saved += 1; },
    };
    globalThis.left = () => Object.values(listeners).reduce((sum, set) => sum + set.size, 0);
    globalThis.end = (await import(url)).default.render({ model, el: document.getElementById("at") });
}
"""


@pytest.fixture
def show(chrome: Browser) -> Iterator[Callable[..., Watched]]:
    windows: list[Watched] = []

    def shown(kind: type, **state: Any) -> Watched:
        window = Watched(chrome)
        windows.append(window)
        window.page.goto("about:blank")
        made = kind(**state)
        traits = {name: getattr(made, name) for name in made.trait_names(sync=True) if not name.startswith("_")}
        traits = {name: value for name, value in traits.items() if isinstance(value, str | int | float | list)}
        window.page.add_style_tag(content=widgets._STYLE.read_text())
        window.page.evaluate(HARNESS, [str(made._esm), traits])
        return window

    yield shown
    for window in windows:
        window.page.evaluate("end()")
        assert window.page.evaluate("left()") == 0  # no listener outlives its view
        own = "Multiple readback operations"  # of this test, not of the widget
        assert [text for text in window.complaints if own not in text] == []
        window.context.close()


def ink(window: Watched) -> float:
    return float(np.sum(window.page.evaluate("state.pixels")))


def test_pad_by_mouse(show: Callable[..., Watched]) -> None:
    window = show(widgets.Pad)
    page = window.page
    box = page.locator("canvas").bounding_box()
    assert box is not None

    def stroke(x0: float, y0: float, x1: float, y1: float) -> None:
        page.mouse.move(box["x"] + x0 * box["width"], box["y"] + y0 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + x1 * box["width"], box["y"] + y1 * box["height"])
        page.mouse.up()

    stroke(0.5, 0.2, 0.5, 0.8)
    image = np.reshape(page.evaluate("state.pixels"), (28, 28))
    assert image[8:20, 13:15].min() == 255
    assert image[:, :10].max() == image[:, 18:].max() == 0
    whole = ink(window)
    stroke(0.2, 0.5, 0.8, 0.5)
    assert ink(window) > 1.5 * whole
    page.get_by_role("button", name="Undo").click()
    assert ink(window) == whole
    page.get_by_role("button", name="Eraser").click()
    stroke(0.5, 0.2, 0.5, 0.4)
    assert 0 < ink(window) < whole
    page.get_by_role("button", name="Clear").click()
    assert page.evaluate("state.pixels") == []
    page.get_by_role("button", name="Undo").click()
    assert ink(window) > 0
    page.evaluate("model.set('pixels', [])")  # from Python
    assert page.evaluate("document.querySelector('canvas').getContext('2d').getImageData(140, 200, 1, 1).data[0]") == 0


def test_pad_by_keyboard(show: Callable[..., Watched]) -> None:
    window = show(widgets.Pad)
    pad = window.page.get_by_role("application")
    pad.focus()
    pad.press(" ")
    until(window.page, "state.pixels.length > 0")
    dot = ink(window)
    pad.press("ArrowRight")
    window.page.wait_for_timeout(200)
    assert ink(window) == dot  # the pen moved and drew nothing
    for _ in range(5):
        pad.press("Shift+ArrowDown")
    until(window.page, f"state.pixels.reduce((a, b) => a + b, 0) > {dot}")
    pad.press("Backspace")
    pad.press("Delete")
    until(window.page, "state.pixels.length === 0")


@pytest.mark.parametrize("pixels", [[], [0] * 784, [255] * 783, [float("nan")] * 784])
def test_no_drawing(pixels: list[float]) -> None:
    assert widgets.Pad(pixels=pixels).image is None


def test_a_drawing_is_whole_numbers_from_0_to_255() -> None:
    image = widgets.Pad(pixels=[-5, 300, 7.9] + [0] * 781).image
    assert image is not None
    assert image.dtype == np.uint8
    assert image[0, :3].tolist() == [0, 255, 7]


def test_pixels(show: Callable[..., Watched]) -> None:
    values = (np.arange(12).reshape(3, 4) / 11).tolist()
    window = show(widgets.Pixels, values=values, choose=True, name="P")
    page, picture = window.page, window.page.get_by_role("application")
    box = picture.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.1)
    assert page.evaluate("state.cell") == [0, 3]
    picture.focus()
    for key in ("ArrowUp", "ArrowRight", "ArrowDown", "ArrowLeft"):
        picture.press(key)  # the first two lead outside, and stay at the edge
    assert page.evaluate("state.cell") == [1, 2]
    until(page, "saved > 0")
    assert page.locator(".w-said").inner_text() == f"row 1, column 2: {6 / 11:.3f}"


def test_pixels_that_cannot_be_chosen(show: Callable[..., Watched]) -> None:
    window = show(widgets.Pixels, values=[[0.0, 1.0], [-1.0, 0.5]], signed=True, marked=[[1, 0], [0, 0]], name="Q")
    picture = window.page.get_by_role("img", name="Q")
    picture.hover()
    assert window.page.evaluate("state.cell") == []
    colours = window.page.evaluate(
        "[[260, 80], [80, 260]].map(([x, y]) => [...document.querySelector('canvas').getContext('2d').getImageData(x, y, 1, 1).data])"
    )
    plus, minus = colours
    assert plus[2] > plus[0]  # blue
    assert minus[0] > minus[2]  # orange


def test_compare(show: Callable[..., Watched]) -> None:
    window = show(widgets.Compare, before_name="A", after_name="B", width=200, height=100, position=50.0)
    page = window.page
    stage = page.locator(".w-stage").bounding_box()
    assert stage is not None
    assert (stage["width"], stage["height"]) == (200, 100)
    page.mouse.move(stage["x"] + 100, stage["y"] + 50)
    page.mouse.down()
    page.mouse.move(stage["x"] + 40, stage["y"] + 50)
    page.mouse.up()
    assert page.evaluate("state.position") == pytest.approx(20)
    assert page.locator(".w-before").evaluate("at => getComputedStyle(at).clipPath").startswith("inset(0px 80%")
    page.get_by_role("slider", name="How much is A, the rest B").press("End")
    assert page.evaluate("state.position") == 100
    page.mouse.move(stage["x"] + 5, stage["y"] + 5)  # no button is down
    assert page.evaluate("state.position") == 100


def test_map(show: Callable[..., Watched]) -> None:
    points = [[0.0, 0.0, 1], [1.0, 0.0, 2], [0.0, 1.0, 3]]
    window = show(widgets.Map, points=points, colours=["red"] * 10, dark_colours=["red"] * 10)
    page, canvas = window.page, window.page.get_by_role("application")
    box = canvas.bounding_box()
    assert box is not None
    share = 24 / 560
    page.mouse.click(box["x"] + box["width"] * (1 - share), box["y"] + box["height"] * (1 - share))
    assert page.evaluate("state.chosen") == 1
    canvas.press("ArrowLeft")
    canvas.press("ArrowUp")
    canvas.press("Enter")
    assert page.evaluate("state.chosen") == 2
    assert page.locator(".w-said").inner_text() == "Digit 3, test image 2"


def test_pulse(show: Callable[..., Watched]) -> None:
    window = show(widgets.Pulse, seconds=0.02)
    page = window.page
    until(page, "state.beat >= 3 && saved >= 3")
    page.evaluate("state.on = false")
    beats = page.evaluate("state.beat")
    page.wait_for_timeout(150)
    assert page.evaluate("state.beat") == beats
    page.evaluate("state.on = true; end()")
    page.wait_for_timeout(150)
    assert page.evaluate("state.beat") == beats


def test_numbers(show: Callable[..., Watched]) -> None:
    window = show(widgets.Numbers, columns={"a": (1, 9, 1), "b": (0.0, 1.0, 0.1)}, rows={"": [3, 0.5]})
    page = window.page
    a, b = page.get_by_role("spinbutton", name="a", exact=True), page.get_by_role("spinbutton", name="b")
    a.fill("7")
    until(page, "saved === 1 && state.values[0][0] === 7")
    a.fill("70")  # too much: nothing is told while it is typed
    page.wait_for_timeout(450)
    assert page.evaluate("state.values") == [[7, 0.5]]
    assert a.get_attribute("aria-invalid") == "true"
    a.press("Tab")
    until(page, "state.values[0][0] === 9")
    assert a.input_value() == "9"
    a.fill("")
    a.press("Tab")
    assert a.input_value() == "9"
    b.press("ArrowUp")
    until(page, "Math.abs(state.values[0][1] - 0.6) < 1e-9")
    page.evaluate("model.set('values', [[2, 0.1]])")  # from Python
    assert a.input_value() == "2"


def test_a_table_of_numbers(show: Callable[..., Watched]) -> None:
    window = show(widgets.Numbers, columns={"k": (1, 9, 1)}, rows={"one": [1], "two": [2]})
    window.page.get_by_role("spinbutton", name="two: k").fill("5")
    until(window.page, "JSON.stringify(state.values) === '[[1],[5]]'")


def test_numbers_are_within_their_limits_whatever_comes() -> None:
    fields = widgets.Numbers({"a": (1, 9, 1), "b": (0.0, 1.0, 0.1)}, {"": [3, 0.5]})
    assert fields.line() == [3, 0.5]
    for sent, read in (([[99, -1]], [9, 0.0]), ([[None, "x"]], [1, 0.0]), ([], [1, 0.0]), ([[2.6, 0.2]], [3, 0.2])):
        fields.values = sent
        assert fields.line() == read


def test_a_number_is_told_before_the_button_that_is_pressed_next(show: Callable[..., Watched]) -> None:
    window = show(widgets.Numbers, columns={"a": (1, 900, 1)}, rows={"": [3]})
    window.page.get_by_role("spinbutton").fill("500")
    window.page.get_by_role("spinbutton").press("Tab")
    assert window.page.evaluate("[state.values[0][0], saved]") == [500, 1]
