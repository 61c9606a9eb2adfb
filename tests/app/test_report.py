"""The report: everything in it, nothing outside it, and the pictures' pixels where they belong."""

from __future__ import annotations

import base64
import html
import io
import shlex
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import chromium
from matplotlib import colormaps
from PIL import Image

from unstride import __main__ as cli
from unstride.app import runs
from unstride.app.report import charts
from unstride.app.report import page as report
from unstride.app.runs import Run
from unstride.app.tasks import batches
from unstride.app.tasks.autoencoder import report as reconstructions
from unstride.app.tasks.autoencoder.metrics import squared_error
from unstride.app.tasks.datasets import Dataset, read
from unstride.app.training import training
from unstride.data import grey

PICTURES = {
    "losses.png",
    "reconstructions.png",
    "worst.png",
    "best.png",
    "layer-1-conv2d_1.png",
    "layer-2-conv2d_2.png",
    "layer-3-conv2d_3.png",
    "layer-4-conv2d_transpose_1.png",
    "layer-5-conv2d_transpose_2.png",
    "layer-6-conv2d_transpose_3.png",
    "layer-7-conv2d_4.png",
    "kernels-1-conv2d_1.png",
    "kernels-2-conv2d_2.png",
    "kernels-3-conv2d_3.png",
    "kernels-4-conv2d_transpose_1.png",
    "kernels-5-conv2d_transpose_2.png",
    "kernels-6-conv2d_transpose_3.png",
    "kernels-7-conv2d_4.png",
}


