"""The matrix view: matrix, input and result scroll as one, and the row of the step is always in sight beside its result."""

from __future__ import annotations

from typing import Any

import pytest
from browser import Watched

from unstride.explainer.presets import PRESETS

WINDOWS = [(1400, 900), (1000, 700), (360, 640), (640, 360)]

# After every step: where the row, its result and the first input cell of it stand, and what is seen of the product.
ROWS = """(prefix) => {
    const product = document.querySelector(".us-product");
    const cells = (panel) => [...document.querySelectorAll(`[data-panel=${panel}] .us-cell`)];
    const [matrix, input, result] = ["matrix", "x", "y"].map(cells);
    const found = [];
    for (let step = 0; step <= explorer.scene.steps; step++) {
        explorer.go(step);
        const seen = product.getBoundingClientRect();
        const head = document.querySelector(".us-head").getBoundingClientRect();
        if (!step) continue;
        const row = matrix[(step - 1) * input.length].getBoundingClientRect();
        const last = matrix[step * input.length - 1].getBoundingClientRect();
        const frame = document.querySelector("[data-panel=matrix] .us-window").getBoundingClientRect();
        const value = result[step - 1].getBoundingClientRect();
        const marked = matrix.slice((step - 1) * input.length, step * input.length).filter((c) => /mark/.test(c.className));
        const read = input.filter((c) => /mark/.test(c.className)).map((c) => c.getBoundingClientRect());
        const room = document.querySelector(".us-product [data-panel=y]").getBoundingClientRect().left;
        found.push({
            step, row: [row.top, row.bottom], last: last.top, value: [value.top, value.bottom], frame: [frame.top, frame.bottom],
            valueInSight: value.left >= seen.left && value.right <= seen.left + product.clientWidth + 1,
            mark: result[step - 1].className.includes("mark2"),
            entries: marked.map((c) => c.getBoundingClientRect()).map((b) => [b.left - seen.left, room - b.right]),
            read: read.map((b) => [b.top, b.bottom]), head: head.bottom,
            bottom: Math.min(seen.top + product.clientHeight, innerHeight), left: seen.left,
        });
    }
    return found;
}"""


def in_sight(step: dict[str, Any], box: list[float]) -> bool:
    """Whether a box, from top to bottom, is in the part of the product that is seen."""
    return box[0] >= step["head"] - 0.6 and box[1] <= step["bottom"] + 0.6


@pytest.mark.slow
@pytest.mark.parametrize("window", WINDOWS)
def test_the_row_of_every_step_is_in_sight_beside_its_result(opened, window):
    watched = opened(viewport={"width": window[0], "height": window[1]}, reduced_motion="reduce")
    for name in PRESETS:
        watched.page.select_option("select >> nth=0", name)
        watched.page.click("[data-view=matrix]")
        watched.shows(view="matrix")
        watched.page.evaluate("document.querySelector('.us-player').scrollIntoView()")
        found = watched.page.evaluate(ROWS)
        assert len(found) == PRESETS[name].trace().output.size
        for one in found:
            where = (name, one)
            assert one["row"] == pytest.approx(one["value"], abs=0.6), where
            assert one["row"][0] == pytest.approx(one["last"], abs=0.6), where
            assert one["frame"] == pytest.approx([one["row"][0] - 2, one["row"][1] + 2], abs=2.1), where
            assert in_sight(one, one["row"]), where
            assert (one["mark"], one["valueInSight"]) == (True, True), where
            # The row's entries are to be seen too, from the first on, not under the result.
            if one["entries"]:
                assert min(one["entries"][0]) >= -1, where
                # In the lowest window there is no room for the input's cells wherever the row is.
                assert window[1] < 500 or any(in_sight(one, cell) for cell in one["read"]), where


