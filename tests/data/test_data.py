"""MNIST's files: what is in them, and what is said of those that are not right."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unstride import data
from unstride.data import DataError, mnist

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = data.FILES


def idx(array: np.ndarray, kind: int = 0x08) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    return {
        TRAIN_IMAGES: random.integers(0, 256, (5, 28, 28)),
        TRAIN_LABELS: np.array([3, 1, 4, 1, 5]),
        TEST_IMAGES: random.integers(0, 256, (2, 28, 28)),
        TEST_LABELS: np.array([9, 2]),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, array in arrays().items():
        (tmp_path / name).write_bytes(idx(array))
    return tmp_path


def test_embedded() -> None:
    (x_train, y_train), (x_test, y_test) = mnist()
    assert (x_train.shape, y_train.shape) == ((60000, 28, 28), (60000,))
    assert (x_test.shape, y_test.shape) == ((10000, 28, 28), (10000,))
    assert {array.dtype for array in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}
    assert y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert y_test[:5].tolist() == [7, 2, 1, 0, 4]
    # The widely known counts of each digit.
    assert np.bincount(y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    # Right way up, light on dark: the first test image, a 7, has its bar at the top.
    assert x_test[0, :4].max() == 0
    assert x_test[0, 8, 7:16].min() > 100
    x_train[0, 0, 0] = 1  # the caller's own, as Keras's is
    assert mnist()[0][0][0, 0, 0] == 0


def test_own_files(folder: Path) -> None:
    (x_train, y_train), (x_test, y_test) = mnist(folder)
    for name, array in zip(data.FILES, (x_train, y_train, x_test, y_test), strict=True):
        np.testing.assert_array_equal(array, arrays()[name])
        assert array.dtype == np.uint8


@pytest.mark.parametrize(
    "name", ["train-images-idx3-ubyte.gz", "train-images.idx3-ubyte", "train-images.idx3-ubyte.gz"]
)
@pytest.mark.parametrize("zipped", [False, True])
def test_names_and_gzip(folder: Path, name: str, zipped: bool) -> None:
    """Whether a file is gzipped is its content's matter, not its name's."""
    content = (folder / TRAIN_IMAGES).read_bytes()
    (folder / TRAIN_IMAGES).unlink()
    (folder / name).write_bytes(gzip.compress(content) if zipped else content)
    np.testing.assert_array_equal(mnist(str(folder))[0][0], arrays()[TRAIN_IMAGES])


def replace(content: bytes, at: int, byte: int) -> bytes:
    return content[:at] + bytes([byte]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            TRAIN_IMAGES,
            lambda b: b[:-1],
            r"truncated: its header says 5x28x28, 3936 bytes in all; it has 3935",
        ),
        (TRAIN_IMAGES, lambda b: b + b"\0", "too long: .* it has 3937"),
        (TEST_LABELS, lambda _: b"", "truncated: 0 bytes"),
        (TEST_LABELS, lambda b: b[:6], "truncated: 6 bytes, too few for a header of 8"),
        (TRAIN_LABELS, lambda b: replace(b, 0, 1), "not an IDX file: it begins with the bytes 01 00 08 01"),
        (TRAIN_LABELS, lambda _: b"<html>not found</html>", "not an IDX file"),
        (TRAIN_LABELS, lambda b: replace(b, 2, 0x0D), "holds float32 numbers; expected uint8"),
        (TRAIN_LABELS, lambda _: idx(arrays()[TRAIN_IMAGES]), "has 3 dimensions; expected 1, as labels have"),
        (TEST_IMAGES, lambda _: idx(arrays()[TEST_LABELS]), "has 1 dimension; expected 3, as images have"),
        (TEST_IMAGES, lambda _: idx(np.zeros((2, 28, 27))), "its images are 28x27; expected 28x28"),
        (TEST_IMAGES, lambda _: idx(np.zeros((0, 28, 28))), "empty: its header says 0x28x28"),
        (TEST_LABELS, lambda _: idx(np.zeros(3)), "3 labels for the 2 images in t10k-images-idx3-ubyte"),
        (TEST_IMAGES, lambda b: gzip.compress(b)[:-20], "truncated: its gzip stream ends too early"),
        (TEST_IMAGES, lambda b: replace(gzip.compress(b), 200, 0), "damaged"),
        (TEST_IMAGES, lambda b: gzip.compress(b) + b"more", "damaged: Not a gzipped file"),
    ],
)
def test_damage(folder: Path, name: str, change, message: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(change(content))
    with pytest.raises(DataError, match=message) as caught:
        mnist(folder)
    assert str(folder / name) in str(caught.value)


def test_a_small_file_that_unpacks_to_much(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "_MAX_IDX_BYTES", 10_000)
    assert len(mnist(folder)[0][0]) == 5
    (folder / TRAIN_IMAGES).write_bytes(gzip.compress(bytes(10_001)))
    with pytest.raises(DataError, match=f"{TRAIN_IMAGES}: unpacks to more than 10,000 bytes"):
        mnist(folder)


@given(length=st.integers(0, 4 + 4 + 4 + 4 + 5 * 28 * 28 - 1), zipped=st.booleans())
def test_every_truncation_is_found(tmp_path_factory: pytest.TempPathFactory, length: int, zipped: bool) -> None:
    folder = tmp_path_factory.mktemp("cut")
    for name, array in arrays().items():
        (folder / name).write_bytes(idx(array))
    content = idx(arrays()[TRAIN_IMAGES])[:length]
    (folder / TRAIN_IMAGES).write_bytes(gzip.compress(content, 1) if zipped else content)
    with pytest.raises(DataError, match=TRAIN_IMAGES):
        mnist(folder)


def test_missing(folder: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        mnist(folder / "nowhere")
    with pytest.raises(DataError, match="not a folder"):
        mnist(folder / TRAIN_LABELS)
    (folder / TRAIN_LABELS).unlink()
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte: no such file, neither .* train-labels\.idx1-ubyte"):
        mnist(folder)


def test_embedded_damage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flipped bit that leaves the file whole is found by its checksum."""
    embedded = data._EMBEDDED
    for name in data.FILES:
        (folder / f"{name}.gz").write_bytes((embedded / f"{name}.gz").read_bytes())
    content = gzip.decompress((embedded / f"{TEST_LABELS}.gz").read_bytes())
    (folder / f"{TEST_LABELS}.gz").write_bytes(gzip.compress(replace(content, 5000, content[5000] ^ 1)))
    monkeypatch.setattr(data, "_EMBEDDED", folder)
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte.gz: damaged: its SHA-256"):
        mnist()


