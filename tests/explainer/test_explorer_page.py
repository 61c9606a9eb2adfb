"""The explorer's page in a real browser: by keyboard, by touch, its files, its address, its refusals, its quiz."""

from __future__ import annotations

import io
import random
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Watched, traced, until
from PIL import Image
from playwright.sync_api import expect

from unstride.explainer.presets import PRESETS
from unstride.explainer.web import page as pages

VIEWS = ("scatter", "grid", "matrix", "overlap", "gradient")


def result(watched: Watched) -> np.ndarray:
    """The numbers that the sliding kernel's view shows, all of its steps done."""
    watched.page.evaluate("explorer.apply({ ...explorer.state, view: 'grid', step: null })")
    texts = watched.page.locator("[data-panel=y] .us-cell").all_text_contents()
    values = [float(text.replace("−", "-")) for text in texts]
    return np.reshape(values, traced(watched.state()).output_size)


def tab_to(watched: Watched, selector: str, back: bool = False) -> None:
    for _ in range(80):
        watched.page.keyboard.press("Shift+Tab" if back else "Tab")
        if watched.page.evaluate("(s) => document.activeElement?.matches(s) ?? false", selector):
            return
    raise AssertionError(f"Tab never reaches {selector}")


@pytest.mark.slow
def test_a_whole_session_by_keyboard_alone(opened):
    watched = opened(viewport={"width": 1300, "height": 900})
    keys, page = watched.page.keyboard, watched.page
    focus = "document.activeElement"

    tab_to(watched, "select")
    keys.press("e")  # to "Example 1: ..."
    watched.shows(map="conv")
    expect(page.locator(".us-note")).to_contain_text("plain convolution")
    tab_to(watched, "input[value=conv]")
    keys.press("ArrowLeft")
    watched.shows(map="conv_transpose")

    tab_to(watched, "[role=tab][data-view]")
    keys.press("Home")
    keys.press("ArrowRight")
    watched.shows(view="grid")
    until(page, f"{focus}.dataset.view === 'grid'")
    keys.press("ArrowLeft")

    tab_to(watched, "[aria-label='To the beginning']")
    keys.press("Enter")
    watched.shows(step=0)
    tab_to(watched, "[aria-label='Step forward']")
    keys.press("Space")
    keys.press("Space")
    watched.shows(step=2)
    until(page, "document.querySelector('.us-live').textContent.startsWith('Step 2 of 36')")
    tab_to(watched, "input[type=range]")
    keys.press("End")
    watched.shows(step=None)

    tab_to(watched, "[data-panel=x] .us-cell")
    keys.press("ArrowRight")
    keys.press("ArrowDown")
    until(page, f"{focus}.dataset.i === '7'")
    expect(page.locator(".us-inspector")).to_contain_text("x[1, 1]")
    assert "editable" in page.evaluate(f"{focus}.getAttribute('aria-label')")
    keys.type("-2.5")
    keys.press("Enter")
    until(page, "explorer.get().x[1][1] === -2.5")
    until(page, f"{focus}.dataset.i === '13'")  # below
    keys.press("F2")
    keys.type("77")
    keys.press("Escape")
    expect(page.locator(".us-edit")).to_have_count(0)
    assert watched.state()["x"][2][1] == traced(watched.state()).input[2, 1] != 77
    keys.press("Delete")
    until(page, "explorer.get().x[2][1] === 0")
    keys.type("oops")  # no digit: no edit begins
    expect(page.locator(".us-edit")).to_have_count(0)

    tab_to(watched, "#us-stride-all")
    keys.press("ArrowUp")
    watched.shows(stride=[3, 3])
    tab_to(watched, "#us-dilation-all")
    keys.press("ArrowDown")
    watched.shows(dilation=[1, 1])
    expect(page.locator(".us-why")).to_have_text("Dilation d is at least 1")
    tab_to(watched, "input[value=number]")
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    watched.shows(padding="valid")

    tab_to(watched, "[data-framework]")
    keys.press("ArrowRight")
    expect(page.locator(".us-program code")).to_contain_text("import torch")

    tab_to(watched, ".us-quiz button")
    keys.press("Enter")
    tab_to(watched, ".us-answer, .us-choice input")
    keys.type("12345")
    keys.press("Enter")
    expect(page.locator(".us-feedback")).to_contain_text("Not quite")

    assert np.allclose(result(watched), traced(watched.state()).output)


