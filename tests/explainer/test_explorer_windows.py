"""The explorer in small windows, where nothing may lie over what is pressed, and on paper, where all of it has to stand."""

from __future__ import annotations

import pytest
from browser import until
from playwright.sync_api import expect

SMALL = [(1000, 700), (360, 640), (640, 360)]
ROW = ",".join(["1"] * 12)
LARGE = f"#x={';'.join([ROW] * 12)}&k=1,2,3;4,5,6;7,8,9&s=2,2&p=0,0&d=1,1&view=scatter"

# Controls and cells in the window whose middle is covered by something else. (A product scrolls by itself, under its own head.)
COVERED = """() => {
    const found = [];
    for (const e of document.querySelectorAll(".us button, .us select, .us input, .us-stage .us-cell")) {
        const box = e.getBoundingClientRect();
        const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
        if (!e.checkVisibility() || !box.width || x < 0 || y < 0 || x >= innerWidth - 1 || y >= innerHeight - 1) continue;
        if (e.closest(".us-product, .us-tabs, .us-scroll, .us-strip, pre") && !inside(e, x, y)) continue;
        const top = document.elementFromPoint(x, y);
        if (top !== e && !e.contains(top) && !top?.contains(e) && !(e.labels && [...e.labels].some((l) => l.contains(top)))) {
            found.push([e.className || e.id, top?.className, Math.round(x), Math.round(y)]);
        }
    }
    return found;
    function inside(e, x, y) { // within what its scrolling parents show
        for (let p = e.parentElement; p; p = p.parentElement) {
            if (getComputedStyle(p).overflow === "visible") continue;
            const box = p.getBoundingClientRect();
            if (x < box.left || x > box.right || y < box.top || y > box.bottom) return false;
        }
        const product = e.closest(".us-product");
        if (!product) return true;
        const head = product.querySelector(".us-head").getBoundingClientRect().bottom;
        const result = product.querySelector("[data-panel=y]");
        return y > head && (result.contains(e) || x < result.getBoundingClientRect().left);
    }
}"""


