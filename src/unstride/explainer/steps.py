"""The steps of each view of a trace, as plain data. Text and drawings show the same steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .. import reference
from .._messages.wording import counted
from .figures import cell_name, equation, prose
from .numbers import Numbers, Term
from .pairs import Array, Cell, cells_of, flat, tuples
from .shared import say

__all__ = ["Step", "steps"]

BOARDS = {
    "input": "input",
    "kernel": "kernel",
    "copy": "copy",
    "sum": "sum so far",
    "full": "full grid",
    "output": "output",
    "spaced": "input with zeros between",
    "extended": "extended grid",
    "flipped": "kernel, flipped",
    "matrix": "matrix",
    "input_column": "input as a column",
    "output_column": "output as a column",
    "overlap": "terms so far",
    "uniform": "through equal weights",
    "response": "through this kernel",
    "upstream": "upstream gradient",
    "input_gradient": "gradient of the input",
    "kernel_gradient": "gradient of the kernel",
}
"""The title of each board, by its name."""


@dataclass(frozen=True)
class Step:
    """One step of a view.

    Attributes
    ----------
    view : str
    kind : str
        "copy", "crop" and "bias" (scatter); "spaced", "extended", "flipped" and "window" (grid); "row" (matrix);
        "count" and "evenness" (overlap); "input_gradient", "kernel_gradient" and "bias_gradient" (gradient).
    index : int
        Of the step in its view.
    cell : cell or None
        The input cell of a copy or a count, the output cell of a window or a row, the input cell or
        the tap of a gradient.
    caption : str
        One sentence or two.
    equation : str
        The products written out with their sum, however many; empty where nothing is summed.
    boards : dict of array
        The boards after the step, in order, by the names in `BOARDS`. NaN is a blank cell.
    active : dict of tuple of cells
        The active cells of each board.
    terms : tuple of Term
        The products of the step. Its gradients have other factors: upstream times weight, and upstream times value.
    number : int
        How many of the view's cells are done after it: the "step 3" of pages, drawings and terminal. It
        is 0 while a grid is made ready, and stays as it is where no cell is added: at a crop, a bias, a summary.
    """

    view: str
    kind: str
    index: int
    cell: Cell | None
    caption: str
    equation: str
    boards: dict[str, Array]
    active: dict[str, tuple[Cell, ...]]
    terms: tuple[Term, ...] = ()
    number: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON: arrays as lists, blanks as None, cells as lists."""
        return {
            "view": self.view,
            "kind": self.kind,
            "index": self.index,
            "number": self.number,
            "cell": None if self.cell is None else list(self.cell),
            "caption": self.caption,
            "equation": self.equation,
            "boards": {name: _blank(board) for name, board in self.boards.items()},
            "active": {name: [list(cell) for cell in cells] for name, cells in self.active.items()},
            "terms": [term._asdict() for term in self.terms],
        }


def _blank(board: Array) -> list[Any]:
    entries = board.astype(object)
    entries[np.isnan(board)] = None
    return list(entries.tolist())


_KEPT: WeakKeyDictionary[Numbers, dict[str, tuple[Step, ...]]] = WeakKeyDictionary()


def steps(trace: Numbers, view: str) -> tuple[Step, ...]:
    """All steps of a view; computed once for each trace."""
    kept = _KEPT.setdefault(trace, {})
    if view not in kept:
        kept[view] = _steps(trace, view)
    return kept[view]


def _steps(trace: Numbers, view: str) -> tuple[Step, ...]:
    rule = {"scatter": _scatter, "grid": _grid, "matrix": _matrix, "overlap": _overlap, "gradient": _gradient}[view]
    numbered: list[Step] = []
    number = 0
    for kind, cell, caption, sum_, boards, active, terms in rule(trace):
        number += cell is not None
        numbered.append(Step(view, kind, len(numbered), cell, caption, sum_, boards, active, terms, number))
    return tuple(numbered)


def before(trace: Numbers, view: str) -> Step:
    """The state before the first step of a view: step 0, which `Trace.steps` does not count."""
    given = {"input": trace.input, "kernel": trace.kernel}
    words = "Nothing is done yet: these are the input and the kernel."
    if view == "matrix":
        given = {"matrix": np.where(trace.connected, trace.matrix, np.nan), "input_column": trace.input.reshape(-1, 1)}
        words = "Nothing is done yet: this is the matrix, and the input as a column."
    elif view == "gradient":
        given = {"upstream": trace.upstream, **given}
        words = "Nothing is done yet: these are the upstream gradient, the input and the kernel."
    return Step(view, "before", -1, None, words, "", given, {})