EMNIST = ("train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1")
"""In the order of data.FILES."""


def emnist(folder: Path, split: str, ending: str = "") -> Path:
    """The arrays above under EMNIST's names for a split."""
    for name, array in zip(EMNIST, arrays().values(), strict=True):
        content = idx(array)
        content = gzip.compress(content) if ending else content
        (folder / f"emnist-{split}-{name}-ubyte{ending}").write_bytes(content)
    return folder


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("split", data.EMNIST_SPLITS)
def test_emnists_names(tmp_path: Path, split: str, ending: str) -> None:
    """Both the folder that holds them and the folder followed by the split's name lead to the four files."""
    for place in (emnist(tmp_path, split, ending), tmp_path / f"emnist-{split}"):
        (x_train, y_train), (x_test, y_test) = mnist(place)
        for array, expected in zip((x_train, y_train, x_test, y_test), arrays().values(), strict=True):
            np.testing.assert_array_equal(array, expected)
        assert data.is_emnist(place)


@pytest.mark.parametrize("split", [None, "letters"])
def test_transposed(folder: Path, split: str | None) -> None:
    """Rows and columns of every image swap, whatever the files are called; labels stay."""
    if split:
        folder = emnist(folder, split) / f"emnist-{split}"
    (x_train, y_train), (x_test, y_test) = mnist(folder, transpose=True)
    for array, expected in zip((x_train, x_test), (arrays()[TRAIN_IMAGES], arrays()[TEST_IMAGES]), strict=True):
        np.testing.assert_array_equal(array, expected.transpose(0, 2, 1))
        assert array.flags.c_contiguous
    assert (y_train.tolist(), y_test.tolist()) == ([3, 1, 4, 1, 5], [9, 2])
    np.testing.assert_array_equal(data.mnist_test(folder, transpose=True)[0], x_test)


def test_several_of_emnists_splits_in_a_folder(tmp_path: Path) -> None:
    emnist(emnist(tmp_path, "digits"), "letters", ".gz")
    with pytest.raises(
        DataError, match=r"holds several of EMNIST's splits \(digits, letters\); name one of them, as .*emnist-letters"
    ):
        mnist(tmp_path)
    np.testing.assert_array_equal(mnist(tmp_path / "emnist-digits")[0][0], arrays()[TRAIN_IMAGES])
    np.testing.assert_array_equal(mnist(tmp_path / "emnist-letters")[0][0], arrays()[TRAIN_IMAGES])
    with pytest.raises(
        DataError, match=r"emnist-capitals: EMNIST has no split of that name; expected one of emnist-ba"
    ):
        mnist(tmp_path / "emnist-capitals")
    with pytest.raises(DataError, match=r"emnist-byclass-train-images-idx3-ubyte: no such file"):
        mnist(tmp_path / "emnist-byclass")


def test_mnists_own_names_come_first(folder: Path) -> None:
    """As before there were others: also in a folder with EMNIST's files, whose name begins as a split's."""
    emnist(emnist(folder, "digits"), "letters")
    assert not data.is_emnist(folder)
    mnist(folder)
    own = folder / "emnist-letters"
    own.mkdir()
    for name, array in arrays().items():
        (own / name).write_bytes(idx(array))
    assert not data.is_emnist(own)
    mnist(own)


def test_a_missing_file_of_emnist_is_named(tmp_path: Path) -> None:
    emnist(tmp_path, "balanced")
    (tmp_path / "emnist-balanced-test-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"emnist-balanced-test-labels-idx1-ubyte: no such file, neither"):
        mnist(tmp_path)
