"""What README shows, run: its examples, its commands, its links; and its claims that the project's files can confirm.

`.ci/run` runs this file once more in the environment that README's first command makes, without PyTorch or TensorFlow.
"""

import doctest
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = FENCED.findall(README)
PROSE = FENCED.sub("", README)
INLINE = re.findall(r"`([^`]+)`", PROSE)
PYTHON = [text for language, text in BLOCKS if language == "python"]
SHELL = [
    line.removeprefix("$ ").split("  #")[0].strip()
    for language, text in BLOCKS
    if language in ("sh", "")
    for line in text.splitlines()
]
COMMANDS = [part.strip() for line in [*SHELL, *INLINE] for part in line.split("&&")]
FRAMEWORKS = {"torch.": "torch", "unstride.keras": "keras"}


def test_examples_give_what_they_show():
    """Paragraphs of examples, one after another. Those of a framework that is not installed are left out."""
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    names, skipped, tried = {}, set(), 0
    for text in re.split(r"\n\n", "\n\n".join(PYTHON)):
        missing = {needed for name, needed in FRAMEWORKS.items() if name in text and not installed(needed)}
        if missing:
            skipped |= missing
            continue
        example = parser.get_doctest(text + "\n", names, "README", "README.md", 0)
        result = runner.run(example, clear_globs=False)
        names.update(example.globs)
        assert result.failed == 0, text
        tried += result.attempted
    assert tried >= 5
    assert tried >= 10 or skipped


def test_plain_snippets_run(tmp_path, monkeypatch):
    pytest.importorskip("PIL")  # for .gif
    import unstride as us

    monkeypatch.chdir(tmp_path)
    plain = [text for text in PYTHON if ">>>" not in text]
    assert plain
    for text in plain:
        exec(compile(text, "README.md", "exec"), {"us": us})
        for name in re.findall(r'"(\w+\.(?:svg|gif|png|html))"', text):
            assert (tmp_path / name).stat().st_size > 0


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("unstride ")])
def test_every_command_is_one_that_the_command_line_takes(line):
    """Names and options, by click's own parser; nothing is run."""
    pytest.importorskip("click")
    from unstride.__main__ import cli

    words = [word for word in shlex.split(line)[1:] if word != "…"]
    context = cli.make_context("unstride", words[:1], resilient_parsing=True)
    name, command, _ = cli.resolve_command(context, words)
    command.make_context(name, words[1:], parent=context, resilient_parsing="--help" in words)


def test_other_commands_name_files_that_there_are():
    paths = [
        word for line in COMMANDS if line.startswith(("python ", "pytest ")) for word in line.split()[1:] if "/" in word
    ]
    assert len(paths) >= 3
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_block_is_of_a_kind_that_is_tested():
    assert {language for language, _ in BLOCKS} == {"python", "sh"}
    assert [line for line in SHELL if not re.match(r"(unstride|pip install) ", line)] == []


def test_the_two_commands_come_first_and_each_is_one_line():
    shell = [text for language, text in BLOCKS if language == "sh"]
    assert shell[0].startswith('pip install ".[app]" && unstride train ')
    assert shell[1].startswith('pip install ".[test]" && pytest -n auto --dist loadfile ')
    assert README.index(shell[1]) < len(README) / 5


def test_links_lead_to_files_and_headings():
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in PROSE.splitlines()
        if line.startswith("#")
    }
    links = re.findall(r"\]\(([^)]+)\)", PROSE)
    assert len(links) >= 8
    for link in links:
        assert link[1:] in headings if link.startswith("#") else (ROOT / link.partition("#")[0]).exists(), link


def test_versions_are_those_that_the_package_asks_for():
    from unstride.backends import OLDEST
    from unstride.configuration import OLDEST_KERAS

    for name, version in [*OLDEST.values(), ("Keras", OLDEST_KERAS)]:
        assert f"{name} {'.'.join(map(str, version))}" in PROSE
    assert 'requires-python = ">=3.11"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "Python 3.11 or later" in PROSE


def test_it_is_short():
    assert README.count("\n") <= 130


def test_code_in_a_sentence_is_in_one_line():
    """Broken over two, it cannot be copied."""
    assert [code for code in INLINE if "\n" in code] == []


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
