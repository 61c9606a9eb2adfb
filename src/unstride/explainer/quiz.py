"""Questions on transposed convolution, made from a seed. Answers and explanations are computed from a trace.

A question has one right choice. The wrong ones are results of common mistakes, where there are any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..geometry import Geometry, GeometryError
from ..solver import solve
from .figures import cell_name, equation, prose
from .shared import data, say
from .steps import evenness
from .tables import flow, paragraph, tables
from .trace import Trace

__all__ = ["Choice", "Question", "questions"]

LETTERS = "abcdefgh"
CHOICES = 4
Random = np.random.Generator


@dataclass(frozen=True)
class Choice:
    """One answer: its text, whether it is right, and why."""

    text: str
    correct: bool
    explanation: str


@dataclass(frozen=True)
class Question:
    """A question with its choices, exactly one of them right.

    Attributes
    ----------
    kind : "size", "cell", "fit", "most" or "checkerboard"
    text : str
    choices : tuple of Choice
    trace : Trace or None
        The case that the question shows, if it shows one.
    """

    kind: str
    text: str
    choices: tuple[Choice, ...]
    trace: Trace | None = None

    @property
    def answer(self) -> int:
        """The index of the right choice."""
        return next(index for index, choice in enumerate(self.choices) if choice.correct)

    def show(self, width: int = 80) -> str:
        """The question and its choices for a terminal."""
        parts = [paragraph(self.text, width)]
        if self.trace is not None:
            boards = (("input", self.trace.input), ("kernel", self.trace.kernel))
            parts.append(flow([block for title, board in boards for block in tables(board, title, width)], width))
        lines = (
            paragraph(f"  {letter}) {choice.text}", width, "     ")
            for letter, choice in zip(LETTERS, self.choices, strict=False)
        )
        return "\n\n".join([*parts, "\n".join(lines)])

    def judge(self, answer: int, width: int = 80) -> str:
        """The explanation of an answer."""
        chosen, right = self.choices[answer], self.choices[self.answer]
        if chosen.correct:
            return paragraph(f"Right. {chosen.explanation}", width)
        said = [f"No: {chosen.explanation}", f"The answer is {LETTERS[self.answer]}, {right.text}. {right.explanation}"]
        return "\n".join(paragraph(words, width) for words in said)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        choices = [{"text": c.text, "correct": c.correct, "explanation": c.explanation} for c in self.choices]
        shown = None
        if self.trace is not None:
            shown = {"input": self.trace.input.tolist(), "kernel": self.trace.kernel.tolist()}
            shown |= {"stride": list(self.trace.geometry.stride), "crops": [list(c) for c in self.trace.crops]}
        return {"kind": self.kind, "text": self.text, "choices": choices, "trace": shown}


def questions(seed: int, count: int) -> Iterator[Question]:
    """`count` questions, the kinds in turn; equal seeds make equal ones.

    >>> [question.kind for question in questions(0, 5)]
    ['size', 'cell', 'fit', 'most', 'checkerboard']
    """
    kinds: list[Callable[[Random], Question | None]] = [_size, _cell, _fit, _most, _checkerboard]
    for index in range(count):
        rng = np.random.default_rng([abs(seed), index])
        question = None
        while question is None:  # a draw may leave too few different choices
            question = kinds[index % len(kinds)](rng)
        yield question


def _made(
    rng: Random, kind: str, text: str, right: Choice, wrong: list[Choice], shown: Trace | None = None
) -> Question | None:
    """The question with its choices shuffled; None if there are too few that differ."""
    different = {choice.text: choice for choice in [*reversed(wrong), right]}  # the first mistakes are the likeliest
    others = [choice for choice in wrong if different[choice.text] is choice][: CHOICES - 1]
    if len(others) < CHOICES - 1:
        return None
    choices = [right, *others]
    return Question(kind, text, tuple(choices[place] for place in rng.permutation(CHOICES)), shown)


def _words(geometry: Geometry) -> str:
    (k, *_), (s, *_), (d, *_), ((b, e), *_) = geometry.kernel_size, geometry.stride, geometry.dilation, geometry.crops
    parts = [say("setting", "kernel", k=_square(k)), say("setting", "stride", s=s), say("setting", "padding", p=b)]
    if b != e:
        parts.append(say("setting", "extra", extra=b - e))
    if d > 1:
        parts.append(say("setting", "dilation", d=d))
    return ", ".join(parts)


def _bare(s: int) -> str:
    return f"{say('setting', 'stride', s=s)}, {say('setting', 'unpadded')}"


def _square(n: int) -> str:
    return f"{n}×{n}"


def _sized(geometry: Geometry, n: int, brief: bool = False) -> str:
    """How the output's size comes about; only the numbers, if brief."""
    formula = Trace(np.zeros((n, n)), np.zeros(geometry.kernel_size), geometry=geometry).size_formula[0]
    return f"{formula.split(' = ', 2)[2] if brief else formula} along each axis."


