"""The browser's Back undoes the last change of the explorer's page; and every state begins at step 0."""

from __future__ import annotations

import json

import pytest
from browser import until
from playwright.sync_api import expect

import unstride as us
from unstride.__main__ import main
from unstride.explainer.presets import PRESETS
from unstride.explainer.web import page as pages


@pytest.mark.slow
def test_back_undoes_change_by_change_and_forward_does_them_again(opened):
    watched = opened()
    page = watched.page
    states = [watched.state()]
    for act in (
        lambda: page.click("#us-kernel-all-more"),
        lambda: page.click("[data-view=grid]"),
        lambda: page.check("#us-mode-same"),
        lambda: page.select_option("select >> nth=0", "example-4"),
        lambda: page.check("input[value=conv]", force=True),
        lambda: (
            page.click("[data-panel=kernel] .us-cell >> nth=0")
            or page.keyboard.type("7")
            or page.keyboard.press("Enter")
        ),
    ):
        page.wait_for_timeout(200)
        act()
        until(page, f"JSON.stringify(explorer.get()) !== {json.dumps(json.dumps(states[-1], separators=(',', ':')))}")
        states.append(watched.state())
    assert states[-1]["kernel"][0][0] == 7
    for state in reversed(states[:-1]):
        page.go_back()
        watched.shows(**state)
    for state in states[1:]:
        page.go_forward()
        watched.shows(**state)
    assert page.url.startswith("file:")
    expect(page.locator(".us-notice")).to_be_hidden()


def test_steps_in_a_row_are_one_entry(opened):
    watched = opened()
    page = watched.page
    page.select_option("select >> nth=0", "example-2")
    watched.shows(view="grid", step=0)
    before = page.evaluate("history.length")
    page.focus("input[type=range]")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    page.click("[aria-label='Step forward']")
    page.select_option("[aria-label=Speed]", "60")
    page.click("[aria-label=Play]")
    until(page, "!explorer.player.playing && explorer.step === explorer.scene.steps")
    assert page.evaluate("history.length") == before + 1
    page.click("#us-stride-all-more")
    watched.shows(stride=[3, 3], step=None)
    page.go_back()
    watched.shows(stride=[2, 2], step=None)
    page.go_back()
    watched.shows(step=0, view="grid")
    page.go_back()
    watched.shows(x=[[0, 1], [2, 3]], view="scatter", step=0)
    # The next step after a return is an entry again.
    page.click("[aria-label='Step forward']")
    watched.shows(step=1)
    page.go_back()
    watched.shows(step=0)


def test_going_back_while_it_plays_stops_it(opened):
    watched = opened("#x=1,2,3,4,5,6&k=1,2,3&s=2&p=0&d=1&view=grid")
    page = watched.page
    page.select_option("[aria-label=Speed]", "10")
    page.click("[aria-label=Play]")
    until(page, "explorer.step >= 3")
    page.go_back()
    watched.shows(step=0)
    page.wait_for_timeout(400)
    watched.shows(step=0)
    assert page.evaluate("location.hash").endswith("view=grid")  # nothing was written after


def test_a_key_that_is_held_down_is_one_change(opened):
    watched = opened()
    page = watched.page
    before = page.evaluate("history.length")
    page.focus("#us-size-all")
    for _ in range(6):
        page.keyboard.down("ArrowUp")  # all but the first are repeated by the key
    page.keyboard.up("ArrowUp")
    until(
        page,
        "explorer.get().x.length === 8 && location.hash.includes('&x=') && location.hash.split('&k=')[0].split(';').length === 8",
    )
    assert page.evaluate("history.length") == before + 1
    page.go_back()
    until(page, "explorer.get().x.length === 2")


@pytest.mark.slow
def test_whatever_is_opened_begins_at_step_0(opened):
    assert opened().state()["step"] == 0
    assert opened("#x=1,2&k=1,2&s=1&p=0&d=1&view=grid").state()["step"] == 0
    assert opened("#x=1,2&k=1,2&s=1&p=0&d=1&view=grid&step=2").state()["step"] == 2
    assert opened("#x=1,2&k=1,2&s=1&p=0&d=1&view=grid&step=end").state()["step"] is None
    watched = opened()
    page = watched.page
    expect(page.locator(".us-sentence")).to_have_text("Step 0 of 4. Nothing is done yet: play, or step forward.")
    expect(page.locator(".us-count")).to_have_text("0 / 4")
    page.click("[aria-label='To the end']")
    watched.shows(step=None)
    page.click("#us-kernel-all-more")  # all was done: it still is
    watched.shows(step=None)
    page.click("[aria-label='Step back']")
    watched.shows(step=3)
    page.click("#us-stride-all-more")
    watched.shows(stride=[3, 3], step=3)
    page.click("[data-view=matrix]")
    watched.shows(view="matrix", step=0)
    page.select_option("select >> nth=0", "worked-1")
    watched.shows(step=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "mode", "fields"),
    [
        ([], "number", {"padding": [0, 0], "output_padding": None}),
        (["--padding", "1"], "number", {"padding": [1, 1], "output_padding": None}),
        (["--padding", "1,0", "--output-padding", "1,2"], "number", {"padding": [1, 0], "output_padding": [1, 2]}),
        (["--padding", "same"], "same", {"padding": "same", "output_padding": None}),
        (["--padding", "VALID", "--output-padding", "0"], "valid", {"padding": "valid", "output_padding": [0, 0]}),
        (["--padding", "1:0,0:-1"], "pairs", {"padding": [[1, 0], [0, -1]], "output_padding": None}),
        (["--padding", "0:0,0:0"], "pairs", {"padding": [[0, 0], [0, 0]], "output_padding": None}),
    ],
)
def test_the_page_keeps_how_padding_was_written(opened, tmp_path, arguments, mode, fields):
    path = tmp_path / "page.html"
    case = ["--input", "1 2; 3 4", "--kernel", "3x3", "--stride", "3"]
    assert main(["explain", *case, *arguments, "--view", "matrix", "--html", str(path)]) == 0
    watched = opened()
    watched.page.goto(path.as_uri())
    watched.shows(view="matrix", step=0, stride=[3, 3], **fields)
    expect(watched.page.locator(f"#us-mode-{mode}")).to_be_checked()


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_the_page_keeps_the_example(opened, tmp_path, name):
    path = tmp_path / "page.html"
    assert main(["explain", "--preset", name, "--html", str(path)]) == 0
    watched = opened()
    watched.page.goto(path.as_uri())
    shown = next(preset["state"] for preset in pages.presets() if preset["name"] == name)
    watched.shows(view=shown["view"], step=0)
    assert watched.page.evaluate("explorer.example.value") == name
    expect(watched.page.locator(".us-note")).to_contain_text(PRESETS[name].note)
    expect(watched.page.locator("#us-mode-number")).to_be_checked()


def test_a_whole_geometry_is_numbers_where_these_say_it():
    def shown(geometry: us.Geometry) -> tuple[object, object]:
        state = pages.state(us.explain([[1, 2], [3, 4]], [[1, 2, 3]] * 3, geometry=geometry))
        return state["padding"], state["output_padding"]

    assert shown(us.Geometry((3, 3), 2, 1)) == ([1, 1], None)
    assert shown(us.conventions.torch((3, 3), stride=2, padding=1, output_padding=1)) == ([1, 1], [1, 1])
    assert shown(us.Geometry((3, 3), 2, ((0, 1), (0, 1)))) == ([[0, 1], [0, 1]], None)
    assert shown(us.Geometry((3, 3), 2, ((1, 0), (0, 1)))) == ([[1, 0], [0, 1]], None)
