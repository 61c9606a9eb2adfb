"""Chapter 4: overlaps, untrained decoders, a decoder trained from the page."""

from __future__ import annotations

import math

import numpy as np
import pytest
from lab_harness import Visitor
from playwright.sync_api import expect

from unstride import explain
from unstride._messages.wording import counted
from unstride.lab.training import untrained


@pytest.mark.slow
def test_overlap_by_kernel_and_stride(visitor: Visitor) -> None:
    page = visitor.open("checkerboard")
    expect(visitor.fact("overlap", "Products a cell")).to_have_text("1 to 4")
    visitor.slide("Kernel k", ["ArrowRight"])
    expect(visitor.fact("overlap", "Products a cell")).to_have_text("4")
    expect(visitor.fact("overlap", "Even")).to_have_text("yes, s divides k")
    visitor.slide("Stride s", ["ArrowRight"])
    counts = explain(np.ones((4, 4)), np.ones((4, 4)), stride=3)
    expect(visitor.fact("overlap", "Along an axis")).to_have_text(", ".join(map(str, counts.phase_overlap[0])))
    picture = page.get_by_role("application", name="Products a cell")
    picture.focus()
    picture.press("ArrowLeft")  # from the middle, row 6
    row, column = (size // 2 for size in counts.output_size)
    expect(visitor.lab_part("cell")).to_contain_text(f"sum of {counted(counts.overlap[row, column - 1], 'product')}.")
    visitor.untroubled()


@pytest.mark.slow
def test_the_map_has_its_counts_and_a_legend(visitor: Visitor) -> None:
    page = visitor.open("checkerboard")
    key = visitor.lab_part("counts").locator("li")
    expect(key).to_have_text(["1 product", "2 products", "4 products"])
    picture = page.get_by_role("application", name="Products a cell")
    edge = picture.evaluate("(canvas) => [...canvas.getContext('2d').getImageData(1, 1, 1, 1).data]")
    assert edge == [138, 146, 155, 255]  # white cells, too, are seen on white paper
    picture.focus()
    picture.press("ArrowLeft")
    picture.press("ArrowUp")  # from the middle, row 4, column 4
    expect(page.get_by_text("row 3, column 3: 1", exact=True)).to_be_visible()
    expect(visitor.lab_part("cell")).to_contain_text("the sum of 1 product.")
    visitor.slide("Kernel k", ["Home"])
    expect(key).to_have_text(["0 products", "1 product"])
    visitor.untroubled()


@pytest.mark.slow
def test_untrained_decoders(visitor: Visitor) -> None:
    visitor.open("checkerboard")
    shown = visitor.lab_part("untrained-transposed").locator("figcaption")
    expect(shown).to_have_text(f"transposed, 3×3: {untrained('transposed', 3)[1]:.0f}% checkerboard")
    visitor.slide("Kernel of all three decoders", ["ArrowRight"])
    even = untrained("transposed", 4)[1]
    expect(shown).to_contain_text(f" {even:.0f}%")
    assert even < untrained("transposed", 3)[1] / 3
    smooth = untrained("resize", 4)[1]
    expect(visitor.lab_part("untrained-resize").locator("figcaption")).to_contain_text(f" {smooth:.0f}%")
    assert smooth < 10 < 15 < even  # as one sees: the one is smooth, the other speckled
    visitor.untroubled()


@pytest.mark.slow
def test_a_decoder_is_trained_and_joins_the_table(visitor: Visitor) -> None:
    page = visitor.open("checkerboard")
    page.get_by_role("spinbutton", name="Images").fill("200")
    page.get_by_role("spinbutton", name="Epochs").fill("1")
    page.get_by_role("spinbutton", name="Epochs").press("Tab")
    page.get_by_role("combobox", name="Decoder").select_option("resize")
    page.wait_for_timeout(1000)  # a click alone, as a reader's is: not handled together with the changes before it
    page.get_by_role("button", name="Train this decoder").click()
    expect(visitor.lab_part("training")).to_be_visible()
    row = visitor.lab_part("trained").locator("tr", has_text="resize, 3×3")
    expect(row).to_contain_text("%", timeout=300_000)
    error = float(row.locator("td").nth(3).inner_text())
    assert 0 < error < 1
    assert math.isfinite(error)
    visitor.untroubled()
