"""Chapter 8: photographs and one's own pictures, enlarged; files that are none."""

from __future__ import annotations

import io

import numpy as np
import pytest
from lab_harness import Visitor, bring, png
from PIL import Image
from playwright.sync_api import expect

from unstride.app import weights
from unstride.app.images.digits import ImageError
from unstride.app.tasks.upscaler.inference import Upscaler
from unstride.app.tasks.upscaler.metrics import quality
from unstride.data import photographs
from unstride.lab import uploads


@pytest.mark.slow
def test_photographs_and_scales(visitor: Visitor) -> None:
    page = visitor.open("upscale")
    page.get_by_role("combobox", name="Photograph").select_option("coffee")
    page.get_by_role("combobox", name="Scale").select_option("×2")
    original, small = photographs.small(photographs.read("skimage", "coffee.png"), 2)
    made = Upscaler(weights.find("upscaler", "upscaler_x2", None)).picture(small)
    psnr, ssim = quality(np.asarray(original.convert("L")), np.asarray(made.convert("L")), 2)
    expect(visitor.fact("quality", "PSNR of the network")).to_have_text(f"{psnr:.2f} dB")
    expect(visitor.fact("quality", "SSIM of the network")).to_have_text(f"{ssim:.4f}")
    expect(visitor.fact("quality", "Gained")).to_contain_text("+")
    expect(visitor.fact("kernel", "Taps")).to_have_text("8×8, stride 2")
    visitor.untroubled()


@pytest.mark.slow
def test_the_slider_between_the_two(visitor: Visitor) -> None:
    page = visitor.open("upscale")
    slider = page.get_by_role("slider", name="How much is Bicubic")
    slider.focus()
    slider.press("Home")
    cut = "() => getComputedStyle(document.querySelector('marimo-anywidget')?.shadowRoot?.querySelector('.w-before') ?? document.querySelector('.w-before')).clipPath"
    page.wait_for_function(f"({cut})().includes('100%')")
    slider.press("End")
    page.wait_for_function(f"!({cut})().includes('100%')")
    visitor.untroubled()


@pytest.mark.slow
def test_a_picture_of_ones_own(visitor: Visitor) -> None:
    page = visitor.open("upscale")
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    bring(visitor, "mine.png", png(Image.fromarray(noise)))
    expect(visitor.lab_part("shown")).to_contain_text("mine.png, 120×90")
    page.get_by_text("Enlarge it as it is").click()
    expect(visitor.fact("quality", "Enlarged")).to_have_text("120×90 to 360×270")
    expect(visitor.fact("quality", "PSNR and SSIM")).to_contain_text("unknown")
    visitor.untroubled()


@pytest.mark.slow
def test_as_it_is_every_pixel_is_enlarged_and_can_be_downloaded(visitor: Visitor) -> None:
    page = visitor.open("upscale")
    page.get_by_text("Enlarge it as it is").click()
    page.get_by_role("combobox", name="Scale").select_option("×2")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (400, 700, 3), np.uint8))
    bring(visitor, "mine.own.png", png(noise))
    expect(visitor.lab_part("shown")).to_have_text("mine.own.png, 700×400")
    expect(visitor.fact("quality", "Enlarged")).to_have_text("700×400 to 1400×800")
    expect(visitor.lab_part("smaller")).to_contain_text("Shown smaller, as 1000×571")
    with page.expect_download() as found:
        page.get_by_text("Download the enlarged picture").click()
    assert found.value.suggested_filename == "mine.own-x2.png"
    with Image.open(found.value.path()) as image:
        assert image.size == (1400, 800)
        network = Upscaler(weights.find("upscaler", "upscaler_x2", None))
        np.testing.assert_array_equal(np.asarray(image), np.asarray(network.picture(noise)))
    bring(visitor, "scan.png", png(Image.new("RGB", (3000, 2000))))
    expect(visitor.lab_part("upload-problem")).to_contain_text(
        "scan.png: 3000×2000 pixels, of which ×2 makes 24 million; expected at most 16 million"
    )
    visitor.untroubled()


@pytest.mark.slow
def test_files_that_are_none(visitor: Visitor) -> None:
    visitor.open("upscale")
    bring(visitor, "notes.png", b"no picture at all")
    expect(visitor.lab_part("upload-problem")).to_contain_text("notes.png: not an image that Pillow can read")
    bring(visitor, "huge.png", png(Image.new("1", (20_000, 5_000))))
    expect(visitor.lab_part("upload-problem")).to_contain_text("20000×5000 pixels; expected at most 60 million")
    bring(visitor, "tiny.png", png(Image.new("RGB", (9, 9))))
    expect(visitor.lab_part("upload-problem")).to_contain_text("expected at least 48 a side")
    bring(visitor, "large.png", png(Image.new("RGB", (3000, 1500), "teal")))
    expect(visitor.lab_part("shown")).to_contain_text("made smaller, from 3000×1500 to 1000×500")
    visitor.untroubled()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_picture(mode: str) -> None:
    image = Image.fromarray(np.full((40, 40), 30_000, np.uint16)) if mode == "I;16" else Image.new(mode, (40, 40))
    found, said = uploads.opened("a", png(image, "TIFF"), 20)
    inks = "inks (CMYK), shown without their printer's profile; " if mode == "CMYK" else ""
    assert (found.mode, found.size, said) == ("RGB", (20, 20), f"{inks}made smaller, from 40×40 to 20×20")
    if mode == "I;16":
        assert np.asarray(found).max() == round(30_000 / 257)


def test_transparency_is_laid_on_white_and_animations_lose_all_but_the_first() -> None:
    found, _ = uploads.opened("a", png(Image.new("RGBA", (4, 4), (0, 0, 0, 0))))
    assert (np.asarray(found) == 255).all()
    file = io.BytesIO()
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    found, said = uploads.opened("a.gif", file.getvalue())
    assert said == "the first of its 2 frames"
    assert tuple(np.asarray(found)[0, 0]) == (255, 0, 0)


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "empty"), (b"abc", "not an image"), (png(Image.new("RGB", (99, 99)))[:60], "")]
)
def test_damaged_files(content: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=f"^mine: .*{words}"):
        uploads.opened("mine", content)
