"""The upscaler on pieces of photographs: those of scikit-image and scikit-learn, or a folder of the user's own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ....data import DataError, photographs
from ...images import files
from ...runs import Options, Run
from ..base import Figures, Task, check_batch, falling
from ..datasets import Described
from .inference import Upscaler

if TYPE_CHECKING:
    import keras

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]
Pair = tuple[Bytes, Bytes]

EPOCH = 1600
PATCH = 48
"""The side of what a piece of a small image teaches; `MARGIN` pixels more on every side are seen."""
SIZES = (1.0, 0.75, 0.5)
"""Each photograph is learned from at these sizes: made smaller it is sharper, and has less of its file's noise."""


@dataclass(frozen=True)
class Photographs(Described):
    """What a run sees.

    Attributes
    ----------
    training : range
        The numbers of an epoch's pieces, each cut from a random one of `planes`.
    planes : list of pairs
        Large and small images of one channel.
    validation, test : lists of (name, large, small)
    """

    name: str
    training: range
    planes: list[Pair]
    validation: list[tuple[str, Bytes, Bytes]]
    test: list[tuple[str, Bytes, Bytes]]
    scale: int
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256(repr((self.training, self.scale)).encode())
        for large, small in [*self.planes, *(pair[1:] for pair in self.validation)]:
            digest.update(np.ascontiguousarray(large).tobytes())
            digest.update(np.ascontiguousarray(small).tobytes())
        return digest.hexdigest()

    @cached_property
    def shares(self) -> npt.NDArray[np.float64]:
        """How often each plane is cut from: by its size."""
        sizes = np.array([large.size for large, _ in self.planes], np.float64)
        return np.asarray(sizes / sizes.sum())

    def piece(self, key: tuple[int, ...], number: int) -> Pair:
        """One to learn from, large and small, mirrored and turned at random."""
        from ....models._upscaler import MARGIN

        rng = np.random.default_rng((*key, number))
        large, small = self.planes[rng.choice(len(self.planes), p=self.shares)]
        side = PATCH + 2 * MARGIN
        top, left = (int(rng.integers(size - side + 1)) for size in small.shape)
        seen = small[top : top + side, left : left + side]
        first, last = MARGIN * self.scale, (side - MARGIN) * self.scale
        taught = large[top * self.scale :, left * self.scale :][first:last, first:last]
        turns = int(rng.integers(4))
        seen, taught = np.rot90(seen, turns), np.rot90(taught, turns)
        return (taught.T, seen.T) if rng.integers(2) else (taught, seen)


