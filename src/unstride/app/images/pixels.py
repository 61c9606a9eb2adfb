"""The numbers of a picture, and the rule by which they are shown.

| numbers | black | white |
|---|---|---|
| 1 bit | 0 | 1 |
| unsigned, 8 bits a channel | 0 | 255 |
| unsigned greys of 9 to 16 bits | 0 | the largest value of that many bits: 65535 for 16, 4095 for 12 |
| floats, all of them from 0 to 1 | 0 | 1 |
| other floats; signed greys; greys of 32 bits | the picture's smallest number | its largest |

In the last row black and white depend on the picture, and a remark names them. Infinities are shown as black or white.
NaN, a file's "no data" value and transparent pixels are shown as white. None of these count as smallest or largest.

Colours are converted to RGB: palettes are looked up, inks (CMYK) are subtracted from white as in Pillow, L*a*b* and
YCbCr are converted. Grey is the luminance of that RGB.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..._messages.wording import counted
from ...data import Bytes, Samples

ROWS = 256
"""Rows of deep greys that are converted at once, to save memory."""
DARK = 16
"""A deep grey picture whose largest value is smaller than white by this factor looks black. A remark says so."""


class PixelError(ValueError):
    """A picture has a mode that cannot be converted."""


@dataclass(frozen=True)
class Kind:
    """What a file says about its samples that Pillow's mode does not.

    Attributes
    ----------
    bits : int
        Bits of a sample; 0 if the mode says it.
    signed : bool
    negative : bool
        Whether the smallest value is white. (Pillow does not invert it.)
    empty : float or None
        The value that means "no data" or transparent.
    """

    bits: int = 0
    signed: bool = False
    negative: bool = False
    empty: float | None = None


@dataclass(frozen=True, eq=False)
class Pixels:
    """A picture's numbers (height, width, channels), unchanged from its file.

    Attributes
    ----------
    mode : str
        The channels: L, LA, RGB, RGBA or CMYK. All except L have 8 bits.
    values : array
        uint8; in mode L also uint16, int8, int16, int32, uint32 or float32.
    white : int
        The value of white, for unsigned numbers of up to 16 bits.
    negative : bool
        Whether the smallest number is white (mode L).
    empty : float or None
        The number that means "no data" (mode L).
    profile : bytes or None
        The colour profile.
    """

    mode: str
    values: Samples
    white: int = 255
    negative: bool = False
    empty: float | None = None
    profile: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, image: Image.Image, kind: Kind | None = None) -> Pixels:
        """The numbers of a picture in any mode. `kind` is what its file says about them.

        Raises
        ------
        PixelError
            This Pillow cannot convert the mode.
        """
        kind = kind or Kind()
        profile = image.info.get("icc_profile")
        if image.mode[0] in "IF":
            values, white = _deep(image, kind)
            if values.dtype == np.uint16 and kind.negative:
                return cls("L", (white - values)[..., None], white, False, None, profile)
            return cls("L", values[..., None], white, kind.negative, kind.empty, profile)
        if kind.signed and image.mode == "L":
            return cls("L", np.asarray(image).view(np.int8)[..., None], 255, False, kind.empty, profile)
        try:
            image = _plain(image)
        except (ValueError, ImportError) as error:  # L*a*b* where Pillow was built without LittleCMS
            raise PixelError(f"colours in {image.mode}, which this Pillow cannot convert ({error})") from error
        values = np.asarray(image)
        return cls(image.mode, values[..., None] if values.ndim == 2 else values, profile=profile)

    @property
    def fixed(self) -> bool:
        """Whether black and white depend on the type alone, not on the picture."""
        return self.ends()[2]

    def usable(self) -> npt.NDArray[np.bool_] | None:
        """The mask (height, width) of numbers that are finite and not "no data", in mode L; None if all are."""
        values = self.values[..., 0]
        wrong = np.zeros(values.shape, bool)
        if values.dtype.kind == "f":
            wrong |= ~np.isfinite(values)  # type: ignore[call-overload]
        if self.empty is not None:
            wrong |= values == self.empty
        return ~wrong if wrong.any() else None

    def ends(self) -> tuple[float, float, bool]:
        """The values of black and white, and whether they depend on the type alone.

        >>> Pixels("L", np.array([[[-3], [5]]], np.int16)).ends()
        (-3.0, 5.0, False)
        """
        kind = self.values.dtype
        if kind in (np.uint8, np.uint16):
            return 0.0, float(self.white), True
        usable = self.usable()
        values = self.values[..., 0] if usable is None else self.values[..., 0][usable]
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)  # type: ignore[attr-defined]
        if kind.kind == "f" and low >= 0 and high <= 1:
            return 0.0, 1.0, True
        return low, high, False

    def rgb(self) -> Bytes:
        """As it looks, (height, width, 3)."""
        if self.values.dtype != np.uint8:
            return np.repeat(self._levels()[..., None], 3, axis=-1)
        return np.asarray(self._shown().convert("RGB"))

    def grey(self) -> Bytes:
        """The luminance of `rgb`, (height, width)."""
        if self.values.dtype != np.uint8:
            return self._levels()
        return np.asarray(self._shown().convert("L"))

    def remark(self) -> str:
        """A note on how the numbers are shown; "" if it is obvious."""
        kind = self.values.dtype
        if kind == np.uint8:
            return "inks (CMYK), shown without their printer's profile" if self.mode == "CMYK" else ""
        low, high, fixed = self.ends()
        said = []
        if not fixed:
            name = {"f": "float", "i": "signed", "u": "unsigned"}[kind.kind] + f" {8 * kind.itemsize}-bit numbers"
            said.append(
                f"{name} from {low:g} to {high:g}, shown from black to white"
                if high > low
                else f"{name}, all of them {low:g}, shown as black"
            )
        elif kind == np.uint16 and (most := int(self.values.max())) * DARK < high:  # type: ignore[attr-defined]
            said.append(f"its numbers reach {most} of {high:g}, so that it looks nearly black")
        if (usable := self.usable()) is not None:
            count = int((~usable).sum())
            said.append(f"{counted(count, 'pixel')} {'is' if count == 1 else 'are'} NaN, infinite, or marked as empty")
        return "; ".join(said)

    def _shown(self) -> Image.Image:
        """An image in mode L or RGB, over white."""
        image = image_of(self.mode, self.values)
        if self.mode in ("LA", "RGBA"):
            colours = image.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")
        return image if self.mode == "L" else image.convert("RGB")

    def _levels(self) -> Bytes:
        """Deep greys as 0 to 255."""
        low, high, _ = self.ends()
        levels = np.empty(self.values.shape[:2], np.uint8)
        for top in range(0, len(levels), ROWS):
            rows = self.values[top : top + ROWS, :, 0].astype(np.float64)
            shares = (rows.clip(low, high) - low) / ((high - low) or 1.0)
            if self.negative:
                shares = 1 - shares
            shares = np.where(np.isnan(shares) | (rows == self.empty), 1.0, shares)
            levels[top : top + ROWS] = np.rint(shares * 255)
        return levels


def image_of(mode: str, values: Samples) -> Image.Image:
    """A Pillow image of (height, width, channels) numbers: uint8 in any mode, or uint16 or float32 greys."""
    plain = np.ascontiguousarray(values[..., 0] if values.shape[-1] == 1 else values)
    if mode in ("L", "RGB", "RGBA", "LA"):  # Pillow knows these by shape and type
        return Image.fromarray(plain)
    height, width = plain.shape[:2]
    return Image.frombuffer(mode, (width, height), plain, "raw", mode, 0, 1)


def _deep(image: Image.Image, kind: Kind) -> tuple[Samples, int]:
    """Greys of more than 8 bits, unchanged from their file, and the value of white."""
    values = np.asarray(image)
    if image.mode == "F":
        return values.astype(np.float32, copy=False), 255
    if image.mode.startswith("I;16"):
        return values.astype(np.uint16, copy=False), (1 << (kind.bits or 16)) - 1
    if kind.bits > 16:  # Pillow reads unsigned 32-bit numbers as signed ones with the same bits
        return values.astype(np.int32, copy=False).view(np.int32 if kind.signed else np.uint32), 255
    if kind.signed:
        return values.astype(np.int16), 255
    if kind.bits or (values.min() >= 0 and values.max() <= 65535):  # unsigned 16 bits, as some formats have them
        return values.astype(np.uint16), 65535
    return values.astype(np.int32, copy=False), 255


def _plain(image: Image.Image) -> Image.Image:
    """Convert to one of the modes L, LA, RGB, RGBA and CMYK."""
    if image.mode == "1":
        image = image.convert("L")
    if image.mode in ("L", "RGB") and "transparency" in image.info:
        return image.convert("LA" if image.mode == "L" else "RGBA")
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    if image.mode == "La":
        return image.convert("LA")
    return image.convert("RGBA" if image.has_transparency_data or image.mode == "RGBa" else "RGB")
