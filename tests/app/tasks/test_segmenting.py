"""Segmentation: the U-Net and its twin on NumPy arrays, scenes, masks of the user's own, figures, the command."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from unstride import __main__ as cli
from unstride.app.errors import RunError
from unstride.app.tasks.segmenter import inference, masks, warm_start
from unstride.app.tasks.segmenter.inference import VOID, confusion, ious, palette
from unstride.app.weights import ExportedModel, export_weights
from unstride.data import DataError, scenes
from unstride.models import segmenter

VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), (128, 128, 128),
       (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128), (192, 0, 128), (64, 128, 128),
       (192, 128, 128), (0, 64, 0), (128, 64, 0), (0, 192, 0), (128, 192, 0), (0, 64, 128)]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """With random weights and statistics."""
    made = segmenter(5)
    rng = np.random.default_rng(0)
    weights = []
    for variable in made.variables:
        values = rng.normal(0, 0.2, variable.shape)
        weights.append(np.abs(values) + 0.5 if "variance" in variable.path or "gamma" in variable.path else values)
    for variable, values in zip(made.variables, weights, strict=True):
        variable.assign(values.astype(np.float32))
    return made


def twin(model: keras.Model) -> ExportedModel:
    about = {"model": "segmenter", "classes": ["background", "a", "b", "c", "d"], "levels": 4}
    return ExportedModel(about, export_weights(model))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(16, 24), (17, 31), (9, 8), (1, 5)])
def test_the_same_without_keras_at_any_size(model: keras.Model, size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).random((*size, 3), np.float32)
    expected = keras.ops.convert_to_numpy(model(image[None]))[0]
    found = inference.logits(twin(model), image)
    assert found.shape == (*size, 5)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_refused() -> None:
    with pytest.raises(ValueError, match="classes is 1; expected how many there are, at least 2"):
        segmenter(1)


def test_palette() -> None:
    assert [tuple(colour) for colour in palette(21).tolist()] == VOC
    assert palette()[255].tolist() == [224, 224, 192]


def test_figures_by_hand() -> None:
    mask = np.array([[0, 0, 1], [1, 2, VOID]], np.uint8)
    found = np.array([[0, 1, 1], [1, 0, 2]], np.uint8)
    total = confusion(mask, found, 4)
    assert total.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(ious(total), [1 / 3, 2 / 3, 0, np.nan])


def test_scenes() -> None:
    source = scenes.source("training")
    image, mask = scenes.scene(source, (0, 7))
    again, _ = scenes.scene(source, (0, 7))
    np.testing.assert_array_equal(image, again)
    other, _ = scenes.scene(source, (0, 8))
    assert (other != image).any()
    assert (image.shape, mask.shape, image.dtype, mask.dtype) == ((96, 96, 3), (96, 96), np.uint8, np.uint8)
    seen = set()
    for number in range(30):
        image, mask = scenes.scene(source, (1, number))
        seen |= set(np.unique(mask).tolist())
        assert 0.5 < (mask == 0).mean() < 0.98
    assert seen == set(range(11))


def test_a_scenes_mask_is_where_its_digit_is() -> None:
    """A digit that is a filled square, on black."""
    square = np.zeros((1, 28, 28), np.uint8)
    square[0, 4:24, 4:24] = 255
    source = scenes.Source(square, np.array([7], np.uint8), [np.zeros((200, 200, 3), np.uint8)])
    image, mask = scenes.scene(source, (0,))
    assert set(np.unique(mask)) == {0, 8}
    assert (image[mask == 8].sum(-1) > image[mask == 0].max()).all()


def test_the_test_is_of_other_digits_and_photographs() -> None:
    parts = [scenes.source(name) for name in ("training", "validation", "test")]
    assert [len(part.digits) for part in parts] == [54_000, 6_000, 10_000]
    shapes = [{photograph.tobytes() for photograph in part.photographs} for part in parts]
    assert not shapes[0] & shapes[1] | shapes[0] & shapes[2] | shapes[1] & shapes[2]


def folder(root: Path, count: int = 4) -> Path:
    """Red squares of class 1 on grey, and masks in VOC's palette."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        image = rng.integers(90, 110, (40, 50 + number, 3), np.uint8)
        mask = np.zeros(image.shape[:2], np.uint8)
        mask[10:20, 5:25], image[10:20, 5:25] = 1, (250, 10, 10)
        mask[0, 0] = VOID
        Image.fromarray(image).save(root / "images" / f"{number}.png")
        inference.as_palette(mask).save(root / "masks" / f"{number}.png")
    return root


def test_masks(tmp_path: Path) -> None:
    root = folder(tmp_path / "data")
    found = masks.read(str(root))
    assert (len(found.pairs), found.names, found.problems) == (4, ("background", "class 1"), [])
    assert found.pairs[2][1].shape == (40, 52)
    assert found.pairs[0][1][15, 10] == 1
    assert found.pairs[0][1][0, 0] == VOID
    # The same classes as greys, and as VOC's colours.
    with Image.open(root / "masks" / "0.png") as image:
        grey, colours = Image.fromarray(np.asarray(image)), image.convert("RGB")
    for picture in (grey, colours):
        picture.save(tmp_path / "mask.png")
        np.testing.assert_array_equal(masks.mask_of(tmp_path / "mask.png"), found.pairs[0][1])
    (root / "classes.txt").write_text("ground\nsquare\n")
    assert masks.read(str(root)).names == ("ground", "square")
    (root / "classes.txt").write_text("ground\n")
    with pytest.raises(DataError, match=r"classes.txt: 1 names, but the masks have classes up to 1"):
        masks.read(str(root))


