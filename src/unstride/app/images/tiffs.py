"""Writes greys as TIFF files that Pillow can read but not write: signed and unsigned 32-bit numbers."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from ...data import Samples

MAX_TIFF_BYTES = 2**32 - 4096
"""Offsets in a TIFF have 32 bits."""


def write(path: Path, values: Samples, empty: float | None = None) -> None:
    """Write numbers (height, width) as one uncompressed little-endian strip. `empty` is the one that means "no data".

    Raises
    ------
    ValueError
        They need more than the 4 GB that a TIFF can hold.
    """
    if values.nbytes > MAX_TIFF_BYTES:
        raise ValueError(f"{values.nbytes / 1e9:.1f} GB of numbers; expected at most 4.2, as a TIFF holds no more")
    height, width = values.shape
    data = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    kind = {"u": 1, "i": 2, "f": 3}[data.dtype.kind]
    text = b"" if empty is None else f"{empty:.17g}\0".encode()
    # (tag, type: 2 text, 3 of 16 bits, 4 of 32 bits, count, value)
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8 * data.itemsize),
        (259, 3, 1, 1),  # not compressed
        (262, 3, 1, 1),  # black is zero
        (273, 4, 1, 0),  # offset of the strip, set below
        (277, 3, 1, 1),  # numbers a pixel
        (278, 4, 1, height),
        (279, 4, 1, data.nbytes),
        (339, 3, 1, kind),
    ]
    if text:
        entries.append((42113, 2, len(text), 0))
    after = 8 + 2 + 12 * len(entries) + 4
    padded = text + b"\0" * (-len(text) % 8 + (-after) % 8)
    places = {273: after + len(padded), 42113: after}
    with path.open("wb") as file:
        file.write(struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(entries)))
        for tag, type_, count, value in entries:
            if tag == 42113 and count <= 4:  # stored in the entry itself
                file.write(struct.pack("<HHI4s", tag, type_, count, text))
            else:
                file.write(struct.pack("<HHII", tag, type_, count, places.get(tag, value)))
        file.write(struct.pack("<I", 0) + padded)
        data.tofile(file)
