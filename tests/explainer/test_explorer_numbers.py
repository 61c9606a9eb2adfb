"""The explorer's numbers, in a real browser, against the reference and the conventions, over thousands of geometries."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Watched, computed, load

import unstride as us
from unstride import explain
from unstride.explainer import shared
from unstride.explainer.presets import PRESETS
from unstride.explainer.settings import FRAMEWORKS
from unstride.explainer.steps import evenness
from unstride.explainer.trace import VIEWS
from unstride.explainer.web import bundle, page

EXACT = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(scope="module")
def parts(chrome):
    watched = Watched(chrome)
    load(watched.page, bundle.module())
    yield watched.page
    assert watched.complaints == []
    watched.context.close()


def cases(count: int, seed: int, most: int = 400) -> list[dict[str, Any]]:
    """Settings of both maps, of 1 and 2 axes: every padding, output padding, dilation, and numbers of many signs."""
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        rank = int(rng.integers(1, 3))
        each = lambda low, high, rank=rank: rng.integers(low, high + 1, rank).tolist()  # noqa: E731
        size, kernel = each(1, 7 if rank == 1 else 4), each(1, 5 if rank == 1 else 3)
        kind = ["valid", "same", "ints", "pairs"][rng.integers(4)]
        padding = {"ints": each(-1, 3), "pairs": rng.integers(-3, 5, (rank, 2)).tolist()}.get(kind, kind)
        case = {
            "map": ["conv_transpose", "conv"][int(rng.integers(4) == 0)],
            "x": rng.integers(-9, 10, size).tolist() if rng.integers(2) else rng.standard_normal(size).tolist(),
            "kernel": rng.integers(-9, 10, kernel).tolist(),
            "stride": each(1, 4),
            "padding": padding,
            "output_padding": None if rng.integers(2) else each(0, 4),
            "dilation": each(1, 3) if rng.integers(3) == 0 else [1] * rank,
        }
        if case["map"] == "conv":
            case["output_padding"] = None
        try:
            trace = traced(case)
        except us.GeometryError as error:
            if "no cell is left" not in str(error):  # a size of 0: tested below
                found.append(case)  # refused by both
            continue
        if trace.output.size <= most:
            case["gradient"] = rng.integers(-9, 10, trace.output.size).tolist()
            found.append(case)
    return found


def fields(case: dict[str, Any]) -> dict[str, Any]:
    return {name: case[name] for name in ("stride", "padding", "output_padding", "dilation")}


def traced(case: dict[str, Any], **more: Any) -> Any:
    return explain(case["x"], case["kernel"], op=case["map"], **fields(case), **more)


NUMBERS = """(c) => {
    try {
        const t = parts.trace(c);
        const m = parts.matrix(t);
        const slide = parts.slidingGrid(t);
        return {
            out: t.out, crops: t.geometry.crops, asked: t.asked.crops, y: t.y, terms: t.terms, response: t.response,
            even: t.even, gx: t.gx, gw: t.gw, matrix: Array.from(m.values), slide: slide.cells.map((s) => s.value),
            full: Array.from(parts.fullGrid(t)),
            by: t.byTarget.map((list) => list.map((p) => [t.up ? p.small : p.big, p.tap])),
            reach: t.bySource.map((list) => list.length), sizes: parts.sizes(c), evenness: parts.evenness(t),
        };
    } catch (error) {
        return { error: error.message };
    }
}"""


@pytest.mark.slow
def test_every_number_is_the_reference_s(parts):
    drawn = cases(2000, seed=1)
    refused = 0
    for case, got in zip(drawn, computed(parts, NUMBERS, drawn), strict=True):
        try:
            trace = traced(case)
        except us.GeometryError as error:
            assert got.get("error") == str(error), case
            refused += 1
            continue
        assert "error" not in got, (case, got)
        assert tuple(got["out"]) == trace.output_size, case
        trace = traced(case, upstream=np.reshape(case["gradient"], trace.output_size))
        for name, expected in (
            ("y", trace.output), ("response", trace.response), ("gx", trace.input_gradient), ("gw", trace.kernel_gradient),
            ("matrix", trace.matrix), ("slide", trace.extended),
        ):  # fmt: skip
            if name == "slide" and trace.op == "conv":
                # Cells at the end that no window reaches are left out of the explorer's padded input.
                expected = expected[
                    tuple(
                        slice(n)
                        for n in trace.geometry.fitted(trace.small_size, trace.big_size).full_size(trace.small_size)
                    )
                ]
            np.testing.assert_allclose(got[name], expected.ravel(), **EXACT, err_msg=f"{name} of {case}")
        if trace.transposed:
            np.testing.assert_allclose(got["full"], trace.full.ravel(), **EXACT)
        assert got["terms"] == trace.overlap.ravel().tolist()
        assert got["reach"] == trace.reach.ravel().tolist()
        assert got["even"] == trace.even, case
        for index, cell in enumerate(np.ndindex(trace.output_size)):
            expected = [
                [
                    int(np.ravel_multi_index(t.input, trace.input.shape)),
                    int(np.ravel_multi_index(t.tap, trace.kernel.shape)),
                ]
                for t in trace.contributors(cell)
            ]
            assert sorted(got["by"][index]) == sorted(expected), (case, cell)
        said = [f"output = {row['letters']} = {row['numbers']} = {row['result']}" for row in got["sizes"]]
        assert said == formulas(trace), case
        assert got["evenness"] == evenness(trace), case
    assert 50 < refused < 1000


def formulas(trace: Any) -> list[str]:
    """What `Trace.size_formula` says; written out here for a transposed convolution, with the padding as it was given."""
    if not trace.transposed:
        return list(trace.size_formula)
    padding, extra = trace.written
    found = []
    for axis in range(trace.rank):
        n, result = trace.input.shape[axis], trace.output_size[axis]
        k, s, d = trace.kernel.shape[axis], trace.geometry.stride[axis], trace.geometry.dilation[axis]
        span = (k - 1) * d + 1
        if isinstance(padding, str):
            total = (span - span % 2 if extra is not None else max(span - s, 0)) if padding == "same" else 0
            b, e = total // 2, total - total // 2
            op = max(s - span, 0) if extra is None else extra[axis]
        else:
            b, e = padding[axis] if isinstance(padding[axis], list) else (padding[axis], padding[axis])
            op = 0 if extra is None else extra[axis]
        assert (n - 1) * s + span - b - e + op == result
        b, e, op = (f"(−{-value})" if value < 0 else str(value) for value in (b, e, op))
        letters, numbers = ("2p", f"2·{b}") if b == e else ("b − e", f"{b} − {e}")
        found.append(
            f"output = (n − 1)·s + (k − 1)·d + 1 − {letters} + op = "
            f"({n} − 1)·{s} + ({k} − 1)·{d} + 1 − {numbers} + {op} = {result}"
        )
    if "op" in trace.size_formula[0]:  # Python's own says the same
        assert found == list(trace.size_formula)
    return found


def test_the_formula_shows_output_padding_as_itself(opened):
    watched = opened("#x=1,2,3;4,5,6&k=1,2,3;4,5,6;7,8,9&s=2,2&p=1,1&op=1,1&d=1,1&view=scatter")
    page = watched.page
    formulas = page.locator(".us-size .us-formula")
    assert formulas.all_text_contents() == [
        "(n − 1)·s + (k − 1)·d + 1 − 2p + op",
        "Rows(2 − 1)·2 + (3 − 1)·1 + 1 − 2·1 + 1 = 4",
        "Columns(3 − 1)·2 + (3 − 1)·1 + 1 − 2·1 + 1 = 6",
    ]
    page.evaluate("explorer.apply({ ...explorer.state, padding: [[1, 0], [-1, -1]] })")
    assert formulas.all_text_contents() == [
        "Rows(n − 1)·s + (k − 1)·d + 1 − b − e + op",
        "Rows(2 − 1)·2 + (3 − 1)·1 + 1 − 1 − 0 + 1 = 5",
        "Columns(n − 1)·s + (k − 1)·d + 1 − 2p + op",
        "Columns(3 − 1)·2 + (3 − 1)·1 + 1 − 2·(−1) + 1 = 10",
    ]
    text = page.evaluate("explorer.scene.view && document.querySelector('.us-size .us-soft').textContent")
    assert "output padding op, added at the end" in text


SETTINGS = """(c) => {
    try {
        const t = parts.trace(c);
        const found = {};
        for (const name of ["keras", "torch", "tensorflow", "jax", "onnx"]) {
            found[name] = parts.setting(t, name);
        }
        return found;
    } catch (error) {
        return null;
    }
}"""


def test_steps_are_counted_as_in_python(parts):
    """The pages, the drawings and the terminal call the same step 3: cells that are done."""
    given = [page.state(preset.trace(), view) for preset in PRESETS.values() for view in VIEWS]
    counts = computed(parts, "(s) => parts.scene(parts.trace(parts.normalized(s)), s.view).steps", given)
    assert counts == [preset.trace().steps(view)[-1].number for preset in PRESETS.values() for view in VIEWS]


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.slow
def test_every_framework_s_arguments_are_the_conventions(parts):
    drawn = cases(2000, seed=2)
    single = dict.fromkeys(FRAMEWORKS, 0)
    for case, got in zip(drawn, computed(parts, SETTINGS, drawn), strict=True):
        try:
            trace = traced(case)
        except us.GeometryError:
            assert got is None
            continue
        for framework in FRAMEWORKS:
            mine, theirs = got[framework], trace.settings[framework]
            assert mine["call"] == theirs.call, (case, framework)
            assert mine.get("reason") == theirs.reason, (case, framework)
            assert mine.get("recipe") == theirs.recipe, (case, framework)
            assert mine.get("arguments") == plain(theirs.arguments), (case, framework)
            if theirs.crops is not None and "crops" in mine:
                assert mine["crops"] == plain(theirs.crops), (case, framework)
            single[framework] += theirs.reason is None
    assert all(50 < count < len(drawn) for count in single.values()), single


PROGRAMS = """(c) => {
    let t;
    try { t = parts.trace(c); } catch (error) { return null; }
    return Object.fromEntries(["keras", "torch", "tensorflow", "jax", "onnx", "numpy", "unstride"].map(
        (name) => [name, parts.program(t, name).code]));
}"""


def test_the_programs_to_copy_are_those_of_python(parts):
    """Letter by letter; test_code runs Python's."""
    biases = [0, 1, -2.5, 1e-7, 12345678.9, 1e16, 3e15]
    drawn = [case | {"bias": biases[n % len(biases)]} for n, case in enumerate(cases(1500, seed=3))]
    drawn[0] |= {"x": [1e-7, 0.1, 1e15, 1e22, -1e-5, 123456.789], "kernel": [-0.0, 2e300], "map": "conv_transpose",
                 "stride": [1], "padding": [0], "output_padding": None, "dilation": [1]}  # fmt: skip
    kinds = set()
    for case, programs in zip(drawn, computed(parts, PROGRAMS, drawn), strict=True):
        try:
            trace = explain(case["x"], case["kernel"], case["bias"] or None, op=case["map"], **fields(case))
        except us.GeometryError:
            assert programs is None, case
            continue
        for framework, program in programs.items():
            assert program == trace.code(framework), (case, framework)
            kinds.add((framework, case["map"], trace.rank, "Instead" in program))
    assert len(kinds) > 40, kinds