def test_what_is_seen_of_the_product_at_the_page_s_beginning_has_the_row(opened):
    """Also before the reader has scrolled, where the window ends in the middle of the matrix."""
    watched = opened(viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
    for name in ("example-2", "checkerboard"):
        watched.page.select_option("select >> nth=0", name)
        watched.page.click("[data-view=matrix]")
        watched.shows(view="matrix")
        for one in watched.page.evaluate(ROWS):
            assert in_sight(one, one["row"]), (name, one)


OVERFLOW = """() => [...document.querySelectorAll(".us-stage, .us-stage *")].filter((e) => getComputedStyle(e).overflow !== "visible"
    && (e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1)).map((e) => e.className)"""


@pytest.mark.slow
@pytest.mark.parametrize("window", [(1400, 900), (1000, 700), (360, 640)])
def test_the_product_alone_scrolls_and_only_where_it_is_too_large(opened, window):
    watched = opened(viewport={"width": window[0], "height": window[1]})
    for name in PRESETS:
        watched.page.select_option("select >> nth=0", name)
        watched.page.click("[data-view=matrix]")
        watched.shows(view="matrix")
        scrolls = watched.page.evaluate(OVERFLOW)
        assert scrolls in ([], ["us-product"]), name
        if name == "worked-1" or (name == "worked-2" and window[1] == 900):
            assert scrolls == [], name


def test_long_numbers_leave_the_rows_side_by_side(opened):
    watched = opened(
        "#x=1234.5,-99999;0.001,7&k=0.333333,-7;12,100000&s=2,2&p=0,0&d=1,1&view=matrix&bias=-0.125",
        reduced_motion="reduce",
    )
    for one in watched.page.evaluate(ROWS):
        assert one["row"] == pytest.approx(one["value"], abs=0.6), one
    assert watched.page.locator(".us-product .us-sign").all_text_contents() == ["·", "+ −0.125 ="]


def large(watched: Watched) -> Any:
    return watched.page.evaluate(
        """() => {
            const canvas = (panel) => document.querySelector(`.us-product [data-panel=${panel}] canvas`).getBoundingClientRect();
            const [matrix, x, y] = ["matrix", "x", "y"].map(canvas);
            return { tops: [matrix.top, y.top], heights: [matrix.height, y.height], cells: [matrix.height / 256, x.height / 144] };
        }"""
    )


def test_a_large_matrix_has_its_columns_in_small_too(opened):
    row = ",".join(["1"] * 12)
    watched = opened(f"#x={';'.join([row] * 12)}&k={';'.join(['1,2,3,4,5'] * 5)}&s=1,1&p=0,0&d=1,1&view=matrix")
    page = watched.page
    for step in (1, 100, 200, 256):
        page.evaluate("(step) => explorer.go(step)", step)
        found = large(watched)
        assert found["tops"][0] == pytest.approx(found["tops"][1], abs=0.6)
        assert found["heights"][0] == found["heights"][1]
        assert found["cells"][0] == found["cells"][1]
        top = found["tops"][0] + (step - 1) * found["cells"][0]
        seen = page.evaluate(
            "(() => { const b = document.querySelector('.us-product').getBoundingClientRect(); return [b.top, b.bottom]; })()"
        )
        assert seen[0] <= top <= seen[1] - found["cells"][0]
    # The keys reach every cell of the columns as well, and say what it is.
    page.locator("[data-panel=y] .us-cursor").focus()
    page.keyboard.press("ArrowDown")
    assert "y[0, 1]" in page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.type("5")  # nothing to edit here
    assert page.locator(".us-edit").count() == 0


@pytest.mark.slow
def test_a_saved_picture_has_the_rows_side_by_side(opened):
    watched = opened()
    for name in PRESETS:
        watched.page.select_option("select >> nth=0", name)
        watched.page.click("[data-view=matrix]")
        watched.shows(view="matrix")
        text = watched.page.evaluate(
            """async () => {
                let saved = null;
                const make = URL.createObjectURL;
                URL.createObjectURL = (blob) => { saved = blob; return make(blob); };
                const step = Math.ceil(explorer.scene.steps * 0.7);
                explorer.go(step);
                await explorer.save("svg", document.querySelector("[data-save=svg]"));
                URL.createObjectURL = make;
                const accent = explorer.palette.accent, main = explorer.palette.main;
                const root = new DOMParser().parseFromString(await saved.text(), "image/svg+xml").documentElement;
                const tops = (color, width) => [...root.querySelectorAll(`rect[stroke="${color}"][stroke-width="${width}"]`)]
                    .map((e) => Number(e.getAttribute("y")));
                return [tops(accent, 3), tops(main, 3)];
            }"""
        )
        frame, result = text
        assert len(frame) == len(result) == 1, name
        assert result[0] - 2 == pytest.approx(frame[0]), name
