"""Chapter 2: sizes, the picture of the copies, the zero-spaced grid, the examples, the quiz."""

import pytest
from playwright.sync_api import expect

import unstride as us
from unstride.explainer.presets import PRESETS


def check(visitor, n, k, s, p, o, d):
    """What the page shows of a setting is what the library says of it."""
    geometry = us.Geometry(k, s, p, o, d)
    [size] = geometry.output_size((n,))
    expect(visitor.fact("sizes", "Output, an axis")).to_have_text(f"{size} cells")
    (begin, end) = geometry.crops[0]
    expect(visitor.fact("sizes", "Cut at")).to_have_text(f"{begin} and {end}")
    copies = visitor.lab_part("copies")
    expect(copies.locator("rect.copy")).to_have_count(n * k)
    expect(copies.locator("rect.out, rect.added")).to_have_count(size)
    expect(copies.locator("rect.cut")).to_have_count(max(begin, 0) + max(end, 0))


@pytest.mark.slow
def test_the_four_numbers(visitor):
    page = visitor.open("geometry")
    check(visitor, 4, 3, 2, 1, 0, 1)
    visitor.slide("Input n", ["ArrowRight"])
    check(visitor, 5, 3, 2, 1, 0, 1)
    visitor.slide("Output padding o", ["ArrowRight"])
    check(visitor, 5, 3, 2, 1, 1, 1)
    visitor.slide("Dilation d", ["End"])
    check(visitor, 5, 3, 2, 1, 1, 3)  # the paddings stay as they were
    visitor.slide("Padding p", ["Home"])
    check(visitor, 5, 3, 2, 0, 1, 3)
    expect(visitor.lab_part("copies").locator("rect.added")).to_have_count(1)
    # The typeset formula has the same numbers.
    expect(page.locator(".katex-html").filter(has_text="(5−1)⋅2+(3−1)⋅3+1−2⋅0+1=16")).to_have_count(1)
    visitor.untroubled()


@pytest.mark.slow
def test_the_kernel_slides_over_the_zero_spaced_grid(visitor):
    visitor.open("geometry")
    part = visitor.lab_part("grid")
    expect(part.locator("figcaption")).to_have_text("Step 1 of 49. Output cell (0, 0): the window from (0, 0) on.")
    visitor.slide("Step of the kernel", ["ArrowRight"])
    expect(part.locator("img")).to_have_attribute("alt", "Output cell (0, 1): the window from (0, 1) on.")
    visitor.slide("Step of the kernel", ["Home"])
    expect(part.locator("figcaption")).to_have_text("Step 0 of 49. Nothing is done yet.")
    visitor.untroubled()


@pytest.mark.slow
def test_the_examples(visitor):
    page = visitor.open("geometry")
    for name in ("example-1", "example-3", "example-4"):
        preset = PRESETS[name]
        visitor.choose("Example", preset.title)
        rows, columns = preset.trace().output_size
        expect(visitor.fact("example", "Output")).to_have_text(f"{rows} × {columns}")
        expect(page.get_by_text(preset.note)).to_be_visible()
    visitor.slide("Step of the example", ["Home"])
    expect(visitor.lab_part("example-grid").locator("figcaption")).to_have_text("Step 0 of 16. Nothing is done yet.")
    visitor.untroubled()


@pytest.mark.slow
def test_questions_are_judged(visitor):
    page = visitor.open("geometry")
    judged = visitor.lab_part("judged")
    expect(judged).to_have_text("Choose one.")
    right = wrong = 0
    for asked in range(1, 4):
        page.get_by_role("radio").first.focus()
        page.keyboard.press("Space")
        expect(judged).to_contain_text(f"of {asked} right at the first try")
        text = judged.inner_text()
        assert text.startswith(("Right. ", "No: "))
        right, wrong = right + text.startswith("Right"), wrong + text.startswith("No")
        assert f"({right} of {asked} right" in text
        page.get_by_role("button", name="Another question").click()
        expect(judged).to_have_text("Choose one.")
    visitor.untroubled()