def test_a_state_survives_its_address(parts):
    drawn = [c | {"view": v, "bias": b} for c, v, b in zip(
        cases(600, seed=4), ["scatter", "grid", "matrix", "overlap", "gradient"] * 120, [0, 1.5, -2] * 200, strict=True)]  # fmt: skip
    script = """(c) => {
        let state;
        try { state = parts.normalized(c); } catch (error) { return null; }
        return [state, parts.fromHash(parts.toHash(state, 1))];
    }"""
    kept = 0
    for case, got in zip(drawn, computed(parts, script, drawn), strict=True):
        if got is None:
            continue
        before, after = got
        assert after == before | {"step": 1}, case
        kept += 1
    assert kept > 200


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"map": "up"}, "map is 'up'"),
        ({"x": [[1, 2], [3]]}, "equally long rows"),
        ({"x": [1, 2], "kernel": [[1]]}, "different numbers of axes"),
        ({"x": [1, 2], "kernel": [1], "padding": [4]}, "more than the 2 cells"),
        ({"x": [1, 2], "kernel": [1, 2, 3], "map": "conv"}, "the kernel spans 3 cells"),
        ({"x": [1] * 13, "kernel": [1]}, "at most 12"),
        ({"x": [1, 2], "kernel": [1], "padding": [1]}, "crop every cell"),
    ],
)
def test_a_state_that_cannot_be_shown_says_why(parts, state, why):
    script = "(c) => { try { parts.normalized(c); return 'accepted'; } catch (error) { return error.message; } }"
    assert why in computed(parts, script, [state])[0]


