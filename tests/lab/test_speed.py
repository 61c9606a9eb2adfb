"""Chapter 10: the plan's numbers, and a benchmark that compares what computes the same."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import expect

import unstride as us
from unstride.lab.content import benchmark, drawings


@pytest.mark.slow
def test_the_plan_follows_the_setting(visitor):
    visitor.open("speed")
    visitor.choose("Layer", "U-Net: 128 to 64 channels, k2 s2")
    visitor.slide("Kernel k", ["ArrowRight"])
    plan = us.plan((1, 64, 64, 128), (3, 3, 64, 128), stride=2)
    every = plan.multiply_adds + plan.avoided
    expect(visitor.fact("plan", "Done")).to_have_text(f"{plan.multiply_adds:,}")
    expect(visitor.fact("plan", "On the zero-spaced grid")).to_have_text(f"{every:,}")
    expect(visitor.fact("plan", "Multiply-adds avoided")).to_have_text(f"{100 * plan.avoided / every:.1f}%")
    cells = visitor.lab_part("phases").locator("rect + text")
    expect(cells.first).to_have_text("1")  # in the corner no copies overlap
    counts = us.explain(np.ones((6, 6)), np.ones((3, 3)), stride=2).overlap[:10, :10]
    assert cells.all_text_contents() == [str(count) for count in counts.ravel()]
    visitor.slide("Input side", ["Home"])
    visitor.slide("Padding p", ["End"])
    expect(visitor.lab_part("plan")).to_contain_text("the crop")  # leaves nothing
    visitor.untroubled()


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 5),
    k=st.integers(1, 5),
    s=st.integers(1, 4),
    d=st.integers(1, 2),
    begin=st.integers(-1, 2),
    end=st.integers(-1, 2),
)
def test_the_map_of_products_counts_them(n, k, s, d, begin, end):
    geometry = us.Geometry((k, k), s, ((begin, end),) * 2, dilation=d)
    try:
        plan = us.plan((1, n, n, 1), (k, k, 1, 1), geometry)
        trace = us.explain(np.ones((n, n)), np.ones((k, k)), geometry=geometry)
    except us.GeometryError:
        return  # the crop leaves nothing
    shown = re.findall(r">(\d+)</text>", drawings.phases(plan, most=40))
    assert shown == [str(count) for count in trace.overlap.ravel()]


def test_no_bars_name_is_cut_off():
    names = [name for name, _ in benchmark.PEERS.values()]
    drawn = drawings.bars([(name, 1, 2, 3, "2 ms") for name in names], "times", "ms")
    end = float(re.search(r'class="name" x="([\d.]+)"', drawn)[1])
    assert end >= 7.4 * max(map(len, names))  # pixels of a letter of 13 pixels, on the average


@pytest.mark.slow
def test_the_bars_names_are_in_the_picture(visitor):
    page = visitor.open("speed")
    names = [(name, 1, 2, 3, "2 ms") for name, _ in benchmark.PEERS.values()]
    page.evaluate(
        "(svg) => document.querySelector('[data-lab=phases]').innerHTML = svg", drawings.bars(names, "times", "ms")
    )
    lefts = page.locator("[data-lab=phases] svg").evaluate(
        "(svg) => [...svg.querySelectorAll('text.name')].map((text) => text.getBBox().x)"
    )
    assert min(lefts) >= 0


@pytest.mark.slow
def test_the_benchmark(visitor):
    page = visitor.open("speed")
    visitor.choose("Layer", "FSRCNN: 56 channels to 1, k9 s3")
    visitor.slide("Input side", ["Home"])
    expect(visitor.lab_part("benchmark")).to_have_text("Nothing measured yet with this setting.")
    page.get_by_role("button", name="Run the benchmark").click()
    table = visitor.lab_part("benchmark").locator("tbody tr")
    expect(table).to_have_count(3, timeout=120_000)
    for row, name in zip(table.all(), ("unstride", "PyTorch", "ONNX Runtime"), strict=True):
        cells = row.locator("th, td").all_inner_texts()
        assert cells[0] == name
        low, high = map(float, cells[2].split(" to "))
        assert 0 < low <= float(cells[1]) <= high
        if cells[5]:
            assert float(cells[5]) < 1e-4  # the same numbers
    expect(visitor.lab_part("bars").locator("rect")).to_have_count(3)
    visitor.untroubled()


@pytest.mark.slow
def test_every_peer_computes_the_same():
    """Of smaller inputs, in a process for all layers, which runs the benchmark's as the page does, one after the other."""
    layers = [replace(layer, batch=1, size=5) for layer in benchmark.LAYERS.values()]
    orders = [json.dumps({"setting": asdict(layer), "peers": list(benchmark.PEERS), "threads": 1}) for layer in layers]
    code = """
import sys
from unstride.lab.content import benchmark
benchmark.ALL_SECONDS = 0.0  # the fewest rounds
for order in sys.argv[1:]:
    print("a layer", flush=True)
    sys.argv[1] = order
    benchmark._main()
"""
    done = subprocess.run([sys.executable, "-c", code, *orders], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _, *outputs = done.stdout.split("a layer\n")
    for _, output in zip(layers, outputs, strict=True):
        told = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        ready = {line["ready"]: line["difference"] for line in told if "ready" in line}
        assert [line for line in told if "unable" in line or "failed" in line] == []
        assert set(ready) == set(benchmark.PEERS)
        assert max(ready.values()) < 1e-4
        rounds = [line["milliseconds"] for line in told if "round" in line]
        assert len(rounds) >= benchmark.ROUNDS[0]
        assert set(rounds[0]) == {"ours", *benchmark.PEERS}


def test_a_peer_that_cannot_says_why():
    told = list(benchmark.run(benchmark.Setting(1, 4, 2, 3, 2, 2, 5), ["torch"], 1))
    assert any("failed" in line or "unable" in line for line in told)