def _size(rng: Random) -> Question | None:
    n, k, s = int(rng.integers(3, 8)), int(rng.integers(2, 6)), int(rng.integers(1, 4))
    p = int(rng.integers(0, (k + 1) // 2))
    op = int(rng.integers(0, s))
    d = int(rng.choice([1, 1, 2]))
    geometry = Geometry((k, k), s, p, op, d)
    (size, _), K = geometry.output_size((n, n)), geometry.spans[0]
    sum_ = _sized(geometry, n)
    values = {"n": n, "k": k, "K": K, "extra": op, "steps": n - 1}
    parts = {"full": (n - 1) * s + K, "conv": (n + 2 * p - K) // s + 1, "ns": n * s, "size": size, "one": 1}
    parts |= {"k": k, "s": s, "p": p, "op": op, "K": K}
    mistakes = [
        (sum(times * parts[name] for name, times in terms.items()), why) for why, terms in data("mistakes.json")["size"]
    ]
    wrong = [Choice(_square(L), False, f"{say('size', why, **values)}.") for L, why in mistakes if L > 0 and size != L]
    text = say("size", "ask", input=say("size", "square", n=n), setting=_words(geometry))
    return _made(rng, "size", text, Choice(_square(size), True, sum_), wrong)


def _cell(rng: Random) -> Question | None:
    k, s = int(rng.integers(2, 4)), int(rng.integers(1, 3))
    shown = Trace(rng.integers(0, 6, (3, 3)), rng.integers(-2, 5, (k, k)), stride=s)
    flipped = Trace(shown.input, shown.sliding_kernel, stride=s)
    busy = np.argwhere(shown.overlap > 1)
    if not len(busy):
        return None
    cell = tuple(int(a) for a in busy[rng.integers(len(busy))])
    terms, value = shown.contributors(cell), float(shown.output[cell])
    sum_ = equation(((term.value, term.weight) for term in terms), None, value)
    reason = f"Input cells {', '.join(cell_name(term.input) for term in terms)} reach it: {sum_}."
    mistakes = [(float(flipped.output[cell]), say("cell", "flipped"))]
    for term in terms:
        name = cell_name(term.input)
        mistakes.append((value - term.product, say("cell", "missing", cell=name, product=prose(term.product))))
        mistakes.append((term.product, say("cell", "alone", cell=name)))
    for axis in (0, 1):
        neighbour = list(cell)
        neighbour[axis] += 1 if cell[axis] + 1 < shown.output_size[axis] else -1
        place = tuple(neighbour)
        mistakes.append((float(shown.output[place]), say("cell", "neighbour", cell=cell_name(place))))
    wrong = [Choice(prose(v), False, f"{why}.") for v, why in mistakes if v != value]
    text = say("cell", "ask", setting=_bare(s), cell=cell_name(cell))
    return _made(rng, "cell", text, Choice(prose(value), True, reason), wrong, shown)


def _fit(rng: Random) -> Question | None:
    n, m = ((7, 28), (7, 14), (14, 28), (4, 7), (5, 16), (6, 24))[rng.integers(6)]
    fitting = [geometry for geometry in solve((n, n), (m, m)) if _plain(geometry)]
    if not fitting:
        return None
    right = fitting[int(rng.integers(min(len(fitting), 4)))]
    (k, _), (s, _), ((b, e), _) = right.kernel_size, right.stride, right.crops
    near = [
        (k + 1, s, b, b - e),
        (k, s, b + 1, b - e),
        (k - 1, s, b, b - e),
        (k, s + 1, b, b - e),
        (k + 2, s, b, b - e),
    ]
    wrong = []
    for k_, s_, p_, op_ in (near[place] for place in rng.permutation(len(near))):
        if k_ < 1 or op_ >= s_:
            continue
        geometry = Geometry((k_, k_), s_, p_, op_)
        try:
            size = geometry.output_size((n, n))[0]
        except GeometryError:
            continue
        if size not in (m, 0):
            said = say("fit", "makes", size=_square(size), formula=_sized(geometry, n, brief=True))
            wrong.append(Choice(_words(geometry), False, said))
    text = say("fit", "ask", big=_square(m), small=_square(n))
    return _made(rng, "fit", text, Choice(_words(right), True, _sized(right, n)), wrong)


def _plain(geometry: Geometry) -> bool:
    """Small, both axes alike, no dilation, and a padding and an output padding that say it."""
    (k, *_), ((b, e), *_) = geometry.kernel_size, geometry.crops
    alike = len(set(geometry.crops)) == len(set(geometry.stride)) == len(set(geometry.kernel_size)) == 1
    return alike and max(geometry.dilation) == 1 and k <= 6 and 0 <= b <= 2 and 0 <= b - e < geometry.stride[0]


def _most(rng: Random) -> Question | None:
    k, s = ((3, 2), (2, 1), (3, 1), (4, 3), (5, 3))[rng.integers(5)]
    n = int(rng.integers(2, 4))
    shown = Trace(rng.integers(0, 10, (n, n)), rng.integers(1, 5, (k, k)), stride=s)
    counts = shown.overlap
    cells = [tuple(int(a) for a in cell) for cell in rng.permutation(np.argwhere(counts >= 0))]
    best = next(cell for cell in cells if counts[cell] == counts.max())

    def said(cell: tuple[int, ...]) -> str:
        names = ", ".join(cell_name(term.input) for term in shown.contributors(cell))
        return f"{counts[cell]} products, from input cell{'s' * int(counts[cell] > 1)} {names}"

    right = Choice(cell_name(best), True, say("most", "right", products=said(best)))
    wrong = [
        Choice(cell_name(cell), False, say("most", "wrong", products=said(cell)))
        for cell in cells
        if counts[cell] < counts.max()
    ]
    text = say("most", "ask", n=n, k=k, setting=_bare(s))
    return _made(rng, "most", text, right, wrong)


def _checkerboard(rng: Random) -> Question | None:
    cases = [(int(k), int(s)) for k in range(1, 8) for s in range(2, 5) if k >= s]
    drawn = [cases[place] for place in rng.permutation(len(cases))]
    asks_even = bool(rng.integers(2))
    right, wrong = None, []
    for k, s in drawn:
        shown = Trace(np.ones((4, 4)), np.ones((k, k)), stride=s)
        words = f"{say('setting', 'kernel', k=_square(k))}, {say('setting', 'stride', s=s)}"
        choice = Choice(words, shown.even == asks_even, evenness(shown))
        if choice.correct:
            right = right or choice
        else:
            wrong.append(choice)
    if right is None:
        return None
    text = say("checkerboard", "even" if asks_even else "uneven")
    return _made(rng, "checkerboard", text, right, wrong)
