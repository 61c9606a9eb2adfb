"""The API pages have every public name, and no other."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import unstride

SOURCE = Path(unstride.__file__).parent
PAGES = Path(__file__).parents[2] / "docs" / "api"
INNER = {"app", "backends", "lab"}  # rooms that are not for users of the library
HEAVY = {"unstride.keras", "unstride.torch", "unstride.explainer.widget"}  # which import what may be missing


def public():
    """Of every module with an `__all__`: its name, and the names in it. Imports nothing, since frameworks may be missing."""
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts and (parts[0] in INNER or any(part.startswith("_") for part in parts)):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__":
                module = ".".join(("unstride", *parts))
                yield module, ast.literal_eval(node.value)


def documented():
    directive = r"^\.\. (?:auto(?:function|class|exception|data)|data):: (\S+)"
    pages = [
        page.read_text("utf-8").replace("explainer.page", "explainer.web.page") for page in sorted(PAGES.glob("*.rst"))
    ]
    return [name for page in pages for name in re.findall(directive, page, re.MULTILINE)]


def thing(module, name):
    """What stands for an object: itself, or its name where the module imports a framework."""
    if module in HEAVY:
        return f"{module}.{name}"
    return id(getattr(importlib.import_module(module), name))


def test_every_public_name_is_on_a_page_and_nothing_else_is():
    listed = {thing(module, name): f"{module}.{name}" for module, names in public() for name in names}
    shown = {thing(*entry.rsplit(".", 1)): entry for entry in documented()}
    del listed[id(unstride.conventions)]  # a module, with a page of its own
    assert [name for key, name in listed.items() if key not in shown] == []
    assert [name for key, name in shown.items() if key not in listed] == []


def test_nothing_is_on_two_pages():
    entries = [thing(*entry.rsplit(".", 1)) for entry in documented()]
    assert len(set(entries)) == len(entries)


@pytest.mark.parametrize("name", ["conventions", "geometry", "stack", "codes", "data", "explainer", "models"])
def test_modules_that_load_without_a_framework_have_all_that_they_list(name):
    module = importlib.import_module(f"unstride.{name}")
    assert [missing for missing in module.__all__ if not hasattr(module, missing)] == []


def test_every_api_page_is_in_the_list():
    listed = re.findall(r"^(\w+)$", (PAGES / "index.md").read_text("utf-8"), re.MULTILINE)
    assert set(listed) == {page.stem for page in PAGES.glob("*.rst")}
