"""Chapter 10: the plan's numbers, and a benchmark that compares what computes the same."""

import pytest
from playwright.sync_api import expect

import unstride as us
from unstride.lab import benchmark


def test_the_plan_follows_the_setting(visitor):
    visitor.open("speed")
    visitor.choose("Layer", "U-Net: 128 to 64 channels, k2 s2")
    visitor.slide("Kernel k", ["ArrowRight"])
    plan = us.plan((1, 64, 64, 128), (3, 3, 64, 128), stride=2)
    every = plan.multiply_adds + plan.avoided
    expect(visitor.fact("plan", "Done")).to_have_text(f"{plan.multiply_adds:,}")
    expect(visitor.fact("plan", "On the zero-spaced grid")).to_have_text(f"{every:,}")
    expect(visitor.fact("plan", "Multiply-adds avoided")).to_have_text(f"{100 * plan.avoided / every:.1f} %")
    cells = visitor.lab_part("phases").locator("rect + text")
    expect(cells.first).to_have_text(str(plan.passes[0][0].taps * plan.passes[1][0].taps))
    assert set(cells.all_text_contents()) == {"4", "2", "1"}
    visitor.slide("Input side", ["Home"])
    visitor.slide("Padding p", ["End"])
    expect(visitor.lab_part("plan")).to_contain_text("the crop")  # leaves nothing
    visitor.untroubled()


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


@pytest.mark.parametrize("layer", benchmark.LAYERS.values(), ids=benchmark.LAYERS)
def test_every_peer_computes_the_same(layer):
    """Of a smaller input, in one process, as the page runs it."""
    from dataclasses import replace

    small = replace(layer, batch=1, size=5)
    told = list(benchmark.run(small, list(benchmark.PEERS), 1))
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
