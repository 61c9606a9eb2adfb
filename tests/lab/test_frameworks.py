"""Chapter 5: five conventions of one setting, the traps' numbers, sizes solved for."""

import numpy as np
import pytest
from playwright.sync_api import expect

import unstride as us
from unstride.lab.content.traps import INPUT, traps


@pytest.mark.slow
def test_one_setting_in_five_conventions(visitor):
    visitor.open("frameworks")
    calls = visitor.lab_part("calls")
    expect(calls.locator("tbody tr")).to_have_count(5)
    visitor.slide("Crop at the beginning b", ["ArrowRight"])
    visitor.slide("Stride s", ["ArrowRight"])
    trace = us.explain(np.arange(16).reshape(4, 4) % 10, np.arange(9).reshape(3, 3), geometry=us.Geometry((3, 3), 3, 1))
    expect(visitor.fact("setting", "Output")).to_have_text("{} × {}".format(*trace.output_size))
    for setting in trace.settings.values():
        assert setting.reason is None or setting.recipe
        expect(calls).to_contain_text(setting.text if setting.reason is None else setting.reason)
    visitor.choose("Whole program for", "JAX")
    program = visitor.lab_part("program")
    expect(program).to_contain_text("jax.lax.conv_transpose")
    assert program.inner_text().strip() == trace.code("jax").strip()
    visitor.untroubled()


@pytest.mark.slow
def test_a_crop_of_everything_is_explained(visitor):
    visitor.open("frameworks")
    visitor.slide("Input n", ["Home"])
    visitor.slide("Kernel k", ["Home"])
    visitor.slide("Crop at the end e", ["End"])
    with pytest.raises(us.GeometryError) as error:
        us.explain([[0]], [[0]], geometry=us.Geometry((1, 1), 2, ((0, 4),) * 2))
    expect(visitor.lab_part("setting")).to_have_text(str(error.value))
    expect(visitor.lab_part("program")).to_have_count(0)
    visitor.untroubled()


@pytest.mark.slow
def test_the_traps_follow_kernel_and_stride(visitor):
    visitor.open("frameworks")
    visitor.slide("Stride s of the traps", ["ArrowRight"])
    for trap in traps(3, 3):
        cells = visitor.lab_part(f"trap-{trap.name}").locator("td")
        expect(cells).to_have_text([row.text for row in trap.rows])
    visitor.untroubled()


def results(k, s):
    return {trap.name: [row.text for row in trap.rows] for trap in traps(k, s)}


def test_the_numbers_of_the_traps():
    """As the frameworks themselves give them (README's table, which test_conventions.py runs them against)."""
    found = results(3, 2)
    upper, lower = "[1, 2, 13, 20, 130, 200]", "[2, 13, 20, 130, 200, 300]"
    assert found["same"] == [upper, upper, lower, upper, lower]
    assert found["none"][:2] == [upper, "[2, 13, 20, 130, 200]"]
    assert found["flip"][0] == "[3, 2, 31, 20, 310, 200, 100]"
    assert found["pads"][2] == "[13, 20, 130]"
    assert found["ends"] == ["[1, 2, 13, 20, 130, 200, 300]", "[1, 2, 13, 20, 130, 200, 300, 0]"]


@pytest.mark.parametrize("k", range(1, 7))
@pytest.mark.parametrize("s", range(1, 5))
def test_every_trap_of_every_setting_has_its_numbers(k, s):
    for trap in traps(k, s):
        assert len(trap.rows) >= 2
        for row in trap.rows:
            assert (row.output is None) == bool(row.problem), row
        if trap.name == "same":
            assert {len(row.output) for row in trap.rows} == {len(INPUT) * s}


@pytest.mark.slow
def test_sizes_solved_for(visitor):
    page = visitor.open("frameworks")
    expect(visitor.fact("solved", "Output, computed")).to_have_text("28 × 28")
    page.get_by_label("and want").fill("14")
    page.keyboard.press("Enter")
    expect(visitor.fact("solved", "Output, computed")).to_have_text("14 × 14")
    first = us.solve((7, 7), (14, 14), limit=8)
    choices = page.get_by_role("radio")
    expect(choices).to_have_count(len(first))
    odd = next(i for i, g in enumerate(first) if g.kernel_size[0] % g.stride[0])
    choices.nth(odd).click()
    expect(visitor.fact("solved", "Overlap")).to_have_text("uneven: a checkerboard")
    expect(visitor.lab_part("solved-calls")).to_contain_text(f"'kernel_size': {first[odd].kernel_size}".split(": ")[1])
    visitor.choose("Kernel", "1")
    visitor.choose("Stride", "1")
    # The old part and the new one may both be there for a moment.
    expect(visitor.lab_part("solved").first).to_contain_text("Nothing makes 14 × 14 from 7 × 7")
    visitor.untroubled()
