"""The native core's plans: from their data alone, that all is computed, and once."""

import itertools

import numpy as np
import pytest
from cases import counts, situations
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import unstride as us
from unstride import _native


def described(map_name, geometry, small, big, batch=2, c_small=3, c_big=2):
    return _native.describe(
        map_name, small, big, geometry.kernel_size, geometry.stride, geometry.dilation,
        [b for b, _ in geometry.crops], batch, geometry.groups, c_small, c_big, 4,
    )  # fmt: skip


@settings(max_examples=300)
@given(situations(ranks=(1, 2, 3)), counts, counts, st.booleans())
def test_a_plan_makes_every_connection_once(situation, c_small, c_big, large):
    """From the plan's phases, regions and taps alone the list of (small cell, tap, big cell), against `Geometry.taps`."""
    geometry, small, _ = situation
    big = geometry.output_size(small)
    assume(0 not in big)
    if large:  # kernels that few positions read unpacked
        c_small, c_big = 1024 + 32 * c_small, 100 + c_big
    for map_name in ("conv_transpose", "conv"):
        plan = described(map_name, geometry, small, big, c_small=c_small, c_big=c_big)
        for axis in range(geometry.rank):
            made = []
            for p in plan["axes"][3 - geometry.rank + axis]:
                taps = len(p["shifts"])
                for start, count, tap, inside, cell, cells in p["regions"]:
                    for q in range(start, start + count):
                        for c in range(cell, cell + cells):
                            output = p["offset"] + q * p["step"] + c
                            for t in range(tap, tap + inside):
                                j = p["index"][c * taps + t]
                                if j >= 0:
                                    source = q * p["in_step"] + p["shifts"][t]
                                    pair = (source, j, output) if map_name == "conv_transpose" else (output, j, source)
                                    made.append(pair)
            expected = []
            for j, here, there in geometry.taps(axis, small[axis], big[axis]):
                expected += [
                    (i, j, m) for i, m in zip(range(*here.indices(2**40)), range(*there.indices(2**40)), strict=True)
                ]
            assert sorted(made) == sorted(expected)


@settings(max_examples=100)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 3), st.sampled_from([8, 100, 300]))
def test_the_tasks_of_a_plan_cover_everything_once(batch, height, width, stride, channels):
    geometry = us.Geometry((3, 3), stride, 1)
    big = geometry.output_size((height, width))
    plan = described("conv_transpose", geometry, (height, width), big, batch, channels, channels)
    blocks = len(plan["columns"]) - 1
    if plan["work"] == "unpacked_columns":
        assert plan["tasks"] == [(block, 1) for block in range(blocks)]
        return
    per_task = plan["work"] == "packed_per_task"
    assert per_task or plan["work"] in ("packed_once", "spatial")
    covered = set()
    for task in plan["tasks"]:
        image, images, cell, cells, number, block, some = task if per_task else (*task, 0, 0, 1)
        for key in itertools.product(
            range(image, image + images), range(cell, cell + cells), [number], range(block, block + some)
        ):
            assert key not in covered
            covered.add(key)
    length = big[plan["split_axis"] - 1]  # of z, y, x
    phases = np.prod([len(axis) for axis in plan["axes"]])
    assert len(covered) == batch * length * (phases * blocks if per_task else 1)


def test_plans_tell_what_they_save():
    made = us.plan((1, 16, 16, 64), (4, 4, 32, 64), stride=2, padding=1)
    # Along an axis of 16 small cells 2 of the 64 connections are cropped off; the zero-spaced grid would have 4 x 32.
    assert made.multiply_adds == 62 * 62 * 64 * 32
    assert made.multiply_adds + made.avoided == 128 * 128 * 64 * 32
    assert (made.bytes_read, made.bytes_written) == ((16 * 16 * 64 + 16 * 64 * 32) * 4, 32 * 32 * 32 * 4)
    text = str(made)
    assert "1 x 16 x 16 x 64 -> 1 x 32 x 32 x 32" in text
    assert f"{made.multiply_adds:,}" in text
    for name in ("conv", "kernel_gradient"):
        assert (
            us.plan((1, 16, 16, 64), (4, 4, 32, 64), stride=2, padding=1, op=name).multiply_adds == made.multiply_adds
        )
    with pytest.raises(us.ArgumentError, match="op is 'up'"):
        us.plan((1, 4, 1), (2, 1, 1), op="up")
    with pytest.raises(us.GeometryError, match="there is nothing to plan"):
        us.plan((1, 4, 1), (2, 1, 1), padding=[(5, 0)])
    with pytest.raises(us.GeometryError, match=r"stride \(5000,\) makes 5,000 phases; plan tells of at most 1,024"):
        us.plan((1, 4, 1), (2, 1, 1), stride=5000)
    with pytest.raises(us.GeometryError, match=r"kernel_size \(100000,\) has too many taps; plan tells of 65,536"):
        us.plan((1, 4, 1), (100_000, 1, 1))
    message = r"8 channels, shape \(1, 7, 7, 8\), and the kernel of shape \(8, 4, 3, 3\), read as .* takes 3;.* last"
    with pytest.raises(us.GeometryError, match=message):
        us.plan((1, 7, 7, 8), (8, 4, 3, 3))
    with pytest.raises(us.GeometryError, match="x has 1 channel, which 2 groups do not divide evenly"):
        us.plan((1, 4, 1), (2, 1, 1), groups=2)
    with pytest.raises(us.GeometryError, match=r"shape \(1, 4, 1\), and the kernel 4, shape \(2, 2, 1, 1\)"):
        us.plan((1, 4, 1), (2, 2, 1, 1))
    with pytest.raises(us.GeometryError, match="x is 5; expected an array or a shape"):
        us.plan(5, (2, 1, 1))
