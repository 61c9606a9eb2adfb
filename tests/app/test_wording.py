"""Numbers in sentences, and no sentence with "1 cells" in it."""

from __future__ import annotations

import pytest

from unstride._messages.wording import counted


@pytest.mark.parametrize("number", [0, 1, 2, 11, 1000])
def test_one_is_the_singular(number: int) -> None:
    assert counted(number, "cell").endswith("cell") == (number == 1)
    assert counted(number, "axis", "axes") == f"{number:,} {'axis' if number == 1 else 'axes'}"
