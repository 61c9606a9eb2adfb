"""What can be done with a compressor's codes: encode, tell the classes from them, lay them out in a plane, walk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .dataset import Bytes, Grey, grey

if TYPE_CHECKING:
    import keras

Values = npt.NDArray[np.float32]

PROBED = 10_000
"""How many training images the linear classifier learns from."""


def encoded(encoder: keras.Model, images: Bytes) -> Values:
    """The codes (n, code) of images (n, 28, 28)."""
    return np.asarray(encoder.predict(grey(images)[..., None], batch_size=500, verbose=0), np.float32)


def decoded(decoder: keras.Model, codes: Values) -> Grey:
    """The images (n, 28, 28), from 0 to 1, of codes."""
    return np.asarray(decoder.predict(codes, batch_size=500, verbose=0), np.float32)[..., 0]


def probe(train: Values, train_labels: Bytes, test: Values, test_labels: Bytes) -> float:
    """The share of test codes whose class a linear classifier tells, which learned from the training codes."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(train_labels)) < 2:
        return float(np.mean(test_labels == train_labels[0]))
    classifier: Any = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, tol=1e-3))
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it may not have converged: a probe need not
        classifier.fit(train, train_labels)
    return float(classifier.score(test, test_labels))


def plane(codes: Values, labels: Bytes) -> Values:
    """The codes' places (n, 2) in the plane that shows most of their classes' distances (linear discriminants)."""
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    if codes.shape[1] == 1:
        return np.hstack([codes, labels[:, None].astype(np.float32)])
    if len(np.unique(labels)) < 3 or len(codes) <= len(np.unique(labels)):
        return np.asarray(PCA(2).fit_transform(codes), np.float32)
    found = LinearDiscriminantAnalysis(n_components=2).fit_transform(codes, labels)
    return np.asarray(found, np.float32)


def between(first: Values, last: Values, count: int) -> Values:
    """`count` codes on the straight line from one to the other, both included."""
    shares = np.linspace(0, 1, count, dtype=np.float32)[:, None]
    return first + shares * (last - first)


def checkerboard(images: Grey, period: int = 2) -> float:
    """The share of the images' energy, their means aside, at the frequencies of the period, in percent.

    Those are the multiples of 1 / `period` along an axis or both: what repeats every `period` pixels, as the number of
    a kernel's taps that reach a pixel does. `images` is (n, height, width), both multiples of `period`.

    >>> stripes = np.tile(np.array([[0.0, 1.0]], np.float32), (1, 4, 2))
    >>> checkerboard(stripes)
    100.0
    """
    power = np.abs(np.fft.fft2(images.astype(np.float64))) ** 2
    _, height, width = power.shape
    power[:, 0, 0] = 0
    total = power.sum()
    peaks = power[:, :: height // period, :: width // period].sum()
    return float(100 * peaks / total) if total else 0.0
