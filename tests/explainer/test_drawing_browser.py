"""The drawings in a real browser, which sets the letters: no text is cut off, crossed by a cell's edge or by another text."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from browser import Watched, load

from unstride import GeometryError, explain
from unstride.explainer.web import bundle
from unstride.explainer.web.page import state

VIEWS = ("scatter", "grid", "matrix", "overlap", "gradient")

# What is wrong with each drawing. A text's own box is as high as its font's highest and lowest letters; digits are less.
CHECK = """(drawings) => drawings.map((drawing) => {
    document.body.innerHTML = drawing;
    const svg = document.querySelector("svg");
    const whole = svg.getBoundingClientRect();
    const seen = (e) => getComputedStyle(e).visibility !== "hidden" && getComputedStyle(e).display !== "none";
    const texts = [...svg.querySelectorAll("text")].filter((e) => seen(e) && e.textContent.trim()).map((e) => {
        const { left, right, top, bottom, height } = e.getBoundingClientRect();
        return { said: e.textContent, left: left + 0.5, right: right - 0.5, top: top + height * 0.22, bottom: bottom - height * 0.24 };
    });
    const [upright, level] = [[], []];  // the edges of cells, frames and boards: [where, from, to]
    for (const e of svg.querySelectorAll("rect")) {
        if (!seen(e)) continue;
        const { left, right, top, bottom } = e.getBoundingClientRect();
        upright.push([left, top, bottom], [right, top, bottom]);
        level.push([top, left, right], [bottom, left, right]);
    }
    for (const e of svg.querySelectorAll("path")) {
        if (!seen(e)) continue;
        for (const [, x, y, u, v] of e.getAttribute("d").matchAll(/M(-?[\\d.]+) (-?[\\d.]+)L(-?[\\d.]+) (-?[\\d.]+)/g)) {
            if (x === u) upright.push([whole.left + Number(x), whole.top + Math.min(y, v), whole.top + Math.max(y, v)]);
            if (y === v) level.push([whole.top + Number(y), whole.left + Math.min(x, u), whole.left + Math.max(x, u)]);
        }
    }
    const wrong = [];
    texts.forEach((t, i) => {
        const [x, y] = [(t.left + t.right) / 2, (t.top + t.bottom) / 2];
        if (t.left < whole.left || t.right > whole.right || t.top < whole.top || t.bottom > whole.bottom) wrong.push(`'${t.said}' leaves the picture`);
        if (upright.some(([at, from, to]) => at > t.left && at < t.right && from < y && y < to)) wrong.push(`an upright edge crosses '${t.said}'`);
        if (level.some(([at, from, to]) => at > t.top && at < t.bottom && from < x && x < to)) wrong.push(`a level edge crosses '${t.said}'`);
        for (const o of texts.slice(i + 1)) {
            if (o.left < t.right && t.left < o.right && o.top < t.bottom && t.top < o.bottom) wrong.push(`'${t.said}' and '${o.said}' lie on each other`);
        }
    });
    return [texts.length, wrong];
})"""

OURS = """(state) => ["light"].flatMap((theme) => {
    const t = parts.trace(parts.normalized(state));
    const steps = parts.scene(t, state.view).steps;
    return [0, Math.floor(steps / 2), steps].map((step) => parts.svg(parts.figure(t, state.view, step, parts.PALETTES[theme]), "a drawing"));
})"""


@pytest.fixture(scope="module")
def page(chrome):
    watched = Watched(chrome, viewport={"width": 3000, "height": 2000})
    load(watched.page, bundle.module())
    yield watched.page
    assert watched.complaints == []
    watched.context.close()


def geometries(count: int) -> list[Any]:
    """Traces of 1 and 2 axes up to 12×12, with short and with long numbers, the largest among them."""
    rng = random.Random(5)
    found = []
    while len(found) < count:
        rank = rng.choice((1, 2, 2))
        pick = lambda low, high: [rng.randint(low, high) for _ in range(rank)]  # noqa: E731, B023
        size, k = ([12] * rank, [5] * rank) if len(found) < 4 else (pick(1, 12), pick(1, 5))
        values = np.random.default_rng(len(found))
        scale = rng.choice((None, 1, 1e3, 1e6))
        x, kernel = (
            values.integers(-9, 10, shape) if scale is None else values.uniform(-scale, scale, shape)
            for shape in (size, k)
        )
        fields = {"stride": pick(1, 3), "dilation": pick(1, 2), "padding": [(rng.randint(-2, 2), rng.randint(-2, 2)) for _ in range(rank)]}  # fmt: skip
        try:
            trace = explain(x, kernel, rng.choice((None, -12.5)), op=rng.choice(("conv_transpose", "conv")), **fields)
        except GeometryError:
            continue
        found.append(trace)
    return found


def assert_whole(page: Any, drawings: list[str], case: Any) -> None:
    for (count, wrong), drawing in zip(page.evaluate(CHECK, drawings), drawings, strict=True):
        assert count > 3, case
        assert wrong == [], (case, wrong[:5], drawing[:200])


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_no_text_of_a_drawing_is_cut_off(page, view):
    for trace in geometries(24):
        steps = len(trace.steps(view))
        drawings = [trace.svg(view=view, theme="light", animate=False)]
        drawings += [trace.svg(view=view, theme="dark", step=step) for step in (0, steps // 2, steps - 1)]
        assert_whole(page, drawings, (trace, trace.bias))


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_no_text_of_the_explorer_s_drawings_is_cut_off(page, view):
    for trace in geometries(24):
        case = state(trace) | {"view": view}
        assert_whole(page, page.evaluate(OURS, case), (trace, trace.bias))


def test_what_is_cut_off_is_found(page):
    """The check itself: a text too long for its cell, one that leaves the picture, two on each other."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100" font-size="16" font-family="sans-serif">'
    cell = '<rect x="20" y="20" width="30" height="30"/>'
    for body, said in (
        (f'{cell}<text x="22" y="41">12345</text>', "an upright edge crosses '12345'"),
        (f'{cell}<text x="22" y="24">1</text>', "a level edge crosses '1'"),
        ('<text x="180" y="50">12345</text>', "'12345' leaves the picture"),
        ('<text x="30" y="50">12</text><text x="40" y="50">34</text>', "'12' and '34' lie on each other"),
        ('<path d="M35 0L35 90"/><text x="22" y="41">123</text>', "an upright edge crosses '123'"),
    ):
        ((_, wrong),) = page.evaluate(CHECK, [f"{head}{body}</svg>"])
        assert wrong == [said]