def spoil(root: Path) -> None:
    """One of everything that can be wrong with a folder."""
    good = (root / "images" / "0.png").read_bytes()
    with Image.open(root / "images" / "0.png") as image:
        image.load()
    mask = root / "masks" / "0.png"
    (root / "images" / "broken.png").write_bytes(good[: len(good) // 2])
    (root / "images" / "alone.png").write_bytes(good)
    (root / "images" / "other.png").write_bytes(good)
    with Image.open(mask) as classes:
        classes.resize((25, 20), Image.Resampling.NEAREST).save(root / "masks" / "other.png")
    (root / "images" / "strange.png").write_bytes(good)
    colours = np.zeros((40, 50, 3), np.uint8)
    colours[3, 4] = (1, 2, 3)
    Image.fromarray(colours).save(root / "masks" / "strange.png")
    image.convert("L").save(
        root / "images" / "moving.gif", save_all=True, append_images=[image.rotate(90).convert("L")]
    )
    image.convert("CMYK").save(root / "images" / "inks.jpg")


PROBLEMS = (
    "alone.png: no mask: there is no ",
    "broken.png: a damaged image",
    "inks.jpg: no mask: there is no ",
    "moving.gif: no mask: there is no ",
    "other.png: 25x20 pixels, but its image other.png has 50x40",
    "strange.png: the colour (1, 2, 3) at x 4, y 3 is not in VOC's palette",
)


@pytest.mark.slow
def test_a_bad_folder_trains_what_it_can(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder(tmp_path / "data")
    spoil(root)
    arguments = ["train", "segmenter", "data", "--run", "run", "--epochs", "1", "--limit", "4", "--batch-size", "2"]
    assert cli.main(arguments) == 1
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert len(lines) == len(PROBLEMS) + 2
    for line, problem in zip(lines[:-2], PROBLEMS, strict=True):
        assert problem in line
    assert lines[-2].endswith("inks.jpg: inks (CMYK), shown without their printer's profile")
    assert lines[-1].endswith("moving.gif: the first of its 2 frames")
    assert "Mean IoU" in out
    assert Path("run/report.html").exists()
    assert cli.main(["segment", "data/images", "-o", "out", "--model", "run"]) == 1
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 3  # the broken, and remarks on the moving and the inks
    assert len(out.splitlines()) == 9
    with Image.open("out/3.png") as found, Image.open("out/3-overlay.png") as shown:
        assert (found.mode, found.size) == ("P", (53, 40))
        assert found.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
        assert shown.mode == "RGB"


def test_too_few_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder(tmp_path / "data", 1)
    assert cli.main(["train", "segmenter", "data"]) == 2
    assert "data: 1 usable image; expected at least 3, one each for training, validation and test" in (
        capsys.readouterr().err
    )
    assert not Path("runs").exists()


def test_no_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    assert cli.main(["train", "segmenter", "data"]) == 2
    assert "expected the folders images and masks in it, or JPEGImages and SegmentationClass" in capsys.readouterr().err


def test_the_overlays_legend_names_what_is_there() -> None:
    image = np.full((60, 80, 3), 100, np.uint8)
    found = np.zeros((60, 80), np.uint8)
    plain = inference.overlay(image, found, ["ground", "square"])
    found[20:40, 20:60] = 1
    shown = inference.overlay(image, found, ["ground", "square"])
    pixels = np.asarray(shown).reshape(-1, 3)
    legend = inference.BRIGHT[1]
    assert (pixels == legend).all(-1).sum() > 50
    assert not (np.asarray(plain).reshape(-1, 3) == legend).all(-1).any()
    assert shown.width > 320
    assert shown.height >= 240


@pytest.mark.slow
def test_a_start_from_weights_computes_what_they_do(model: keras.Model) -> None:
    """Also where every batch is normalized by its own statistics, as in training."""
    images = np.random.default_rng(3).random((8, 32, 32, 3), np.float32)
    weights = export_weights(model)
    expected = np.stack([inference.logits(twin(model), image) for image in images])
    again = segmenter(5)
    warm_start.assign(again, weights, images, last="logits")
    for training in (False, True):
        found = keras.ops.convert_to_numpy(again(images, training=training))
        np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())
    # For another number of classes all but the last layer are taken over.
    other = segmenter(3)
    last = keras.ops.convert_to_numpy(other.get_layer("logits").kernel)
    warm_start.assign(other, weights, images, last="logits")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(other.get_layer("logits").kernel), last)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(other.get_layer("up_0_2").kernel),
        keras.ops.convert_to_numpy(again.get_layer("up_0_2").kernel),
    )
    del weights["up_1_1/kernel"]
    with pytest.raises(RunError, match=r"--start: the kernel of up_1_1 is missing; expected one of shape"):
        warm_start.assign(segmenter(5), weights, images, last="logits")


@pytest.mark.slow
def test_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From what ships, and from a run for one's own classes; resumed without a word about it."""
    folder(tmp_path / "data")
    arguments = ["train", "segmenter", "data", "--epochs", "1", "--limit", "4", "--batch-size", "2"]
    assert cli.main([*arguments, "--start", "shipped", "--run", "one"]) == 0
    assert cli.main([*arguments, "--start", "one", "--run", "two"]) == 0
    assert cli.main(["train", "--resume", "--run", "two", "--epochs", "2"]) == 0
    assert cli.main([*arguments, "--start", "nowhere", "--run", "three"]) == 2
    assert "nowhere: no such file; expected weights that `unstride train` wrote" in capsys.readouterr().err
    assert not Path("three").exists()
    assert cli.main(["train", "compressor", "--start", "shipped"]) == 2
    assert "--start is an option of segmenter; compressor has no use for it" in capsys.readouterr().err