def ready(trace: Numbers, view: str) -> Step:
    """Step 0 with the boards of the later steps and blank results; for the views "scatter" and "grid"."""
    words = "Nothing is done yet."
    if view == "scatter":
        copy, total = trace.copies[0], trace.running_sums[0]
        boards = {"input": trace.input, "kernel": trace.kernel, "copy": np.full_like(copy, np.nan)}
        return Step(view, "copy", -1, None, words, "", {**boards, "sum": np.full_like(total, np.nan)}, {})
    last = steps(trace, view)[-1]
    boards = {**last.boards, "output": np.full(trace.output_size, np.nan)}
    return Step(view, last.kind, -1, None, words, "", boards, {})


Parts = tuple[str, Cell | None, str, str, dict[str, Array], dict[str, tuple[Cell, ...]], tuple[Term, ...]]


def _scatter(trace: Numbers) -> Iterator[Parts]:
    for index, cell in enumerate(tuples(cells_of(trace.input.shape))):
        terms = trace.touched_by_input(cell)
        value = prose(trace.input[cell])
        places = tuple(term.place if trace.transposed else _kept(term) for term in terms)
        if trace.transposed:
            caption = (
                f"Input cell {cell_name(cell)} is {value}: {value} times the kernel is added from place "
                f"{cell_name(places[0])} of the full grid on."
            )
        elif terms:
            count = f"{len(terms)} output cell{'s' * (len(terms) > 1)}"
            caption = f"Input cell {cell_name(cell)} is {value}: times a tap each, it is added to {count}."
        else:
            caption = f"Input cell {cell_name(cell)} is {value}: no window reads it."
        boards = {"input": trace.input, "kernel": trace.kernel, "copy": trace.copies[index]}
        boards["sum"] = trace.running_sums[index]
        taps = tuple(term.tap for term in terms)
        active = {"input": (cell,), "kernel": taps, "copy": places, "sum": places}
        yield "copy", cell, caption, "", boards, active, terms
    output = trace.full
    if trace.transposed and any(crop != (0, 0) for crop in trace.crops):
        output = reference.crop(trace.full, trace.crops)
        kept = _kept_cells(trace)
        shift = np.array([b for b, _ in trace.crops])
        inside = tuples(np.array(kept, np.int64).reshape(-1, trace.rank) - shift)
        boards = {"full": trace.full, "output": output}
        yield "crop", None, crop_caption(trace), "", boards, {"full": kept, "output": inside}, ()
    if trace.bias is not None:
        caption = f"The bias, {prose(trace.bias)}, is added to every output cell."
        everything = tuples(cells_of(trace.output_size))
        yield "bias", None, caption, "", {"sum": output, "output": trace.output}, {"output": everything}, ()


def _kept(term: Term) -> Cell:
    assert term.output is not None  # of a convolution's terms nothing is cropped
    return term.output


def _kept_cells(trace: Numbers) -> tuple[Cell, ...]:
    """The cells of the full grid that the crop leaves."""
    cells = cells_of(trace.full_size)
    low, high = (np.array(ends) for ends in zip(*trace.kept, strict=True))
    return tuples(cells[np.all((cells >= low) & (cells < high), axis=1)])


def crop_caption(trace: Numbers) -> str:
    """The crop in words."""

    def ends(b: int, e: int) -> str:
        def cells(count: int, place: str) -> str:
            number = f"{abs(count)} cell{'s' * (abs(count) > 1)}"
            return f"{number} {'cut off at' if count > 0 else 'of 0 added at'} {place}"

        if b == e:
            return cells(b, "both ends") if b else "nothing cut off"
        return " and ".join(cells(n, place) for n, place in ((b, "the beginning"), (e, "the end")) if n)

    if len(set(trace.crops)) == 1:
        return f"The crop: {ends(*trace.crops[0])}{' of each axis' * (trace.rank > 1)}."
    parts = (f"along axis {axis}, {ends(b, e)}" for axis, (b, e) in enumerate(trace.crops))
    return f"The crop: {'; '.join(parts)}."


