"""Every chapter: it loads, complains of nothing, asks the network for nothing, fits a phone, works by keyboard."""

from __future__ import annotations

import subprocess
import sys
from operator import attrgetter

import pytest
from lab_harness import Visitor
from playwright.sync_api import expect

from unstride import __main__ as cli
from unstride.lab import server, training
from unstride.lab.chapters import CHAPTERS, neighbours

CONTROLS = {"slider", "button", "combobox", "radio", "textbox", "spinbutton", "checkbox", "searchbox", "switch", "link"}


def controls(visitor):
    """The roles and the names of all controls, as a screen reader is told them."""
    session = visitor.context.new_cdp_session(visitor.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    found = [(node["role"]["value"], node["name"]["value"]) for node in nodes if not node["ignored"] and "name" in node]
    return [(role, name) for role, name in found if role in CONTROLS]


@pytest.fixture(scope="module", params=CHAPTERS, ids=attrgetter("slug"))
def opened(request, chrome, lab):
    """A chapter, and a window with it which several tests share: to load it takes longer than they do."""
    visitor = Visitor(chrome, lab, width=1400, height=900)
    visitor.open(request.param.slug)
    yield request.param, visitor
    visitor.close()


@pytest.mark.slow
def test_it_loads(opened):
    chapter, visitor = opened
    page = visitor.page
    expect(page.locator("h1")).to_have_text(chapter.title)
    expect(page).to_have_title(f"{chapter.number}. {chapter.title}")
    assert page.locator(".cm-editor").count() == 0  # its code is out of sight
    assert page.get_by_text("Traceback").count() == page.get_by_text("internal error").count() == 0
    # A name is words: some of marimo's controls have the markup of their label for one.
    assert [(role, name) for role, name in controls(visitor) if not name.strip() or "<" in name] == []
    visitor.untroubled()


@pytest.mark.slow
def test_by_keyboard(opened):
    _, visitor = opened
    page = visitor.page
    reached = set()
    deepest = """() => { let at = document.activeElement; while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
        return at.closest(".lab-foot") ? "foot" : at.getAttribute("role") ?? at.localName; }"""
    for _ in range(200):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(deepest))
        if "foot" in reached:
            break
    assert "foot" in reached  # past every control: none keeps the focus
    assert reached & {"slider", "input", "select", "button", "gridcell"}
    visitor.untroubled()


SIDE_BY_SIDE = ("geometry", "checkerboard", "frameworks", "autoencoder", "compress", "upscale", "segment", "speed")


def test_controls_stand_beside_results_and_stay_in_sight(opened):
    """Beside them where there is room for both; where there is not, above them, and nothing is laid over anything."""
    chapter, visitor = opened
    page = visitor.page
    measure = """() => [...document.querySelectorAll(".lab-split")].map((both) => {
        const [left, right] = [...both.children].map((child) => child.getBoundingClientRect());
        return [left.right <= right.left, left.bottom <= right.top, getComputedStyle(both.children[0]).position,
            left.height]; })"""
    parts = page.evaluate(measure)
    assert bool(parts) == (chapter.slug in SIDE_BY_SIDE)
    for beside, _, position, height in parts:
        assert beside
        assert position == "sticky"
        assert height < 860  # or its lower end could not be reached
    for width, height in ((1000, 500), (360, 740)):
        page.set_viewport_size({"width": width, "height": height})
        for beside, above, position, _ in page.evaluate(measure):
            assert beside or above
            assert position != "sticky"
    page.set_viewport_size({"width": 1400, "height": 900})
    visitor.untroubled()


@pytest.mark.slow
def test_on_paper(opened):
    """Nothing sticks out to the right, dark pages are printed dark on light, what is set can be read, no page is blank."""
    page = opened[1].page
    page.emulate_media(media="print", color_scheme="dark")
    for paper, width in (("A4", 680), ("Letter", 702)):  # pixels between margins of 15 mm
        page.set_viewport_size({"width": width, "height": 1000})
        wide = page.evaluate(
            """(width) => [...document.querySelectorAll("[data-lab], .lab-head, .markdown, .lab-split")]
                .filter((e) => e.getBoundingClientRect().right > width + 1).map((e) => e.outerHTML.slice(0, 200))""",
            width,
        )
        assert wide == [], paper
        fields = page.locator(".lab-split input[type=number]").evaluate_all("(all) => all.map((e) => e.clientWidth)")
        assert min(fields, default=99) > 40, paper
        above = page.evaluate(
            """[...document.querySelectorAll(".lab-split")].every((both) =>
                both.children[0].getBoundingClientRect().bottom <= both.children[1].getBoundingClientRect().top)"""
        )
        assert above, paper
        left = """document.querySelector("#App").getBoundingClientRect().bottom
            - document.querySelector(".lab-foot").parentElement.getBoundingClientRect().bottom"""
        assert page.evaluate(left) < 40, paper  # below the last line
        pages = page.pdf(format=paper).count(b"/Type /Page\n")
        assert 1 <= pages <= 20
    paint = page.evaluate("getComputedStyle(document.querySelector('.lab-head h1')).color")
    assert paint == "rgb(0, 0, 0)"
    assert page.get_by_text("drop it here").filter(visible=True).count() == 0  # paper takes no files
    page.emulate_media(media="screen", color_scheme="light")
    page.set_viewport_size({"width": 1400, "height": 900})


