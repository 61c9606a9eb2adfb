"""`unstride encode`, `decode` and `walk`: from pictures to codes, back, and from one picture to another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..._files import write, write_json
from ..._messages.wording import counted, escaped
from ...data import DataError
from .. import runs
from ..errors import OptionError
from ..runs import Run
from .outputs import check_apart, check_ending, expanded, read_of
from .printing import exit_code
from .shared import (
    backend_option,
    chosen_backend,
    console,
    debug_option,
    load_model,
    picture_format,
    read_digits,
    remark,
    say,
    say_result,
)

if TYPE_CHECKING:
    from PIL import Image

ZOOM = 8


@click.command()
@click.argument("run", metavar="RUN")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-o", "--output", default="codes.json", show_default=True, help="A .json file.")
@backend_option
@debug_option
def encode(run: str, images: tuple[str, ...], output: str, backend: str | None) -> int:
    """Encode each IMAGE, or the images in a folder, with RUN's compressor, and write the codes as JSON.

    Images may have any size and format. Each is cropped to its ink, inverted if it is dark on light, and centred in
    28x28 pixels like MNIST's digits. If RUN was trained on your own data, the whole image is shrunk instead. Files
    that cannot be read are named and skipped; the exit code is then 1.
    """
    opened = _compressor(run)
    backend = chosen_backend(opened, backend)
    check_ending(output, (".json",), "codes as JSON", "-o")
    paths = expanded(images)
    check_apart([output], read_of(opened, *images, *map(str, paths)))
    import numpy as np

    pictures, failed = read_digits(opened, paths)
    if pictures:
        from ... import codes

        encoder = load_model(opened, backend).get_layer("encoder")
        vectors = codes.encoded(encoder, np.stack([image for _, image in pictures]))
        content = {
            "run": str(opened.path),
            "codes": {
                str(path): [round(float(value), 5) for value in code]
                for (path, _), code in zip(pictures, vectors, strict=True)
            },
        }
        write_json(Path(output), content)
        count, numbers = counted(len(pictures), "image"), counted(vectors.shape[1], "number")
        say(console(), f"{count} as {numbers} each: {escaped(output)}", keep=[escaped(output)])
    return exit_code(failed, len(paths))


@click.command()
@click.argument("run", metavar="RUN")
@click.argument("codes_file", metavar="CODES.json")
@click.option("-o", "--output", default="decoded.png", show_default=True, help="A picture of all images, side by side.")
@backend_option
@debug_option
def decode(run: str, codes_file: str, output: str, backend: str | None) -> None:
    """Decode codes with RUN's compressor and draw the images.

    CODES.json is a file that `encode` wrote, or a list of lists of numbers.
    """
    opened = _compressor(run)
    backend = chosen_backend(opened, backend)
    format = picture_format(output)
    check_apart([output], read_of(opened, codes_file))
    if not codes_file:
        raise OptionError("CODES.json is empty; expected a file's name")
    assert opened.options.code is not None
    values = _codes(Path(codes_file), opened.options.code)
    from ... import codes

    images = codes.decoded(load_model(opened, backend).get_layer("decoder"), values)
    picture = _strip(images)
    write(Path(output), lambda temporary: picture.save(temporary, format=format))
    say_result(console(), "Picture", f"{escaped(output)}, {counted(len(images), 'image')}", [escaped(output)])


@click.command()
@click.argument("run", metavar="RUN")
@click.argument("first", metavar="FIRST")
@click.argument("last", metavar="LAST")
@click.option("--steps", type=int, default=10, show_default=True, help="Number of images, including both ends.")
@click.option(
    "-o", "--output", default="walk.png", show_default=True, help="A picture, or an animation if it ends with .gif."
)
@backend_option
@debug_option
def walk(run: str, first: str, last: str, steps: int, output: str, backend: str | None) -> None:
    """Walk from one image to another: decode the codes on the straight line between their codes.

    FIRST and LAST are image files, or numbers of MNIST's test images, such as 0 and 3.
    """
    opened = _compressor(run)
    backend = chosen_backend(opened, backend)
    if not 2 <= steps <= 1000:
        raise OptionError(f"--steps is {steps}; expected from 2 to 1000")
    format = picture_format(output)
    check_apart([output], read_of(opened, first, last))
    import numpy as np

    ends = np.stack([_end(name, opened) for name in (first, last)])
    from ... import codes

    model = load_model(opened, backend)
    encoded = codes.encoded(model.get_layer("encoder"), ends)
    images = codes.decoded(model.get_layer("decoder"), codes.between(encoded[0], encoded[1], steps))
    if format == "GIF":
        frames = [_strip(images[at : at + 1]) for at in range(len(images))]
        frames += frames[-2:0:-1]  # and the same way back
        _animate(frames, Path(output))
    else:
        picture = _strip(images)
        write(Path(output), lambda temporary: picture.save(temporary, format=format))
    say_result(console(), "Picture", f"{escaped(output)}, {counted(steps, 'step')}", [escaped(output)])


def _compressor(path: str) -> Run:
    run = runs.load(path)
    if run.options.model != "compressor":
        raise OptionError(f"{path} is a run of {run.options.model}; expected one of compressor")
    return run


def _codes(path: Path, length: int) -> Any:
    import numpy as np

    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error})") from error
    if isinstance(content, dict):
        content = list(content.get("codes", {}).values())
    try:
        values = np.array(content, np.float32)
    except (ValueError, TypeError):
        values = np.empty(0, np.float32)
    if values.ndim != 2 or values.shape[1] != length or not np.isfinite(values).all():
        raise DataError(
            f"{path}: expected codes of {counted(length, 'number')} each, as `unstride encode` writes them, or [[…], …]"
        )
    return values


def _end(name: str, run: Run) -> Any:
    from ..images import digits
    from ..tasks import datasets

    if not name.isdecimal() or Path(name).exists():
        return digits.read(name, remark, crop=run.options.data is None)
    test = datasets.read(run.options).gallery
    if int(name) >= len(test):
        raise OptionError(f"there is no test image {name}; expected a number up to {len(test) - 1}, or an image file")
    return test[int(name)]


def _strip(images: Any) -> Image.Image:
    """The images in rows of up to ten, enlarged."""
    import numpy as np
    from PIL import Image

    from ..contact_sheet import grid

    picture = Image.fromarray(grid(np.rint(images * 255).astype(np.uint8), gap=0))
    return picture.resize((picture.width * ZOOM, picture.height * ZOOM), Image.Resampling.BICUBIC)


def _animate(frames: list[Image.Image], path: Path) -> None:
    write(
        path,
        lambda temporary: frames[0].save(
            temporary, format="GIF", save_all=True, append_images=frames[1:], duration=80, loop=0
        ),
    )


COMMANDS = (encode, decode, walk)