def _grid(trace: Numbers) -> Iterator[Parts]:
    stride = trace.geometry.stride
    if trace.transposed and max(stride) > 1 and trace.spaced.size > trace.input.size:
        counts = list(dict.fromkeys(s - 1 for s in stride))
        zeros = f"{counts[0]} zero{'s are' if counts[0] != 1 else ' is'}"
        if len(counts) > 1:
            zeros = f"{', '.join(map(str, (s - 1 for s in stride)))} zeros (along each axis in turn) are"
        caption = f"{zeros} put between neighbouring input cells: the stride less 1."
        cells = tuples(cells_of(trace.input.shape))
        far = tuples(cells_of(trace.input.shape) * np.array(stride))
        yield (
            "spaced",
            None,
            caption,
            "",
            {"input": trace.input, "spaced": trace.spaced},
            {"input": cells, "spaced": far},
            (),
        )
    if trace.extended.shape != trace.spaced.shape or any(pair != (0, 0) for pair in trace.extension):
        name = "spaced" if trace.transposed else "input"
        active = {"extended": _inner_cells(trace)}
        yield (
            "extended",
            None,
            extension_caption(trace),
            "",
            {name: trace.spaced, "extended": trace.extended},
            active,
            (),
        )
    slides = "kernel"
    if trace.transposed and trace.kernel.size > 1:
        slides = "flipped"
        caption = "The kernel is flipped along every axis; so it slides over the grid, one cell at a time."
        boards = {"kernel": trace.kernel, "flipped": trace.sliding_kernel}
        yield "flipped", None, caption, "", boards, {}, ()
    output = np.full(trace.output_size, np.nan)
    for cell in tuples(cells_of(trace.output_size)):
        terms = trace.contributors(cell)
        output = output.copy()
        output[cell] = trace.output[cell]
        window = trace.window(cell)
        caption = f"Output cell {cell_name(cell)}: the window from {cell_name(window[0])} on"
        caption += "." if terms else " holds no input cell, only zeros."
        sum_ = equation(((term.value, term.weight) for term in terms), trace.bias, trace.output[cell])
        boards = {"extended": trace.extended, slides: trace.sliding_kernel, "output": output}
        taps = np.array([term.tap for term in terms], np.int64).reshape(-1, trace.rank)
        if slides == "flipped":
            taps = np.array(trace.kernel.shape) - 1 - taps
        active = {"extended": window, slides: tuples(taps), "output": (cell,)}
        yield "window", cell, caption, sum_, boards, active, terms


def _inner_cells(trace: Numbers) -> tuple[Cell, ...]:
    """The cells of the extended grid that come from `spaced`."""
    cells = cells_of(trace.extended.shape)
    low = np.array([b for b, _ in trace.extension])
    return tuples(cells[np.all((cells >= low) & (cells < low + np.array(trace.spaced.shape)), axis=1)])


def extension_caption(trace: Numbers) -> str:
    parts = []
    for axis, pair in enumerate(trace.extension):
        where = f"axis {axis}: " if trace.rank > 1 else ""
        ends = (
            f"{counted(n, 'zero') if n >= 0 else counted(-n, 'cell') + ' less'} {at}"
            for n, at in zip(pair, ("before", "after"), strict=True)
        )
        parts.append(where + ", ".join(ends))
    if len(set(trace.extension)) == 1 and len(set(trace.extension[0])) == 1:
        count = trace.extension[0][0]
        ring = f"{abs(count)} ring{'s' * (abs(count) != 1)}" if trace.rank > 1 else f"{abs(count)} at both ends"
        parts = [f"{ring} {'of zeros around it' if count > 0 else 'cut off'}"]
    why = "K − 1 less the padding" if trace.transposed else "the padding"
    return f"The grid is extended by {why}: {'; '.join(parts)}."


def _matrix(trace: Numbers) -> Iterator[Parts]:
    matrix = np.where(trace.connected, trace.matrix, np.nan)
    column = trace.input.reshape(-1, 1)
    output = np.full((trace.output.size, 1), np.nan)
    for row, cell in enumerate(tuples(cells_of(trace.output_size))):
        terms = trace.contributors(cell)
        output = output.copy()
        output[row] = trace.output[cell]
        columns = [int(flat(np.array([term.input]), trace.input.shape)[0]) for term in terms]
        caption = f"Row {row} of the matrix times the input as a column is output cell {cell_name(cell)}."
        sum_ = equation(((term.weight, term.value) for term in terms), trace.bias, trace.output[cell])
        active: dict[str, tuple[Cell, ...]] = {
            "matrix": tuple((row, at) for at in columns),
            "input_column": tuple((at, 0) for at in columns),
            "output_column": ((row, 0),),
        }
        boards = {"matrix": matrix, "input_column": column, "output_column": output}
        yield "row", cell, caption, sum_, boards, active, terms


