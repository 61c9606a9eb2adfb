"""The package itself: what `import unstride` costs and offers, with every framework and with none."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys

import pytest

import unstride as us
from unstride import _submodules

SUBMODULES = ("keras", "torch", "models", "data", "codes", "explainer", "stack")
FRAMEWORKS = ("keras", "jax", "torch", "tensorflow", "matplotlib", "PIL", "click", "anywidget")


def fresh(code: str, without: tuple[str, ...] = (), *options: str, **environment: str) -> str:
    """What the code prints in a process of its own, where the packages `without` are not installed."""
    block = f"""
from importlib.machinery import PathFinder
class Without(PathFinder):  # which finds the packages' metadata, too
    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name in {without!r} else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""
    done = subprocess.run(
        [sys.executable, *options, "-c", f"import sys\n{block}{code}"],
        capture_output=True, text=True, check=False, env=os.environ | {"KERAS_BACKEND": "jax"} | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_and_looking_around_imports_no_framework():
    out = fresh(f"""
import inspect, pydoc, rlcompleter
import unstride as us
us.explain([1, 2], [3, 4])
dir(us), inspect.getmembers(us), [hasattr(us, name) for name in dir(us)], repr(us.keras), repr(us.torch)
page = pydoc.render_doc(us, renderer=pydoc.plaintext)
completer = rlcompleter.Completer({{"us": us}})
assert completer.complete("us.ke", 0) and completer.complete("us.to", 0)
print([name for name in {FRAMEWORKS} if name in sys.modules])
print("accelerate(model)" in page and 'conventions.keras(...).to("torch")' in page and "unstride --help" in page)
""")
    assert out == "[]\nTrue\n"


@pytest.mark.slow
@pytest.mark.parametrize("missing", [("keras",), ("torch",), ("keras", "torch", "jax", "tensorflow")])
def test_without_a_framework_everything_that_looks_around_works(missing):
    out = fresh(
        """
import doctest, inspect, pickle, pydoc
import unstride as us
assert {"keras", "torch", "models", "data", "codes", "explainer", "stack"} <= set(dir(us))
assert all(hasattr(us, name) for name in dir(us))
assert not hasattr(us, "x") and not hasattr(us, "__wrapped__")
inspect.getmembers(us); inspect.getmembers(us, inspect.isclass); pydoc.render_doc(us)
doctest.DocTestFinder().find(us)
for name in ("keras", "torch"):
    inspect.getmembers(getattr(us, name)); dir(getattr(us, name)); hasattr(getattr(us, name), "__wrapped__")
def nameless(): pass
nameless.__module__ = None
sys.modules["__main__"].keras = nameless
nameless.__qualname__ = nameless.__name__ = "keras"  # pickle looks for it in every module
assert pickle.loads(pickle.dumps(nameless)) is nameless
print("well")
""",
        missing,
    )
    assert out == "well\n"


@pytest.mark.parametrize(
    ("missing", "name", "extra"), [("keras", "keras", "unstride[keras]"), ("torch", "torch", "unstride[torch]")]
)
@pytest.mark.parametrize(
    "use",
    ["us.{0}.accelerate", "from unstride import {0}", "import unstride.{0}", "from unstride.{0} import accelerate"],
)
def test_a_missing_framework_is_an_import_error_with_what_to_install(missing, name, extra, use):
    out = fresh(
        f"import unstride as us\ntry:\n    {use.format(name)}\nexcept ImportError as error:\n    print(error)",
        (missing,),
    )
    assert f'pip install "{extra}"' in out


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBMODULES)
def test_submodules_load_when_they_are_used(name):
    first = {
        "data": "mnist",
        "codes": "checkerboard",
        "models": "autoencoder",
        "explainer": "explain",
        "stack": "Stack",
    }.get(name, "accelerate")
    out = fresh(f"""
import unstride as us
kept = us.{name}
assert callable(us.{name}.{first})
real = sys.modules["unstride.{name}"]
assert us.{name} is real and kept.{first} is real.{first}
assert set(dir(real)) <= set(dir(kept))
kept.own = 1
assert real.own == 1
del kept.own
assert not hasattr(real, "own")
print("loaded")
""")
    assert out == "loaded\n"


@pytest.mark.slow
def test_imported_submodules_are_the_submodules_themselves():
    out = fresh("""
from unstride import torch
import unstride.keras
import unstride as us
print(torch is sys.modules["unstride.torch"] is us.torch, us.keras is sys.modules["unstride.keras"])
""")
    assert out == "True True\n"


def test_the_listing_has_no_internals():
    names = [name for name in dir(us) if not name.startswith("_")]
    assert set(names) == {*us.__all__, *SUBMODULES}
    assert {*_submodules.LIGHT, *_submodules.HEAVY} == set(SUBMODULES)
    with pytest.raises(AttributeError, match="module 'unstride' has no attribute 'nowhere'"):
        us.nowhere  # noqa: B018


def test_the_map_names_everything_public():
    page = inspect.getdoc(us)
    assert all(name in page for name in {*us.__all__, *SUBMODULES} - {"Plan"})


def test_explain_is_a_function_whatever_is_imported():
    pytest.importorskip("anywidget")
    out = fresh("""
import importlib, pkgutil
import unstride as us
import unstride.explainer.widget as w
from unstride.explainer import explain
for found in pkgutil.walk_packages(us.explainer.__path__, "unstride.explainer."):
    importlib.import_module(found.name)
print(w.Explorer.__name__, us.explain is explain, callable(us.explain), "explain" in sys.modules)
""")
    assert out == "Explorer True True False\n"


def test_no_function_has_the_name_of_a_submodule():
    """Or importing the submodule would hide the function."""
    import pkgutil

    modules = {found.name for found in pkgutil.iter_modules(us.__path__)}
    assert modules & set(us.__all__) == {"conventions"}


def test_the_package_is_a_program():
    done = subprocess.run([sys.executable, "-m", "unstride", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"unstride {us.__version__}\n")
    done = subprocess.run([sys.executable, "-m", "unstride", "trane"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("unstride: error: No such command 'trane'")
