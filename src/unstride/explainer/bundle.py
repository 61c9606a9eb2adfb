"""The explorer's source files joined into one ES module.

Each file becomes a function that returns what it exports, so that names in different files may be alike; the files'
import statements become reads of these. Only the forms that the files use are understood, and others refused.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files

MAIN = "main"

_IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "\./(\w+)\.mjs";$', re.MULTILINE)
_DATA = re.compile(r'^import (\w+) from "\./([\w.]+\.json)" with \{ type: "json" \};$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_LIST = re.compile(r"^export \{ ([\w, ]+) \};$", re.MULTILINE)


@cache
def source(name: str) -> str:
    """A file of the explorer."""
    return files(__package__).joinpath("explorer", name).read_text(encoding="utf-8")


@cache
def module() -> str:
    """The whole explorer: exports ``mount``, ``parts`` and anywidget's ``default``."""
    parts: dict[str, str] = {}
    _add(MAIN, parts, ())
    return "\n".join(parts.values())


def style() -> str:
    """The explorer's style sheet, without comments and the spaces that mean nothing there."""
    text = re.sub(r"/\*.*?\*/", "", source("style.css"), flags=re.DOTALL)
    text = re.sub(r"\s*([{};])\s*", r"\1", re.sub(r"([,:])\s+", r"\1", text)).replace(";}", "}")
    return text.replace("}", "}\n").strip()


def _add(name: str, parts: dict[str, str], above: tuple[str, ...]) -> None:
    """The module `name`, after all that it imports, into `parts`."""
    if name in above:
        raise ImportError(f"the explorer's files import each other in a circle: {' -> '.join((*above, name))}")
    text = source(f"{name}.mjs")
    for _, other in _IMPORT.findall(text):
        if other not in parts:
            _add(other, parts, (*above, name))
    text = _DATA.sub(lambda found: f"const {found[1]} = {_data(found[2])};", text)
    text = _IMPORT.sub(lambda found: f"const {{ {found[1]} }} = ${found[2]};", text)
    if name == MAIN:
        parts[name] = _slim(text)
        return
    exported = _EXPORT.findall(text)
    for names in _LIST.findall(text):
        exported += names.split(", ")
    text = _LIST.sub("", _EXPORT.sub("", text))
    if left := re.search(r"^(?:import|export)\b.*", text, re.MULTILINE):
        raise ImportError(f"{name}.mjs has a statement that bundle.py does not understand: {left[0]}")
    parts[name] = f"const ${name} = (() => {{\n{_slim(text)}\nreturn {{ {', '.join(exported)} }};\n}})();"


def _data(name: str) -> str:
    """A file of JSON, which is an expression of JavaScript, without the spaces between."""
    return json.dumps(json.loads(source(name)), ensure_ascii=False, separators=(",", ":"))


_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
    |(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?<=[(,=:!&|?])/(?![/*])(?:\\.|\[(?:\\.|[^\]\\])*\]|[^/\\\n\[])+/\w*)
    |(?P<template>`)
    |(?P<space>\s+)
    |(?P<word>[\w$]+)
    |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)


def _slim(text: str) -> str:
    """The code without comments and spaces that mean nothing: the page has to be small."""
    out: list[str] = []
    at, space = 0, ""
    while at < len(text):
        # A regular expression is told from a division by the sign before it, whatever space is between them.
        before = out[-1][-1] if space and out else text[at - 1] if at else " "
        found = _TOKEN.match(before + text[at:], 1)
        assert found is not None  # every character is one of these
        kind, token = found.lastgroup, found[0]
        if kind == "template":
            token = text[at : _template_end(text, at + 1)]
        at += len(token)
        if kind in ("space", "comment"):
            space = "\n" if "\n" in token else space or " "
            continue
        if space and out and _separate(out[-1], token, space):
            out.append(space)
        out.append(token)
        space = ""
    return "".join(out)


def _separate(before: str, after: str, space: str) -> bool:
    """Whether a space or a line's end between two tokens means something."""
    if space == "\n":  # it ends a statement, unless the line clearly goes on
        return before not in tuple("{([,;:?=&|<>+-*/!") and after[0] not in tuple(")],;:?=&|<>+-*/.")
    word = re.compile(r"[\w$]")
    return bool(word.match(before[-1]) and word.match(after[0])) or (before in ("+", "-") and before == after)


def _template_end(text: str, at: int) -> int:
    """Where a template text ends that begins before `at`; those in its ``${}`` are part of it."""
    while text[at] != "`":
        if text[at] == "\\":
            at += 1
        elif text.startswith("${", at):
            depth, at = 1, at + 2
            while depth:
                if text[at] == "`":
                    at = _template_end(text, at + 1) - 1
                elif text[at] in "\"'":
                    at = text.index(text[at], at + 1)
                depth += {"{": 1, "}": -1}.get(text[at], 0)
                at += 1
            continue
        at += 1
    return at + 1
