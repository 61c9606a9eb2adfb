"""Trains the upscaler on photographs, those of scikit-image and scikit-learn or the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ....data import DataError, Values, photographs
from ...images import folders, reader
from ...runs import Run
from ...runs.options import Options
from ..base import Metrics, Task, check_batch, cosine_decay
from .data import PATCH, Photographs, arrays, least, luminance, planes_of
from .inference import Upscaler
from .metrics import quality

if TYPE_CHECKING:
    import keras


EPOCH = 1600


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
            paths = folders.listing(options.data, "photographs")
            images, problems = folders.gather(paths, lambda path: reader.photograph(path, remarks.append))
            folders.enough(options.data, len(images), problems)
            parts = [
                [(path.name, image) for path, image in images[part]]
                for part in folders.divided(len(images), options.validation_split)
            ]
            name = options.data
        training, validation, test = parts
        count = options.limit or EPOCH
        check_batch(options, count, self.noun)
        planes = [pair for _, image in training for pair in planes_of(image, options.scale)]
        if not planes:
            raise DataError(
                f"{name}: no photograph is large enough; expected one of at least {least(options.scale)} pixels a side"
            )
        return Photographs(
            name,
            range(count),
            planes,
            [(at, *luminance(image, options.scale)) for at, image in validation],
            [(at, *luminance(image, options.scale)) for at, image in test],
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
        return cosine_decay(options, epoch)

    def batches(self, options: Options, data: Photographs) -> Any:
        from ..batches import Shuffled

        class Pieces(Shuffled):
            def batch(self, chosen: npt.NDArray[np.intp]) -> tuple[Values, Values]:
                key = (self.seed, self.epoch)
                return arrays([data.piece(key, int(number)) for number in chosen])

        return Pieces(len(data.training), options.batch_size, options.seed)

    def validation_data(self, options: Options, data: Photographs) -> tuple[Any, Any]:
        """The validation photographs, cut into a grid of pieces because they differ in size."""
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

    def evaluate(self, model: keras.Model, data: Photographs) -> Metrics:
        upscaler = Upscaler(self.export(model, data))
        rows: list[dict[str, Any]] = []
        enlarged = []
        for name, large, small in data.test:
            ours = upscaler.luminance(np.divide(small, 255, dtype=np.float32))
            levels = np.rint(ours * 255).clip(0, 255).astype(np.uint8)
            size = (large.shape[1], large.shape[0])
            cubic = np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))
            enlarged.append((name, large, cubic, levels))
            row: dict[str, Any] = {"image": name}
            for key, image in (("bicubic", cubic), ("ours", levels)):
                row[f"psnr_{key}"], row[f"ssim_{key}"] = quality(large, image, data.scale)
            rows.append(row)
        keys = ("psnr_bicubic", "psnr_ours", "ssim_bicubic", "ssim_ours")
        mean = {key: float(np.mean([row[key] for row in rows])) for key in keys}
        gain = mean["psnr_ours"] - mean["psnr_bicubic"]
        return Metrics(
            lines=(
                ("PSNR", f"{mean['psnr_ours']:.2f} dB, {gain:+.2f} dB against bicubic interpolation"),
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
            details=enlarged,
        )

    def about(self, model: keras.Model, data: Photographs) -> dict[str, Any]:  # noqa: ARG002
        return {"model": self.name, "scale": data.scale}

    def report(self, run: Run, model: keras.Model, data: Photographs, metrics: Metrics) -> None:
        from . import report

        report.write_report(run, model, data, metrics, **self.page_values(run))


TASK = UpscalerTask()
