"""The files around the package: they agree with it and with each other, and name only what there is."""

import re
from pathlib import Path

import pytest

import unstride

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PAGES = ["CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md", "README.md"]
OTHERS = ["CITATION.cff", ".pre-commit-config.yaml", ".clang-format", "pyproject.toml"]

pytestmark = pytest.mark.skipif(not (ROOT / ".ci").is_dir(), reason="source distributions lack the scripts of CI")


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_citation_is_of_this_version():
    citation = text("CITATION.cff")
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == unstride.__version__
    assert "cff-version: 1.2.0" in citation
    assert {"message", "title", "authors"} <= set(re.findall(r"^([\w-]+):", citation, re.MULTILINE))


def test_the_changelog_begins_with_this_version():
    assert re.search(r"^## (\S+) \(", text("CHANGELOG.md"), re.MULTILINE)[1] == unstride.__version__


@pytest.mark.parametrize("page", PAGES)
def test_pages_link_to_what_there_is(page):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text(page))
    assert [link for link in links if not (ROOT / link).exists()] == []
    named = re.findall(r"`((?:src|tests|benchmarks|docs|\.ci|\.github)/[^` ]+)`", text(page))
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_scripts_that_there_are(workflow):
    """`actionlint` checks the rest (.ci/workflows)."""
    content = workflow.read_text(encoding="utf-8")
    scripts = set(re.findall(r"(?<![\w/])(\.ci/\w+(?:\.py)?|\./\.github/workflows/\w+\.yml|tests/\w+)", content))
    assert [script for script in scripts if not (ROOT / script).exists()] == []
    assert "permissions:" in content
    assert content.count("timeout-minutes:") == content.count("runs-on:")


def test_there_is_a_workflow_for_each_purpose():
    names = {workflow.stem for workflow in WORKFLOWS}
    assert names == {"tests", "lint", "versions", "sanitizers", "docs", "wheels", "release"}


@pytest.mark.parametrize("name", [*PAGES, *OTHERS, *(str(path.relative_to(ROOT)) for path in WORKFLOWS)])
def test_no_path_of_one_machine(name):
    assert re.findall(r"(?<![\w.}])/(?:home|work|root|Users|opt)/\S*", text(name)) == []
