"""What is in the pictures of a trace, and where: all numbers, in their cells, legible."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from cases import situations
from drawn import CASES, LARGEST, VIEWS, contains, moving, numbers, pictures, random_trace, still, texts
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from unstride.explainer import drawing, explain
from unstride.explainer.drawing import lettering, page, palette, raster
from unstride.explainer.drawing.layout import Grid
from unstride.explainer.drawing.looks import plain, written
from unstride.explainer.drawing.painting import Painter
from unstride.explainer.drawing.scene import TEXT, Box, Label, Lines
from unstride.explainer.drawing.still import whole
from unstride.explainer.drawing.views import View
from unstride.explainer.presets import PRESETS

# What is in the pictures


@pictures
def test_every_number_of_every_step_is_in_its_frame(case, view):
    trace = CASES[case]
    scene = moving(case, view)
    assert len(scene.frames) == len(trace.steps(view))
    for index, step in enumerate(trace.steps(view)):
        said = texts(scene.frame(index))
        for board in step.boards.values():
            assert contains(said, numbers(board))
        assert step.caption.replace("-", "−").split()[0] in " ".join(said)


@pictures
def test_the_whole_shows_input_kernel_and_output(case, view):
    trace = CASES[case]
    said = texts(still(case, view).frame(0))
    boards = {
        "scatter": (trace.input, trace.kernel, trace.copies, trace.output),
        "grid": (trace.input, trace.sliding_kernel, trace.extended, trace.output),
        "matrix": (np.where(trace.connected, trace.matrix, np.nan), trace.input, trace.output),
        "overlap": (trace.overlap, trace.uniform, trace.response),
        "gradient": (trace.upstream, trace.input, trace.kernel, trace.input_gradient, trace.kernel_gradient),
    }[view]
    for board in boards:
        copies = len(trace.copies) if board is trace.copies else 0
        if copies <= 16:
            assert contains(said, numbers(board))


def test_of_many_copies_some_are_drawn_and_it_is_said_how_many_are_not():
    trace = random_trace((5, 5), (2, 2))
    said = texts(whole(View(trace, "scatter")).frame(0))
    drawn = sum(count for text, count in said.items() if text.endswith("× kernel"))
    assert 3 <= drawn < 25
    assert said[f"{25 - drawn} more"] == 1


@pytest.mark.slow
@settings(max_examples=25)
@given(situations(ranks=(1, 2, 3), most_groups=1), st.sampled_from(VIEWS), st.booleans())
def test_numbers_are_in_the_cells_of_any_geometry(situation, view, digits):
    geometry, size, rng = situation
    assume(0 not in geometry.output_size(size) or np.prod(geometry.output_size(size)) > 150)
    scale = 1e4 if digits else 1
    trace = explain(rng.standard_normal(size) * scale, rng.standard_normal(geometry.kernel_size), geometry=geometry)
    for scene in (page.steps(View(trace, view)), whole(View(trace, view))):
        for index in {0, len(scene.frames) // 2, len(scene.frames) - 1}:
            assert_tidy(scene, scene.frame(index))


# Where it is


def extent(label):
    width, height = lettering.width(label.text, label.size), lettering.CAPITAL * label.size
    left = label.x - {"start": 0, "middle": 0.5, "end": 1}[label.anchor] * width
    return left, label.y - height, left + width, label.y


def assert_tidy(scene, shapes):
    """No text reaches over the edge, another text, or the lines of its cell; everything else is on the page."""
    labels = [shape for shape in shapes if isinstance(shape, Label)]
    boxes = [extent(label) for label in labels]
    for label, (left, top, right, bottom) in zip(labels, boxes, strict=True):
        assert left >= 0, label
        assert top >= 0, label
        assert right <= scene.width, label
        assert bottom <= scene.height, label
        assert raster.text_width(label.text, label.size) <= right - left + 1e-6, label
    order = sorted(range(len(boxes)), key=lambda n: boxes[n][0])
    for place, n in enumerate(order):
        for m in itertools.islice(order, place + 1, None):
            if boxes[m][0] >= boxes[n][2] - 1e-6:
                break
            apart = boxes[m][1] >= boxes[n][3] - 1e-6 or boxes[n][1] >= boxes[m][3] - 1e-6
            assert apart, (labels[n], labels[m])
    upright = sorted(
        (x, y, bottom) for s in shapes if isinstance(s, Lines) for (x, y), (a, bottom) in s.lines if x == a
    )
    for label, (left, top, right, bottom) in zip(labels, boxes, strict=True):
        for x, start, stop in upright:
            crossed = left + 1e-6 < x < right - 1e-6 and start < bottom and top < stop
            assert not crossed, (label, x)
    for shape in shapes:
        if isinstance(shape, Box):
            assert 0 <= shape.x <= shape.x + shape.width <= scene.width, shape
            assert 0 <= shape.y <= shape.y + shape.height <= scene.height, shape


@pictures
def test_nothing_is_cut_off_or_covered(case, view):
    for scene in (moving(case, view), still(case, view)):
        for index in range(0, len(scene.frames), 1 + len(scene.frames) // 12):
            assert_tidy(scene, scene.frame(index))


@pytest.mark.parametrize(("case", "view"), list(itertools.product(LARGEST, VIEWS)))
def test_nothing_is_cut_off_at_the_largest_sizes(case, view):
    scene = moving(case, view)
    for index in (0, len(scene.frames) - 1):
        assert_tidy(scene, scene.frame(index))
    assert_tidy(still(case, view), still(case, view).frame(0))
    if view == "scatter":
        assert contains(texts(scene.frame(len(scene.frames) - 1)), numbers(LARGEST[case].running_sums[-1]))


@pytest.mark.parametrize("view", ["scatter", "grid"])
def test_a_narrow_page_has_its_grids_one_below_the_other(view):
    trace = PRESETS["example-2"].trace()
    wide, narrow = page.steps(View(trace, view)), page.steps(View(trace, view), 340)
    assert narrow.width == 340 < wide.width
    for index in range(0, len(narrow.frames), 5):
        assert_tidy(narrow, narrow.frame(index))
    assert contains(texts(narrow.frame(len(narrow.frames) - 1)), numbers(trace.output))
    assert 40 < page.steps(View(trace, view), 40).width < 340  # as wide as its widest grid
    assert '<svg xmlns="http://www.w3.org/2000/svg" width="340"' in drawing.svg(trace, view=view, step=1, width=340)
    assert 'width="340"' in drawing.beginning(trace, view=view, width=340)


def test_a_large_matrix_is_drawn_without_numbers_and_within_reach():
    trace, scene = LARGEST["12x12"], moving("12x12", "matrix")
    assert scene.height < 1800
    cells = [shape for shape in scene.frame(0) if isinstance(shape, Box) and shape.fill.startswith(("plus", "minus"))]
    # Neighbours in a row that are alike are one box.
    assert sum(round(box.width / box.height) for box in cells) == np.count_nonzero(trace.matrix)


@pytest.mark.parametrize("size", [(5,), (3, 4), (3, 2, 4), (5, 3, 1), (4, 2, 2)])
@pytest.mark.parametrize("blocks", [(0, 0), (2, 3)])
def test_each_value_is_written_in_the_middle_of_its_own_cell(size, blocks):
    room = ((1, 2),) * len(size)
    grid = Grid(size, (40, 22), 11, "A grid", room, blocks, x=30, y=50)
    values = np.arange(np.prod(size)).reshape(size) * 1.0
    values[(0,) * len(size)] = np.nan
    shapes = Painter(grid).paint(plain(values, "input"))
    labels = {shape.text: shape for shape in shapes if isinstance(shape, Label)}
    assert len(labels) == values.size - 1
    boxes = []
    for cell, value in np.ndenumerate(values):
        x, y, width, height = grid.box(cell)
        assert grid.x <= x <= x + width <= grid.x + grid.width
        assert grid.y + grid.above <= y <= y + height <= grid.y + grid.above + grid.body
        assert not any(x < a + w and a < x + width and y < b + h and b < y + height for a, b, w, h in boxes)
        boxes.append((x, y, width, height))
        if value == value:
            assert labels[written(value)].x == x + width / 2
            assert y < labels[written(value)].y - 7 < labels[written(value)].y < y + height
    order = sorted(np.ndindex(*size), key=lambda cell: (cell[:-2], grid.box(cell)[1], grid.box(cell)[0]))
    assert order == list(np.ndindex(*size))  # rows go down, columns to the right


def test_texts_are_wrapped_within_their_width():
    words = "a kernel of 5 × 5 taps, and averyveryverylongwordthatnolinecanhold −1234.567"
    for width in (40, 90, 200, 2000):
        lines = lettering.wrap(words, 14, width)
        assert all(lettering.width(line, 14) <= width for line in lines)
        assert "".join(lines).replace(" ", "") == words.replace(" ", "")
    assert lettering.wrap("", 14, 100) == []


# Colours


@pictures
def test_every_text_stands_out_from_what_is_behind_it(case, view):
    for scene in (moving(case, view), still(case, view)):
        for index in (0, len(scene.frames) // 2, len(scene.frames) - 1):
            shapes = scene.frame(index)
            fills = [shape for shape in shapes if isinstance(shape, Box) and shape.fill]
            for label in (shape for shape in shapes if isinstance(shape, Label)):
                under = [f for f in fills if f.x < label.x < f.x + f.width and f.y < label.y < f.y + f.height]
                for colours in palette.THEMES.values():
                    fill = colours.colour(under[-1].fill) if under else colours.paper
                    assert palette.contrast(fill, colours.colour(label.ink)) >= 4.5, (label, under)


@pytest.mark.parametrize("theme", palette.THEMES.values(), ids=palette.THEMES)
def test_frames_and_scales_can_be_told_apart(theme):
    for role, fill in theme.fills.items():
        if role.endswith("-now"):
            assert palette.contrast(theme.inks["frame"], fill) >= 3
            assert palette.contrast(fill, theme.fills[role.removesuffix("-now")]) >= 1.25
    for fill in (theme.paper, theme.fills["blank"]):
        assert palette.contrast(theme.inks["accent"], fill) >= 3
    for step in range(palette.HEAT - 1):
        assert palette.contrast(theme.fills[f"heat{step}"], theme.fills[f"heat{step + 1}"]) >= 1.1


def test_contrast_is_that_of_the_definition():
    assert palette.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert palette.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_every_character_that_is_drawn_has_a_shape():
    """In Pillow's own font, or among the signs that are drawn: nothing comes out as an empty box."""
    empty = bytes(raster._font(20.0).getmask("\U0010fffe"))
    said = set()
    for case, view in itertools.product(CASES, VIEWS):
        for scene in (moving(case, view), still(case, view)):
            said |= {c for frame in (*scene.frames, scene.still) for c in "".join(texts(frame))}
    assert {"−", "×", "→", "·"} <= said
    for character in said - set(raster._DRAWN) - {" "}:
        assert bytes(raster._font(20.0).getmask(character)) != empty, character


# The reading's pictures


def test_the_worked_example_is_drawn_as_a_sum_of_its_four_copies():
    scene = whole(View(PRESETS["worked-2"].trace(), "scatter"))
    labels = sorted(
        (shape for shape in scene.frame(0) if isinstance(shape, Label) and shape.layer == TEXT), key=lambda s: s.x
    )
    signs = Counter(label.text for label in labels if label.text in "×=+→")
    assert signs == {"×": 1, "=": 2, "+": 3}
    said = texts(labels)
    assert [said[f"{value} × kernel"] for value in (0, 1, 2, 3)] == [1, 1, 1, 1]
