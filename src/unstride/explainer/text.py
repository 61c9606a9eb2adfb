"""A trace for a terminal: the tables of a whole view, or of one step."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import numpy as np

from ..geometry import GeometryError
from .figures import cell_name, equation, prose
from .numbers import Numbers
from .pairs import Array, Cell, cells_of, flat, tuples
from .settings import size_formula, written_ends
from .steps import BOARDS, Step, before, crop_caption, evenness, extension_caption, steps
from .tables import NARROWEST, Block, Figures, Style, flow, paint, paragraph, tables

COLORS = ("36", "33", "35", "94")  # cyan, yellow, magenta, blue: told apart by most eyes, on dark and on light
RAMP = ("48;5;195;38;5;16", "48;5;153;38;5;16", "48;5;111;38;5;16", "48;5;67;38;5;231", "48;5;24;38;5;231")
MOST_COPIES = 16  # printed without being asked for by step
MOST_LINES = 40


def text(trace: Numbers, view: str, step: int | None = None, color: bool = False, width: int | None = None) -> str:
    """`Trace.text`."""
    columns = max(shutil.get_terminal_size().columns if width is None else width, NARROWEST)
    page = _Page(trace, columns, color)
    if step is not None:
        all_ = steps(trace, view)
        if not isinstance(step, int) or not 0 <= step < len(all_):
            raise GeometryError(f"step is {step!r}; expected 0 to {len(all_) - 1}: view {view!r} has {len(all_)} steps")
        return page.step(all_[step], all_[-1].number)
    parts = {
        "scatter": page.scatter,
        "grid": page.grid,
        "matrix": page.matrix,
        "overlap": page.overlap,
        "gradient": page.gradient,
    }[view]()
    return "\n\n".join([page.head(), *parts])


def beginning(trace: Numbers, view: str, color: bool, width: int) -> str:
    """Step 0 of a view, where nothing is done yet."""
    return _Page(trace, max(width, NARROWEST), color).step(before(trace, view), steps(trace, view)[-1].number)


def size_name(size: Sequence[int]) -> str:
    """
    >>> size_name((28, 14))
    '28×14'
    """
    return "×".join(map(str, size))


def one_or_all(entries: Sequence[object]) -> str:
    """One where all axes have the same."""
    return str(entries[0]) if len(set(entries)) == 1 else " × ".join(map(str, entries))


def _always(colour: str) -> Style:
    return lambda _: colour


def _each(entries: Sequence[str]) -> str:
    """One entry an axis; one for all if they are alike."""
    if len(set(entries)) == 1:
        return entries[0]
    return " and ".join(f"{entry} on axis {axis}" for axis, entry in enumerate(entries))


class _Page:
    def __init__(self, trace: Numbers, width: int, color: bool) -> None:
        self.trace, self.width, self.color = trace, width, color

    def head(self) -> str:
        """The title and the formula of the size."""
        trace = self.trace
        geometry = trace.geometry
        words = [f"input {size_name(trace.input.shape)}", f"kernel {size_name(trace.kernel.shape)}"]
        words.append(f"stride {one_or_all(geometry.stride)}")
        ends = written_ends(trace)
        if any((b, e) != (0, 0) for b, e, _ in ends):
            words.append(f"padding {_each([str(b) if b == e else f'({b}, {e})' for b, e, _ in ends])}")
        if any(extra for _, _, extra in ends):
            words.append(f"output padding {_each([str(extra) for _, _, extra in ends])}")
        if max(geometry.dilation) > 1:
            words.append(f"dilation {one_or_all(geometry.dilation)}")
        if trace.bias is not None:
            words.append(f"bias {prose(trace.bias)}")
        title = paragraph(f"{trace.title}: {', '.join(words)}; output {size_name(trace.output_size)}", self.width)
        if self.color:
            title = "\n".join(paint(line, "1") for line in title.split("\n"))
        formulas = size_formula(trace)
        if len(set(formulas)) == 1:
            where = " along each axis" if trace.rank > 1 else ""
            formulas = (formulas[0].replace("output", f"Size{where}: output", 1),)
        else:
            formulas = tuple(
                line.replace("output", f"Size along axis {axis}: output", 1) for axis, line in enumerate(formulas)
            )
        return "\n".join([title, *map(self.formula, formulas)])

    def formula(self, line: str) -> str:
        """The formula, broken at its equals signs if it is too long."""
        if len(line) > self.width:
            line = line.replace(" = ", "\n  = ")
        return "\n".join(paragraph(part, self.width, "    ") for part in line.split("\n"))

    def say(self, words: str) -> str:
        return paragraph(words, self.width)

    def tables(
        self,
        array: Array,
        title: str,
        figures: Figures | None = None,
        active: Sequence[Cell] = (),
        style: Style | None = None,
    ) -> list[Block]:
        room = self.width - 2 if self.width > NARROWEST else self.width  # a sign may stand before it
        return tables(array, title, room, figures=figures, active=set(active), style=style, color=self.color)

    def flow(self, *items: Block | str | list[Block]) -> str:
        flat_items: list[Block | str] = []
        for item in items:
            if isinstance(item, list):
                flat_items += item
            else:
                flat_items.append(item)
        return flow(flat_items, self.width, self.color)

    def cell_style(self, cell: Cell) -> str:
        """The colour of an input cell and of its copy."""
        index = int(flat(np.array([cell]), self.trace.input.shape)[0])
        return COLORS[index % len(COLORS)]

    # The views

    def scatter(self) -> list[str]:
        trace = self.trace
        cells = tuples(cells_of(trace.input.shape))
        shown = list(range(len(cells)))
        parts = [
            self.flow(self.tables(trace.input, "input", style=self.cell_style), self.tables(trace.kernel, "kernel"))
        ]
        if len(cells) > MOST_COPIES:
            shown = [*range(4), len(cells) - 1]
            parts.append(
                self.say(f"The first 4 and the last of the {len(cells)} copies; --step (or step=...) shows every one.")
            )
        figures = Figures.of([trace.copies[shown], trace.full])
        times = " × kernel" if trace.transposed else " × taps"
        row: list[Block | str | list[Block]] = []
        for number, index in enumerate(shown):
            if number:
                row.append("+" if index == shown[number - 1] + 1 else "...")
            title = prose(trace.input[cells[index]]) + times
            row.append(self.tables(trace.copies[index], title, figures, style=_always(self.cell_style(cells[index]))))
        cropped = trace.transposed and any(crop != (0, 0) for crop in trace.crops)
        done = not cropped and trace.bias is None
        parts.append(self.flow(*row, "=", self.tables(trace.full, "output" if done else "sum", figures)))
        if not done:
            words = [crop_caption(trace)] if cropped else []
            if trace.bias is not None:
                words.append(f"The bias, {prose(trace.bias)}, is added to every cell.")
            parts += [self.say(" ".join(words)), self.flow(self.tables(trace.output, "output"))]
        return parts

    def grid(self) -> list[str]:
        trace = self.trace
        setup = {step.kind: step for step in steps(trace, "grid") if step.kind != "window"}
        row: list[Block | str | list[Block]] = [self.tables(trace.input, "input")]
        words = []
        if "spaced" in setup:
            row += ["→", self.tables(trace.spaced, "with zeros between")]
            words.append(setup["spaced"].caption)
        if "extended" in setup:
            row += ["→", self.tables(trace.extended, "extended")]
            words.append(extension_caption(trace))
        parts = [self.flow(*row)]
        row = [self.tables(trace.kernel, "kernel")]
        if "flipped" in setup:
            row += ["→", self.tables(trace.sliding_kernel, "flipped")]
            words.append(setup["flipped"].caption)
        else:
            words.append(f"The kernel slides over the grid in steps of {one_or_all(trace.window_step)}, not flipped.")
        parts += [self.say(" ".join(words)), self.flow(*row)]
        parts += [self.flow(self.tables(trace.output, "output")), self.equations("value")]
        return parts

    def equations(self, first: str) -> str:
        """Every output cell's sum, a line each."""
        trace = self.trace
        cells = tuples(cells_of(trace.output_size))
        indent = max(len(cell_name(cell)) for cell in cells) + 2
        lines = []
        for cell in cells[:MOST_LINES]:
            factors = [(term.value, term.weight) for term in trace.contributors(cell)]
            if first == "weight":
                factors = [(weight, value) for value, weight in factors]
            sum_ = equation(factors, trace.bias, float(trace.output[cell]))
            lines.append(paragraph(f"{cell_name(cell):{indent}}{sum_}", self.width, " " * indent))
        if len(cells) > MOST_LINES:
            lines.append(f"… and {len(cells) - MOST_LINES} more cells")
        return "\n".join(lines)

    def matrix(self) -> list[str]:
        trace = self.trace
        rows, columns = trace.matrix.shape
        words = (
            f"Each of the {rows} rows makes one output cell; each of the {columns} columns belongs to one input cell."
        )
        if trace.transposed:
            words += (
                " It is the transpose of the convolution's matrix, which goes from the output's grid to the input's."
            )
        else:
            words += " Transposed, it is the matrix of the transposed convolution, which goes back."
        parts = [self.say(words)]
        matrix = np.where(trace.connected, trace.matrix, np.nan)
        entries = Figures.of([matrix])
        if rows <= MOST_LINES and columns * (entries.width + 1) + 3 + 2 <= self.width:
            column = self.tables(trace.input.reshape(-1, 1), "input")
            result = self.tables(trace.output.reshape(-1, 1), "output")
            bias = [] if trace.bias is None else [f"+ {prose(trace.bias)}"]
            parts.append(
                self.flow(self.tables(matrix, f"matrix, {rows}×{columns}", entries), "·", column, *bias, "=", result)
            )
            return parts
        if columns + 4 <= self.width:
            picture = "\n".join("".join("■" if entry else "∙" for entry in row) for row in trace.connected)
            parts += [f"matrix, {rows}×{columns}: ■ where a weight is\n{picture}"]
        else:
            count = int(trace.connected.sum())
            parts.append(self.say(f"Of its {rows * columns:,} entries {count:,} hold a weight; the rest are 0."))
        parts.append(self.say("Row by row, weight times input cell:") + "\n" + self.equations("weight"))
        return parts

    def overlap(self) -> list[str]:
        trace = self.trace
        counts = trace.overlap.astype(np.float64)
        most = int(trace.overlap.max())

        def style(cell: Cell) -> str:
            return RAMP[min(int(counts[cell] * len(RAMP) / (most + 1)), len(RAMP) - 1)]

        return [
            self.say("How many products each output cell is the sum of:"),
            self.flow(self.tables(counts, "terms", style=style)),
            self.say(evenness(trace)),
            self.say(
                "An input of ones, through equal weights (all 1 where the output is even) and through this kernel:"
            ),
            self.flow(self.tables(trace.uniform, "equal weights"), self.tables(trace.response, "this kernel")),
        ]

    def gradient(self) -> list[str]:
        trace = self.trace
        back = "convolution" if trace.transposed else "transposed convolution"
        return [
            self.say(
                "The gradients of sum(output × upstream). The input's is the "
                f"{back} of upstream with the same kernel; a tap's is the sum, over all pairs of cells that it "
                "connects, of input times upstream; the bias's is the sum of upstream."
            ),
            self.flow(self.tables(trace.upstream, "upstream")),
            self.flow(
                self.tables(trace.input_gradient, "gradient of the input"),
                self.tables(trace.kernel_gradient, "gradient of the kernel"),
            ),
            f"gradient of the bias: {prose(trace.bias_gradient)}",
        ]

    def step(self, step: Step, count: int) -> str:
        """One step: its boards with the active cells marked."""
        title = f"Step {step.number} of {count}, view {step.view}"
        boards = [
            self.tables(board, BOARDS[name], active=self._marked(step, name), figures=self._figures(step, name))
            for name, board in step.boards.items()
        ]
        parts = [paint(title, "1") if self.color else title, self.say(step.caption), self.flow(*boards)]
        if step.equation:
            parts.append(self.say(step.equation))
        return "\n\n".join(parts)

    @staticmethod
    def _marked(step: Step, name: str) -> Sequence[Cell]:
        """The active cells, but where all are."""
        active = step.active.get(name, ())
        return active if len(active) < step.boards[name].size else ()

    def _figures(self, step: Step, name: str) -> Figures:
        """Widths of the board's final numbers, so that nothing moves from step to step."""
        ends = {"sum": self.trace.running_sums, "copy": self.trace.copies, "output": self.trace.output}
        ends |= {"output_column": self.trace.output, "input_gradient": self.trace.input_gradient}
        ends |= {"kernel_gradient": self.trace.kernel_gradient, "overlap": self.trace.overlap.astype(np.float64)}
        boards = [step.boards[name]]
        if name in ends and not (name == "copy" and step.view == "overlap"):
            boards.append(ends[name])
        return Figures.of(boards)
