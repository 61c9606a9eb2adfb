"""The explainer's files import each other one way, and of the package only what lies below them."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import unstride.explainer

ROOT = Path(unstride.explainer.__file__).parent
PACKAGE = ROOT.parent
BELOW = {"geometry", "conventions", "solver", "reference", "_files", "wording", "misnamed", "_masked"}
APART = {ROOT / "commands.py"}  # the command line's


def module_of(parts: list[str]) -> Path | None:
    path = PACKAGE.joinpath(*parts)
    if path.is_dir():
        return path / "__init__.py"
    return path.with_suffix(".py") if path.with_suffix(".py").exists() else None


def imported(file: Path) -> set[Path]:
    """The package's files that a file imports, inside functions too."""
    here = list(file.relative_to(PACKAGE).parts[:-1])
    files = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            assert not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("unstride"), file
            continue
        base = here[: len(here) - node.level + 1] + (node.module or "").split(".") * bool(node.module)
        for alias in node.names:
            files.add(module_of([*base, alias.name]) or module_of(base))
    return {path for path in files if path is not None}


def test_imports_go_one_way():
    files = [path for path in ROOT.rglob("*.py") if path not in APART]
    arrows = {path: imported(path) for path in files}
    order = list(TopologicalSorter(arrows).static_order())  # raises CycleError
    assert order.index(ROOT / "numbers.py") < order.index(ROOT / "trace.py")
    others = {
        path.relative_to(PACKAGE).parts[0] for found in arrows.values() for path in found if ROOT not in path.parents
    }
    assert {name.removesuffix(".py") for name in others} <= BELOW
