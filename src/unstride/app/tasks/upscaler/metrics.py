"""How close an image is to the original: PSNR and SSIM, as scikit-image computes them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ....data import Bytes

MAX_PSNR = 10 * math.log10(255**2 / 1e-10)
"""The value for equal images, whose PSNR is infinite, in dB."""


def psnr(truth: npt.NDArray[Any], image: npt.NDArray[Any], white: float) -> float:
    """The peak signal-to-noise ratio in dB, at most `MAX_PSNR`.

    >>> round(psnr(np.zeros(4), np.full(4, 0.1), 1), 6)
    20.0
    """
    from skimage.metrics import peak_signal_noise_ratio

    rule: Any = peak_signal_noise_ratio  # without types
    with np.errstate(divide="ignore"):
        return min(float(rule(truth, image, data_range=white)), MAX_PSNR)


def quality(large: Bytes, image: Bytes, scale: int) -> tuple[float, float]:
    """PSNR in dB and SSIM of two luminances, without `scale` pixels on every side."""
    from skimage.metrics import structural_similarity

    inner = np.s_[scale:-scale, scale:-scale]
    a, b = large[inner].astype(np.float64), image[inner].astype(np.float64)
    rule: Any = structural_similarity
    similar = rule(a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    return psnr(a, b, 255), float(similar)