class UpscalerTask(Task):
    name = "upscaler"
    noun = "pieces"
    data_help = "photographs (default: those that ship with scikit-image and scikit-learn, some held out)"
    defaults = {"epochs": 25, "batch_size": 16, "learning_rate": 0.003, "scale": 2}  # noqa: RUF012
    quick = {"epochs": 2, "limit": 800}  # noqa: RUF012
    use = """\
images = np.zeros((1, 64, 48, 1), "float32")  # yours: luminance, from 0 to 1
margin = [(0, 0), (8, 8), (8, 8), (0, 0)]  # which the layers use up
print(model.predict(np.pad(images, margin, "edge")).shape)"""

    def read(self, options: Options) -> Photographs:
        assert options.scale is not None
        problems: list[str] = []
        remarks: list[str] = []
        if options.data is None:
            parts = [
                [(name, photographs.read(package, name)) for package, name in names]
                for names in (photographs.TRAINING, photographs.VALIDATION, photographs.TEST)
            ]
            name = "photographs of scikit-image and scikit-learn"
        else:
            paths = files.listing(options.data, "photographs")
            found, problems = files.gather(paths, lambda path: files.photograph(path, remarks.append))
            files.enough(options.data, len(found), problems)
            parts = [
                [(path.name, image) for path, image in found[part]]
                for part in files.divided(len(found), options.validation_split)
            ]
            name = options.data
        training, validation, test = parts
        count = options.limit or EPOCH
        check_batch(options, count, self.noun)
        planes = [pair for _, image in training for pair in _planes(image, options.scale)]
        if not planes:
            raise DataError(
                f"{name}: no photograph is large enough; expected one of at least {_least(options.scale)} pixels a side"
            )
        return Photographs(
            name,
            range(count),
            planes,
            [(at, *_luminance(image, options.scale)) for at, image in validation],
            [(at, *_luminance(image, options.scale)) for at, image in test],
            options.scale,
            problems,
            remarks,
        )

    def build(self, options: Options, data: Photographs) -> keras.Model:  # noqa: ARG002
        from ....models import upscaler

        assert options.scale is not None
        return upscaler(options.scale)

    def loss(self) -> Any:
        from ....backends.keras.imported import keras

        return keras.losses.MeanSquaredError()

    def rate(self, options: Options, epoch: int) -> float:
        return falling(options, epoch)

    def batches(self, options: Options, data: Photographs) -> Any:
        from ...training.training import Shuffled

        class Pieces(Shuffled):
            def batch(self, chosen: npt.NDArray[np.intp]) -> tuple[Values, Values]:
                key = (self.seed, self.epoch)
                return arrays([data.piece(key, int(number)) for number in chosen])

        return Pieces(len(data.training), options.batch_size, options.seed)

    def check(self, options: Options, data: Photographs) -> tuple[Any, Any]:
        """Pieces in a grid over the validation's photographs, for which images may have any size."""
        from ....models._upscaler import MARGIN

        assert options.scale is not None
        pairs = []
        for _, large, small in data.validation:
            padded = np.pad(small, MARGIN, mode="edge")
            side = min(PATCH, *small.shape)
            for top in range(0, small.shape[0] - side + 1, side):
                for left in range(0, small.shape[1] - side + 1, side):
                    seen = padded[top : top + side + 2 * MARGIN, left : left + side + 2 * MARGIN]
                    last = np.s_[
                        top * options.scale : (top + side) * options.scale,
                        left * options.scale : (left + side) * options.scale,
                    ]
                    pairs.append((large[last], seen))
        smallest = min(seen.shape for _, seen in pairs)
        return arrays([pair for pair in pairs if pair[1].shape == smallest])

    def judge(self, model: keras.Model, data: Photographs) -> Figures:
        upscaler = Upscaler(self.weights(model, data))
        rows: list[dict[str, Any]] = []
        made = []
        for name, large, small in data.test:
            ours = upscaler.luminance(np.divide(small, 255, dtype=np.float32))
            found = np.rint(ours * 255).clip(0, 255).astype(np.uint8)
            size = (large.shape[1], large.shape[0])
            cubic = np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))
            made.append((name, large, cubic, found))
            figures: dict[str, Any] = {"image": name}
            for key, image in (("bicubic", cubic), ("ours", found)):
                figures[f"psnr_{key}"], figures[f"ssim_{key}"] = quality(large, image, data.scale)
            rows.append(figures)
        keys = ("psnr_bicubic", "psnr_ours", "ssim_bicubic", "ssim_ours")
        mean = {key: float(np.mean([row[key] for row in rows])) for key in keys}
        gain = mean["psnr_ours"] - mean["psnr_bicubic"]
        return Figures(
            lines=(
                ("PSNR", f"{mean['psnr_ours']:.2f} dB, {gain:+.2f} dB beside bicubic interpolation"),
                ("SSIM", f"{mean['ssim_ours']:.4f}, bicubic {mean['ssim_bicubic']:.4f}"),
            ),
            columns=("photograph", "bicubic, dB", "ours, dB", "gain, dB", "bicubic, SSIM", "ours, SSIM"),
            rows=tuple(
                (
                    str(row["image"]),
                    f"{row['psnr_bicubic']:.2f}",
                    f"{row['psnr_ours']:.2f}",
                    f"{row['psnr_ours'] - row['psnr_bicubic']:+.2f}",
                    f"{row['ssim_bicubic']:.4f}",
                    f"{row['ssim_ours']:.4f}",
                )
                for row in rows
            ),
            json={"images": len(rows), "scale": data.scale, **mean, "gain": gain, "each": rows},
            found=made,
        )

    def about(self, model: keras.Model, data: Photographs) -> dict[str, Any]:  # noqa: ARG002
        return {"model": self.name, "scale": data.scale}

    def report(self, run: Run, model: keras.Model, data: Photographs, figures: Figures) -> None:
        from . import report

        report.write_report(run, model, data, figures)


def quality(large: Bytes, image: Bytes, scale: int) -> tuple[float, float]:
    """PSNR in dB and SSIM of two luminances, without `scale` pixels at every border."""
    from skimage.metrics import structural_similarity

    inner = np.s_[scale:-scale, scale:-scale]
    a, b = large[inner].astype(np.float64), image[inner].astype(np.float64)
    error = max(float(np.mean((a - b) ** 2)), 1e-10)
    rule: Any = structural_similarity
    similar = rule(a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    return float(10 * np.log10(255**2 / error)), float(similar)


def _least(scale: int) -> int:
    from ....models._upscaler import MARGIN

    return (PATCH + 2 * MARGIN) * scale


def _planes(image: Image.Image, scale: int) -> list[Pair]:
    """The luminance and the colours, each at several sizes, beside what they are made small to."""
    made = []
    for size in SIZES:
        smaller = image
        if size < 1:
            wanted = (round(image.width * size), round(image.height * size))
            smaller = image.resize(wanted, Image.Resampling.BICUBIC)
        if min(smaller.size) < _least(scale):
            continue
        channels = [smaller] if smaller.mode == "L" else [smaller.convert("L"), *smaller.split()]
        made += [_pair(channel, scale) for channel in channels]
    return made


def _luminance(image: Image.Image, scale: int) -> Pair:
    return _pair(image.convert("L"), scale)


def _pair(channel: Image.Image, scale: int) -> Pair:
    large, small = photographs.small(channel, scale)
    return np.asarray(large), np.asarray(small)


def arrays(pairs: list[Pair]) -> tuple[Values, Values]:
    """Small and large, from 0 to 1, with a channel."""
    large, small = (np.divide(np.stack(part), 255, dtype=np.float32) for part in zip(*pairs, strict=True))
    return small[..., None], large[..., None]


TASK = UpscalerTask()
