"""Every example in a docstring of the package and in the README, run."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import unstride

MODULES = ["unstride", *sorted(m.name for m in pkgutil.walk_packages(unstride.__path__, "unstride."))]
MODULES.remove("unstride._native")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_the_public_maps_have_examples():
    for public in (unstride.conv_transpose, unstride.conv, unstride.kernel_gradient, unstride.Geometry, unstride.solve):
        assert ">>>" in public.__doc__


def test_readme():
    readme = Path(__file__).parents[1] / "README.md"
    failed, tried = doctest.testfile(str(readme), module_relative=False, encoding="utf-8", optionflags=doctest.ELLIPSIS)
    assert failed == 0
    assert tried >= 8
