"""Every example in a docstring of the package, run."""

import doctest
import importlib
import pkgutil

import pytest

import unstride

MODULES = ["unstride", *sorted(m.name for m in pkgutil.walk_packages(unstride.__path__, "unstride."))]
MODULES.remove("unstride._native")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_the_public_maps_have_examples():
    for public in (unstride.conv_transpose, unstride.conv, unstride.kernel_gradient, unstride.Geometry, unstride.solve):
        assert ">>>" in public.__doc__
