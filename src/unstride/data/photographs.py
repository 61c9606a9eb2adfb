"""Photographs that ship with scikit-image and scikit-learn, divided into training, validation and test.

Small images for the upscaler are made from large ones by bicubic interpolation over the area of each small pixel,
rounded to the 256 levels of a file.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from PIL import Image

from . import DataError

TRAINING = (
    ("skimage", "camera.png"),
    ("skimage", "motorcycle_left.png"),
    ("skimage", "hubble_deep_field.jpg"),
    ("skimage", "ihc.png"),
    ("skimage", "coins.png"),
    ("skimage", "brick.png"),
    ("skimage", "grass.png"),
    ("skimage", "gravel.png"),
    ("sklearn", "china.jpg"),
    ("sklearn", "flower.jpg"),
)
VALIDATION = (("skimage", "rocket.jpg"),)
TEST = (("skimage", "astronaut.png"), ("skimage", "chelsea.png"), ("skimage", "coffee.png"))

_FOLDERS = {"skimage": ("scikit-image", "data"), "sklearn": ("scikit-learn", "datasets/images")}


def path(package: str, name: str) -> Path:
    """The file of a photograph in an installed package. A DataError says what to install."""
    distribution, folder = _FOLDERS[package]
    # The package is not imported, because only a file of it is needed.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise DataError(f'{name} ships with {distribution}, which is not installed; pip install "unstride[app]"')
    file = Path(spec.origin).parent / folder / name
    if not file.is_file():
        raise DataError(f"{file}: no such file; expected it to ship with {distribution}")
    return file


def read(package: str, name: str) -> Image.Image:
    """The photograph, in mode RGB or L."""
    with Image.open(path(package, name)) as image:
        return image.convert("L" if image.mode == "L" else "RGB")


def small(image: Image.Image, scale: int) -> tuple[Image.Image, Image.Image]:
    """The image cropped to a multiple of `scale`, and its reduction by `scale`."""
    width, height = (size // scale * scale for size in image.size)
    large = image.crop((0, 0, width, height))
    return large, large.resize((width // scale, height // scale), Image.Resampling.BICUBIC)
