"""Photographs that ship with scikit-image and scikit-learn, some held out; and a user's own folder of them.

Small images for the upscaler are made from large ones: by bicubic interpolation over all that a small pixel covers,
rounded to the 256 levels of a file, as a camera's or an editor's would be.
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
    """Where a photograph of an installed package is, or a DataError that says what to install."""
    distribution, folder = _FOLDERS[package]
    # Not imported: what is needed of it is one file.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise DataError(f'{name} ships with {distribution}, which is not installed; pip install "unstride[app]"')
    file = Path(spec.origin).parent / folder / name
    if not file.is_file():
        raise DataError(f"{file}: no such file; expected it to ship with {distribution}")
    return file


def read(package: str, name: str) -> Image.Image:
    """It, in mode RGB or L."""
    with Image.open(path(package, name)) as image:
        return image.convert("L" if image.mode == "L" else "RGB")


def small(image: Image.Image, scale: int) -> tuple[Image.Image, Image.Image]:
    """The image cut to a multiple of `scale`, and it made so many times smaller."""
    width, height = (size // scale * scale for size in image.size)
    large = image.crop((0, 0, width, height))
    return large, large.resize((width // scale, height // scale), Image.Resampling.BICUBIC)
