"""The explorer's modules, as they are, in one ES module: notebooks take one, and the page must not load anything.

Each file becomes a function that returns what the file exports, so names in different files may be alike. Only its
import and export statements are rewritten, and lines that are a comment are left out.
"""

from __future__ import annotations

import json
import re
from functools import cache
from graphlib import TopologicalSorter
from importlib.resources import files

from .. import shared

MAIN = "main"

_IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "\./(\w+)\.mjs";$', re.MULTILINE)
_DATA = re.compile(r'^import (\w+) from "\.\./shared/(\w+\.json)" with \{ type: "json" \};$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_LIST = re.compile(r"^export \{ ([\w, ]+) \};$", re.MULTILINE)
_COMMENT = re.compile(r"^ *//.*\n", re.MULTILINE)  # no text over several lines, in these files, has such a line
_LEFT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


@cache
def source(name: str) -> str:
    """A file of this folder."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def module() -> str:
    """The whole explorer: exports ``mount``, ``parts`` and anywidget's ``default``."""
    names = [file.name.removesuffix(".mjs") for file in files(__package__).iterdir() if file.name.endswith(".mjs")]
    imports = {name: [other for _, other in _IMPORT.findall(source(f"{name}.mjs"))] for name in sorted(names)}
    return "\n".join(map(_inlined, TopologicalSorter(imports).static_order()))  # raises CycleError for a circle


def _literal(name: str) -> str:
    """A file of JSON, which is an expression of JavaScript, without the spaces between."""
    return json.dumps(shared.data(name), ensure_ascii=False, separators=(",", ":"))


def _inlined(name: str) -> str:
    """One file as a statement of the joined module; the main file keeps its exports."""
    text = _DATA.sub(lambda match: f"const {match[1]} = {_literal(match[2])};", source(f"{name}.mjs"))
    text = _COMMENT.sub("", _IMPORT.sub(r"const { \1 } = $\2;", text))
    if name == MAIN:
        return text
    exported = [*_EXPORT.findall(text), *(one for names in _LIST.findall(text) for one in names.split(", "))]
    text = _LIST.sub("", _EXPORT.sub("", text))
    if left := _LEFT.search(text):
        raise ImportError(f"{name}.mjs has a statement that bundle.py does not understand: {left[0]}")
    return f"const ${name} = (() => {{\n{text}\nreturn {{ {', '.join(exported)} }};\n}})();"
