"""Chapter 7: codes changed, walks between digits, the map."""

from __future__ import annotations

import numpy as np
import pytest
from lab_harness import Visitor
from playwright.sync_api import expect

from unstride.app import weights
from unstride.app.tasks.compressor.inference import Compressor
from unstride.data import mnist_test


def images(*numbers: int) -> np.ndarray:
    return mnist_test()[0][list(numbers)] / np.float32(255)


def network() -> Compressor:
    return Compressor(weights.find("compressor", "compressor", None))


def test_the_shipped_compressor() -> None:
    ours, some = network(), images(*range(300))
    assert ours.code == 32
    assert np.square(ours.decoded(ours.encoded(some)) - some).mean() < 0.005


@pytest.mark.slow
def test_a_number_of_the_code_is_changed(visitor: Visitor) -> None:
    page = visitor.open("compress")
    ours, image = network(), images(7)
    code = ours.encoded(image)
    kept = np.square(ours.decoded(code) - image).mean()
    expect(visitor.fact("code", "Squared error")).to_have_text(f"{kept:.4f}")
    visitor.slide("Added to it", ["End"])
    code[0, 0] += 15
    changed = np.square(ours.decoded(code) - image).mean()
    expect(visitor.fact("code", "Of the changed code")).to_have_text(f"{changed:.4f}")
    assert changed > kept
    page.get_by_role("spinbutton", name="Test image", exact=True).fill("8")
    page.get_by_role("spinbutton", name="Test image", exact=True).press("Tab")
    expect(visitor.fact("code", "Squared error")).not_to_have_text(f"{kept:.4f}")
    visitor.untroubled()


@pytest.mark.slow
def test_a_walk(visitor: Visitor) -> None:
    page = visitor.open("compress")
    codes = network().encoded(images(0, 9))
    page.get_by_role("spinbutton", name="To test image").fill("9")
    page.get_by_role("spinbutton", name="To test image").press("Tab")
    expect(visitor.fact("distance", "Distance")).to_have_text(f"{np.linalg.norm(codes[0] - codes[1]):.2f}")
    between = visitor.lab_part("between").locator("img")
    before = between.get_attribute("src")
    visitor.slide("Share t", ["Home"])
    expect(visitor.lab_part("between")).to_contain_text("t = 0.00")
    expect(between).not_to_have_attribute("src", before or "")
    page.get_by_text("From my drawing instead").click()
    expect(visitor.lab_part("ends-problem")).to_contain_text("Nothing is drawn yet")
    visitor.untroubled()


@pytest.mark.slow
def test_the_map(visitor: Visitor) -> None:
    page = visitor.open("compress")
    expect(visitor.lab_part("chosen")).to_contain_text("Click a point")
    points = page.get_by_role("application", name="Map of codes")
    points.focus()
    points.press("ArrowRight")
    points.press("Enter")
    expect(visitor.lab_part("chosen").locator("img")).to_be_visible()
    first = visitor.lab_part("chosen").inner_text()
    assert first.startswith("From test image")
    box, walk = points.bounding_box(), visitor.lab_part("chosen").bounding_box()
    assert box is not None
    assert walk is not None
    assert walk["x"] > box["x"] + box["width"]  # beside the map
    expect(points).to_be_focused()
    points.press("ArrowUp")
    points.press("Enter")
    expect(visitor.lab_part("chosen")).not_to_have_text(first)
    visitor.untroubled()