@pytest.mark.slow
def test_by_touch_on_a_small_screen(opened):
    watched = opened(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, device_scale_factor=2)
    page = watched.page
    for name in PRESETS:
        page.select_option("select >> nth=0", name)
        for view in VIEWS:
            page.tap(f"[data-view={view}]")
            watched.shows(view=view)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, (name, view)
    page.select_option("select >> nth=0", "worked-2")
    page.tap("[data-view=scatter]")
    watched.shows(view="scatter")
    cell = page.locator("[data-panel=x] .us-cell").nth(3)
    cell.tap()
    expect(page.locator(".us-inspector")).to_contain_text("x[1, 1] = 3")
    expect(page.locator(".us-edit")).to_have_count(0)
    cell.tap()
    page.locator(".us-edit").fill("8")
    page.locator(".us-edit").press("Enter")
    watched.shows(x=[[0, 1], [2, 8]])
    page.tap("#us-kernel-all-more")
    until(page, "explorer.get().kernel.length === 3")
    page.tap("#us-stride-all-less")
    watched.shows(stride=[1, 1])
    page.tap("#us-stride-all-less", force=True)
    expect(page.locator(".us-why")).to_contain_text("at least 1")
    watched.shows(stride=[1, 1])
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, select, .us-segmented label, .us-check")]
            .filter((e) => e.offsetParent).map((e) => [e.textContent, e.getBoundingClientRect()])
            .filter(([, box]) => box.width < 24 || box.height < 24).map(([text]) => text)"""
    )
    assert small == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 800, 1400])
def test_no_number_is_cut_off(opened, width):
    watched = opened(viewport={"width": width, "height": 900})
    states = [
        *({**preset["state"]} for preset in pages.presets()),
        {"x": [[-1234.5678, 99999]] * 12, "kernel": [[0.333333, -7]] * 5, "stride": 2},
        {"x": [-0.001234] * 12, "kernel": [123456] * 7, "stride": 3},
    ]
    for state in states:
        for view in VIEWS:
            cut = watched.page.evaluate(
                """(state) => {
                    explorer.apply({ ...explorer.state, ...state });
                    return [...document.querySelectorAll(".us-cell")].filter((c) => c.scrollWidth > c.clientWidth + 1)
                        .map((c) => c.textContent);
                }""",
                _whole(state | {"view": view}),
            )
            assert cut == [], (state, view)


def _whole(state: dict[str, Any]) -> dict[str, Any]:
    """With what a state has by itself."""
    rank = np.ndim(state["x"])
    each = lambda value: value if isinstance(value, (list, str)) else [value] * rank  # noqa: E731
    return {
        "map": "conv_transpose", "output_padding": None, "bias": 0, "gradient": None, "step": None, **state,
        "stride": each(state.get("stride", 1)), "padding": each(state.get("padding", 0)), "dilation": each(state.get("dilation", 1)),
    }  # fmt: skip


@pytest.mark.slow
def test_every_example_in_every_view(opened):
    watched = opened()
    for name, preset in PRESETS.items():
        watched.page.select_option("select >> nth=0", name)
        expect(watched.page.locator(".us-note")).to_contain_text(preset.note)
        trace = preset.trace()
        for view in VIEWS:
            watched.page.click(f"[data-view={view}]")
            watched.shows(view=view)
            assert watched.page.evaluate("explorer.example.value") == name
            assert watched.page.evaluate("explorer.scene.steps") > 0
        assert np.array_equal(result(watched), trace.output)
        watched.page.click("[data-view=overlap]")
        watched.shows(view="overlap")
        counts = watched.page.locator("[data-panel=terms] .us-cell").all_text_contents()
        assert list(map(int, counts)) == trace.overlap.ravel().tolist()
        watched.page.click("[data-view=gradient]")
        watched.shows(view="gradient")
        got = watched.page.locator("[data-panel=gw] .us-cell").all_text_contents()
        assert [float(text.replace("−", "-")) for text in got] == trace.kernel_gradient.ravel().tolist()


def test_hovering_shows_the_contributors_with_their_products(opened):
    watched = opened("#x=0,1;2,3&k=0,1;2,3&s=1,1&p=0,0&d=1,1&view=scatter")
    watched.page.hover("[data-panel=sum] .us-cell >> nth=4")
    expect(watched.page.locator(".us-inspector p")).to_have_text(
        [
            "y[1, 1] = 4",
            "x[0, 0]·k[1, 1] + x[0, 1]·k[1, 0] + x[1, 0]·k[0, 1] + x[1, 1]·k[0, 0]",
            "0·3 + 1·2 + 2·1 + 3·0 = 4",
        ]
    )
    for panel in ("x", "kernel"):
        expect(watched.page.locator(f"[data-panel={panel}] .mark1")).to_have_count(4)
    watched.page.click("[data-view=matrix]")
    watched.page.hover("[data-panel=matrix] .us-cell >> nth=1")
    expect(watched.page.locator(".us-inspector")).to_contain_text("x[0, 1] does not reach y[0, 0]")


def test_a_large_matrix_is_a_picture_with_one_cell_to_move(opened):
    row = ",".join(["1"] * 12)
    watched = opened(f"#x={';'.join([row] * 12)}&k={';'.join(['1,2,3,4,5'] * 5)}&s=1,1&p=0,0&d=1,1&view=matrix")
    expect(watched.page.locator(".us-dense canvas")).to_have_count(3)  # the input and the result as well
    watched.page.click("[data-panel=matrix] .us-cursor")
    expect(watched.page.locator(".us-inspector")).to_contain_text("Row 0, column 0: k[0, 0] = 1")
    watched.page.keyboard.press("ArrowDown")
    expect(watched.page.locator(".us-inspector")).to_contain_text("Row 1, column 0: k[0, 1] = 2")


def saved(watched: Watched, what: str, folder: Path) -> bytes:
    with watched.page.expect_download(timeout=60_000) as waiting:
        watched.page.click(f"[data-save={what}]")
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    assert path.suffix == f".{what}"
    return path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_files(opened, tmp_path, scheme):
    watched = opened("#x=1,-2;3,4.5&k=1,2,3;4,5,6&s=2,1&p=1:0,0:-1&d=1,1&view=scatter&step=end", color_scheme=scheme)
    for view in VIEWS:
        watched.page.click(f"[data-view={view}]")
        text = saved(watched, "svg", tmp_path).decode()
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        assert "−2" in words or view == "matrix"
        assert any(word.startswith("Size: (2 − 1)·2") for word in words)
        width, height = float(root.get("width")), float(root.get("height"))
        for element in root.iter("{http://www.w3.org/2000/svg}text"):
            start = float(element.get("x"))
            reach = len(element.text) * float(element.get("font-size")) * 0.56
            end = start + (reach / 2 if element.get("text-anchor") else reach)
            assert end <= width + 2, (view, element.text)
            assert float(element.get("y")) < height
        png = Image.open(io.BytesIO(saved(watched, "png", tmp_path)))
        assert png.size == (2 * width, 2 * height)
        assert len(png.convert("RGB").getcolors(1 << 24)) > 8
        gif = Image.open(io.BytesIO(saved(watched, "gif", tmp_path)))
        assert gif.size == (width, height)
        assert gif.n_frames == watched.page.evaluate("explorer.scene.steps") + 1
        gif.seek(gif.n_frames - 1)
        ours = np.asarray(gif.convert("RGB"), float)
        theirs = np.asarray(png.convert("RGB").resize(gif.size, Image.Resampling.BOX), float)
        assert np.abs(ours - theirs).mean() < 4, view  # the last frame is the picture of the last step
    dark = png.convert("RGB").getpixel((2, 2))[0] < 128
    assert dark == (scheme == "dark")


@pytest.mark.slow
def test_the_address_holds_the_state(opened):
    first = opened()
    page = first.page
    page.click("#us-kernel-all-more")
    page.check("#us-mode-same")
    page.click("#us-extra-all-more")
    page.click("[data-view=gradient]")
    page.click("[aria-label='Step forward']")
    until(page, "location.hash.includes('step=')")
    state, link = first.state(), page.evaluate("location.hash")
    second = opened(link)
    assert second.state() == state
    assert state["padding"] == "same"
    assert state["output_padding"] == [0, 0]
    # Back and forth within one page
    second.page.evaluate("location.hash = '#x=1,2&k=3&s=2&p=0&d=1&view=grid'")
    until(second.page, "explorer.get().x.length === 2 && explorer.get().view === 'grid'")
    second.shows(kernel=[3])


@pytest.mark.parametrize(
    "broken", ["#x=1,a&k=1", "#x=1,2&k=1&p=9", "#x=1;2,3&k=1", "#view=nothing&x=1&k=1", "#x=%E0%A4%A&k=1"]
)
def test_a_broken_address_is_told_and_the_page_works(opened, broken):
    watched = opened(broken)
    expect(watched.page.locator(".us-notice")).to_have_text(re.compile("^This link could not be opened: "))
    watched.page.click("[aria-label='Step forward']")
    watched.shows(step=1)


def test_controls_allow_only_what_is_valid_and_say_why(opened):
    watched = opened("#x=1,2&k=1,2&s=1&p=0&d=1&view=grid")
    page = watched.page
    page.click("#us-padding-all-more")
    watched.shows(padding=[1])  # 3 cells, of which 1 is left
    before = watched.state()
    button = page.locator("#us-padding-all-more")
    assert button.get_attribute("aria-disabled") == "true"
    reason = button.get_attribute("data-reason")
    assert "the crop of axis 0 is (2, 2), more than the 3 cells" in reason
    page.click("#us-padding-all-more", force=True)
    expect(page.locator(".us-why")).to_have_text(reason)
    assert watched.state() == before
    page.fill("#us-stride-all", "99")
    page.press("#us-stride-all", "Enter")
    expect(page.locator(".us-why")).to_contain_text("at most 6")
    assert page.input_value("#us-stride-all") == "1"
    page.fill("#us-stride-all", "two")
    page.press("#us-stride-all", "Enter")
    expect(page.locator(".us-why")).to_contain_text("'two' is none")
    page.check("input[value=conv]", force=True)
    watched.shows(map="conv")
    page.click("#us-extra-all-more", force=True)
    expect(page.locator(".us-why")).to_contain_text("A convolution has no output padding")
    watched.shows(output_padding=None)


@pytest.mark.slow
def test_whatever_is_clicked_the_state_is_legal_and_the_numbers_right(opened):
    watched = opened()
    rng = random.Random(3)
    for turn in range(60):
        page = watched.page
        page.evaluate(
            """(pick) => {
                for (let i = 0; i < 5; i++) {
                    const all = document.querySelectorAll(
                        ".us-controls button, .us-controls input[type=radio], .us-controls input[type=checkbox], .us-top input");
                    all[Math.floor(pick * 7919 * (i + 1)) % all.length].click();
                }
            }""",
            rng.random(),
        )
        if turn % 6 == 0:
            trace = traced(watched.state())
            shown = result(watched)
            np.testing.assert_allclose(shown, trace.output, rtol=1e-3, atol=1e-9, err_msg=str(watched.state()))


@pytest.mark.slow
def test_playing_pausing_and_less_motion(opened):
    watched = opened("#x=1,2,3,4,5,6&k=1,2,3&s=2&p=0&d=1&view=grid", reduced_motion="reduce")
    page = watched.page
    assert page.evaluate("getComputedStyle(document.querySelector('.us-window')).transitionDuration") == "0s"
    page.select_option("[aria-label=Speed]", "60")
    page.click("[aria-label=Play]")
    until(page, "explorer.step === explorer.scene.steps && !explorer.player.playing")
    page.select_option("[aria-label=Speed]", "1")
    page.click("[aria-label=Play]")
    until(page, "explorer.step === 1")
    page.click("[aria-label=Pause]")
    until(page, "!explorer.player.playing")
    step = watched.state()["step"]
    assert step in range(1, 13)  # of 13, one a second
    page.wait_for_timeout(1500)
    watched.shows(step=step)
    lively = opened()
    lively.page.click("[data-view=grid]")
    assert lively.page.evaluate("getComputedStyle(document.querySelector('.us-window')).transitionDuration") != "0s"


def test_light_and_dark(opened):
    watched = opened(color_scheme="dark")
    paper = "getComputedStyle(document.querySelector('.us')).backgroundColor"
    assert watched.page.evaluate(paper) == "rgb(18, 22, 27)"
    watched.page.click("#theme")
    until(watched.page, f"{paper} === 'rgb(255, 255, 255)'")


def test_no_cell_s_name_is_broken_between_two_lines(opened):
    page = opened("#x=1,2,3;4,5,6&k=1,2;3,4&s=2,2&p=0,0&d=1,1&view=matrix&step=10").page
    for part in (".us-sentence", ".us-inspector"):
        assert "y[1,\xa03]" in (page.locator(part).text_content() or "")