def _overlap(trace: Numbers) -> Iterator[Parts]:
    counts = np.zeros(trace.output_size)
    for cell in tuples(cells_of(trace.input.shape)):
        terms = tuple(term for term in trace.touched_by_input(cell) if term.output is not None)
        places = tuple(_kept(term) for term in terms)
        copy = np.full(trace.output_size, np.nan)
        counts = counts.copy()
        for place in places:
            copy[place] = 1
            counts[place] += 1
        number = f"{len(terms)} output cell{'s' * (len(terms) != 1)}"
        caption = f"Input cell {cell_name(cell)} is in the sum of {number}."
        boards = {"input": trace.input, "copy": copy, "overlap": counts}
        yield "count", cell, caption, "", boards, {"input": (cell,), "copy": places, "overlap": places}, terms
    boards = {"overlap": trace.overlap.astype(np.float64), "uniform": trace.uniform, "response": trace.response}
    yield "evenness", None, evenness(trace), "", boards, {}, ()


def evenness(trace: Numbers) -> str:
    """Where a checkerboard comes from, or why there is none."""
    if not trace.transposed:
        return say("evenness", "convolution", taps=trace.kernel.size)
    parts = []
    for axis, taps in enumerate(trace.phase_overlap):
        k, s = trace.kernel.shape[axis], trace.geometry.stride[axis]
        if len(set(taps)) == 1:
            parts.append(say("evenness", "even", taps=taps[0], k=k))
        else:
            parts.append(say("evenness", "uneven", taps=", ".join(map(str, taps)), k=k, s=s))
    if len(set(parts)) == 1:
        parts = [say("evenness", "each" if trace.rank > 1 else "the", words=parts[0])]
    else:
        parts = [say("evenness", "axis", axis=axis, words=words) for axis, words in enumerate(parts)]
    return " ".join([*parts, say("evenness", "none" if trace.even else "checkerboard")])


def _gradient(trace: Numbers) -> Iterator[Parts]:
    def upstream(terms: Iterable[Term]) -> list[Term]:
        return [term for term in terms if term.output is not None]

    gradient = np.full(trace.input.shape, np.nan)
    for cell in tuples(cells_of(trace.input.shape)):
        terms = tuple(upstream(trace.touched_by_input(cell)))
        gradient = gradient.copy()
        gradient[cell] = trace.input_gradient[cell]
        factors = ((float(trace.upstream[_kept(term)]), term.weight) for term in terms)
        caption = f"Gradient of input cell {cell_name(cell)}: what it touches, upstream times weight."
        active = {
            "upstream": tuple(_kept(term) for term in terms),
            "kernel": tuple(term.tap for term in terms),
            "input_gradient": (cell,),
        }
        boards = {"upstream": trace.upstream, "kernel": trace.kernel, "input_gradient": gradient}
        yield "input_gradient", cell, caption, equation(factors, None, gradient[cell]), boards, active, terms
    gradient = np.full(trace.kernel.shape, np.nan)
    for tap in tuples(cells_of(trace.kernel.shape)):
        terms = tuple(upstream(trace.touched_by_tap(tap)))
        gradient = gradient.copy()
        gradient[tap] = trace.kernel_gradient[tap]
        factors = ((float(trace.upstream[_kept(term)]), term.value) for term in terms)
        caption = f"Gradient of tap {cell_name(tap)}: what it touches, upstream times input."
        active = {
            "upstream": tuple(_kept(term) for term in terms),
            "input": tuple(term.input for term in terms),
            "kernel_gradient": (tap,),
        }
        boards = {"upstream": trace.upstream, "input": trace.input, "kernel_gradient": gradient}
        yield "kernel_gradient", tap, caption, equation(factors, None, gradient[tap]), boards, active, terms
    count, total = math.prod(trace.output_size), prose(trace.bias_gradient)
    caption = f"Gradient of the bias: the sum of the {count} upstream cells, {total}."
    everything = tuples(cells_of(trace.output_size))
    yield "bias_gradient", None, caption, "", {"upstream": trace.upstream}, {"upstream": everything}, ()