def test_every_text_has_the_contrast_that_it_needs(parts):
    found = parts.evaluate(
        """() => Object.entries(parts.PALETTES).flatMap(([theme, p]) => {
            const pairs = [["ink", p.ink, p.paper], ["ink on card", p.ink, p.card], ["soft", p.soft, p.paper],
                ["soft on card", p.soft, p.card], ["accent", p.onAccent, p.accent], ["good", p.good, p.paper],
                ["bad", p.bad, p.paper], ["good on card", p.good, p.card], ["bad on card", p.bad, p.card]];
            for (const [name, value] of Object.entries(p)) if (Array.isArray(value) && name !== "heat" && name !== "cold") pairs.push([name, value[1], value[0]]);
            pairs.push(["cropped over stripes", p.cropped[1], p.wait[0]]);
            for (let i = 0; i <= 20; i++) for (const look of ["heat", "cold"]) pairs.push([`${look} ${i}`, ...parts.heat(p, i / 20, look).reverse()]);
            const marks = [["main on paper", p.main, p.paper], ["accent on paper", p.accent, p.paper]];
            for (const look of ["input", "kernel", "result", "fresh"]) marks.push([`mark on ${look}`, p.main, p[look][0]]);
            return [...pairs.map((pair) => [theme, 4.5, ...pair]), ...marks.map((pair) => [theme, 3, ...pair])]
                .map(([t, least, name, a, b]) => [`${t}: ${name}`, least, parts.contrast(a, b)]);
        })"""
    )
    assert len(found) > 100
    assert [(name, ratio) for name, least, ratio in found if ratio < least] == []


