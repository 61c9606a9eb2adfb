"""How good an enlargement is."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....data import Bytes


def quality(large: Bytes, image: Bytes, scale: int) -> tuple[float, float]:
    """PSNR in dB and SSIM of two luminances, without `scale` pixels at every border."""
    from skimage.metrics import structural_similarity

    inner = np.s_[scale:-scale, scale:-scale]
    a, b = large[inner].astype(np.float64), image[inner].astype(np.float64)
    error = max(float(np.mean((a - b) ** 2)), 1e-10)
    rule: Any = structural_similarity
    similar = rule(a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    return float(10 * np.log10(255**2 / error)), float(similar)
