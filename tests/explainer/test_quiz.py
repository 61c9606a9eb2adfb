"""Questions: one right choice each, and right by the definitions, whatever the seed."""

import json
import re

import numpy as np
import pytest

import unstride as us
from unstride import reference
from unstride.explainer.quiz import questions

SEEDS = range(60)


@pytest.fixture(scope="module")
def made():
    return [question for seed in SEEDS for question in questions(seed, 10)]


def of(made, kind):
    found = [question for question in made if question.kind == kind]
    assert len(found) >= len(SEEDS)
    return found


def numbers(text):
    return [int(n) for n in re.findall(r"\d+", text)]


def geometry(text):
    """Read from what the learner reads."""
    found = {name: int(n) for name, n in re.findall(r"(kernel|stride|output padding|padding|dilation) (\d+)", text)}
    k = found["kernel"]
    extra = found.get("output padding", 0)
    return us.Geometry((k, k), found["stride"], found.get("padding", 0), extra, found.get("dilation", 1))


def test_one_choice_is_right_and_all_differ(made):
    for question in made:
        assert [choice.correct for choice in question.choices].count(True) == 1
        assert len({choice.text for choice in question.choices}) == len(question.choices) == 4
        assert all(choice.explanation for choice in question.choices)
        json.dumps(question.to_dict(), allow_nan=False)


def test_the_right_choice_is_anywhere(made):
    assert {question.answer for question in made} == {0, 1, 2, 3}


def test_equal_seeds_make_equal_questions():
    def said(seed):
        return [question.show() for question in questions(seed, 7)]

    assert said(3) == said(3) != said(4)
    assert said(3)[:2] == [question.show() for question in questions(3, 2)]


def test_sizes(made):
    for question in of(made, "size"):
        n = numbers(question.text)[0]
        size = geometry(question.text).output_size((n, n))
        for choice in question.choices:
            assert choice.correct == (tuple(numbers(choice.text)) == size)


def test_cells(made):
    for question in of(made, "cell"):
        trace = question.trace
        cell = tuple(numbers(question.text.split("output cell")[1])[:2])
        stride = int(re.search(r"stride (\d)", question.text)[1])
        y = reference.scatter(
            trace.input[..., None], trace.kernel[..., None, None], us.Geometry(trace.kernel.shape, stride)
        )
        for choice in question.choices:
            assert choice.correct == (float(choice.text.replace("−", "-")) == y[(*cell, 0)])


def test_geometries_that_fit(made):
    for question in of(made, "fit"):
        m, _, n, _ = numbers(question.text)
        for choice in question.choices:
            assert choice.correct == (geometry(choice.text).output_size((n, n)) == (m, m))


def test_cells_with_the_most_products(made):
    for question in of(made, "most"):
        n, _, k, _, s, *_ = numbers(question.text)
        ones = reference.scatter(np.ones((n, n, 1)), np.ones((k, k, 1, 1)), us.Geometry((k, k), s))[..., 0]
        for choice in question.choices:
            assert choice.correct == (ones[tuple(numbers(choice.text))] == ones.max())


def test_checkerboards(made):
    for question in of(made, "checkerboard"):
        asks_even = "no checkerboard" in question.text
        for choice in question.choices:
            k, _, s = numbers(choice.text)
            ones = reference.scatter(np.ones((9, 1)), np.ones((k, 1, 1)), us.Geometry(k, s))[k + s : -k - s]
            assert choice.correct == ((ones.min() == ones.max()) == asks_even)


def test_a_wrong_answer_is_told_the_right_one(made):
    for question in made[:50]:
        wrong = (question.answer + 1) % 4
        said = " ".join(question.judge(wrong, 60).split())
        assert said.startswith("No: ")
        assert f"The answer is {'abcd'[question.answer]}, {question.choices[question.answer].text}." in said
        assert question.judge(question.answer).startswith("Right. ")


@pytest.mark.parametrize("width", [40, 60, 120])
def test_nothing_is_wider_than_the_terminal(made, width):
    for question in made[:50]:
        for text in (question.show(width), question.judge(0, width)):
            assert max(map(len, text.split("\n"))) <= width
