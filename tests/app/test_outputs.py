"""What the commands write, and refuse to write, before any model is loaded; and what they say of odd names."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unstride import __main__ as cli
from unstride.app.commands.outputs import named
from unstride.app.commands.printing import printable
from unstride.app.errors import OptionError
from unstride.app.report import charts
from unstride.app.runs import Run
from unstride.app.runs.options import Options
from unstride.app.tasks.autoencoder import report


@pytest.fixture(autouse=True)
def _a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressor's, as its files' names go; no command comes to load its model."""
    monkeypatch.chdir(tmp_path)
    run = Run(Path("run"), Options(model="compressor", code=4), {}, {})
    run.path.mkdir()
    run.save()
    Path("run/model.keras").write_text("model")
    Image.new("L", (28, 28), 0).save("a.png")
    Image.new("L", (28, 28), 255).save("b.png")
    Path("codes.json").write_text("[[1, 2, 3, 4]]")


SAME = "an input; nothing was written"
REFUSED = {
    "reconstruct over its image": (["reconstruct", "run", "b.png", "a.png", "-o", "./a.png"], SAME),
    "reconstruct through a link": (["reconstruct", "run", "a.png", "-o", "link.png"], SAME),
    "encode over the run": (["encode", "run", "a.png", "-o", "run/config.json"], SAME),
    "encode over an image": (["encode", "run", "image.json", "-o", "image.json"], SAME),
    "decode over its codes": (["decode", "run", "codes.png", "-o", "codes.png"], SAME),
    "walk over its end": (["walk", "run", "a.png", "b.png", "-o", "b.png"], SAME),
    "upscale over the weights": (["upscale", "a.png", "-o", "w.png", "--model", "w.png"], "w.png: "),
    "reconstruct nothing": (["reconstruct", "run", "", "-o", "out.png"], "an IMAGE is empty"),
    "encode nothing": (["encode", "run", "", "-o", "out.json"], "an IMAGE is empty"),
    "decode nothing": (["decode", "run", "", "-o", "out.png"], "CODES.json is empty"),
    "walk nowhere": (["walk", "run", "", "a.png", "-o", "out.png"], "an image's name is empty"),
    "segment nothing": (["segment", "", "-o", "out"], "an IMAGE is empty"),
    "no run": (["evaluate", ""], "the name of a run is empty"),
    "no run to train": (["train", "--run", ""], "--run is empty"),
    "reconstruct to nothing": (["reconstruct", "run", "a.png", "-o", ""], "-o is empty"),
    "encode to nothing": (["encode", "run", "a.png", "-o", ""], "-o is empty"),
    "decode to nothing": (["decode", "run", "codes.json", "-o", ""], "-o is empty"),
    "walk to nothing": (["walk", "run", "0", "1", "-o", ""], "-o is empty"),
    "encode to a picture": (["encode", "run", "a.png", "-o", "out.png"], "expected a name that ends with .json"),
    "segment to a photograph": (["segment", "a.png", "-o", "out.jpg"], "expected a name that ends with .png"),
    "svg": (["explain", "--svg", "a.png"], "--svg a.png: it would hold an SVG drawing; expected a name that ends"),
    "png": (["explain", "--png", "new.jpg"], "--png new.jpg: it would hold a PNG picture; expected a name that ends"),
    "gif": (["explain", "--gif", "new"], "--gif new: it would hold a GIF animation; expected a name that ends"),
    "html": (["explain", "--svg", "new.svg", "--html", "new.svg"], "--html new.svg: it would hold an HTML page"),
    "no svg": (["explain", "--svg", ""], "--svg is empty"),
    "reconstruct an empty folder": (
        ["reconstruct", "run", "empty", "-o", "out.png"],
        "empty: no images in this folder",
    ),
    "reconstruct over an image of a folder": (["reconstruct", "run", ".", "-o", "a.png"], SAME),
    "reconstruct a collection": (["reconstruct", "run", *["a.png"] * 401], "401 images are too many for one picture"),
    "blank": (["reconstruct", "run", "a.png", "-o", "out.png"], "a.png: it shows nothing: all of it is of one tone"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_refused_with_nothing_written(mistake: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("link.png").symlink_to("a.png")
    Path("empty").mkdir()
    for name in ("image.json", "codes.png", "w.png"):
        Path(name).write_bytes(Path("a.png").read_bytes())
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    arguments, message = REFUSED[mistake]
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_results_in_a_folder_have_endings_that_can_be_written() -> None:
    paths = [Path(name) for name in ("in/a.psd", "in/b.JPG", "in/c.cur")]
    assert named(paths, "out", several=True) == [Path("out", name) for name in ("a.png", "b.JPG", "c.png")]
    with pytest.raises(OptionError, match=r"a.png and .*a.psd would both become .*give them apart"):
        named([Path("in/a.png"), Path("in/a.psd")], "out", several=True)


ODD = ("raw\udcff.png", "\u6570\u5b57.png", "caf\u00e9.png", "$x^{$.png", "two\nlines.png")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_any_name_can_be_printed(encoding: str, errors: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)
    monkeypatch.setattr(sys, "stdout", stream)
    with printable():
        for name in ODD:
            print(name, flush=True)
    assert stream.errors == errors
    written = stream.buffer.getvalue()  # type: ignore[attr-defined]
    assert (b"raw\xff.png" if errors == "surrogateescape" else b"raw\\udcff.png") in written
    assert "caf\u00e9.png".encode(encoding, "backslashreplace") in written


def test_any_name_can_be_drawn() -> None:
    """Without warnings, too."""
    images = np.zeros((len(ODD), 28, 28), np.uint8)
    figure = report.reconstruction(images, images.astype(np.float32), ODD)
    assert charts.png(figure)
    assert charts.drawable("a\udcff\u6570\u00e9\n") == "a??\u00e9\n"


def test_a_file_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unstride.app.images import reader

    def refuse(path: Path, *_: object, **__: object) -> None:  # a file's mode would not keep root out
        raise PermissionError(13, os.strerror(13), str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(reader.ImageError, match=r"a\.png: cannot be read: Permission denied"):
        reader.rgb(tmp_path / "a.png")
