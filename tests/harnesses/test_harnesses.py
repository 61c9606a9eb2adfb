"""The harnesses in attack_lab.py and fuzz_calls.py run for some seconds; `.ci/run` runs them for longer."""

import attack_lab
import fuzz_calls
import pytest


@pytest.mark.slow
def test_the_lab_withstands_random_requests():
    tried, found, _ = attack_lab.run(seconds=10, seed=2)
    assert found == []
    assert sum(tried.values()) > 100
    assert {"200", "400", "401", "403"} <= set(tried)


def test_random_calls_are_right_or_refused_in_words():
    number, tried, found = fuzz_calls.run(seconds=120, seed=7, calls=600)
    assert [str(error) for _, error in found] == []
    assert number == 600
    assert len(tried) > 15
