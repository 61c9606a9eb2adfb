"""MNIST's handwritten digits from the package, or from the user's own IDX files, such as EMNIST's.

The IDX format: four bytes of magic (two zeros, the type of the numbers, the number of dimensions), each dimension as a
big-endian 32-bit integer, then the numbers, with the last dimension varying fastest.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .._messages.wording import counted

__all__ = ["DataError", "grey", "is_emnist", "mnist", "mnist_test"]

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Samples = npt.NDArray[np.generic]
Grey = Values
"""Images from 0 to 1."""
Pair = tuple[Bytes, Bytes]
"""An image and its labels or its mask, or a large image and a small one."""

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
EMNIST_SPLITS = ("balanced", "byclass", "bymerge", "digits", "letters", "mnist")
"""EMNIST's splits, as in the names of its files: emnist-letters-train-images-idx3-ubyte."""
SIDE = 28

_EMBEDDED = Path(__file__).parent / "mnist"
_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_MAX_IDX_BYTES = 1 << 30
"""The largest unpacked file: twice EMNIST's largest."""
_GZIP_MAGIC = b"\x1f\x8b"
_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}


class DataError(ValueError):
    """A data file is missing, damaged or of another kind. The message names the file."""


def mnist(path: str | os.PathLike[str] | None = None, transpose: bool = False) -> tuple[Pair, Pair]:
    """The digits, as `keras.datasets.mnist.load_data` returns them.

    Parameters
    ----------
    path : str or path, optional
        A folder with the user's own four IDX files, gzipped or not, under MNIST's names
        (``train-images-idx3-ubyte`` or ``train-images.idx3-ubyte``, with or without ``.gz``) or EMNIST's
        (``emnist-letters-train-images-idx3-ubyte`` and so on). If a folder holds several of EMNIST's splits, add the
        name of one: ``FOLDER/emnist-letters``. Default: the 70,000 digits in this package, verified by their
        checksums.
    transpose : bool, default False
        Swap rows and columns of each image, which turns EMNIST's images upright.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        Images as uint8 of shape (n, 28, 28), with 0 for the background. Labels as uint8 of shape (n,), as in the file:
        those of EMNIST's letters start at 1.

    Raises
    ------
    DataError
        A file is missing, damaged or of another kind. The message names it.
    """
    train_images, train_labels, _, _ = FILES
    return _split(path, train_images, train_labels, transpose), mnist_test(path, transpose)


def mnist_test(path: str | os.PathLike[str] | None = None, transpose: bool = False) -> Pair:
    """Only the test images and labels of `mnist`, in a seventh of the time."""
    _, _, test_images, test_labels = FILES
    return _split(path, test_images, test_labels, transpose)


def is_emnist(path: str | os.PathLike[str] | None) -> bool:
    """Whether the files at `path` have EMNIST's names; EMNIST stores its images transposed."""
    return path is not None and _located(Path(path))[1] is not None


def _split(path: str | os.PathLike[str] | None, images_name: str, labels_name: str, transpose: bool) -> Pair:
    images_file, labels_file = _find(path, images_name), _find(path, labels_name)
    embedded = path is None
    images = _parse(images_file, _content(images_file, _SHA256[images_name] if embedded else None), dimensions=3)
    labels = _parse(labels_file, _content(labels_file, _SHA256[labels_name] if embedded else None), dimensions=1)
    if images.shape[1:] != (SIDE, SIDE):
        height, width = images.shape[1:]
        raise DataError(f"{images_file}: its images are {height}x{width}; expected {SIDE}x{SIDE}")
    if len(images) != len(labels):
        raise DataError(f"{labels_file}: {len(labels)} labels for the {len(images)} images in {images_file.name}")
    return np.ascontiguousarray(images.swapaxes(1, 2)) if transpose else images, labels


def _find(path: str | os.PathLike[str] | None, name: str) -> Path:
    """The file that MNIST calls `name`."""
    if path is None:
        return _EMBEDDED / f"{name}.gz"
    folder, split = _located(Path(path))
    if split is not None:
        name = _emnist_name(split, name)
    for candidate in _spellings(name):
        if (folder / candidate).is_file():
            return folder / candidate
    raise DataError(f"{folder / name}: no such file, neither with the ending .gz nor as {_dotted(name)}")