@pytest.mark.slow
@pytest.mark.parametrize("chapter", CHAPTERS, ids=attrgetter("slug"))
def test_on_a_phone(visit, chapter):
    visitor = visit(width=360, height=740, has_touch=True, is_mobile=True, color_scheme="dark")
    page = visitor.open(chapter.slug)
    # Nothing sticks out to the right but what scrolls by itself.
    wide = page.evaluate(
        """() => [...document.querySelectorAll("[data-lab], .lab-head, .lab-foot, marimo-slider, .markdown, .us")]
            .filter((e) => e.getBoundingClientRect().right > 361).map((e) => e.outerHTML.slice(0, 200))"""
    )
    assert wide == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    cut = "(all) => all.filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.textContent)"
    assert page.locator(".katex-display").evaluate_all(cut) == []
    visitor.untroubled()


@pytest.mark.slow
@pytest.mark.parametrize("slug", ["what-it-is", "geometry", "autoencoder"])
def test_what_is_wide_shrinks_and_then_scrolls_by_itself(visit, slug):
    """All that a chapter opens with is there, on a laptop and on a phone; a drawing that goes on is seen to."""
    visitor = visit(width=1000, height=700)
    page = visitor.open(slug)
    wide = """() => [...document.querySelectorAll(".lab-scroll")].filter((e) => e.scrollWidth > e.clientWidth)
        .map((e) => [e.getAttribute("aria-label"), getComputedStyle(e).maskImage])"""
    assert page.evaluate(wide) == []
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate(wide) == []
    if slug == "geometry":
        visitor.slide("Input n", ["End"])
        visitor.slide("Stride s", ["End"])
        expect(visitor.lab_part("copies")).to_contain_text("copy of cell 5")
        found = page.evaluate(wide)
        assert found
        for label, mask in found:
            assert label == "Figure"
            assert "gradient" in mask
    visitor.untroubled()


@pytest.mark.slow
def test_nothing_covers_the_words_above_a_slider(visitor):
    """Its number stands beside it."""
    page = visitor.open("geometry")
    expect(page.locator("marimo-slider").first).to_contain_text("4")
    slider = page.get_by_role("slider", name="Kernel k", exact=True)
    slider.hover()
    page.mouse.down()
    bubble = page.get_by_role("tooltip", include_hidden=True)
    bubble.wait_for(state="attached")
    assert not any(one.is_visible() for one in page.locator("[data-radix-popper-content-wrapper]").all())
    page.mouse.up()
    visitor.untroubled()


@pytest.mark.slow
def test_the_chapters_follow_one_another(visitor):
    visitor.enter()
    links = visitor.page.locator(".lab-chapters a")
    expect(links).to_have_count(len(CHAPTERS))
    first = CHAPTERS[0]
    visitor.page.get_by_role("link", name=first.title).click()
    visitor.settled()
    after = neighbours(first)[1]
    visitor.page.get_by_role("link", name=f"Next {after.number}. {after.title}").click()
    expect(visitor.page.locator("h1")).to_have_text(after.title)
    visitor.page.get_by_role("link", name="The lab").click()
    expect(links).to_have_count(len(CHAPTERS))
    visitor.untroubled()


def test_pages_say_that_runs_are_shared(tmp_path, monkeypatch, capsys):
    """Those that list runs, and the command line, where the lab is open to others; and there only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("unstride.lab.page._LAB", {"links": False, "others": False})
    notes = []

    def serve(place, *_, **__):
        place.close()
        notes.append(training.shared())

    monkeypatch.setattr(server, "serve", serve)
    for host in ("127.0.0.1", "0.0.0.0"):
        assert cli.main(["lab", "--no-browser", "--host", host]) == 0
        assert ("They share its runs" in capsys.readouterr().out) == (host == "0.0.0.0")
    assert notes[0] == []
    assert "everybody's" in notes[1][0].text
    for chapter in CHAPTERS:
        code = chapter.notebook.read_text()
        assert code.count("*training.shared()") == ("training.choices(" in code or "jobs.listing(" in code), (
            chapter.slug
        )


@pytest.mark.slow
def test_they_run_as_scripts():
    """In one process, which imports what they need once."""
    program = "import runpy, sys\nfor path in sys.argv[1:]:\n    runpy.run_path(path, run_name='__main__')"
    notebooks = [str(chapter.notebook) for chapter in CHAPTERS]
    done = subprocess.run([sys.executable, "-c", program, *notebooks], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_marimo_finds_nothing_to_criticize():
    notebooks = [str(chapter.notebook) for chapter in CHAPTERS]
    done = subprocess.run(
        [sys.executable, "-m", "marimo", "check", "--strict", *notebooks], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
