"""Tables for a terminal: the right numbers, aligned, no wider than the terminal."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unstride as us
from unstride.explainer.figures import figure
from unstride.explainer.presets import PRESETS
from unstride.explainer.text import MOST_LINES
from unstride.explainer.trace import VIEWS

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
WIDTHS = st.sampled_from([20, 40, 60, 80, 120])


@st.composite
def traces(draw):
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    size, taps = rng.integers(1, 5, rank), rng.integers(1, 4, rank)
    stride, crops = rng.integers(1, 4, rank), rng.integers(-2, 2, (rank, 2))
    kind = draw(st.sampled_from(["conv_transpose", "conv"]))
    geometry = us.Geometry(taps, stride, crops)
    big = tuple(max(n - b - e, 1) for n, (b, e) in zip(geometry.full_size(size), crops, strict=True))
    geometry = geometry.with_crops([(b, n - b - L) for n, (b, _), L in zip(geometry.full_size(size), crops, big, strict=True)])  # fmt: skip
    numbers = {
        "digits": lambda shape: rng.integers(0, 10, shape),
        "negative": lambda shape: rng.integers(-120, 10, shape),
        "fractions": rng.standard_normal,
        "wide": lambda shape: rng.standard_normal(shape) * 10.0 ** rng.integers(-9, 12, shape),
    }[draw(st.sampled_from(["digits", "negative", "fractions", "wide"]))]
    bias = draw(st.sampled_from([None, -0.5]))
    return us.explain(numbers(size if kind == "conv_transpose" else big), numbers(taps), bias, geometry, op=kind)


def blocks(text):
    """Every framed table of a text as its rows of inner text, cut out of what stands beside it."""
    lines = text.split("\n")
    for top, line in enumerate(lines):
        for corner in re.finditer(r"┌─+┐", line):
            left, right = corner.span()
            rows = []
            for below in lines[top + 1 :]:
                if below[left : left + 1] == "└":
                    assert below[left:right] == f"└{'─' * (right - left - 2)}┘"
                    break
                assert below[left] == below[right - 1] == "│", f"a frame is broken:\n{text}"
                rows.append(below[left + 1 : right - 1])
            yield rows


@pytest.mark.slow
@given(traces(), st.sampled_from(VIEWS), WIDTHS)
@settings(max_examples=150)
def test_frames_are_whole_and_fit(trace, view, width):
    text = trace.text(view, width=width)
    assert "nan" not in text
    for rows in blocks(text):
        assert len({len(row) for row in rows}) == 1
    widest = max(map(len, text.split("\n")))
    if width >= 40:  # one number may be wider than the narrowest terminal
        assert widest <= width, text


@given(traces(), st.sampled_from(VIEWS))
@settings(max_examples=60)
def test_colours_change_nothing_but_the_colour(trace, view):
    plain, coloured = (trace.text(view, color=color, width=100) for color in (False, True))
    assert ESCAPE.sub("", coloured) == plain
    assert "\x1b" not in plain
    assert "\x1b[" in coloured


@given(traces(), st.sampled_from(VIEWS), st.integers(0, 1000))
@settings(max_examples=100)
def test_steps_mark_their_cells(trace, view, which):
    step = trace.steps(view)[which % len(trace.steps(view))]
    text = trace.text(view, step.index, width=400)
    assert f"Step {step.number} of {trace.steps(view)[-1].number}, view {view}" in text
    assert " ".join(step.caption.split()) in " ".join(text.split())
    marked = sum(len(re.findall(r"\[", row)) for rows in blocks(text) for row in rows)
    expected = sum(len(c) for name, c in step.active.items() if len(c) < step.boards[name].size)
    assert marked == expected
    assert trace.text(view, step.index, color=True, width=400).count("\x1b[7m") == expected


def numbers_of(rows):
    return [[float(word) for word in row.split()] for row in rows]


@given(traces().filter(lambda trace: trace.rank < 3))
@settings(max_examples=60)
def test_the_output_is_in_the_text(trace):
    expected = np.vectorize(lambda v: float(figure(v)))(np.atleast_2d(trace.output)).tolist()
    assert expected in [numbers_of(rows) for rows in blocks(trace.text("grid", width=10_000))]


@pytest.mark.parametrize("values", [[1.5, -2.25, 10], [-100, 0.001, 5], [0.1, 0.25, -0.125]])
def test_points_are_below_one_another(values):
    trace = us.explain(np.array(values)[:, None], [[1]])
    rows = next(blocks(trace.text(width=80)))
    points = {row.index(".") for row in rows if "." in row}
    assert len(points) == 1
    (point,) = points
    assert all(row[:point].rstrip()[-1].isdigit() for row in rows)
    assert all(len(row[:point]) == len(row[:point].rstrip()) for row in rows)


def test_print_shows_the_readings_sum_of_tables():
    assert PRESETS["worked-1"].trace().text(width=70).split("\n\n")[2] == "\n".join(
        [
            "  0 × kernel     1 × kernel     2 × kernel     3 × kernel",
            "  ┌──────────┐   ┌──────────┐   ┌──────────┐   ┌──────────┐",
            "  │  0  0    │   │     0  1 │   │          │   │          │",
            "  │  0  0    │ + │     2  3 │ + │  0  2    │ + │     0  3 │",
            "  │          │   │          │   │  4  6    │   │     6  9 │",
            "  └──────────┘   └──────────┘   └──────────┘   └──────────┘",
            "  output",
            "  ┌──────────┐",
            "  │  0  0  1 │",
            "= │  0  4  6 │",
            "  │  4 12  9 │",
            "  └──────────┘",
        ]
    )
    assert str(PRESETS["worked-1"].trace()) == PRESETS["worked-1"].trace().text()


def test_many_copies_are_not_all_printed_and_it_says_so():
    text = us.explain(np.ones((5, 5)), [[1, 2]]).text(width=80)
    assert "The first 4 and the last of the 25 copies" in text
    assert text.count("× kernel") == 5
    assert f"and {30 - MOST_LINES if MOST_LINES < 30 else 0} more" not in text
    long = us.explain(np.ones((9, 9)), [[1, 2]]).text("grid", width=80)
    assert long.endswith(f"… and {90 - MOST_LINES} more cells")


def test_a_matrix_is_shown_as_it_fits():
    small, large = us.explain([1, 2], [3, 4]), us.explain(np.ones((5, 5)), np.ones((2, 2)))
    assert [[3], [4, 3], [4]] in [numbers_of(rows) for rows in blocks(small.text("matrix", width=60))]
    picture = large.text("matrix", width=40).split("a weight is\n")[1].split("\n\n")[0].split("\n")
    assert [[mark == "■" for mark in row] for row in picture] == large.connected.tolist()
    assert "Of its 900 entries 100 hold a weight" in large.text("matrix", width=25).replace("\n", " ")


def test_wide_tables_are_cut_into_columns():
    text = us.explain(np.arange(30.0), [1]).text(width=40)
    ends = [tuple(map(int, pair)) for pair in re.findall(r"input, columns (\d+)–(\d+)", text)]
    assert ends[0][0] == 0
    assert ends[-1][1] == 29
    assert all(first == last + 1 for (_, last), (first, _) in itertools.pairwise(ends))


@pytest.mark.parametrize("name", PRESETS)
def test_presets_in_every_view(name):
    trace = PRESETS[name].trace()
    for view in VIEWS:
        assert trace.text(view, width=60).startswith("Convolution" if trace.op == "conv" else "Transposed")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.0, "0"), (-0.0004, "-0.0004"), (1e-9, "1e-09"), (0.9996, "1"), (-1234567.25, "-1234567.25"), (1.5e7, "1.5e+07")],
)  # fmt: skip
def test_figures(value, text):
    assert figure(value) == text
