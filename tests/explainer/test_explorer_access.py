"""The explorer for whoever does not use a mouse, or cannot see well: the keys, the names of controls, the contrast."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from browser import Watched, until
from playwright.sync_api import expect

VIEWS = ("scatter", "grid", "matrix", "overlap", "gradient")

# Every text that is seen, with its colour and all the colours behind it: those of the nearest element that has an
# opaque one, and of its pattern. What is half transparent is laid over what is behind it.
CONTRAST = """() => {
    const parse = (text) => {
        const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
        return [r, g, b, a];
    };
    const over = ([r, g, b, a], under) => [r, g, b].map((v, i) => v * a + under[i] * (1 - a)).concat(1);
    const light = (color) => {
        const [r, g, b] = color.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const contrast = (one, other) => {
        const [a, b] = [light(one), light(other)];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    };
    const behind = (element) => {
        const style = getComputedStyle(element);
        const fill = parse(style.backgroundColor);
        const under = fill[3] === 1 ? [fill] : (element.parentElement ? behind(element.parentElement) : [[255, 255, 255, 1]]).map((c) => over(fill, c));
        const pattern = (style.backgroundImage.match(/rgba?\\([^)]*\\)/g) ?? []).map(parse);
        return [...under, ...pattern.flatMap((color) => under.map((c) => over(color, c)))];
    };
    const found = [];
    const look = (element, said, limit) => {
        const style = getComputedStyle(element);
        const box = element.getBoundingClientRect();
        if (!element.checkVisibility({ visibilityProperty: true }) || box.width < 2 || box.height < 2) return;
        for (let e = element; e; e = e.parentElement) if (getComputedStyle(e).opacity !== "1" || e.disabled) return;
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
        const grounds = behind(element);
        const worst = Math.min(...grounds.map((ground) => contrast(over(parse(style.color), ground), ground)));
        found.push([said, element.className.baseVal ?? element.className, worst, limit ?? (large ? 3 : 4.5)]);
    };
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const element = walk.currentNode.parentElement;
        if (walk.currentNode.data.trim() && !element.closest("script, style, option")) look(element, walk.currentNode.data.trim());
    }
    for (const element of document.querySelectorAll("input:not([type=radio], [type=checkbox], [type=range]), select")) look(element, element.value);
    for (const element of document.querySelectorAll("button svg")) look(element, element.closest("button").title, 3);  // a sign: 3 is enough
    return found;
}"""


def legible(watched: Watched, where: Any) -> int:
    found = watched.page.evaluate(CONTRAST)
    assert [one for one in found if one[2] < one[3]] == [], where
    return len(found)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(opened, scheme):
    watched = opened(
        "#x=1,-2;3,4.5&k=1,-2,3;4,5,6&s=2,1&p=1:-1,0:1&d=1,1&view=scatter", color_scheme=scheme, reduced_motion="reduce"
    )
    page = watched.page
    for view in VIEWS:
        page.click(f"[data-view={view}]")
        watched.shows(view=view)
        steps = page.evaluate("explorer.scene.steps")
        for step in (0, steps // 2, steps):
            page.evaluate("(step) => explorer.go(step)", step)
            assert legible(watched, (view, step)) > 80
    page.click("#us-stride-1-less", force=True)
    expect(page.locator(".us-why")).not_to_be_empty()
    page.locator("[data-panel=gx] .us-cell, [data-panel=x] .us-cell").first.click()
    page.keyboard.press("F2")
    page.evaluate("explorer.say('This could not be shown.')")
    legible(watched, "a reason, a notice, a cell that is edited")
    for framework in ("torch", "tensorflow", "jax", "onnx", "numpy", "unstride"):
        page.click(f"[data-framework={framework}]")
        legible(watched, framework)
    page.click(".us-quiz button")
    for turn in range(4):
        legible(watched, f"question {turn}")
        if page.locator(".us-answer").count():
            page.fill(".us-answer", "999")
        else:
            page.check(".us-choice input >> nth=0")
        page.click(".us-question [type=submit]")
        expect(page.locator(".us-feedback")).not_to_be_empty()
        legible(watched, f"answer {turn}")
        page.click("text=Next question")


def test_a_text_that_does_not_stand_out_is_found(opened):
    watched = opened()
    watched.page.evaluate("document.querySelector('.us-about').style.color = '#999'")
    with pytest.raises(AssertionError, match="us-about"):
        legible(watched, "")


CONTROLS = {"button", "checkbox", "combobox", "link", "radio", "slider", "spinbutton", "tab", "textbox"}
GROUPS = {"grid", "radiogroup", "tablist", "tabpanel"}


@pytest.mark.slow
def test_every_control_has_a_name(opened):
    watched = opened()
    page = watched.page
    session = watched.context.new_cdp_session(page)

    def check(where: str, least: int) -> None:
        named = 0
        for node in session.send("Accessibility.getFullAXTree")["nodes"]:
            role = node.get("role", {}).get("value")
            if node.get("ignored") or role not in CONTROLS | GROUPS:
                continue
            assert node.get("name", {}).get("value", "").strip(), (where, node)
            named += 1
        assert named >= least

    for view in VIEWS:
        page.click(f"[data-view={view}]")
        watched.shows(view=view)
        check(view, 40)
    page.click("text=Rows and columns alike")
    check("each axis by itself", 50)
    page.check("#us-mode-pairs")
    check("pairs", 50)
    page.click(".us-quiz button")
    for turn in range(4):
        check(f"question {turn}", 40)
        page.evaluate("explorer.quiz.next(true)")
    # A cell says what it is when it is reached.
    page.click("[data-view=scatter]")
    for panel in ("x", "kernel", "copy", "sum"):
        page.locator(f"[data-panel={panel}] .us-cell").first.focus()
        until(page, "document.activeElement.getAttribute('aria-label')?.length > 5")


@pytest.mark.slow
def test_what_scrolls_can_be_scrolled_by_the_keys(opened):
    """Whatever is wider or higher than its place can be focused, or something in it can."""
    row = ",".join(["-1.25"] * 12)
    large = f"#x={';'.join([row] * 12)}&k={';'.join(['1,2,3,4,5'] * 5)}&s=1,1&p=0,0&d=1,1&view=grid&step=140"
    for width, link in itertools.product((360, 1300), ("", large)):
        watched = opened(link, viewport={"width": width, "height": 800})
        for view in VIEWS:
            watched.page.click(f"[data-view={view}]")
            watched.shows(view=view)
            stuck = watched.page.evaluate(
                """() => [...document.querySelectorAll(".us *")].filter((e) => /auto|scroll/.test(getComputedStyle(e).overflowX + getComputedStyle(e).overflowY)
                    && (e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1)
                    && ![e, ...e.querySelectorAll("*")].some((one) => one.tabIndex >= 0)).map((e) => e.className)"""
            )
            assert stuck == [], (width, link, view)


@pytest.mark.slow
def test_a_pointer_at_rest_does_not_take_the_cell_from_the_keys(opened):
    """A browser tells of it when a cell moves away under it, or the page scrolls, as soon as the next frame is drawn."""
    row = ",".join(["1"] * 12)
    watched = opened(f"#x={';'.join([row] * 12)}&k={';'.join(['1,2,3,4,5'] * 5)}&s=1,1&p=0,0&d=1,1&view=matrix")
    page, inspector = watched.page, watched.page.locator(".us-inspector")
    page.click("[data-panel=matrix] .us-cursor")
    page.keyboard.press("ArrowDown")  # the focused cell goes from under the pointer
    page.wait_for_timeout(300)
    expect(inspector).to_contain_text("Row 1, column 0: k[0, 1] = 2")
    page.click("[data-view=scatter]")
    page.locator("[data-panel=x] .us-cell").nth(5).hover()
    expect(inspector).to_contain_text("x[0, 5] = 1")
    page.locator("[data-panel=sum] .us-cell").first.focus()
    page.keyboard.press("ArrowRight")
    page.evaluate("scrollBy(0, 60)")
    page.wait_for_timeout(300)
    expect(inspector).to_contain_text("y[0, 1] = 3")
    page.locator("[data-panel=x] .us-cell").nth(17).hover()  # one that moves counts
    expect(inspector).to_contain_text("x[1, 5] = 1")
    page.mouse.move(2, 2)
    expect(inspector).not_to_contain_text("x[1, 5] = 1")