class Page(HTMLParser):
    """The page's tags, the cells of its tables by row, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "source", "link", "br"}:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("report") / "tiny <b>&"  # to be escaped
    arguments = ["train", "--run", str(folder), "--epochs", "2", "--limit", "50", "--batch-size", "40"]
    assert cli.main(arguments) == 0
    return runs.load(folder)


@pytest.fixture(scope="module")
def page(run: Run) -> Page:
    return Page(run.report.read_text())


@pytest.fixture(scope="module")
def dataset(run: Run) -> Dataset:
    return read(run.options)


@pytest.fixture(scope="module")
def predictions(run: Run, dataset: Dataset) -> np.ndarray:
    return batches.predict(training.load(run.model), dataset.test)


def picture(run: Run, name: str) -> np.ndarray:
    with Image.open(run.path / "pictures" / name) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.slow
def test_whole_and_self_contained(run: Run, page: Page) -> None:
    assert run.report.read_text().lstrip().startswith("<!DOCTYPE html>")
    assert page.open == []
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object"} == set()
    for _, attributes in page.tags:
        for name, value in attributes.items():
            if name in {"src", "srcset"}:
                assert (value or "").startswith("data:image/png;base64,")
            if name == "href":
                assert (value or "").startswith("#")
            assert not name.startswith("on")
    text = run.report.read_text()
    assert "url(" not in text
    assert "@import" not in text
    assert "{{" not in text
    assert "{%" not in text


def test_the_folders_name_is_escaped(page: Page) -> None:
    assert "tiny <b>&" in page.words
    assert page.all("b") == []


def test_pictures_are_the_files_in_light_and_dark(run: Run, page: Page) -> None:
    assert {path.name for path in (run.path / "pictures").iterdir()} == PICTURES
    images, sources = page.all("img"), page.all("source")
    assert len(images) == len(sources) == len(PICTURES)
    embedded = {base64.b64decode(str(image["src"]).partition(",")[2]) for image in images}
    assert embedded == {path.read_bytes() for path in (run.path / "pictures").iterdir()}
    for image, source in zip(images, sources, strict=True):
        assert source["media"] == "screen and (prefers-color-scheme: dark)"  # paper is light
        light, dark = (
            Image.open(io.BytesIO(base64.b64decode(str(data).partition(",")[2])))
            for data in (image["src"], source["srcset"])
        )
        assert light.size == dark.size == (int(str(image["width"])), int(str(image["height"])))
        assert len(str(image["alt"])) > 30


def test_figures(run: Run, page: Page, dataset: Dataset, predictions: np.ndarray) -> None:
    import json

    evaluation = json.loads((run.path / "evaluation.json").read_text())
    for text in (f"{evaluation['loss']:.4f}", f"{evaluation['floor']:.4f}", f"{evaluation['error']:.5f}"):
        assert text in page.words
    above = evaluation["loss"] - evaluation["floor"]
    assert f"{above:.4f} above it" in " ".join(page.words.split())
    rows = {row[0]: row[1:] for row in page.rows}
    errors = squared_error(grey(dataset.test), predictions)
    for label in range(10):
        own = dataset.test_labels == label
        count, *_, error = rows[str(label)]
        assert count == str(own.sum())
        assert error == (f"{errors[own].mean():.5f}" if own.any() else "–")
    assert ["All", "50", *(f"{evaluation[name]:.4f}" for name in ("loss", "floor"))] in [row[:4] for row in page.rows]
    assert rows["conv2d_transpose_3Conv2DTranspose"] == ["28×28×32", "4,640"]
    assert ["All", "12,785"] in page.rows
    assert rows["--batch-size"] == ["40"]
    assert rows["--seed"] == ["0"]
    assert "40 for training, 10 for validation, 50 for the test" in rows["Images"]


def test_the_contents_lead_to_every_heading(page: Page, run: Run) -> None:
    headings = [attributes["id"] for attributes in page.all("h2")]
    assert len(set(headings)) == len(headings) >= 9
    assert [link["href"] for link in page.all("a")] == [f"#{place}" for place in headings]
    assert "<!-- contents -->" not in run.report.read_text()


def test_how_large_the_code_is(page: Page) -> None:
    words = " ".join(page.words.split())
    assert "22×22×8 = 3,872 numbers for an image’s 784 pixels: 4.9 times as many" in words
    assert "it compresses nothing" in words


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ("conv 4 4 4, up 4 4 4", "7×7×4 = 196 numbers for an image’s 784 pixels, 4.0 times fewer"),
        ("conv 1 28, up 1 28", "1×1×1 = 1 number for an image’s 784 pixels, 784.0 times fewer"),
    ],
)
def test_how_large_another_code_is(layers: str, words: str, tmp_path: Path) -> None:
    arguments = ["train", "--run", str(tmp_path / "run"), "--epochs", "1", "--limit", "20", "--batch-size", "8"]
    assert cli.main([*arguments, "--layers", layers]) == 0
    shown = " ".join(Page((tmp_path / "run" / "report.html").read_text()).words.split())
    assert words in shown
    assert "compresses nothing" not in shown


def test_the_next_commands_are_commands(run: Run, page: Page) -> None:
    named = [command for _, command in report.commands(run)]
    assert all(command in page.words for command in named)
    assert [shlex.split(command)[1] for command in named] == ["evaluate", "reconstruct", "train", "lab"]
    for model in ("autoencoder", "compressor", "upscaler", "segmenter"):
        other = replace(run, options=replace(run.options, model=model, scale=2))
        for _, command in report.commands(other):
            program, name, *arguments = shlex.split(command)
            assert program == "unstride"
            cli.cli.commands[name].make_context(name, arguments).close()  # which refuses what it does not know
    assert cli.main(shlex.split(named[0])[1:]) == 0


def test_learned_kernels(run: Run) -> None:
    """Of every layer, each on its own scale, white at 0; rows are input channels everywhere."""
    model = training.load(run.model)
    layers = (("conv2d_1", False), ("conv2d_2", False), ("conv2d_transpose_2", True), ("conv2d_4", False))
    for name, backwards in layers:
        (file,) = (run.path / "pictures").glob(f"kernels-*-{name}.png")
        weights = np.asarray(model.get_layer(name).kernel)
        if backwards:
            weights = weights.swapaxes(2, 3)
        if weights.shape[3] == 1:
            weights = weights.swapaxes(2, 3)  # one row of kernels; elsewhere rows are input channels
        colours = colormaps["RdBu"]((weights / np.abs(weights).max() + 1) / 2, bytes=True)[..., :3].astype(int)
        rows, columns = weights.shape[2:]
        shown = picture(run, file.name)
        scale = shown.shape[0] // (4 * rows - 1)
        small = tiles(shown, scale).astype(int)
        assert small.shape[:2] == (4 * rows - 1, 4 * columns - 1)
        for row, column in np.ndindex(rows, columns):
            here = small[4 * row : 4 * row + 3, 4 * column : 4 * column + 3]
            assert np.abs(here - colours[:, :, row, column]).max() <= 3


@pytest.mark.slow
def test_it_fills_a_wide_window_a_phone_and_the_sheet(run: Run) -> None:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(run.report.as_uri())
        boxes = """() => ["nav", "h1", "#worst", "#best", "#kernels", ".pairs > div:nth-child(2)"].map((one) =>
            document.querySelector(one).getBoundingClientRect()).map((box) => [box.left, box.top, box.right])"""
        nav, title, worst, best, kernels, last = page.evaluate(boxes)
        assert nav[2] < title[0] == kernels[0] == worst[0] < best[0]  # the contents at the side, two pictures abreast
        assert worst[1] == best[1]
        assert last[2] > 1340
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        sheets = page.pdf(format="A4").count(b"/Type /Page\n")
        assert sheets <= 8


@pytest.mark.slow
def test_a_class_without_images(run: Run, tmp_path: Path) -> None:
    """Eight test images do not have ten classes; the gallery does."""
    folder = tmp_path / "run"
    arguments = ["train", "--run", str(folder), "--epochs", "1", "--limit", "8", "--batch-size", "6"]
    assert cli.main(arguments) == 0
    small = Page((folder / "report.html").read_text())
    rows = {row[0]: row[1:] for row in small.rows}
    assert rows["3"] == ["0", "–", "–", "–"]
    assert rows["4"][0] == "2"
    assert picture(runs.load(folder), "reconstructions.png").shape == picture(run, "reconstructions.png").shape


def tiles(image: np.ndarray, scale: int) -> np.ndarray:
    """The picture with each square of `scale` by `scale` equal pixels as one."""
    return image[::scale, ::scale]


def find(image: np.ndarray, tile: np.ndarray) -> list[tuple[int, int]]:
    """Where in `image` the tile is, pixel for pixel."""
    height, width = tile.shape
    rows, columns = image.shape[0] - height + 1, image.shape[1] - width + 1
    here = np.ones((rows, columns), bool)
    for y, x in np.ndindex(tile.shape):
        here &= image[y : y + rows, x : x + columns, 0] == tile[y, x]
        if not here.any():
            break
    return [tuple(place) for place in np.argwhere(here).tolist()]


def as_drawn(values: np.ndarray) -> np.ndarray:
    """Greys from 0 to 1 as Matplotlib's 256 greys."""
    return colormaps["gray"](values, bytes=True)[..., 0]