def test_no_text_loses_a_line_that_looks_like_a_comment():
    for file in Path(bundle.__file__).parent.glob("*.mjs"):
        for text in re.findall(r"`(?:[^`\\]|\\.)*`", file.read_text(encoding="utf-8"), re.DOTALL):
            assert not re.search(r"^ *//", text, re.MULTILINE), (file.name, text)


def test_the_page_is_small_and_whole(tmp_path):
    target = tmp_path / "page.html"
    text = page.html(explain([[1, 2], [3, 4]], [[1, 2], [3, 4]], 0.5, stride=2), target)
    assert target.read_text(encoding="utf-8") == text
    assert len(text.encode()) < 200_000
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    assert '"bias":0.5' in text
    for mark in ("/*STYLE*/", "/*START*/", "/*MODULE*/"):
        assert mark not in text


def test_what_no_page_can_show_is_refused():
    with pytest.raises(us.GeometryError, match="3 axes"):
        page.html(explain(np.ones((2, 2, 2)), np.ones((2, 2, 2))))
    for x, kernel, fields, words in (
        (13, 2, {}, "the input size is 13 along an axis; the explorer's page shows 1 to 12"),
        (3, 8, {}, "the kernel size is 8"),
        (3, 2, {"stride": 7}, "the stride is 7"),
        (3, 2, {"dilation": 5}, "the dilation is 5"),
        (12, 7, {"padding": [(0, 10)]}, "the padding is 10"),
        (12, 7, {"output_padding": 9}, "the output padding is 9"),
        (12, 7, {"stride": 4}, "the output size is 51"),
    ):
        with pytest.raises(us.GeometryError, match=words):
            page.html(explain(np.ones(x), np.ones(kernel), **fields))
    with pytest.raises(us.GeometryError, match="no field 'strides'"):
        page.html({"strides": 2})


