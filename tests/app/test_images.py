"""Users' pictures as 28x28 arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from unstride.app.images import digits
from unstride.app.images.digits import ImageError, read
from unstride.app.images.pixels import PixelError, Pixels
from unstride.data import mnist


@pytest.fixture(scope="module")
def digit() -> np.ndarray:
    """A 2, which no turn or reflection leaves as it is."""
    return mnist()[1][0][1]


def convert(image: Image.Image, *, crop: bool = True) -> np.ndarray:
    """An opened picture, read as a file's."""
    try:
        return digits._fitted(Pixels.of(image).grey(), crop)
    except PixelError as error:
        raise ImageError(str(error)) from error


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


@pytest.mark.parametrize(("width", "height"), [(280, 70), (70, 280), (1000, 3), (3, 1000), (5, 3), (600, 600)])
def test_proportions_are_kept(width: int, height: int) -> None:
    """A white rectangle with a dark frame becomes 20 pixels long, in the middle."""
    values = np.zeros((height, width), np.uint8)
    frame = max(1, min(height, width) // 10)
    values[frame:-frame, frame:-frame] = 255
    found = convert(Image.fromarray(values))
    assert found.shape == (28, 28)
    assert found.dtype == np.uint8
    rows, columns = np.flatnonzero(found.max(axis=1) > 127), np.flatnonzero(found.max(axis=0) > 127)
    assert max(len(rows), len(columns)) == 20
    share = (min(width, height) - 2 * frame) / (max(width, height) - 2 * frame)
    assert abs(min(len(rows), len(columns)) - max(1, 20 * share)) <= 1
    assert abs(rows.mean() - 14) <= 0.5
    assert abs(columns.mean() - 14) <= 0.5


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(
    ("size", "scale", "top", "left"), [((400, 300), 5, 20, 150), ((90, 200), 2, 30, 5), ((60, 50), 1, 2, 20)]
)
def test_a_digit_anywhere_on_a_page_is_cropped_and_centred(
    digit: np.ndarray, size: tuple[int, int], scale: int, top: int, left: int, dark: bool
) -> None:
    page = np.zeros(size, np.uint8)
    large = np.kron(digit, np.ones((scale, scale), np.uint8))
    page[top : top + 28 * scale, left : left + 28 * scale] = large
    found = convert(Image.fromarray(255 - page if dark else page))
    if scale == 1:
        np.testing.assert_array_equal(found, digit)
    assert close(found, digit, 10)
    ink = found > 100
    assert max(np.ptp(np.flatnonzero(ink.any(1))), np.ptp(np.flatnonzero(ink.any(0)))) + 1 in (19, 20)
    for axis in (0, 1):
        mass = found.sum(axis, dtype=float)
        assert abs((mass * np.arange(28)).sum() / mass.sum() - 14) <= 0.5


@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(3, 40),
    width=st.integers(3, 40),
    above=st.integers(2, 300),
    left=st.integers(2, 300),
)
def test_whatever_the_ink_it_is_20_long_with_its_mass_in_the_middle(
    seed: int, height: int, width: int, above: int, left: int
) -> None:
    rng = np.random.default_rng(seed)
    page = np.zeros((height + 2 * above, width + 2 * left), np.uint8)
    ink = rng.integers(128, 256, (height, width))
    page[above : above + height, left : left + width] = ink
    found = convert(Image.fromarray(page))
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20
    for axis in (0, 1):
        mass = found.sum(axis, dtype=float)
        assert abs((mass * np.arange(28)).sum() / mass.sum() - 14) <= 0.6  # rounding to 256 levels moves it, too


def test_mnists_own_images_stay_as_they_are() -> None:
    """All of the test's; 2 of all 70,000 move by a pixel."""
    (training, _), (test, _) = mnist()
    for image in [*test[::10], *training[::100]]:
        np.testing.assert_array_equal(convert(Image.fromarray(image)), image)
    moved = training[19841]
    found = convert(Image.fromarray(moved)).astype(int)
    assert (found != moved).any()
    assert any(np.array_equal(np.roll(found, step, axis), moved) for step in (-1, 1) for axis in (0, 1))


def test_for_other_sets_the_margins_stay() -> None:
    """A model of clothes, say, has learned from another layout."""
    page = np.zeros((280, 140), np.uint8)
    page[100:180, 40:100] = 255
    found = convert(Image.fromarray(page), crop=False)
    rows, columns = np.flatnonzero(found.max(1) > 127), np.flatnonzero(found.max(0) > 127)
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (10, 17, 11, 16)


def test_paper_with_noise_shadow_and_dust_becomes_black(digit: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    page = np.full((900, 700), 205.0) + np.linspace(0, 25, 700) + rng.normal(0, 4, (900, 700))
    page[40:43, 60:63] = 30  # dust
    page[200 : 200 + 28 * 16, 100 : 100 + 28 * 16] -= 0.6 * np.kron(digit, np.ones((16, 16)))
    found = convert(Image.fromarray(page.clip(0, 255).astype(np.uint8)))
    assert found.max() == 255
    assert np.corrcoef(found.ravel(), digit.ravel())[0, 1] > 0.97
    assert np.median(found) == 0


def test_paper_becomes_black(digit: np.ndarray) -> None:
    """A photograph's paper is no pure white, and a network trained on black would reconstruct its grey."""
    photo = Image.fromarray((215 - digit * 0.7).astype(np.uint8))
    found = convert(photo)
    assert found[0].max() == 0
    assert found.max() > 150
    assert np.corrcoef(found.ravel(), digit.ravel())[0, 1] > 0.999


def test_shrinking_is_antialiased() -> None:
    """One-pixel lines, which a resize without averaging would drop or keep whole: all weigh the same."""
    lines = np.zeros((280, 280), np.uint8)
    lines[40:240, 45:240:10] = 255
    found = convert(Image.fromarray(lines))
    inside = found[8:20, 8:20]
    assert inside.min() > 100
    assert inside.std() < 60


@pytest.mark.parametrize("picture", ["black", "grey", "white", "noise", "see-through"])
def test_a_blank_image_is_refused_in_words(tmp_path: Path, picture: str) -> None:
    noise = np.random.default_rng(0).normal(128, 5, (300, 300)).clip(0, 255).astype(np.uint8)
    image = {
        "black": Image.new("L", (40, 40), 0),
        "grey": Image.new("L", (40, 40), 128),
        "white": Image.new("RGB", (1, 1), "white"),
        "noise": Image.fromarray(noise),
        "see-through": Image.new("RGBA", (40, 40), (0, 0, 0, 0)),
    }[picture]
    image.save(tmp_path / "blank.png")
    with pytest.raises(
        ImageError, match=r"blank\.png: it shows nothing: all of it is of one tone\. Expected something"
    ):
        read(tmp_path / "blank.png")


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


@pytest.mark.parametrize("fall", [40, 90, 140])
def test_a_digit_on_paper_that_is_lit_from_a_side_is_read(digit: np.ndarray, fall: int) -> None:
    """The fall of light over the border is no noise that hides the ink."""
    ink = np.asarray(enlarged(digit)) / 255
    height, width = ink.shape
    light = 250 - fall * np.linspace(0, 1, width) - fall / 4 * np.linspace(0, 1, height)[:, None]
    assert close(convert(Image.fromarray((light * (1 - 0.8 * ink)).astype(np.uint8))), digit, 14)
