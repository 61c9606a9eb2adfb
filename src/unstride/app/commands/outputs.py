"""The files that commands write: checks of their names, and the names for several inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._files import FileNameError, check_apart, check_ending, write
from ..errors import OptionError
from ..runs import Run

if TYPE_CHECKING:
    from ..images.pixels import Pixels

__all__ = [
    "check_apart", "check_ending", "expanded", "named", "picture_format", "read_of", "save",
    "save_enlarged", "with_stem",
]  # fmt: skip

TIFF = (".tif", ".tiff")


def picture_format(output: str, argument: str = "-o") -> str:
    """Pillow's name for the format that the ending of `output` chooses."""
    formats = _formats()
    if not output:
        raise FileNameError(f"{argument} is empty; expected a file's name")
    ending = Path(output).suffix.lower()
    if not ending:
        raise OptionError(f"{argument} {output} has no ending; expected one like .png, .jpg or .webp")
    if ending not in formats:
        raise OptionError(
            f"{argument} {output}: no picture format ends with '{ending}'; expected one like .png, .jpg or .webp"
        )
    return formats[ending]


def _formats() -> dict[str, str]:
    from PIL import Image

    return {ending: name for ending, name in Image.registered_extensions().items() if name in Image.SAVE}


def read_of(run: Run, *others: str | None) -> list[Path]:
    """The files of a run and the others given, which a command reads and must not overwrite."""
    names = ("config.json", "evaluation.json", "metrics.csv", "report.html")
    kinds = ("*.keras", "*.npz")
    paths = [run.path / name for name in names] + [path for kind in kinds for path in run.path.glob(kind)]
    return paths + [Path(other) for other in others if other]


def expanded(names: Sequence[str]) -> list[Path]:
    """The given files, and the images in the given folders.

    An empty name is refused, because Path("") is the current folder.
    """
    from ..images.folders import listing

    if "" in names:
        raise OptionError("an IMAGE is empty; expected the name of a file or a folder")
    paths: list[Path] = []
    for path in map(Path, names):
        here = listing(path, "images") if path.is_dir() else [path]
        if not here:
            raise OptionError(f"{path}: no images in this folder")
        paths += here
    return paths


def named(
    paths: list[Path],
    output: str,
    *,
    several: bool,
    ending: str | None = None,
    also: str | None = None,
    inputs: Iterable[str | Path] = (),
) -> list[Path]:
    """The file for each result: `output` itself, or a file in the folder `output` named like its input.

    Parameters
    ----------
    paths : list of paths
        The inputs.
    output : str
        The value of -o.
    several : bool
        Whether `output` is a folder even if it does not exist yet.
    ending : str, optional
        The ending of the results. Default: that of each input, or .png if its format cannot be written.
    also : str, optional
        What a second file for each input has after its stem, such as "-overlay.png".
    inputs : paths
        Other files that the command reads.

    Raises
    ------
    OptionError, FileNameError
        A result would overwrite an input or another result, or its name has no known format.
    """
    if not output:
        raise FileNameError("-o is empty; expected a file's or a folder's name")
    folder = Path(output)
    alone = not several and not folder.is_dir() and not output.endswith(("/", "\\"))
    if alone:
        if ending is None:
            picture_format(output)
        else:
            check_ending(output, (ending,), "a PNG picture", "-o")
        targets = [folder]
    else:
        if folder.exists() and not folder.is_dir():
            raise OptionError(f"-o {output} is a file; expected a folder for several images")
        writable = _formats()
        targets = []
        for path in paths:
            suffix = ending or (path.suffix if path.suffix.lower() in writable else ".png")
            targets.append(folder / (path.stem + suffix))
        taken: dict[Path, Path] = {}
        for path, target in zip(paths, targets, strict=True):
            if target in taken:
                raise OptionError(f"{taken[target]} and {path} would both become {target}; give them apart")
            taken[target] = path
    seconds = [] if also is None else [with_stem(target, also) for target in targets]
    check_apart([*targets, *seconds], [*paths, *inputs])
    if not alone:
        folder.mkdir(parents=True, exist_ok=True)
    return targets


def with_stem(target: Path, also: str) -> Path:
    """The name of a result's second file."""
    return target.with_name(target.stem + also)


def save(image: Any, target: Path, profile: bytes | None = None, transparency: int | None = None) -> None:
    """Save an image in the format of the file's ending, with its colour profile.

    Raises
    ------
    OSError
        The format cannot hold the image. The message says what to do.
    """
    format = picture_format(str(target))
    settings: dict[str, Any] = {}
    if profile:
        settings["icc_profile"] = profile
    if format == "PNG":
        settings["compress_level"] = 3  # hardly larger than at 9, and many times faster
        if transparency is not None:
            settings["transparency"] = transparency
    elif format in ("JPEG", "WEBP"):
        settings["quality"] = 95
    elif format in ("ICO", "ICNS"):  # Pillow would reduce it without a word
        if format == "ICNS" or max(image.size) > 256:
            raise OSError(f"{target}: {format} holds icons of other sizes; name an output like .png or .tif")
        settings["sizes"] = [image.size]
    try:
        write(target, lambda temporary: image.save(temporary, format=format, **settings))
    except (ValueError, KeyError, TypeError) as error:
        raise _cannot_hold(target, format, image, error) from error
    except OSError as error:
        if error.errno is None:
            raise _cannot_hold(target, format, image, error) from error
        raise


def _cannot_hold(target: Path, format: str, image: Any, error: Exception) -> OSError:
    """The error for a format that lacks the picture's mode or size. It names formats that have them."""
    endings = {"JPEG": ".jpg", "TIFF": ".tif"} if image.mode == "CMYK" else {"PNG": ".png", "TIFF": ".tif"}
    others = " or ".join(ending for name, ending in endings.items() if name != format)
    return OSError(f"{target}: {format} cannot hold it ({error}); name an output like {others}")


def save_enlarged(network: Any, pixels: Pixels, target: Path, advance: Any) -> tuple[int, int]:
    """Enlarge a picture into a file that keeps its type of numbers; return the new width and height."""
    import numpy as np

    from ..images import tiffs
    from ..tasks.upscaler import inference

    kind = pixels.values.dtype
    tiff = target.suffix.lower() in TIFF
    if inference.holds(kind) and not (tiff and pixels.empty is not None):
        if kind == np.float32 and not tiff:
            raise OSError(f"{target}: its numbers are floats, which only TIFF keeps; name an output like .tif")
        image = network.picture(pixels, advance)
        if kind == np.uint16 and pixels.white != 65535:  # such as 12 bits: white in a file is that of 16
            image = _stretched(image, pixels.white)
        save(image, target, pixels.profile, None if pixels.empty is None else int(pixels.empty))
        return int(image.width), int(image.height)
    if not tiff:
        raise OSError(f"{target}: its numbers are of {kind}, which only TIFF keeps; name an output like .tif")
    values = network.numbers(pixels, advance)[..., 0]
    try:
        write(target, lambda temporary: tiffs.write(temporary, values, pixels.empty))
    except ValueError as error:
        raise OSError(f"{target}: TIFF cannot hold it ({error})") from error
    return int(values.shape[1]), int(values.shape[0])


def _stretched(image: Any, white: int) -> Any:
    import numpy as np

    from ..images.pixels import image_of

    values = np.asarray(image).astype(np.uint32)
    return image_of("L", np.asarray((values * 65535 + white // 2) // white, np.uint16)[..., None])