QUESTIONS = """(kind) => Array.from({ length: 200 }, () => {
    const q = parts.question(kind);
    const given = q.options ? q.options.map((_, i) => i) : Array.from({ length: 81 }, (_, i) => q.answer + i - 40);
    return {
        text: q.text, options: q.options ?? null, said: given.map((one) => q.wrong(one)), given, answer: q.answer,
        state: parts.normalized(q.state), cases: (q.cases ?? []).map(parts.normalized), spot: q.spot?.index,
    };
})"""


def assert_right(kind, question):
    """The answer is what the reference says, and a mistake is called what it is."""
    trace = traced(question["state"])
    if kind == "fit":
        wanted = int(question["text"].split("makes ")[1].split()[0])
        assert [traced(case).output_size == (wanted,) for case in question["cases"]].index(True) == question["answer"]
    elif kind == "checkerboard":
        wanted = "no checkerboard" in question["text"]
        assert [traced(case).even == wanted for case in question["cases"]].index(True) == question["answer"]
    elif kind == "most":
        cells = [tuple(map(int, re.findall(r"\d+", name))) for name in question["options"]]
        counts = [trace.overlap[cell] for cell in cells]
        assert [count for count in counts if count == trace.overlap.max()] == [counts[question["answer"]]]
        for cell, said in zip(cells, question["said"], strict=True):
            assert said.startswith(f"this is the sum of {trace.overlap[cell]} product")
    elif kind == "cell":
        assert question["answer"] == trace.output.ravel()[question["spot"]]
    else:
        (size,), geometry = trace.output_size, trace.geometry
        (n,), (k,), (s,), (K,), ((b, e),) = (
            trace.input.shape, geometry.kernel_size, geometry.stride, geometry.spans, geometry.crops)  # fmt: skip
        assert question["answer"] == size
        values = {
            "this adds the padding": size + 4 * b, "this leaves out the padding": size + 2 * b, "one end only": size + b,
            "input times stride": n * s, "leaves out the output padding": size - b + e, "the dilation": size - K + k,
            "the size of the convolution": (n + 2 * b - K) // s + 1, "steps of the stride": size + s,
            "one too many": size + 1, "one too few": size - 1,
        }  # fmt: skip
        if isinstance(question["state"]["padding"], str):
            values["the size of the convolution"] = (n - K) // s + 1
        for given, said in zip(question["given"], question["said"], strict=True):
            assert all(given == value for words, value in values.items() if words in said), (given, said)


def test_the_quizzes_say_the_same(parts):
    """The questions and mistakes of the explorer stand in the file from which Python's come, whole and filled in."""
    texts = shared.data("texts.json")
    pattern = {
        group: {name: re.compile(re.sub(r"\\{\w+\\}", ".+", re.escape(text))) for name, text in some.items()}
        for group, some in texts.items()
    }
    seen = set()
    for kind in ("size", "cell", "fit", "most", "checkerboard"):
        for question in parts.evaluate(QUESTIONS, kind):
            said = [question["text"], *(question["options"] or []), *question["said"]]
            assert not [text for text in said if re.search(r"[{}]|undefined|NaN|null", text)], question
            assert_right(kind, question)
            asks = [pattern[kind][name] for name in ("ask", "even", "uneven") if name in pattern[kind]]
            assert any(ask.fullmatch(question["text"]) for ask in asks), question
            seen |= {(kind, name) for name, form in pattern[kind].items() if any(form.search(text) for text in said)}
    unsaid = {("size", "square")}  # of two axes, which the explorer does not ask
    assert {
        (kind, name) for kind in ("size", "cell", "fit", "most", "checkerboard") for name in texts[kind]
    } - seen == unsaid
