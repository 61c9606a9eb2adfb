"""The code on the pages of the documentation, run: every block of a page in order, in one namespace.

A page that needs a package names it at its top (``needs: [torch]``), and is skipped where that is missing. The pages are in
one file, so that one test process imports the frameworks.
"""

import doctest
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SHOWN = {"explanations.md"}  # its programs write files
PAGES = [
    path
    for path in sorted([*DOCS.glob("*.md"), *DOCS.glob("recipes/*.md")])
    if path.name not in SHOWN and "```python" in path.read_text(encoding="utf-8")
]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_code_of_a_page_gives_what_it_shows(path, tmp_path, monkeypatch):
    text = path.read_text(encoding="utf-8")
    missing = [name for name in needs(text) if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{path.name} needs {', '.join(missing)}")
    monkeypatch.chdir(tmp_path)
    names, tried = {}, 0
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for match in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        line = text[: match.start(1)].count("\n")
        example = doctest.DocTestParser().get_doctest(match[1], names, path.stem, str(path), line)
        assert example.examples, f"{path.name}, line {line}: no >>> in a block of python"
        reported = []
        result = runner.run(example, clear_globs=False, out=reported.append)
        assert result.failed == 0, "".join(reported)
        names.update(example.globs)
        tried += result.attempted
    assert tried


def commands():
    for path in sorted([*DOCS.glob("*.md"), *DOCS.glob("recipes/*.md")]):
        for block in re.findall(r"^```sh\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            yield from (line.split("  #")[0].strip() for line in block.splitlines() if line.startswith("unstride "))


def test_every_command_is_one_that_the_command_line_takes():
    """Names and options, by click's own parser; nothing is run."""
    pytest.importorskip("click")
    from unstride.__main__ import cli

    lines = list(commands())
    assert len(lines) > 10
    for line in lines:
        words = [word for word in shlex.split(line)[1:] if word != "…"]
        context = cli.make_context("unstride", words[:1], resilient_parsing=True)
        name, command, _ = cli.resolve_command(context, words)
        command.make_context(name, words[1:], parent=context)


def needs(text):
    found = re.match(r"---\nneeds: \[(.*)\]\n---\n", text)
    return found[1].split(", ") if found else []


def test_a_page_names_the_frameworks_that_it_imports():
    """Or its test would fail where one of them is missing, instead of saying so."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
        imported = {
            name for names in re.findall(r"^>>> import (.*)$", code, re.MULTILINE) for name in names.split(", ")
        }
        imported = {name.split(" as ")[0] for name in imported}
        imported |= {name.removeprefix("unstride.") for name in imported}
        imported |= set(re.findall(r"\bus\.(keras|torch)\b", code))
        frameworks = {"torch", "keras", "jax", "tensorflow", "onnx", "onnxruntime"} & imported
        assert frameworks <= set(needs(text)), path.name


def test_every_recipe_is_in_the_list():
    listed = set(re.findall(r"^([\w-]+)$", (DOCS / "recipes" / "index.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert listed == {path.stem for path in DOCS.glob("recipes/*.md")} - {"index"}