@pytest.mark.slow
def test_reconstructions_stand_below_their_originals(run: Run, dataset: Dataset) -> None:
    small = tiles(picture(run, "reconstructions.png"), 3)
    model = training.load(run.model)
    heights = []
    for label in dataset.classes:
        places = dataset.examples(label, reconstructions.EXAMPLES)
        originals = grey(dataset.gallery[places])
        for original, prediction in zip(originals, batches.predict(model, dataset.gallery[places]), strict=True):
            ((top, left),) = find(small, as_drawn(original))
            below = small[top + 31 : top + 59, left : left + 28, 0]
            assert np.abs(below.astype(int) - as_drawn(prediction)).max() <= 1
        heights.append(top)
    assert heights == sorted(heights)
    assert len(set(np.diff(heights))) == 1


@pytest.mark.parametrize("which", ["best", "worst"])
def test_ranks(run: Run, dataset: Dataset, predictions: np.ndarray, which: str) -> None:
    small = tiles(picture(run, f"{which}.png"), 4)
    errors = squared_error(grey(dataset.test), predictions)
    order = np.argsort(errors) if which == "best" else np.argsort(-errors)
    found = [find(small, as_drawn(grey(dataset.test[place])))[0] for place in order[: reconstructions.RANKED]]
    assert found == sorted(found)  # row by row, from the left
    assert not find(small, as_drawn(grey(dataset.test[order[reconstructions.RANKED]])))


def test_feature_maps(run: Run, dataset: Dataset) -> None:
    """Each on its layer's scale, from 0 to the largest value."""
    model = training.load(run.model)
    first = grey(dataset.gallery[:1])[..., None]
    outputs = np.asarray(model.layers[0](first))[0]
    small = tiles(picture(run, "layer-1-conv2d_1.png"), 3)
    colours = (colormaps["cividis"](outputs / outputs.max(), bytes=True))[..., :3].astype(int)
    for channel in range(32):
        top, left = channel // 8 * 28, channel % 8 * 28  # 26 and a gap of 2
        shown = small[top : top + 26, left : left + 26]
        assert np.abs(shown - colours[:, :, channel]).max() <= 2
    assert small.shape[:2] == (4 * 28 - 2, 8 * 28 - 2)


def test_the_loss_curve_of_one_epoch_and_of_many() -> None:
    for count in (1, 2, 25, 200):
        rows = [{"epoch": at, "loss": 0.5 / (at + 1), "val_loss": 0.4 / (at + 1)} for at in range(count)]
        figure = charts.losses(rows, 0.058, charts.DARK)
        (axes,) = figure.axes
        training_line, validation, floor = axes.lines
        assert list(training_line.get_xdata()) == list(range(1, count + 1))
        assert list(validation.get_ydata()) == [row["val_loss"] for row in rows]
        assert set(floor.get_ydata()) == {0.058}
        assert charts.png(figure).startswith(b"\x89PNG")
        assert all(float(tick).is_integer() for tick in axes.get_xticks())


@pytest.mark.slow
def test_made_again_over_the_old(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(run.path, folder)
    copy = runs.load(folder)
    copy.report.write_text("old")
    (folder / "pictures" / "best.png").write_text("old")
    assert cli.main(["train", "--resume", "--run", str(folder)]) == 0
    # The same page under the folder's new name.
    before, after = html.unescape(run.report.read_text()), html.unescape(copy.report.read_text())
    before = before.replace(shlex.quote(str(run.path)), str(folder))
    before = before.replace(str(run.path.resolve()), str(folder.resolve()))  # in the lines that load the model
    assert after == before.replace("tiny <b>&", "copy")
    assert (folder / "pictures" / "best.png").read_bytes() == (run.path / "pictures" / "best.png").read_bytes()
