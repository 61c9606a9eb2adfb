"""Files are written whole or not at all, under names that fit their formats, never over an input."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unstride import _files
from unstride._files import FileNameError, check_apart, check_ending
from unstride.explainer import explain


def test_threads_of_one_process_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    """Each of many writers at once finds its own content whole; the last one's stays."""
    file = tmp_path / "f.txt"
    together = threading.Barrier(8)
    wrong: list[str] = []

    def fill(temporary: Path, text: str) -> None:
        temporary.write_text(text)
        together.wait(30)
        if temporary.read_text() != text:
            wrong.append(text)

    def run(number: int) -> None:
        text = str(number) * 1000
        _files.write(file, lambda temporary: fill(temporary, text))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(set(file.read_text())) == 1
    assert len(file.read_text()) == 1000
    assert [path.name for path in tmp_path.iterdir()] == ["f.txt"]


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    file = tmp_path / "secret.txt"
    file.write_text("old")
    file.chmod(0o600)
    _files.write_text(file, "new")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o400)
    _files.write_text(file, "newer")
    assert file.read_text() == "newer"


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    for name in ("x" * 251 + ".png", "ü" * 125 + ".png", "x." + "y" * 200):
        _files.write_text(tmp_path / name, "whole")
        assert (tmp_path / name).read_text() == "whole"


def test_names_that_are_no_text_become_escapes(tmp_path: Path) -> None:
    _files.write_text(tmp_path / "f", "runs/\udcff")
    assert (tmp_path / "f").read_bytes() == b"runs/\\udcff"


@pytest.mark.parametrize("kind", ["svg", "png", "gif", "html"])
def test_drawings_and_pages_end_as_their_formats_do(tmp_path: Path, kind: str) -> None:
    case = explain([1, 2], [3, 4], stride=2)
    write = getattr(case, kind)
    for ending in {"svg", "png", "gif", "html", "jpg", "txt"} - {kind}:
        with pytest.raises(
            ValueError, match=rf"path .*a\.{ending}: it would hold an? .*; expected a name that ends with"
        ):
            write(tmp_path / f"a.{ending}")
    with pytest.raises(ValueError, match="path is empty"):
        write("")
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / f"A.{kind.upper()}")
    assert [path.name for path in tmp_path.iterdir()] == [f"A.{kind.upper()}"]


def test_endings() -> None:
    check_ending("a.tar.HTM", (".html", ".htm"), "a page")
    with pytest.raises(
        FileNameError, match=r"-o a: it would hold a page; expected a name that ends with .html or .htm"
    ):
        check_ending("a", (".html", ".htm"), "a page", "-o")
    with pytest.raises(FileNameError, match="-o is empty"):
        check_ending("", (".html",), "a page", "-o")
    with pytest.raises(FileNameError, match=r"a.html/b"):
        check_ending("a.html/b", (".html",), "a page")


SPELLINGS = ("{0}", "./{0}", "sub/../{0}", "{1}/{0}", "soft", "sub/soft", "hard", "chain", "into/{0}")


@given(target=st.sampled_from(SPELLINGS), source=st.sampled_from(SPELLINGS))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_file_is_found_under_every_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, source: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if not Path("a.png").exists():
        Path("sub").mkdir()
        Path("a.png").write_text("picture")
        Path("soft").symlink_to("a.png")
        Path("sub/soft").symlink_to("../a.png")
        Path("chain").symlink_to("sub/soft")
        Path("hard").hardlink_to("a.png")
        Path("into").symlink_to(tmp_path)
    target, source = (text.format("a.png", tmp_path) for text in (target, source))
    with pytest.raises(FileNameError, match="an input; nothing was written"):
        check_apart(["other.png", target], ["b.png", source])
    with pytest.raises(FileNameError, match="would be written twice"):
        check_apart([target, source], ["b.png"])
    check_apart(["new.png", target], ["b.png", "new.jpg"])


def test_a_link_to_nothing_is_what_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("link.png").symlink_to("later.png")
    with pytest.raises(FileNameError, match="twice"):
        check_apart(["link.png", "later.png"], [])
    assert not os.path.lexists("later.png")
