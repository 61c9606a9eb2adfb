"""Digits on plain pages: the pages themselves, what ships on them, the command's list and legend."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from unstride import __main__ as cli
from unstride import data
from unstride.app import weights
from unstride.app.commands.segment import segment as segment_command
from unstride.app.tasks.segmenter import inference
from unstride.data import pages, scenes


def test_pages() -> None:
    source = scenes.source("training")
    image, mask = pages.page(source, (0, 7))
    again, _ = pages.page(source, (0, 7))
    np.testing.assert_array_equal(image, again)
    assert (image.shape, mask.shape, image.dtype, mask.dtype) == ((96, 96, 3), (96, 96), np.uint8, np.uint8)
    seen = set()
    for number in range(60):
        image, mask = pages.page(source, (1, number), (70, 110))
        assert (image.shape, mask.shape) == ((70, 110, 3), (70, 110))
        seen |= set(np.unique(mask).tolist())
    assert seen == set(range(11))
    _, mask = pages.page(source, (1, 0), sheet=pages.Sheet(empty=True))
    assert not mask.any()


def test_pages_of_the_test_are_of_all_sizes_light_and_dark() -> None:
    found = pages.test_pages(scenes.source("test"), 24)
    assert {image.shape for image, _ in found} == {(160, 224, 3)}
    for number, (image, mask) in enumerate(found):
        assert mask.any()
        paper, ink = image[mask == 0].mean(), image[mask > 0].mean()
        assert (ink - paper > 50) if number % 2 else (paper - ink > 50)
        heights = np.flatnonzero((mask > 0).any(1))
        assert len(heights) >= 0.5 * pages.TEST_SIZES[number // 2 % len(pages.TEST_SIZES)]


def mean_iou(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    network = weights.find("segmenter", "segmenter", None)
    total = sum(inference.confusion(mask, inference.classes(network, image), 11) for image, mask in pairs)
    return float(np.nanmean(inference.ious(total)))


@pytest.mark.slow
def test_what_ships_finds_plain_digits_on_plain_pages() -> None:
    """Of 28 to 60 pixels, dark on light and light on dark; of 20 pixels too, but not as well."""
    found = pages.test_pages(scenes.source("test"), 240)
    assert mean_iou(found) > 0.82
    sizes = [pages.TEST_SIZES[number // 2 % len(pages.TEST_SIZES)] for number in range(len(found))]
    assert mean_iou([page for page, size in zip(found, sizes, strict=True) if size >= 28]) > 0.85


@pytest.mark.slow
def test_what_ships_finds_digits_over_photographs() -> None:
    source = scenes.source("test")
    assert mean_iou([scenes.scene(source, (2, number)) for number in range(100)]) > 0.88


@pytest.mark.parametrize("size", [28, 40, 60])
@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (0, 255), (200, 40)])
def test_mnists_digits_pasted_on_a_page_are_found(
    size: int, paper: int, ink: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """As somebody tries it who knows nothing of the training: each digit once, in a row, enlarged to a cell's size."""
    digits, labels = data.mnist_test()
    step = size + 6
    page = np.full((size + 24, 10 * step + 6), paper, np.float32)
    for number in range(10):
        digit = Image.fromarray(digits[int(np.flatnonzero(labels == number)[3])])
        cover = np.asarray(digit.resize((size, size), Image.Resampling.BICUBIC), np.float32) / 255
        page[12 : 12 + size, 6 + number * step :][:, :size] += (ink - paper) * cover
    Image.fromarray(page.round().astype(np.uint8)).save("page.png")
    assert cli.main(["segment", "page.png", "-o", "out.png"]) == 0
    with Image.open("out.png") as image:
        found = np.asarray(image)
    right = 0
    for number in range(10):
        cell = found[:, 3 + number * step : 3 + (number + 1) * step]
        right += cell.any() and np.bincount(cell[cell > 0]).argmax() == number + 1
    assert right >= 9
    assert "page.png: digits " in capsys.readouterr().out


def test_blank_paper_has_no_digits(capsys: pytest.CaptureFixture[str]) -> None:
    for paper in (255, 0, 180):
        Image.new("L", (300, 200), paper).save("blank.png")
        assert cli.main(["segment", "blank.png", "-o", "out.png"]) == 0
        out, err = capsys.readouterr()
        assert out == "blank.png: no digits found; out.png\n"
        assert err == (
            "unstride: note: digits are found if they are about 20 to 60 pixels high; enlarge or shrink a picture of "
            "others\n"
        )


def test_small_specks_are_neither_listed_nor_drawn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = np.zeros((400, 500), np.uint8)
    classes[50:60, 50:53], classes[100:140, 100:110] = 4, 8
    classes[::20, 300::20] = 2  # scattered: 200 pixels, none of which touches another
    monkeypatch.setattr(inference, "classes", lambda *_: classes)
    Image.new("RGB", (500, 400)).save("page.png")
    assert cli.main(["segment", "page.png", "-o", "out.png"]) == 0
    assert capsys.readouterr().out == "page.png: digits 3 (<0.1%), 7 (0.2%); out.png\n"
    with Image.open("out-overlay.png") as shown, Image.open("out.png") as found:
        pixels = np.asarray(shown).reshape(-1, 3)
        np.testing.assert_array_equal(np.asarray(found), classes)  # as the network says
    assert [(pixels == inference.BRIGHT[at]).all(-1).any() for at in (2, 4, 8)] == [False, True, True]
    assert cli.main(["segment", "page.png", "-o", "out.png", "--min-pixels", "31"]) == 0
    assert capsys.readouterr().out == "page.png: digits 7 (0.2%); out.png\n"
    assert cli.main(["segment", "page.png", "-o", "out.png", "--min-pixels", "1"]) == 0
    assert "digits 1 (0.1%), 3" in capsys.readouterr().out
    capsys.readouterr()
    assert cli.main(["segment", "page.png", "-o", "out.png", "--min-pixels", "500"]) == 0
    assert capsys.readouterr().out == (
        "page.png: no digits of 500 pixels: all are smaller than --min-pixels, 7 has 400; out.png\n"
    )
    assert cli.main(["segment", "page.png", "-o", "out.png", "--min-pixels", "0"]) == 2
    assert "--min-pixels is 0; expected at least 1" in capsys.readouterr().err


def test_the_commands_threshold_is_the_librarys() -> None:
    defaults = {option.name: option.default for option in segment_command.params}
    assert defaults["min_pixels"] == inference.LEAST


def test_what_the_classes_are_called() -> None:
    assert inference.noun(["ground", "square"]) == "classes"
    assert inference.noun(scenes.CLASSES) == "digits"
