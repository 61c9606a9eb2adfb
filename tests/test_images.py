"""Users' pictures as 28x28 arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unstride.data import mnist
from unstride.images import ImageError, convert, read


@pytest.fixture(scope="module")
def digit() -> np.ndarray:
    """A 2, which no turn or reflection leaves as it is."""
    return mnist()[1][0][1]


def enlarged(digit: np.ndarray, factor: int = 8) -> Image.Image:
    return Image.fromarray(np.kron(digit, np.ones((factor, factor), np.uint8)))


def close(found: np.ndarray, expected: np.ndarray, most: float = 8) -> bool:
    return bool(np.abs(found.astype(float) - expected).mean() < most)


@pytest.mark.parametrize("ending", ["png", "bmp", "gif", "tiff", "pgm"])
def test_an_image_of_the_right_kind_stays_as_it_is(tmp_path: Path, digit: np.ndarray, ending: str) -> None:
    file = tmp_path / f"digit.{ending}"
    Image.fromarray(digit).save(file)
    np.testing.assert_array_equal(read(file), digit)


def test_dark_on_light_is_inverted(digit: np.ndarray) -> None:
    np.testing.assert_array_equal(convert(Image.fromarray(255 - digit)), digit)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "1", "CMYK", "YCbCr"])
def test_modes_and_sizes(digit: np.ndarray, mode: str) -> None:
    assert close(convert(enlarged(digit).convert(mode)), digit, 12)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_deep_greys(digit: np.ndarray, dtype: type) -> None:
    """Pillow would cut these off at 255, which leaves a white blot."""
    deep = digit.astype(dtype) * 257 if dtype is not np.float32 else digit.astype(dtype) / 255
    assert close(convert(Image.fromarray(deep)), digit, 1)


def test_transparency_is_white(digit: np.ndarray) -> None:
    ink = Image.new("RGBA", (28, 28), (0, 0, 0, 0))
    ink.paste((20, 0, 80, 255), mask=Image.fromarray(digit))
    assert close(convert(ink), digit, 6)


def test_exif_orientation(tmp_path: Path, digit: np.ndarray) -> None:
    file = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(np.rot90(digit)).save(file, exif=exif)
    np.testing.assert_array_equal(read(file), digit)


@pytest.mark.parametrize(("width", "height"), [(280, 70), (70, 280), (1000, 1), (1, 1000), (5, 3), (1, 1), (2, 2)])
def test_proportions_are_kept(width: int, height: int) -> None:
    """A white rectangle with a dark frame stays in the middle, with as much black on either side."""
    values = np.zeros((height, width), np.uint8)
    frame = max(1, min(height, width) // 10)
    values[frame:-frame, frame:-frame] = 255
    found = convert(Image.fromarray(values))
    assert found.shape == (28, 28)
    assert found.dtype == np.uint8
    if min(width, height) >= 70:
        rows, columns = np.flatnonzero(found.max(axis=1) > 127), np.flatnonzero(found.max(axis=0) > 127)
        assert max(len(rows), len(columns)) >= 26
        assert min(len(rows), len(columns)) in (5, 6)  # of 7 with the frame
        assert abs(rows[0] - (27 - rows[-1])) <= 1
        assert abs(columns[0] - (27 - columns[-1])) <= 1


def test_paper_becomes_black(digit: np.ndarray) -> None:
    """A photograph's paper is no pure white, and a network trained on black would reconstruct its grey."""
    photo = Image.fromarray((215 - digit * 0.7).astype(np.uint8))
    found = convert(photo)
    assert found[0].max() == 0
    assert found.max() > 150
    assert np.corrcoef(found.ravel(), digit.ravel())[0, 1] > 0.999


def test_shrinking_is_antialiased() -> None:
    """One-pixel lines, which a resize without averaging would drop or keep whole."""
    lines = np.zeros((280, 280), np.uint8)
    lines[40:240, 45:240:10] = 255
    found = convert(Image.fromarray(lines))
    inside = found[6:22, 6:22]
    assert inside.min() > 5
    assert inside.max() < 120


def test_a_flat_image() -> None:
    for level in (0, 128, 255):
        assert convert(Image.new("L", (40, 40), level)).max() == 0


def test_not_an_image(tmp_path: Path) -> None:
    text = tmp_path / "words.png"
    text.write_text("not a picture")
    with pytest.raises(ImageError, match=r"words.png: not an image that Pillow can read"):
        read(text)
    with pytest.raises(ImageError, match=r"none.png: no such file"):
        read(tmp_path / "none.png")
    with pytest.raises(ImageError, match="not a file"):
        read(tmp_path)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif", "tiff", "webp"])
def test_damaged(tmp_path: Path, digit: np.ndarray, ending: str) -> None:
    file = tmp_path / f"cut.{ending}"
    enlarged(digit).convert("RGB").save(file)
    content = file.read_bytes()
    for share in (0.1, 0.5, 0.9):
        file.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ImageError, match=rf"cut\.{ending}: "):
            read(file)


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "bomb.png"
    Image.new("L", (100, 100)).save(file)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match=r"bomb.png: a damaged image"):
        read(file)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6000)  # suspect, and not refused
    assert read(file).shape == (28, 28)
