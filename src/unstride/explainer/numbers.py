"""All numbers of one small transposed convolution, or of one convolution, with no batch and no channels.

The arrays come from the definitions in `unstride.reference`. The connections between cells are computed here, for all
cells at once, and tested against them. Everything is computed on first use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..geometry import Crop
from .given import OPS, VIEWS, Given
from .pairs import Array, Cell, Counts, Pairs, cell, cells_of, flat, frozen, pairs, tuples

__all__ = ["OPS", "VIEWS", "Numbers", "Term"]


class Term(NamedTuple):
    """One product of an input cell and a kernel tap, and its place.

    Attributes
    ----------
    output : cell or None
        The output cell that it is added to; None where the crop cuts it off.
    input : cell
    tap : cell
        Of the kernel as given, not flipped.
    value, weight, product : float
        The input's, the kernel's, and ``value * weight``.
    place : cell
        ``i*s + j*d``: in the full grid (conv_transpose), in the extended input (conv).
    """

    output: Cell | None
    input: Cell
    tap: Cell
    value: float
    weight: float
    product: float
    place: Cell


class Numbers(Given):
    """Every number of one ``conv_transpose`` or ``conv`` of a bare grid; `Trace` adds the ways to show them.

    All arrays are float64 and read-only; a cell is a tuple of ints, one an axis, also in 1-D. Notation as in
    `unstride.geometry`: kernel size k, stride s, dilation d, K = (k-1)d+1, crop (b, e), n small cells, F = (n-1)s+K.
    """

    @cached_property
    def output(self) -> Array:
        """The result, bias and crop included."""
        rule = reference.scatter if self.transposed else reference.conv
        bias = None if self.bias is None else [self.bias]
        return frozen(rule(self.input[..., None], self._weights, self.geometry, bias)[..., 0])

    # The scattered copies

    @property
    def full_size(self) -> Cell:
        """F an axis: the grid that the copies lie in, before the crop (conv_transpose); the output's size (conv)."""
        return self.geometry.full_size(self.small_size) if self.transposed else self.output_size

    @cached_property
    def full(self) -> Array:
        """The sum of all copies, before crop and bias; of shape `full_size`."""
        return frozen(self._added(self._products).sum(axis=0))

    @cached_property
    def copies(self) -> Array:
        """For each input cell, in C order, the grid that it alone makes: ``(input cells, *full_size)``, NaN where the
        copy does not reach."""
        counts = self._added(np.ones_like(self._products))
        return frozen(np.where(counts > 0, self._added(self._products), np.nan))

    @cached_property
    def running_sums(self) -> Array:
        """The sum of the first copies: ``(input cells, *full_size)``; ``[i]`` includes copy i."""
        return frozen(np.cumsum(self._added(self._products), axis=0))

    @property
    def crops(self) -> tuple[Crop, ...]:
        """(begin, end) an axis: the cells of the full grid cut off (conv_transpose), or the zeros put around the input
        (conv); where negative, the other way round."""
        return self.geometry.crops

    @property
    def kept(self) -> tuple[tuple[int, int], ...]:
        """(start, stop) an axis of the output in the full grid (conv_transpose), of the input in the extended one
        (conv). They lie outside that grid where a crop is negative."""
        if self.transposed:
            return tuple((b, b + n) for (b, _), n in zip(self.crops, self.output_size, strict=True))
        return tuple((b, b + n) for (b, _), n in zip(self.crops, self.input.shape, strict=True))

    # The sliding window

    @cached_property
    def spaced(self) -> Array:
        """The input with ``s - 1`` zeros between its cells (conv_transpose); the input itself (conv)."""
        if not self.transposed:
            return self.input
        bare = self.geometry.with_crops([(K - 1, K - 1) for K in self.geometry.spans])
        return frozen(reference.extended_grid(self.input[..., None], bare)[..., 0])

    @property
    def extension(self) -> tuple[Crop, ...]:
        """(begin, end) an axis: the zeros put around `spaced`; a negative number cuts cells off.

        ``K - 1 - b`` and ``K - 1 - e`` for conv_transpose, ``b`` and ``e`` for conv.
        """
        if not self.transposed:
            return self.crops
        return tuple((K - 1 - b, K - 1 - e) for K, (b, e) in zip(self.geometry.spans, self.crops, strict=True))

    @cached_property
    def extended(self) -> Array:
        """The grid that the kernel slides over: `spaced`, extended."""
        if self.transposed:
            return frozen(reference.extended_grid(self.input[..., None], self.geometry)[..., 0])
        return frozen(reference.crop(self.input, [(-b, -e) for b, e in self.crops]))

    @cached_property
    def sliding_kernel(self) -> Array:
        """The kernel as it slides over `extended`: flipped along every axis for conv_transpose, as given for conv."""
        return self.kernel[(slice(None, None, -1),) * self.rank] if self.transposed else self.kernel

    @property
    def window_step(self) -> tuple[int, ...]:
        """Cells from one window to the next an axis: always 1 for conv_transpose, the stride for conv."""
        return (1,) * self.rank if self.transposed else self.geometry.stride

    def window(self, output: Sequence[int]) -> tuple[Cell, ...]:
        """The cells of `extended` under the taps of `sliding_kernel`, in C order, when it makes this output cell."""
        place = cell("output", output, self.output_size)
        corner = [a * step for a, step in zip(place, self.window_step, strict=True)]
        reach = cells_of(self.kernel.shape) * np.array(self.geometry.dilation)
        return tuples(reach + corner)

    # The matrix

    @cached_property
    def conv_matrix(self) -> Array:
        """The convolution's matrix: a row for each cell of the small grid, a column for each of the big one."""
        geometry = self.geometry.fitted(self.small_size, self.big_size)
        return frozen(reference.matrix(self._weights, geometry, self.small_size))

    @cached_property
    def matrix(self) -> Array:
        """``output.ravel() == matrix @ input.ravel() + bias``: `conv_matrix`, and for conv_transpose its transpose."""
        return self.conv_matrix.T if self.transposed else self.conv_matrix

    @cached_property
    def connected(self) -> NDArray[np.bool_]:
        """Where the matrix has an entry at all (a weight of 0 included), of its shape."""
        mask = np.zeros(self.matrix.shape, bool)
        kept = self._pairs.kept
        rows = flat(self._pairs.output[kept], self.output_size)
        mask[rows, flat(self._pairs.input[kept], self.input.shape)] = True
        return frozen(mask)

    # Who contributes to whom

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """All products of an input cell and a tap, cropped ones too; by input cell, then by tap, in C order."""
        outputs = [cell if ok else None for cell, ok in zip(tuples(self._pairs.output), self._pairs.kept, strict=True)]
        inputs, taps, places = tuples(self._pairs.input), tuples(self._pairs.tap), tuples(self._pairs.place)
        values = self.input[tuple(self._pairs.input.T)].tolist()
        weights = self.kernel[tuple(self._pairs.tap.T)].tolist()
        return tuple(map(Term, outputs, inputs, taps, values, weights, self._products.tolist(), places))

    def contributors(self, output: Sequence[int]) -> tuple[Term, ...]:
        """The products whose sum, with the bias, is an output cell, in the order of the input cells.

        >>> from unstride.explainer import explain
        >>> [(term.input, term.tap) for term in explain([1, 2, 3], [5, 6, 7], stride=2).contributors([2])]
        [((0,), (2,)), ((1,), (0,))]
        """
        return self._by["output"].get(cell("output", output, self.output_size), ())

    def touched_by_input(self, input: Sequence[int]) -> tuple[Term, ...]:
        """The products that an input cell is in, by tap."""
        return self._by["input"].get(cell("input", input, self.input.shape), ())

    def touched_by_tap(self, tap: Sequence[int]) -> tuple[Term, ...]:
        """The products that a tap of the kernel is in, by input cell."""
        return self._by["tap"].get(cell("tap", tap, self.kernel.shape), ())

    # The overlap

    @cached_property
    def overlap(self) -> Counts:
        """The number of products in the sum of each output cell."""
        return self._counted(self._pairs.output, self.output_size)

    @cached_property
    def reach(self) -> Counts:
        """The number of output cells that each input cell reaches."""
        return self._counted(self._pairs.input, self.input.shape)

    @cached_property
    def uniform(self) -> Array:
        """The output for an input of ones and a kernel of equal weights: `overlap`, scaled so that an even output
        would be all ones (weights of ``1 / mean terms a cell``, the mean that the geometry has far from the edges)."""
        return frozen(self.overlap / self.mean_overlap)

    @cached_property
    def response(self) -> Array:
        """The output for an input of ones and this kernel, without bias."""
        ones = np.ones(self.input.shape)
        return frozen((self.matrix @ ones.ravel()).reshape(self.output_size))

    @property
    def mean_overlap(self) -> float:
        """The products an output cell has on average, far from the edges: ``k / s`` an axis, multiplied (conv: k)."""
        share = self.geometry.stride if self.transposed else (1,) * self.rank
        return float(math.prod(k / s for k, s in zip(self.kernel.shape, share, strict=True)))

    @property
    def phase_overlap(self) -> tuple[tuple[int, ...], ...]:
        """For each axis, how many taps reach the output cells ``r, r + s, r + 2s, ...``, for each r below s."""
        if not self.transposed:
            return tuple((k,) for k in self.kernel.shape)
        return tuple(tuple(len(phase.taps) for phase in self.geometry.phases(axis)) for axis in range(self.rank))

    @property
    def even(self) -> bool:
        """Whether all output cells far from the edges have equally many products: no checkerboard."""
        return all(len(set(counts)) == 1 for counts in self.phase_overlap)

    # The gradients of sum(output * upstream)

    @cached_property
    def input_gradient(self) -> Array:
        """The derivative of ``sum(output * upstream)`` with respect to each input cell."""
        geometry = self.geometry.fitted(self.small_size, self.big_size)
        rule = reference.conv if self.transposed else reference.scatter
        return frozen(rule(self.upstream[..., None], self._weights, geometry)[..., 0])

    @cached_property
    def kernel_gradient(self) -> Array:
        """The derivative of ``sum(output * upstream)`` with respect to each tap."""
        big, small = (self.upstream, self.input) if self.transposed else (self.input, self.upstream)
        geometry = self.geometry.fitted(self.small_size, self.big_size)
        return frozen(reference.kernel_gradient(big[..., None], small[..., None], geometry)[..., 0, 0])

    @property
    def bias_gradient(self) -> float:
        """The derivative of ``sum(output * upstream)`` with respect to the bias: the sum of `upstream`."""
        return float(self.upstream.sum())

    # Behind these

    @cached_property
    def _weights(self) -> Array:
        """The kernel with the two channels that the definitions want."""
        return self.kernel[..., None, None]

    @cached_property
    def _pairs(self) -> Pairs:
        return pairs(self.geometry, self.small_size, self.big_size, self.transposed)

    @cached_property
    def _products(self) -> Array:
        products: Array = self.input[tuple(self._pairs.input.T)] * self.kernel[tuple(self._pairs.tap.T)]
        return products

    def _added(self, values: Array) -> Array:
        """One value for each pair, put where the products of each input cell go: ``(input cells, *full_size)``."""
        grids = np.zeros((self.input.size, *self.full_size))
        places = self._pairs.place if self.transposed else self._pairs.output
        grids[(flat(self._pairs.input, self.input.shape), *places.T)] = values  # no cell and tap twice to one place
        return grids

    def _counted(self, cells: Counts, size: Cell) -> Counts:
        counts = np.zeros(size, np.int64)
        np.add.at(counts, tuple(cells[self._pairs.kept].T), 1)
        return frozen(counts)

    @cached_property
    def _by(self) -> dict[str, dict[Cell, tuple[Term, ...]]]:
        """The terms by their output, input and tap."""
        by: dict[str, dict[Cell, list[Term]]] = {"output": {}, "input": {}, "tap": {}}
        for term in self.terms:
            if term.output is not None:
                by["output"].setdefault(term.output, []).append(term)
            by["input"].setdefault(term.input, []).append(term)
            by["tap"].setdefault(term.tap, []).append(term)
        return {name: {cell: tuple(terms) for cell, terms in groups.items()} for name, groups in by.items()}
