"""Chapter 6: layers, a training that is stopped, continued and found again, drawings, pixels and cells."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from lab_harness import Visitor
from playwright.sync_api import Page, expect

from unstride.app import weights
from unstride.app.tasks.autoencoder.inference import Autoencoder
from unstride.data import mnist_test

STATE = '[data-lab="training"]'


def fill(page: Page, name: str, value: object) -> None:
    field = page.get_by_role("spinbutton", name=name, exact=True)
    field.fill(str(value))
    field.press("Tab")


LONG = 500
"""Epochs of a training that will be stopped."""


def small(page: Page, epochs: int) -> None:
    """Few and small layers, and few images, for a training of seconds; or more of them, for one that lasts minutes even on a
    fast machine, so that it cannot end before it is stopped."""
    page.get_by_role("combobox", name="Start from").select_option("As few as possible")
    expect(page.locator('[data-lab="layers"]')).to_contain_text("7×7×4")
    fill(page, "Epochs", epochs)
    fill(page, "Images", 6000 if epochs == LONG else 100)
    fill(page, "Batch size", 20)


def started(page: Page) -> str:
    """Starts it; its name."""
    before = page.url
    page.get_by_role("button", name="Start training").click()
    page.wait_for_function("(before) => location.href !== before && location.search.includes('run=')", arg=before)
    return page.url.rpartition("run=")[2]


@pytest.mark.slow
def test_layers(visitor: Visitor) -> None:
    page = visitor.open("autoencoder")
    expect(visitor.fact("built", "Parameters")).to_have_text("12,785")
    page.get_by_role("spinbutton", name="Convolution 1: filters").fill("16")
    page.get_by_role("spinbutton", name="Convolution 1: filters").press("Tab")
    # The first layer loses 160, the second its 16 * 9 * 16 weights.
    expect(visitor.fact("built", "Parameters")).to_have_text(f"{12_785 - 160 - 2304:,}")
    page.get_by_role("combobox", name="Start from").select_option("One pixel short")
    problem = visitor.lab_part("built-problem")
    expect(problem).to_contain_text("ends with 27×27; expected 28×28")
    expect(problem).to_contain_text("would end there with kernel 4")
    page.get_by_role("button", name="Start training").click()
    expect(visitor.lab_part("told")).to_contain_text("cannot be trained")
    page.get_by_role("spinbutton", name="Transposed 2: kernel").fill("4")
    page.get_by_role("spinbutton", name="Transposed 2: kernel").press("Tab")
    expect(visitor.fact("built", "Ends with")).to_have_text("28×28")
    expect(problem).to_have_count(0)
    visitor.untroubled()


@pytest.mark.slow
def test_a_training_of_two_epochs(visitor: Visitor) -> None:
    page = visitor.open("autoencoder")
    before = visitor.fact("errors", "Squared error").inner_text()
    small(page, 2)
    started(page)
    expect(page.locator(f'{STATE}[data-done="2"]')).to_be_visible(timeout=300_000)
    expect(visitor.lab_part("curves").locator("svg")).to_be_visible()
    expect(visitor.fact("errors", "Squared error")).not_to_have_text(before)
    expect(visitor.lab_part("maps-conv2d_1")).to_contain_text("7×7×4")
    expect(page.locator(f'{STATE}[data-state="finished"]')).to_be_visible(timeout=300_000)
    expect(page.get_by_role("button", name="Train 2 epochs more")).to_be_enabled()
    page.get_by_role("combobox", name="Shown below").select_option(label="The trained one that ships with unstride")
    expect(visitor.fact("errors", "Squared error")).to_have_text(before)
    visitor.untroubled()


@pytest.mark.slow
def test_reload_stop_and_continue(visitor: Visitor) -> None:
    page = visitor.open("autoencoder")
    small(page, LONG)
    name = started(page)
    expect(page.locator(f'{STATE}[data-state="training"]')).to_be_visible(timeout=300_000)
    page.reload()
    visitor.settled()
    state = page.locator(STATE)
    expect(state).to_contain_text(name)
    expect(state).to_have_attribute("data-state", "training")
    done = int(state.get_attribute("data-done") or 0)
    page.wait_for_function(
        "([at, done]) => Number(document.querySelector(at)?.dataset.done) > done + 2",
        arg=[STATE, done],
        timeout=300_000,
    )  # it goes on, and the page sees it
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(f'{STATE}[data-state="stopped"]')).to_be_visible(timeout=120_000)
    stopped = int(page.locator(STATE).get_attribute("data-done") or 0)
    assert 0 < stopped < LONG
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    page.get_by_role("button", name="Continue").click()
    page.wait_for_function(
        "([at, done]) => Number(document.querySelector(at)?.dataset.done) > done", arg=[STATE, stopped], timeout=300_000
    )
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(f'{STATE}[data-state="stopped"]')).to_be_visible(timeout=120_000)
    visitor.untroubled()


@pytest.mark.slow
def test_a_second_click_starts_no_second_training(visitor: Visitor) -> None:
    """Neither at once, before the page has shown the first one's, nor later, when the button is disabled."""
    page = visitor.open("autoencoder")
    small(page, LONG)
    page.wait_for_timeout(1000)
    page.get_by_role("button", name="Start training").dblclick()
    expect(page.get_by_role("button", name="Start training")).to_be_disabled()
    expect(page.locator(STATE)).to_be_visible()
    expect(visitor.lab_part("told").filter(has_text="already")).to_have_count(0)
    name = page.url.rpartition("run=")[2]
    records = visitor.lab.log.parent / "runs" / ".lab"
    newest = max(records.glob("autoencoder-*.json"), key=lambda record: record.stat().st_mtime_ns)
    assert newest.stem == name
    stamp = name.removeprefix("autoencoder-")[:15]
    assert [record.stem for record in records.glob(f"autoencoder-{stamp}*.json")] == [name]
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Start training")).to_be_enabled(timeout=120_000)
    visitor.untroubled()