@pytest.mark.slow
@pytest.mark.parametrize("window", SMALL)
@pytest.mark.parametrize("link", ["", LARGE])
def test_nothing_lies_over_the_controls_in_a_small_window(opened, window, link):
    watched = opened(link, viewport={"width": window[0], "height": window[1]}, reduced_motion="reduce")
    page = watched.page
    for view in ("scatter", "grid", "matrix"):
        page.click(f"[data-view={view}]")
        watched.shows(view=view)
        page.evaluate("explorer.go(3)")
        height = page.evaluate("document.documentElement.scrollHeight")
        for y in range(0, min(height, 3000), window[1] // 2):
            page.evaluate("(y) => scrollTo(0, y)", y)
            assert page.evaluate(COVERED) == [], (view, y)


@pytest.mark.parametrize("window", [(1000, 700), (360, 740)])
def test_the_result_is_in_sight_together_with_the_player_and_the_input(opened, window):
    """On a laptop before anything is scrolled; on a phone once the player is at the window's top."""
    watched = opened(viewport={"width": window[0], "height": window[1]}, reduced_motion="reduce")
    page = watched.page
    for name in ("worked-2", "example-2"):
        page.select_option("select >> nth=0", name)
        for view, result in (("scatter", "sum"), ("grid", "y")):
            page.click(f"[data-view={view}]")
            watched.shows(view=view)
            page.evaluate(
                "(top) => scrollTo(0, top ? document.querySelector('.us-player').offsetTop : 0)", window[0] < 500
            )
            for panel in ("x" if view == "scatter" else "slide", result):
                box = page.locator(f".us-grid[data-panel={panel}]").bounding_box()
                assert box["y"] >= 0, (name, view, panel)
                assert box["y"] + box["height"] <= window[1], (name, view, panel)


def test_the_cell_that_the_keys_reach_is_not_under_the_player(opened):
    """In a high window the player stays on top of boards that are higher than it; the focused cell is below."""
    watched = opened(LARGE, viewport={"width": 1000, "height": 800}, reduced_motion="reduce")
    page = watched.page
    page.locator("[data-panel=sum] .us-cell").first.focus()
    page.keyboard.press("Control+End")
    hidden = """() => {
        const cell = document.activeElement.getBoundingClientRect();
        return cell.top < document.querySelector(".us-steps").getBoundingClientRect().bottom - 1;
    }"""
    for _ in range(24):
        page.keyboard.press("ArrowUp")
        assert not page.evaluate(hidden)
    assert page.evaluate("document.querySelector('.us-steps').getBoundingClientRect().top >= 0")


@pytest.mark.slow
def test_words_do_not_move_the_boards(opened):
    """What is said changes from cell to cell; where the cells are does not."""
    for size in ((1400, 900), (360, 640)):
        watched = opened(
            "#x=1,2,3;4,5,6;7,8,9&k=1,2,3;4,5,6;7,8,9&s=1,1&p=0,0&d=1,1&view=scatter",
            viewport={"width": size[0], "height": size[1]},
        )
        page = watched.page
        tops = set()
        for index in (0, 12, 24):
            page.locator("[data-panel=sum] .us-cell").nth(index).hover()
            expect(page.locator(".us-inspector")).to_contain_text(f"y[{index // 5}")
            tops.add(page.evaluate("document.querySelector('.us-stage').getBoundingClientRect().top + scrollY"))
        assert len(tops) == 1


PAPER = """(width) => {
    const shown = (selector) => [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility()).length;
    const wide = [...document.querySelectorAll(".us *")].filter((e) => e.checkVisibility() && !e.closest(".us-live") && e.getBoundingClientRect().right > width + 1);
    const cut = [...document.querySelectorAll(".us *")].filter((e) => e.checkVisibility() && !/^(OPTION|SELECT|INPUT)$/.test(e.tagName) && !e.matches(".us-live, .us-cell")
        && getComputedStyle(e).overflow !== "visible" && (e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1));
    const stuck = [...document.querySelectorAll(".us *")].filter((e) => e.checkVisibility() && /sticky|fixed/.test(getComputedStyle(e).position));
    return {
        wide: wide.map((e) => e.className), cut: cut.map((e) => e.className), stuck: stuck.map((e) => e.className),
        pressed: shown(".us-actions button, .us-icon, .us-step, .us-quiz button, .us-copy"), cells: shown(".us-cell"),
        words: document.querySelector(".us").innerText, paper: getComputedStyle(document.querySelector(".us")).backgroundColor,
        values: [...document.querySelectorAll(".us-controls input, .us-top select")].filter((e) => e.checkVisibility()).length,
    };
}"""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", [(1400, 900), (360, 640)])
def test_paper_has_the_whole_state_and_nothing_to_press(opened, window, scheme):
    for sheet in (703, 725):  # A4 and Letter, upright, with margins of 12 mm
        watched = opened(
            "#x=1,2,3,4,5;6,7,8,9,0;1,2,3,4,5&k=1,2;3,4&s=2,1&p=1:0,0:-1&op=1,0&d=1,1&bias=2&view=scatter&step=7",
            viewport={"width": window[0], "height": window[1]}, color_scheme=scheme, reduced_motion="reduce",
        )  # fmt: skip
        page = watched.page
        for view in ("scatter", "grid", "matrix", "overlap", "gradient"):
            page.click(f"[data-view={view}]")
            page.evaluate("explorer.go(7)")
            watched.shows(view=view, step=7)
            before = page.evaluate("document.querySelector('.us-stage').innerHTML.length")
            page.evaluate("dispatchEvent(new Event('beforeprint'))")
            page.emulate_media(media="print")
            page.set_viewport_size({"width": sheet, "height": 965})
            found = page.evaluate(PAPER, sheet)
            assert (found["wide"], found["cut"], found["stuck"], found["pressed"]) == ([], [], [], 0), (view, found)
            assert found["paper"] == "rgb(255, 255, 255)"
            assert found["cells"] == page.locator(".us-cell").count()
            assert found["values"] >= 14
            for words in (
                "Step 7 of", "Size of the result", "Rows", "− 1 − 0 + 1 =", "keras", "transposed", "2-D", "Pairs", "Bias", "Setting",
            ):  # fmt: skip
                assert words in found["words"], (view, words, found["words"])
            page.set_viewport_size({"width": window[0], "height": window[1]})
            page.emulate_media(media="screen")
            page.evaluate("dispatchEvent(new Event('afterprint'))")
            until(page, f"explorer.root.dataset.theme === '{scheme}'")
            assert (
                page.evaluate(
                    "[...document.querySelectorAll('.us-stage *')].filter((e) => e.style.zoom || e.style.width === 'max-content').length"
                )
                == 0
            )
            assert abs(page.evaluate("document.querySelector('.us-stage').innerHTML.length") - before) < 200
        assert page.pdf(format="A4").startswith(b"%PDF")


def test_paper_has_the_result_where_nothing_is_done_yet(opened):
    watched = opened()
    page = watched.page
    watched.shows(step=0)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    expect(page.locator(".us-sentence")).to_contain_text("Step 4 of 4.")
    assert page.locator("[data-panel=sum] .us-cell").all_inner_texts()[-1] == "9"
    assert page.evaluate("getComputedStyle(document.querySelector('.us-codes')).breakInside") == "avoid"
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(page.locator(".us-sentence")).to_contain_text("Step 0 of 4.")
    page.click("[data-view=overlap]")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator(".us-inspector").is_hidden()  # the last step is about no cell: no hint to point at one


@pytest.mark.slow
def test_a_high_matrix_is_on_one_sheet(opened):
    watched = opened()
    page = watched.page
    for name in ("example-2", "checkerboard", "example-1"):
        page.select_option("select >> nth=0", name)
        page.click("[data-view=matrix]")
        watched.shows(view="matrix")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 703, "height": 965})
        box = page.locator(".us-product").bounding_box()
        assert box["width"] <= 703
        assert box["height"] <= 940, name
        page.emulate_media(media="screen")
        page.evaluate("dispatchEvent(new Event('afterprint'))")
