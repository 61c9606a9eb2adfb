"""The explorer's quiz in a real browser."""

from __future__ import annotations

import re
from typing import Any

import pytest
from browser import Watched, load, traced
from playwright.sync_api import expect

from unstride.explainer.web import bundle


def answer_of(page: Any, reader: Any) -> tuple[str, Any]:
    """What is right for the question on the page, computed by Python; its kind. `reader` understands the cases' links."""
    ask = page.locator(".us-ask")
    kind = ask.get_attribute("data-kind")

    def case(link: str) -> Any:
        return traced(reader.evaluate("(link) => parts.fromHash(link)", link))

    if kind in ("fit", "checkerboard"):
        cases = [case(link) for link in page.evaluate("JSON.parse(document.querySelector('.us-ask').dataset.cases)")]
        if kind == "checkerboard":
            asks_even = "no checkerboard" in ask.inner_text()
            right = [i for i, trace in enumerate(cases) if trace.even == asks_even]
        else:
            wanted = int(ask.inner_text().split("makes ")[1].split()[0])
            right = [i for i, trace in enumerate(cases) if trace.output_size == (wanted,)]
        assert len(right) == 1
        return kind, right[0]
    trace = case(ask.get_attribute("data-case"))
    if kind == "most":
        cells = [tuple(map(int, re.findall(r"\d+", name))) for name in page.locator(".us-choice").all_inner_texts()]
        right = [i for i, cell in enumerate(cells) if trace.overlap[cell] == trace.overlap.max()]
        assert len(right) == 1
        return kind, right[0]
    if kind == "size":
        return kind, trace.output_size[0]
    return kind, trace.output.ravel()[int(ask.get_attribute("data-spot"))]


@pytest.fixture
def reader(chrome):
    """A page with the explorer's parts and no explorer, whose address and state would get in between."""
    watched = Watched(chrome)
    load(watched.page, bundle.module())
    yield watched.page
    watched.context.close()


@pytest.mark.slow
def test_the_quiz_knows_right_from_wrong_and_explains(opened, reader):
    watched = opened()
    page = watched.page
    page.click(".us-quiz button")
    seen = set()
    for turn in range(10):
        kind, right = answer_of(page, reader)
        seen.add(kind)
        wrong = turn < 5
        if kind in ("fit", "most", "checkerboard"):
            page.check(f".us-choice input >> nth={(right + 1) % 4 if wrong else right}")
        else:
            page.fill(".us-answer", f"{right + wrong:g}")
        page.click(".us-question [type=submit]")
        feedback = page.locator(".us-feedback")
        expect(feedback).not_to_be_empty()
        said = feedback.inner_text()
        assert ("Not quite." in said) == wrong
        assert ("Right." in said) == (not wrong)
        assert kind != "size" or f"= {right}." in said
        if kind == "cell" and not wrong:
            page.click("text=Show it above")
            end = re.escape(f"= {right:g}".replace("-", "−"))
            expect(page.locator(".us-inspector .us-strong")).to_have_text(re.compile(f"{end}$"))
        page.click("text=Next question")
        expect(page.locator(".us-feedback")).to_be_empty()
    assert seen == {"size", "cell", "fit", "most", "checkerboard"}
    expect(page.locator(".us-score")).to_have_text("5 of 10 right")
    page.click(".us-question [type=submit]")
    expect(page.locator(".us-feedback")).not_to_be_empty()
