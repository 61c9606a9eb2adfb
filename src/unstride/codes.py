"""A compressor's codes: encode and decode, classify, project to a plane, interpolate; and a checkerboard measure."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .data import Bytes, Doubles, Grey, Values, grey

__all__ = ["between", "checkerboard", "decoded", "encoded", "plane", "probe"]

if TYPE_CHECKING:
    import keras


PROBED = 10_000
"""The number of training images of the linear classifier."""


def encoded(encoder: keras.Model, images: Bytes) -> Values:
    """The codes of images: shape (n, code) for images of shape (n, 28, 28)."""
    return np.asarray(encoder.predict(grey(images)[..., None], batch_size=500, verbose=0), np.float32)


def decoded(decoder: keras.Model, codes: Values) -> Grey:
    """The decoded images of codes: shape (n, 28, 28), from 0 to 1."""
    return np.asarray(decoder.predict(codes, batch_size=500, verbose=0), np.float32)[..., 0]


def probe(train: Values, train_labels: Bytes, test: Values, test_labels: Bytes) -> float:
    """The accuracy on the test codes of a linear classifier that is fitted to the training codes."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(train_labels)) < 2:
        return float(np.mean(test_labels == train_labels[0]))
    classifier: Any = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, tol=1e-3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the probe need not converge
        warnings.filterwarnings("ignore", "The number of unique classes")  # in a --quick training, with few images
        classifier.fit(train, train_labels)
    return float(classifier.score(test, test_labels))


def plane(codes: Values, labels: Bytes) -> Values:
    """Project codes to the plane (n, 2) that separates their classes best (linear discriminants)."""
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    if codes.shape[1] == 1:
        return np.hstack([codes, labels[:, None].astype(np.float32)])
    if len(np.unique(labels)) < 3 or len(codes) <= len(np.unique(labels)):
        return np.asarray(PCA(2).fit_transform(codes), np.float32)
    places = LinearDiscriminantAnalysis(n_components=2).fit_transform(codes, labels)
    return np.asarray(places, np.float32)


def between(first: Values, last: Values, count: int) -> Values:
    """`count` codes on the straight line between two codes, both included."""
    shares = np.linspace(0, 1, count, dtype=np.float32)[:, None]
    return first + shares * (last - first)


def checkerboard(images: npt.NDArray[Any], period: int = 4) -> float:
    """The strength of a pattern that repeats every `period` pixels, in percent of the images' contrast.

    Let d be the images minus their local mean over `period` pixels along each axis, and m(r, c) the mean of d over
    all pixels with row r and column c, modulo the period. The m(r, c) are the pattern, and the result is

        100 * (standard deviation of m) / (standard deviation of the images).

    It is 100 for a pure pattern and 0 for a smooth ramp of any slope. A decoder that doubles its grid twice makes
    patterns of period 2, in its last layer, and of period 4. Period 4 measures both. Noise averages out: for white
    noise the result is about 100 / sqrt(pixels of a phase), 17 for a single image of 28x28 and less for several.

    Parameters
    ----------
    images : array (n, height, width)
        The pattern is the mean over all images.
    period : int
        At least 2. Both sides of the images must be at least twice as long.

    Raises
    ------
    ValueError
        The images are too small, or the array has another number of axes.

    Examples
    --------
    >>> rows, columns = np.mgrid[:28, :28]
    >>> checkerboard(((rows + columns) % 2)[None])
    100.0
    >>> ramp = (rows + 2 * columns)[None] / 84
    >>> round(checkerboard(ramp), 6)
    0.0
    >>> board = 0.1 * (-1.0) ** (rows + columns)           # standard deviation 0.1; the ramp has 0.215
    >>> round(checkerboard(ramp + board), 1)
    42.2
    """
    values = np.asarray(images, np.float64)
    if period < 2:
        raise ValueError(f"period is {period}; expected at least 2")
    if values.ndim != 3 or min(values.shape[1:]) < 2 * period or not len(values):
        raise ValueError(
            f"images has the shape {values.shape}; expected (n, height, width) with at least one image and "
            f"{2 * period} pixels along each side, twice the period"
        )
    contrast = float(values.std())
    if contrast <= 1e-12 * float(np.abs(values).max()):
        return 0.0
    margin = period // 2
    detail = values[:, margin : values.shape[1] - margin, margin : values.shape[2] - margin]
    detail = detail - _local_means(values, period)
    pattern = [detail[:, row::period, column::period].mean() for row in range(period) for column in range(period)]
    return float(100 * np.std(pattern) / contrast)


def _local_means(values: Doubles, period: int) -> Doubles:
    """The means over one period along each axis, around every pixel that is far enough from the edges.

    An even number of pixels has no middle. The mean is then over one more, and the outermost two count half. So a
    pattern with this period has the same mean everywhere, and the mean of a ramp is the pixel itself.
    """
    weights = np.ones(period // 2 * 2 + 1)
    if period % 2 == 0:
        weights[[0, -1]] = 0.5
    for axis in (1, 2):
        windows = np.lib.stride_tricks.sliding_window_view(values, len(weights), axis)
        values = windows @ (weights / weights.sum())
    return values
