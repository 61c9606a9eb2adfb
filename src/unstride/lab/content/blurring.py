"""Blurs a picture, and compares the transposed convolution of it with a real deconvolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ... import data
from ...app.tasks.upscaler.metrics import psnr
from ...data import Doubles, photographs
from ...ops import conv, conv_transpose

SIDE = 128


@dataclass(frozen=True)
class Comparison:
    """Four versions of a picture, from 0 to 1, of the same size.

    Attributes
    ----------
    sharp, blurred, transposed, deconvolved : array (SIDE, SIDE)
        The picture, blurred with noise, the transposed convolution of that, and a deconvolution of it.
    quality : dict
        The peak signal-to-noise ratios of the last three, in decibels.
    response : array
        The factor of the blur for each frequency along a row, from 0 to half a period per pixel.
    """

    sharp: Doubles
    blurred: Doubles
    transposed: Doubles
    deconvolved: Doubles
    quality: dict[str, float]
    response: Doubles


@cache
def _photograph() -> Doubles:
    from PIL import Image

    image = photographs.read("skimage", "astronaut.png").convert("L").crop((96, 0, 352, 256))
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), float) / 255


@cache
def _digits() -> Doubles:
    """Sixteen of MNIST's test digits."""
    (_, _), (images, _) = data.mnist()
    rows = images[:16].reshape(4, 4, 28, 28).transpose(0, 2, 1, 3).reshape(112, 112)
    return np.pad(rows, (SIDE - 112) // 2).astype(float) / 255


@cache
def _points() -> Doubles:
    """Single points. Blurring turns each into the kernel."""
    image = np.zeros((SIDE, SIDE))
    image[16::32, 16::32] = 1
    return image


def _gaussian(width: int) -> Doubles:
    axis = np.arange(width) - width // 2
    line = np.exp(-(axis**2) / (2 * (width / 5) ** 2))
    return np.outer(line, line)


def _disc(width: int) -> Doubles:
    axis = np.arange(width) - width // 2
    return (np.add.outer(axis**2, axis**2) <= (width / 2) ** 2).astype(float)


def _motion(width: int) -> Doubles:
    """Along a diagonal, stronger at one end. It is not symmetric, so that a flip would show."""
    return np.diag(np.linspace(0.2, 1, width))


SUBJECTS: dict[str, Callable[[], Doubles]] = {"Photograph": _photograph, "Digits": _digits, "Points": _points}
KERNELS: dict[str, Callable[[int], Doubles]] = {"Gaussian": _gaussian, "Disc": _disc, "Motion": _motion}
METHODS = ("Wiener", "Richardson-Lucy")


def compare(subject: str, blur: str, width: int, noise: float, method: str) -> Comparison:
    """Blur, add noise, transpose, deconvolve.

    Parameters
    ----------
    subject, blur, method : str
        Keys of `SUBJECTS`, `KERNELS` and `METHODS`.
    width : int
        The width of the kernel, odd.
    noise : float
        The standard deviation of the noise, for grey values from 0 to 1.

    >>> quality = compare("Digits", "Gaussian", 9, 0.0, "Wiener").quality
    >>> quality["transposed"] < quality["blurred"] < quality["deconvolved"]
    True
    """
    sharp, kernel = SUBJECTS[subject](), KERNELS[blur](width)
    kernel = kernel / kernel.sum()
    margin = width // 2
    # The picture continues as its mirror image, so that no dark frame appears at the edges.
    clean = conv(np.pad(sharp, margin, mode="symmetric"), kernel, channels=None)
    blurred = clean + noise * np.random.default_rng(0).standard_normal(clean.shape)
    extended = np.pad(blurred, margin, mode="symmetric")
    transposed = conv_transpose(extended, kernel, padding=2 * margin, channels=None)
    deconvolved = _deconvolved(blurred, kernel[::-1, ::-1], noise, method)
    images = {"blurred": blurred, "transposed": transposed, "deconvolved": deconvolved}
    quality = {name: psnr(sharp, image, 1) for name, image in images.items()}
    response = np.abs(np.fft.rfft(kernel.sum(axis=0), 128))
    return Comparison(sharp, **images, quality=quality, response=response)


def _deconvolved(blurred: Doubles, spread: Doubles, noise: float, method: str) -> Doubles:
    """Deconvolve with scikit-image. `spread`, the image of a point, is the flipped kernel."""
    import skimage.restoration

    restoration: Any = skimage.restoration  # without types
    if method == "Wiener":
        # It treats the picture as periodic. With mirror images the picture continues smoothly.
        wide = np.pad(blurred, [(0, size) for size in blurred.shape], mode="symmetric")
        restored = restoration.wiener(wide, spread, balance=max(60 * noise**2, 1e-4), clip=False)
        return np.asarray(restored, float)[: blurred.shape[0], : blurred.shape[1]]
    # It assumes black beyond the edges.
    around = 4 * spread.shape[0]
    wide = np.pad(blurred, around, mode="symmetric")
    rounds = 60 if noise < 0.002 else max(int(12 / (100 * noise + 0.3)), 4)  # each also sharpens the noise
    restored = restoration.richardson_lucy(np.clip(wide, 1e-6, None), spread, num_iter=rounds, clip=False)
    return np.asarray(restored, float)[around:-around, around:-around]