@pytest.mark.slow
def test_a_training_that_fails_says_why(visitor: Visitor) -> None:
    page = visitor.open("autoencoder")
    small(page, 1)
    fill(page, "Batch size", 90)  # of 100 images 80 are left to train on
    started(page)
    expect(visitor.lab_part("training-problem")).to_contain_text(
        "--batch-size is 90; expected at most 80", timeout=300_000
    )
    visitor.untroubled()


@pytest.mark.slow
def test_two_windows_do_not_disturb_each_other(visit: Callable[..., Visitor]) -> None:
    one, other = visit(), visit()
    first, second = one.open("autoencoder"), other.open("autoencoder")
    fill(first, "Number of the test image", 3)
    first.get_by_role("combobox", name="Start from").select_option("As few as possible")
    expect(one.fact("built", "Parameters")).not_to_have_text("12,785")
    expect(other.fact("built", "Parameters")).to_have_text("12,785")
    draw(first)
    expect(one.lab_part("drawn")).to_have_count(1)
    expect(one.fact("drawn-error", "Squared error")).to_be_visible()
    expect(other.lab_part("drawn")).to_contain_text("Nothing is drawn yet")
    small(first, LONG)
    name = started(first)
    expect(first.locator(STATE)).to_contain_text(name)
    assert "run=" not in second.url
    expect(second.locator(STATE)).to_have_count(0)
    expect(other.fact("built", "Parameters")).to_have_text("12,785")
    second.reload()
    other.settled()
    option = second.get_by_role("combobox", name="Shown below").locator("option", has_text=name)
    expect(option).to_have_count(1)  # but it can be found there
    first.get_by_role("button", name="Stop").click()
    expect(first.locator(f'{STATE}[data-state="stopped"]')).to_be_visible(timeout=300_000)
    for window in (one, other):
        window.untroubled()


def draw(page: Page) -> None:
    """A stroke with the mouse, from the top to the bottom of the pad."""
    pad = page.get_by_role("application", name="Drawing pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2
    page.mouse.move(middle, box["y"] + 0.2 * box["height"])
    page.mouse.down()
    for step in range(3, 9):
        page.mouse.move(middle, box["y"] + step / 10 * box["height"])
    page.mouse.up()


@pytest.fixture(scope="module")
def shipped() -> Autoencoder:
    return Autoencoder(weights.find("autoencoder", "autoencoder", None))


def test_the_shipped_autoencoder_is_the_readings(shipped: Autoencoder) -> None:
    assert sum(row.parameters for row in shipped.rows) == 12_785
    images = mnist_test()[0][:200] / np.float32(255)
    assert np.square(shipped.reconstructed(images) - images).mean() < 0.002


@pytest.mark.slow
def test_a_drawing(visitor: Visitor) -> None:
    page = visitor.open("autoencoder")
    expect(visitor.lab_part("drawn")).to_contain_text("Nothing is drawn yet")
    draw(page)
    picture = visitor.lab_part("drawn").locator("img")
    expect(picture).to_be_visible()
    error = visitor.fact("drawn-error", "Squared error")
    assert 0 < float(error.inner_text()) < 0.05  # a stroke like a one comes back
    first = picture.get_attribute("src")
    pad = page.get_by_role("application", name="Drawing pad")
    pad.focus()
    for _ in range(4):
        pad.press("Shift+ArrowRight")
    expect(picture).not_to_have_attribute("src", first or "")
    page.get_by_text("My drawing").click()
    expect(visitor.lab_part("maps-conv2d_4")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(visitor.lab_part("drawn")).to_contain_text("Nothing is drawn yet")
    expect(page.get_by_text("so the test image is shown")).to_be_visible()
    visitor.untroubled()


@pytest.mark.slow
def test_a_finger_draws(visit: Callable[..., Visitor]) -> None:
    visitor = visit(width=360, height=700, has_touch=True, is_mobile=True)
    page = visitor.open("autoencoder")
    pad = page.get_by_role("application", name="Drawing pad")
    pad.tap()
    expect(visitor.lab_part("drawn").locator("img")).to_be_visible()
    visitor.untroubled()


@pytest.mark.slow
def test_cells_that_reach_a_pixel(visitor: Visitor, shipped: Autoencoder) -> None:
    page = visitor.open("autoencoder")
    expect(visitor.fact("reach", "Cells that reach it")).to_have_text("81 of 484")
    output = page.get_by_role("application", name="The reconstruction")
    output.scroll_into_view_if_needed()
    box = output.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.5 / 28, box["y"] + box["height"] * 0.5 / 28)
    reached = shipped.reach((0, 0))
    expect(visitor.fact("reach", "Cells that reach it")).to_have_text(f"{reached.sum()} of 484")
    output.focus()
    output.press("ArrowDown")
    expect(visitor.fact("reach", "Cells that reach it")).to_have_text(f"{shipped.reach((1, 0)).sum()} of 484")
    image = mnist_test()[0][0] / np.float32(255)
    most = np.abs(shipped.influence(image, (1, 0)).sum(-1)).max()
    expect(visitor.fact("reach", "Strongest derivative")).to_have_text(f"{most:.3f}")
    visitor.untroubled()