def _located(path: Path) -> tuple[Path, str | None]:
    """The folder of the files, and their EMNIST split, or None for files with MNIST's names."""
    if path.name.startswith("emnist-") and not path.exists() and path.parent.is_dir():
        split = path.name.removeprefix("emnist-")
        if split not in EMNIST_SPLITS:
            known = ", ".join(f"emnist-{known}" for known in EMNIST_SPLITS)
            raise DataError(f"{path}: EMNIST has no split of that name; expected one of {known}")
        return path.parent, split
    if not path.is_dir():
        what = "not a folder" if path.exists() else "no such folder"
        raise DataError(f"{path}: {what}; expected one with MNIST's or EMNIST's four IDX files")
    names = {file.name for file in path.iterdir()}
    if any(spelling in names for name in FILES for spelling in _spellings(name)):
        return path, None
    splits = [
        split
        for split in EMNIST_SPLITS
        if any(spelling in names for name in FILES for spelling in _spellings(_emnist_name(split, name)))
    ]
    if len(splits) > 1:
        raise DataError(
            f"{path}: holds several of EMNIST's splits ({', '.join(splits)}); name one of them, "
            f"as {path / f'emnist-{splits[-1]}'}"
        )
    return path, splits[0] if splits else None


def _emnist_name(split: str, name: str) -> str:
    """EMNIST's name for what MNIST calls `name`."""
    return f"emnist-{split}-{name.replace('t10k', 'test')}"


def _dotted(name: str) -> str:
    return name.replace("-idx", ".idx")


def _spellings(name: str) -> tuple[str, ...]:
    return name, _dotted(name), f"{name}.gz", f"{_dotted(name)}.gz"


def _content(file: Path, sha256: str | None) -> bytes:
    """The bytes of `file`, unpacked if it is gzipped under any name."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error
    if content.startswith(_GZIP_MAGIC):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as unpacked:
                content = unpacked.read(_MAX_IDX_BYTES + 1)
        except EOFError as error:
            raise DataError(f"{file}: truncated: its gzip stream ends too early") from error
        except (OSError, zlib.error) as error:
            raise DataError(f"{file}: damaged: {error}") from error
        if len(content) > _MAX_IDX_BYTES:
            raise DataError(f"{file}: unpacks to more than {_MAX_IDX_BYTES:,} bytes, which no set of these has")
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{file}: damaged: its SHA-256 is not that of MNIST; install unstride again")
    return content


def _parse(file: Path, content: bytes, dimensions: int) -> Bytes:
    """The array in an IDX file of unsigned bytes with the given number of dimensions."""
    start = 4 + 4 * dimensions
    if len(content) < 4:
        raise DataError(f"{file}: truncated: {len(content)} bytes, too few for an IDX header")
    zeros, kind, rank = struct.unpack(">HBB", content[:4])
    if zeros != 0 or kind not in _TYPES:
        raise DataError(f"{file}: not an IDX file: it begins with the bytes {content[:4].hex(' ')}")
    if kind != 0x08:
        raise DataError(f"{file}: holds {_TYPES[kind]} numbers; expected uint8")
    if rank != dimensions:
        expected = "images" if dimensions == 3 else "labels"
        raise DataError(f"{file}: has {counted(rank, 'dimension')}; expected {dimensions}, as {expected} have")
    if len(content) < start:
        raise DataError(f"{file}: truncated: {len(content)} bytes, too few for a header of {start}")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if 0 in shape:
        raise DataError(f"{file}: empty: its header says {'x'.join(map(str, shape))}")
    length = start + math.prod(shape)
    if len(content) != length:
        state = "truncated" if len(content) < length else "too long"
        raise DataError(
            f"{file}: {state}: its header says {'x'.join(map(str, shape))}, {length} bytes in all; "
            f"it has {len(content)}"
        )
    # A copy, because an array over `content` would be read-only.
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def grey(images: Bytes) -> Grey:
    """Convert levels from 0 to 255 to numbers from 0 to 1."""
    return np.divide(images, 255, dtype=np.float32)
