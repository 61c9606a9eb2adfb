"""What the tests of the drawings share: traces, their scenes, and what is written in them."""

from __future__ import annotations

import functools
import itertools
from collections import Counter

import numpy as np
import pytest

from unstride.explainer import explain
from unstride.explainer.drawing import page
from unstride.explainer.drawing.looks import written
from unstride.explainer.drawing.scene import Label
from unstride.explainer.drawing.still import whole
from unstride.explainer.drawing.views import View

VIEWS = ("scatter", "grid", "matrix", "overlap", "gradient")


def random_trace(size, kernel, seed=0, digits=0, **fields):
    rng = np.random.default_rng(seed)
    if digits:  # long numbers of both signs
        x, k = (np.round(rng.uniform(-1, 1, shape) * 10**digits, 3) for shape in (size, kernel))
    else:
        x, k = (rng.integers(-9, 10, shape) for shape in (size, kernel))
    return explain(x, k, **fields)


CASES = {
    "2x2": random_trace((2, 2), (2, 2), stride=2),
    "cropped": random_trace((3, 3), (3, 2), stride=2, padding=1, bias=-0.5),
    "extended": random_trace((2, 3), (2, 3), stride=3, padding=((-1, 2), (1, -2)), bias=12),
    "dilated": random_trace((3, 4), (2, 3), digits=3, dilation=2, padding=1),
    "cut": random_trace((3, 3), (2, 2), stride=3, padding=3),
    "line": random_trace((5,), (3,), stride=2, padding=1),
    "cell": random_trace((1,), (1,), digits=6),
    "solid": random_trace((2, 2, 3), (2, 1, 2), stride=2, padding=((1, 0), (0, 0), (0, 1))),
    "conv": random_trace((6, 5), (2, 3), op="conv", stride=2, padding=1, bias=3),
    "conv line": random_trace((7,), (3,), op="conv", stride=2, padding=1, digits=2),
    "conv solid": random_trace((3, 4, 3), (2, 2, 2), op="conv", padding=(0, 1, 0)),
}
LARGEST = {
    "12x12": random_trace((12, 12), (5, 5), digits=3),
    "12x12 conv": random_trace((12, 12), (5, 5), digits=3, op="conv", stride=2, padding=2),
    "12": random_trace((12,), (5,), digits=5, stride=2),
}


@functools.cache
def moving(case, view):
    return page.steps(View((CASES | LARGEST)[case], view))


@functools.cache
def still(case, view):
    return whole(View((CASES | LARGEST)[case], view))


def texts(shapes):
    return Counter(shape.text for shape in shapes if isinstance(shape, Label))


def numbers(board):
    return Counter(written(float(value)) for value in board.ravel() if value == value)


def contains(more, less):
    return not less - more


pictures = pytest.mark.parametrize(("case", "view"), list(itertools.product(CASES, VIEWS)))
