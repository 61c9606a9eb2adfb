"""What many tests share: the parameter space, random arrays, and how far apart two right answers may be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

import unstride as us

MOST_CELLS = 2000  # of a full grid: keeps the definitions' Python loops to a fraction of a second


# Channels around the widths of tiles and vectors, and beyond them.
counts = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 31, 33, 49, 70]))


@st.composite
def geometries(draw: st.DrawFn, ranks: tuple[int, ...] = (1, 2), most_groups: int = 3) -> us.Geometry:
    """Kernels 1 to 7, strides 1 to 5, dilations 1 to 3; valid, same and explicit crops, signed too; output padding
    None and 0 to s - 1."""
    rank = draw(st.sampled_from(ranks))

    def each(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    kernel_size, stride, dilation = each(1, 7), each(1, 5), each(1, 3)
    kind = draw(st.sampled_from(["valid", "same", "ints", "pairs"]))
    padding = kind
    if kind == "ints":
        padding = each(0, 3)
    elif kind == "pairs":
        padding = [tuple(draw(st.tuples(st.integers(-3, 6), st.integers(-3, 6)))) for _ in range(rank)]
    extra = draw(st.sampled_from([None, "numbers"]))
    if extra is not None:
        extra = [draw(st.integers(0, s - 1)) for s in stride]
    groups = draw(st.integers(1, most_groups))
    return us.Geometry(kernel_size, stride, padding, extra, dilation, groups)


@st.composite
def situations(draw: st.DrawFn, **fields: object) -> tuple[us.Geometry, tuple[int, ...], np.random.Generator]:
    """A geometry, a small size of 1 to 6 cells an axis that fits it, and a source of numbers."""
    geometry = draw(geometries(**fields))
    size = tuple(draw(st.integers(1, 6)) for _ in range(geometry.rank))
    assume(np.prod(geometry.full_size(size)) <= MOST_CELLS)
    assume(all(b + e <= F for F, (b, e) in zip(geometry.full_size(size), geometry.crops, strict=True)))
    return geometry, size, np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def arrays(
    geometry: us.Geometry, size: tuple[int, ...], rng: np.random.Generator, batch: int = 2, integers: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A small grid, a kernel, a bias and a big grid, channels last; channel counts differ between small and big."""
    c_small, per_group = geometry.groups * int(rng.integers(1, 3)), int(rng.integers(1, 3))
    big = tuple(max(length, 1) for length in geometry.output_size(size))
    shapes = [
        (batch, *size, c_small),
        (*geometry.kernel_size, per_group, c_small),
        (per_group * geometry.groups,),
        (batch, *big, per_group * geometry.groups),
    ]
    if integers:
        return tuple(rng.integers(-9, 10, shape).astype(float) for shape in shapes)
    return tuple(rng.standard_normal(shape) for shape in shapes)


def first(array: np.ndarray) -> np.ndarray:
    """Channels first."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def kernel_first(kernel: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(kernel, (-1, -2), (0, 1)))


def assert_within(got: object, expected: np.ndarray, magnitude: np.ndarray, terms: int, dtype: object = None) -> None:
    """That `got` is a sum of `terms` products, in any order, rounded in `dtype`, of which `expected` is exact.

    Higham, Accuracy and Stability of Numerical Algorithms, section 3.1: the error of an inner product of length n is
    at most n * u / (1 - n * u) times the inner product of the absolute values, `magnitude`. The products' inputs were
    rounded to `dtype` too, which adds two roundings, and the result once more: by half the smallest number, where it is
    one of the smallest (subnormal), as float16's soon are.
    """
    got = np.asarray(got)
    info = np.finfo(dtype or got.dtype)
    unit, least = float(info.eps) / 2, max(float(info.smallest_subnormal) / 2, 1e-300)
    bound = (terms + 4) * unit / (1 - (terms + 4) * unit) * magnitude + least
    assert got.shape == expected.shape
    excess = np.abs(np.asarray(got, np.float64) - expected) - bound
    assert excess.size == 0 or excess.max() <= 0, f"{excess.max():.3g} beyond the bound, {got.dtype}"


def terms_of(geometry: us.Geometry, kernel: np.ndarray) -> int:
    """No cell of conv or conv_transpose sums more products than this (and the bias)."""
    return int(np.prod(geometry.kernel_size)) * max(kernel.shape[-2:]) + 1


def samples(
    count: int, seed: int, **fields: object
) -> Iterator[tuple[us.Geometry, tuple[int, ...], np.random.Generator]]:
    """`count` situations drawn without hypothesis, for slow peers: the same space, the same for every run."""
    rng = np.random.default_rng(seed)
    ranks = fields.get("ranks", (1, 2))
    made = 0
    while made < count:
        rank = int(rng.choice(ranks))
        stride = rng.integers(1, 6, rank)
        kind = ["valid", "same", "ints", "pairs"][rng.integers(4)]
        padding = {"ints": rng.integers(0, 4, rank), "pairs": rng.integers(-3, 7, (rank, 2))}.get(kind, kind)
        extra = None if rng.integers(2) else [int(rng.integers(0, s)) for s in stride]
        geometry = us.Geometry(
            rng.integers(1, 8, rank), stride, padding, extra, rng.integers(1, 4, rank), int(rng.integers(1, 4))
        )
        size = tuple(int(n) for n in rng.integers(1, 7, rank))
        full = geometry.full_size(size)
        if all(b + e <= F for F, (b, e) in zip(full, geometry.crops, strict=True)) and np.prod(full) <= MOST_CELLS:
            made += 1
            yield geometry, size, rng
