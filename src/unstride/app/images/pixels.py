"""The numbers of a picture, and the one rule for what they look like.

| numbers | black | white |
|---|---|---|
| 1 bit | 0 | 1 |
| unsigned, 8 bits a channel | 0 | 255 |
| unsigned greys of 9 to 16 bits | 0 | the largest that so many bits hold: 65535 of 16, 4095 of 12 |
| floats, all of them from 0 to 1 | 0 | 1 |
| other floats; signed greys; greys of 32 bits | the picture's smallest number | its largest |

The last row has no white of its own: what is black and white is said in a remark. An infinity looks like the end that
it is beyond. NaN and a file's "no data" value look white, as what is transparent does; none of these counts as smallest
or largest.

Colours are made RGB: palettes are looked up, inks (CMYK) taken from white as Pillow does it, L*a*b* and YCbCr
converted. Grey is the luminance of that RGB.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..._messages.wording import counted
from ...data import Bytes, Samples

ROWS = 256
"""Deep greys are converted so many rows at once, to save memory."""
DARK = 16
"""A deep grey picture whose largest value is below white by this factor looks black; a remark says so."""


class PixelError(ValueError):
    """A picture in a mode that cannot be converted."""


@dataclass(frozen=True)
class Kind:
    """What a file says of its samples, and Pillow's mode does not.

    Attributes
    ----------
    bits : int
        Of a sample; 0 where the mode says it all.
    signed : bool
    negative : bool
        White is the smallest value, and Pillow has left it so.
    empty : float or None
        The value that stands for "no data", or for transparency.
    """

    bits: int = 0
    signed: bool = False
    negative: bool = False
    empty: float | None = None


@dataclass(frozen=True, eq=False)
class Pixels:
    """A picture's numbers (height, width, channels) as its file has them.

    Attributes
    ----------
    mode : str
        What the channels are: L, LA, RGB, RGBA or CMYK. All but L have 8 bits.
    values : array
        uint8; in mode L also uint16, int8, int16, int32, uint32 or float32.
    white : int
        What white is, for unsigned numbers up to 16 bits.
    negative : bool
        The smallest number is white (of mode L).
    empty : float or None
        The number that stands for "no data" (of mode L).
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
        """Those of a picture in any mode; `kind` is what is known of its file.

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
        """Black and white are the type's, not the picture's own smallest and largest number."""
        return self.ends()[2]

    def usable(self) -> npt.NDArray[np.bool_] | None:
        """Where a number of mode L is one that counts, (height, width); None if all are."""
        values = self.values[..., 0]
        wrong = np.zeros(values.shape, bool)
        if values.dtype.kind == "f":
            wrong |= ~np.isfinite(values)  # type: ignore[call-overload]
        if self.empty is not None:
            wrong |= values == self.empty
        return ~wrong if wrong.any() else None

    def ends(self) -> tuple[float, float, bool]:
        """What black and white are, and whether they are the type's own.

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
        """What to know of how it is shown; "" if its numbers say it themselves."""
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
        """In mode L or RGB, over white."""
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
    """A Pillow image of numbers (height, width, channels): uint8 in one of the modes, or uint16 or float32 greys."""
    plain = np.ascontiguousarray(values[..., 0] if values.shape[-1] == 1 else values)
    if mode in ("L", "RGB", "RGBA", "LA"):  # Pillow finds these out by shape and type
        return Image.fromarray(plain)
    height, width = plain.shape[:2]
    return Image.frombuffer(mode, (width, height), plain, "raw", mode, 0, 1)


def _deep(image: Image.Image, kind: Kind) -> tuple[Samples, int]:
    """Greys of more than 8 bits, as their file has them, and what white is."""
    values = np.asarray(image)
    if image.mode == "F":
        return values.astype(np.float32, copy=False), 255
    if image.mode.startswith("I;16"):
        return values.astype(np.uint16, copy=False), (1 << (kind.bits or 16)) - 1
    if kind.bits > 16:  # Pillow has 32 bits with a sign only, and the bits of those without
        return values.astype(np.int32, copy=False).view(np.int32 if kind.signed else np.uint32), 255
    if kind.signed:
        return values.astype(np.int16), 255
    if kind.bits or (values.min() >= 0 and values.max() <= 65535):  # some formats' 16 bits without a sign
        return values.astype(np.uint16), 65535
    return values.astype(np.int32, copy=False), 255


def _plain(image: Image.Image) -> Image.Image:
    """In one of the modes L, LA, RGB, RGBA and CMYK."""
    if image.mode == "1":
        image = image.convert("L")
    if image.mode in ("L", "RGB") and "transparency" in image.info:
        return image.convert("LA" if image.mode == "L" else "RGBA")
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    if image.mode == "La":
        return image.convert("LA")
    return image.convert("RGBA" if image.has_transparency_data or image.mode == "RGBa" else "RGB")
