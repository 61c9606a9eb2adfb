"""Chapter 1: the numbers follow the explorer, the worked example its controls."""

import numpy as np
import pytest
from playwright.sync_api import expect

import unstride as us
from unstride.explainer.presets import PRESETS


@pytest.mark.slow
def test_the_numbers_follow_the_explorer(visitor):
    page = visitor.open("what-it-is")
    expect(visitor.fact("explored", "Output")).to_have_text("4 × 4")
    cell = page.locator("[data-panel=x] .us-cell").nth(3)
    cell.click()
    page.keyboard.type("50")
    page.keyboard.press("Enter")
    x, w = np.array([[0, 1], [2, 50]]), np.array([[0, 1], [2, 3]])
    total = us.conv_transpose(x, w, stride=2, channels=None).sum()
    assert total == x.sum() * w.sum()
    expect(visitor.fact("explored", "Sum of the full grid")).to_have_text(f"{total:.0f}")
    expect(visitor.fact("explored", "Sum of the input")).to_have_text(f"{x.sum()} × {w.sum()} = {total:.0f}")
    page.get_by_label("Example", exact=True).first.select_option(label=PRESETS["checkerboard"].title)
    expect(visitor.fact("explored", "Most products in one cell")).to_have_text(
        str(PRESETS["checkerboard"].trace().overlap.max())
    )
    visitor.untroubled()


@pytest.mark.slow
def test_the_worked_example_step_by_step(visitor):
    page = visitor.open("what-it-is")
    picture = visitor.lab_part("worked").locator("img")
    last = PRESETS["worked-1"].trace().steps("scatter")
    expect(picture).to_have_attribute("alt", last[-1].caption)
    seen = picture.get_attribute("src")
    visitor.slide("Step of the example", ["ArrowLeft"])
    expect(picture).to_have_attribute("alt", last[-2].caption)
    assert picture.get_attribute("src") != seen
    page.get_by_role("radio", name="Stride 2").click()
    expect(picture).to_have_attribute("alt", PRESETS["worked-2"].trace().steps("scatter")[len(last) - 2].caption)
    assert picture.evaluate("image => image.naturalWidth") > 0
    visitor.slide("Step of the example", ["Home"])
    expect(visitor.lab_part("worked").locator("figcaption")).to_have_text("Step 0 of 4. Nothing is done yet.")
    visitor.untroubled()
