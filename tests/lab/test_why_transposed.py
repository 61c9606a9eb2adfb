"""Chapter 3: the matrices, the adjoint identity, and the pictures that deconvolution sharpens."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

import unstride as us
from unstride.lab.content import blurring


@pytest.mark.slow
def test_the_matrix_and_its_transpose(visitor):
    page = visitor.open("why-transposed")
    visitor.slide("Input n", ["ArrowRight"])
    trace = us.explain(np.arange(1, 5), [1, -2, 3], stride=2)
    cells = trace.matrix.size
    expect(visitor.lab_part("matrix").locator("rect")).to_have_count(cells)
    expect(visitor.lab_part("transpose").locator("rect")).to_have_count(cells)
    written = visitor.lab_part("transpose").locator("rect + text")
    expect(written).to_have_text([f"{value:g}".replace("-", "−") for value in trace.matrix.ravel() if value])
    expect(page.get_by_text("The largest difference is 0.")).to_be_visible()
    visitor.untroubled()


@pytest.mark.slow
def test_the_adjoint_identity(visitor):
    page = visitor.open("why-transposed")

    def both():
        return [visitor.fact("adjoint", name).inner_text() for name in ("⟨C u, v⟩", "⟨u, Cᵀ v⟩")]

    left, right = both()
    assert float(left) == pytest.approx(float(right), rel=1e-7)
    page.get_by_role("button", name="Draw other numbers").click()
    expect(visitor.fact("adjoint", "⟨C u, v⟩")).not_to_have_text(left)
    visitor.slide("Channels of v", ["Home"])
    expect(visitor.fact("adjoint", "v")).to_have_text("31 × 31 × 1")
    left, right = both()
    assert float(left) == pytest.approx(float(right), rel=1e-7)
    visitor.untroubled()


def shown(visitor, name):
    """The pixels of a picture, as numbers from 0 to 1."""
    source = visitor.lab_part(name).locator("img").get_attribute("src")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))) / 255


@pytest.mark.slow
def test_deconvolution_sharpens_and_the_transpose_does_not(visitor):
    visitor.open("why-transposed")
    visitor.choose("Picture", "Digits")
    visitor.choose("Deconvolution", "Richardson-Lucy")
    visitor.slide("Width of the blur", ["ArrowRight"])
    case = blurring.compare("Digits", "Gaussian", 11, 0.005, "Richardson-Lucy")
    for name in ("blurred", "transposed", "deconvolved"):
        expect(visitor.lab_part(name)).to_contain_text(f"{case.quality[name]:.1f} dB")
        np.testing.assert_allclose(shown(visitor, name), np.clip(getattr(case, name), 0, 1), atol=0.5 / 255 + 1e-9)
    assert case.quality["transposed"] < case.quality["blurred"] < case.quality["deconvolved"]
    visitor.untroubled()


@pytest.mark.parametrize("method", blurring.METHODS)
@pytest.mark.parametrize("blur", blurring.KERNELS)
def test_each_method_undoes_each_blur(blur, method):
    case = blurring.compare("Photograph", blur, 9, 0.005, method)
    assert case.quality["deconvolved"] > case.quality["blurred"] + 1.5
    # The transposed convolution is the blur's adjoint: a point's image comes out where it came from, spread again.
    assert case.transposed.std() < case.blurred.std()


def test_the_transposed_picture_is_by_the_definition():
    """The mirror margin, the crop and the flip: against NumPy's own convolution."""
    case = blurring.compare("Points", "Motion", 5, 0.0, "Wiener")
    kernel = blurring.KERNELS["Motion"](5)
    kernel /= kernel.sum()
    around = np.pad(case.blurred, 2, mode="symmetric")  # as large as what the blur saw
    row, column = 40, 41
    expected = sum(kernel[i, j] * around[row + 4 - i, column + 4 - j] for i in range(5) for j in range(5))
    assert case.transposed[row, column] == pytest.approx(expected)
