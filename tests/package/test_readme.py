"""What README shows, run: its examples, its pictures and its commands.

`.ci/run` runs this file once more in the environment that README's first command makes, without PyTorch or TensorFlow.
"""

import doctest
import re
import shlex
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
COMMANDS = [
    line.removeprefix("$ ").split("   #")[0].split("&&")[-1].strip()
    for language, text in BLOCKS
    if language in ("sh", "")
    for line in text.splitlines()
    if re.match(r"(\$ |pip install .*&& )?unstride ", line)
]


def test_examples_give_what_they_show():
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    names, skipped, tried = {}, 0, 0
    for text in PYTHON:
        if "import torch" in text and not installed("torch"):
            skipped += 1
            continue
        example = parser.get_doctest(text, names, "README", "README.md", 0)
        result = runner.run(example, clear_globs=False)
        names.update(example.globs)
        assert result.failed == 0, text
        tried += result.attempted
    assert tried >= 8
    assert skipped <= 1


def test_plain_snippets_run(tmp_path, monkeypatch):
    import unstride as us

    monkeypatch.chdir(tmp_path)
    trace = us.explain([[0, 1], [2, 3]], [[0, 1], [2, 3]], stride=2)  # the example that README shows before them
    plain = [text for text in PYTHON if ">>>" not in text]
    assert plain
    for text in plain:
        exec(compile(text, "README.md", "exec"), {"us": us, "trace": trace})
        for name in re.findall(r'"(\w+\.(?:svg|gif|png|html))"', text):
            assert (tmp_path / name).stat().st_size > 0


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_one_that_the_command_line_takes(line):
    """Names and options, by click's own parser; nothing is run."""
    pytest.importorskip("click")
    from unstride.__main__ import cli

    words = [word for word in shlex.split(line)[1:] if word != "…"]
    context = cli.make_context("unstride", words[:1], resilient_parsing=True)
    name, command, _ = cli.resolve_command(context, words)
    command.make_context(name, words[1:], parent=context)


def test_code_in_a_sentence_is_in_one_line():
    """Broken over two, it cannot be copied."""
    sentences = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
    assert [code for code in re.findall(r"`[^`]*`", sentences) if "\n" in code] == []


def installed(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None
