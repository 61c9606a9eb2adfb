"""Every kind of picture file looks the same to every command: formats x types of numbers x turns x commands."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from unstride import __main__ as cli
from unstride.app import runs, tasks, weights
from unstride.app.images import digits, folders, reader
from unstride.app.images.reader import ImageError, Upload
from unstride.app.runs import Run
from unstride.app.runs.options import Options
from unstride.app.tasks.segmenter import inference, masks
from unstride.app.tasks.upscaler import inference as upscaling
from unstride.lab import uploads

HEIGHT, WIDTH = 9, 13
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.swapaxes(a, 0, 1)[::-1, ::-1],
    8: lambda a: np.rot90(a),
}
"""What to do to the stored rows, by EXIF orientation."""


def tiff(values: np.ndarray, *, order: str = "<", photometric: int = 1, turn: int = 1, bits: int = 0) -> bytes:
    """A TIFF by hand, which no library had a say in: (height, width) or (height, width, channels)."""
    height, width = values.shape[:2]
    samples = values.shape[2] if values.ndim == 3 else 1
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    bits = bits or 8 * values.dtype.itemsize
    kind = {"u": 1, "i": 2, "f": 3, "b": 1}[values.dtype.kind]
    extra = samples - {0: 1, 1: 1, 2: 3, 5: 4, 6: 3, 8: 3}[photometric]
    entries = [(256, 3, [width]), (257, 3, [height]), (258, 3, [bits] * samples), (259, 3, [1]), (262, 3, [photometric]),
               (273, 4, [0]), (274, 3, [turn]), (277, 3, [samples]), (278, 3, [height]), (279, 4, [len(data)])]  # fmt: skip
    if extra:
        entries.append((338, 3, [2] * extra))
    entries.append((339, 3, [kind] * samples))
    start = 8 + 2 + 12 * len(entries) + 4
    blobs, at = b"", start
    packed = {}
    for tag, code, numbers in entries:
        content = struct.pack(f"{order}{len(numbers)}{'H' if code == 3 else 'I'}", *numbers)
        if len(content) > 4:
            packed[tag] = struct.pack(f"{order}I", at)
            blobs += content
            at += len(content)
        else:
            packed[tag] = content.ljust(4, b"\0")
    packed[273] = struct.pack(f"{order}I", at)
    head = (
        (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8) + struct.pack(f"{order}H", len(entries))
    )
    for tag, code, numbers in entries:
        head += struct.pack(f"{order}HHI", tag, code, len(numbers)) + packed[tag]
    return head + b"\0\0\0\0" + blobs + data


def png16(values: np.ndarray, transparent: int | None = None) -> bytes:
    """A PNG of 16 bits a channel by hand: grey, grey and alpha, RGB or RGBA."""
    height, width = values.shape[:2]
    samples = values.shape[2] if values.ndim == 3 else 1

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[samples], 0, 0, 0)
    hole = b"" if transparent is None else chunk(b"tRNS", struct.pack(">H", transparent))
    body = chunk(b"IHDR", head) + hole + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def by_pillow(image: Image.Image, format: str, turn: int = 1, **settings: Any) -> bytes:
    file = io.BytesIO()
    if turn != 1:
        exif = Image.Exif()
        exif[0x0112] = turn
        settings["exif"] = exif
    image.save(file, format, **settings)
    return file.getvalue()


def over_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colours * share + 255 * (1 - share)


def own_range(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    return (values.astype(float) - low) / ((high - low) or 1) * 255


def deep(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels[..., None], 3, -1)


def from_lab(lab: np.ndarray) -> np.ndarray:
    """CIE's formulas: L*a*b* for D50 to XYZ, Bradford's adaptation to D65, sRGB."""
    light, a, b = lab[..., 0], lab[..., 1], lab[..., 2]
    y = (light + 16) / 116
    f = np.stack([y + a / 500, y, y - b / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1.0, 0.8249]
    matrix = np.array([[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]])
    linear = (xyz @ matrix.T).clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def kinds(rng: np.random.Generator, turn: int) -> dict[str, tuple[Callable[[], bytes], np.ndarray, float]]:
    """What to write, what it looks like as stored, and by how much that may differ."""
    shape = (HEIGHT, WIDTH)

    def of(dtype: type[Any], low: float | None = None, high: float | None = None) -> np.ndarray:
        about = np.iinfo(dtype)
        return rng.integers(about.min if low is None else low, about.max if high is None else high, shape, dtype, True)

    of_int8 = of(np.int8)
    bits, byte, word = rng.integers(0, 2, shape).astype(bool), of(np.uint8), of(np.uint16)
    colours = rng.integers(0, 256, (*shape, 3), np.uint8)
    seen = rng.integers(0, 256, (*shape, 4), np.uint8)
    faint = rng.integers(0, 256, (*shape, 2), np.uint8)
    wide = rng.integers(0, 65536, (*shape, 3), np.uint16)
    inks = rng.integers(0, 256, (*shape, 4), np.uint8)
    yuv = np.stack([rng.integers(60, 200, shape), *rng.integers(118, 138, (2, *shape))], -1).astype(np.uint8)
    lab = np.stack([rng.uniform(30, 80, shape), *rng.uniform(-15, 15, (2, *shape))], -1).round()
    table = rng.integers(0, 256, (8, 3), np.uint8)
    places = rng.integers(0, 8, shape).astype(np.uint8)
    hole = int(word[0, 0])
    share, wild = rng.random(shape).astype(np.float32), rng.normal(-5, 300, shape).astype(np.float32)

    def palette(**info: Any) -> Image.Image:
        image = Image.fromarray(places).convert("L")
        image.putpalette(table.tobytes())
        image.info.update(info)
        return image

    light, cb, cr = (yuv[..., at].astype(float) for at in range(3))
    rgb_of_yuv = np.stack(
        [light + 1.402 * (cr - 128), light - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), light + 1.772 * (cb - 128)],
        -1,
    )
    lab_bytes = np.stack([lab[..., 0] * 2.55, lab[..., 1], lab[..., 2]], -1).round().astype(np.int16).astype(np.uint8)
    plain = Image.fromarray
    found: dict[str, tuple[Callable[[], bytes], np.ndarray, float]] = {
        "1 bit, png": (lambda: by_pillow(plain(bits), "PNG", turn), deep(bits * 255), 0),
        "8 bits, png": (lambda: by_pillow(plain(byte), "PNG", turn), deep(byte), 0),
        "8 bits, webp": (lambda: by_pillow(plain(byte), "WEBP", turn, lossless=True), deep(byte), 0),
        "8 bits, tiff": (lambda: tiff(byte, turn=turn), deep(byte), 0),
        "8 bits, white is 0": (lambda: tiff(byte, turn=turn, photometric=0), deep(255 - byte), 0),
        "signed 8 bits": (lambda: tiff(of_int8, turn=turn), deep(own_range(of_int8)), 1),
        "16 bits, png": (lambda: png16(word), deep(word / 257), 1),
        "16 bits, one transparent": (
            lambda: png16(word, hole), deep(np.where(word == hole, 255, word / 257)), 1,
        ),
        "16 bits, II": (lambda: tiff(word, turn=turn), deep(word / 257), 1),
        "16 bits, MM": (lambda: tiff(word, turn=turn, order=">"), deep(word / 257), 1),
        "16 bits, white is 0": (lambda: tiff(word, turn=turn, photometric=0), deep(255 - word / 257), 1),
        "16 bits, pgm": (lambda: b"P5 13 9 65535\n" + word.astype(">u2").tobytes(), deep(word / 257), 1),
        "16 bits, jp2": (lambda: by_pillow(plain(word), "JPEG2000"), deep(word / 257), 1),
        "share, II": (lambda: tiff(share, turn=turn), deep(share * 255), 1),
        "share, MM": (lambda: tiff(share, turn=turn, order=">"), deep(share * 255), 1),
        "float, II": (lambda: tiff(wild, turn=turn), deep(own_range(wild)), 1),
        "float, MM": (lambda: tiff(wild, turn=turn, order=">"), deep(own_range(wild)), 1),
        "RGB, png": (lambda: by_pillow(plain(colours), "PNG", turn), colours, 0),
        "RGB, bmp": (lambda: by_pillow(plain(colours), "BMP"), colours, 0),
        "RGB, ppm": (lambda: by_pillow(plain(colours), "PPM"), colours, 0),
        "RGB, tga": (lambda: by_pillow(plain(colours), "TGA"), colours, 0),
        "RGB, qoi": (lambda: by_pillow(plain(colours), "QOI"), colours, 0),
        "RGB, tiff": (lambda: tiff(colours, turn=turn, photometric=2), colours, 0),
        "RGB of 16 bits, png": (lambda: png16(wide), wide // 256, 1),
        "RGB of 16 bits, MM": (lambda: tiff(wide, turn=turn, photometric=2, order=">"), wide // 256, 1),
        "palette, png": (lambda: by_pillow(palette(), "PNG", turn), table[places], 0),
        "palette, gif": (lambda: by_pillow(palette(), "GIF"), table[places], 0),
        "palette, tiff": (lambda: by_pillow(palette(), "TIFF", turn), table[places], 0),
        "palette, transparent": (
            lambda: by_pillow(palette(), "PNG", turn, transparency=3),
            np.where((places == 3)[..., None], 255, table[places]), 0,
        ),
        "palette, alphas": (
            lambda: by_pillow(palette(), "PNG", turn, transparency=bytes(range(0, 256, 32))),
            over_white(table[places], places * 32), 1.01,
        ),
        "LA, png": (lambda: by_pillow(plain(faint), "PNG", turn), over_white(deep(faint[..., 0]), faint[..., 1]), 1.01),
        "RGBA, png": (lambda: by_pillow(plain(seen), "PNG", turn), over_white(seen[..., :3], seen[..., 3]), 1.01),
        "RGBA, tiff": (
            lambda: tiff(seen, turn=turn, photometric=2), over_white(seen[..., :3], seen[..., 3]), 1.01,
        ),
        "CMYK": (
            lambda: tiff(inks, turn=turn, photometric=5),
            (255 - inks[..., :3].astype(float)) * (255 - inks[..., 3:]) / 255, 1.01,
        ),
        "YCbCr": (lambda: ycbcr(yuv, turn), rgb_of_yuv, 2),
        "LAB": (lambda: tiff(lab_bytes, turn=turn, photometric=8), from_lab(lab), 4),
    }  # fmt: skip
    for dtype in (np.int16, np.int32):
        values = of(dtype, -3000, 40_000 if dtype is np.int32 else 30_000)
        for name, order in (("II", "<"), ("MM", ">")):
            found[f"{dtype.__name__}, {name}"] = (
                lambda values=values, order=order: tiff(values, turn=turn, order=order), deep(own_range(values)), 1,
            )  # fmt: skip
    large = of(np.uint32)
    found["uint32, II"] = (lambda: tiff(large, turn=turn), deep(own_range(large)), 1)
    return found


def ycbcr(values: np.ndarray, turn: int) -> bytes:
    image = Image.frombytes("YCbCr", (WIDTH, HEIGHT), values.tobytes())
    return by_pillow(image, "TIFF", turn)


TURNLESS = ("16 bits, png", "16 bits, one", "pgm", "jp2", "bmp", "ppm", "tga", "qoi", "gif")
"""Written without an orientation."""
KINDS = tuple(kinds(np.random.default_rng(0), 1))


class Seen(Exception):  # noqa: N818
    """Ends a command when it has read."""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[bytes], np.ndarray]]:
    """By name: what a command sees of a file, RGB or grey, as it hands it on to its model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights, "load", lru_cache(weights.load))
    seen: list[np.ndarray] = []

    def keep(values: np.ndarray) -> None:
        seen.append(values)
        raise Seen

    def watched(self: Any, pixels: Any, advance: Any = None) -> None:  # noqa: ARG001
        keep(pixels.rgb())

    monkeypatch.setattr(upscaling.Upscaler, "picture", watched)
    monkeypatch.setattr(upscaling.Upscaler, "numbers", watched)
    monkeypatch.setattr(inference, "classes", lambda _, values: keep(values))
    monkeypatch.setattr(digits, "_fitted", lambda values, _: keep(values))
    fake = Run(tmp_path / "run", Options(model="compressor", code=4), {}, {})
    monkeypatch.setattr(runs, "load", lambda _: fake)

    def command(*arguments: str) -> Callable[[bytes], np.ndarray]:
        def call(content: bytes) -> np.ndarray:
            Path("in.tif").write_bytes(content)  # the content says what it is, not the name
            seen.clear()
            assert cli.main(arguments) == 2
            (values,) = seen
            return values

        return call

    def train_upscaler(content: bytes) -> np.ndarray:
        Path("photographs").mkdir(exist_ok=True)
        Path("photographs/a.tif").write_bytes(content)
        with monkeypatch.context() as patch:
            patch.setattr(folders, "gather", lambda paths, read: keep(np.asarray(read(paths[0]).convert("RGB"))))
            seen.clear()
            with pytest.raises(Seen):
                tasks.get("upscaler").read(Options(model="upscaler", data="photographs", scale=2, batch_size=16))
        return seen[0]

    def train_segmenter(content: bytes) -> np.ndarray:
        for name in ("images", "masks"):
            Path("data", name).mkdir(parents=True, exist_ok=True)
        Path("data/images/a.tif").write_bytes(content)
        for size in ((WIDTH, HEIGHT), (HEIGHT, WIDTH)):
            Image.new("L", size).save("data/masks/a.png")
            if found := masks.read("data").pairs:
                return found[0][0]
        raise AssertionError(masks.read("data").problems)

    return {
        "upscale": command("upscale", "in.tif", "-o", "out.tif"),
        "segment": command("segment", "in.tif", "-o", "out.png"),
        "reconstruct": command("reconstruct", "run", "in.tif", "-o", "out.png"),
        "encode": command("encode", "run", "in.tif", "-o", "out.json"),
        "walk": command("walk", "run", "in.tif", "1", "-o", "out.png"),
        "train upscaler": train_upscaler,
        "train segmenter": train_segmenter,
        "lab": lambda content: np.asarray(uploads.opened("mine", content)[0]),
    }


@given(seed=st.integers(0, 2**32 - 1), turn=st.sampled_from(sorted(TURNS)), kind=st.sampled_from(KINDS))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_every_command_sees_the_same_picture(
    seed: int, turn: int, kind: str, commands: dict[str, Callable[[bytes], np.ndarray]]
) -> None:
    check(seed, turn, kind, commands)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_seen(kind: str, commands: dict[str, Callable[[bytes], np.ndarray]]) -> None:
    check(1, 6, kind, commands)


def check(seed: int, turn: int, kind: str, commands: dict[str, Callable[[bytes], np.ndarray]]) -> None:
    if any(word in kind for word in TURNLESS):
        turn = 1
    write, stored, tolerance = kinds(np.random.default_rng(seed), turn)[kind]
    content = write()
    truth = TURNS[turn](np.asarray(stored, float))
    luminance = truth @ [0.299, 0.587, 0.114]
    for name, look in commands.items():
        found = look(content)
        assert found.dtype == np.uint8, name
        expected = truth if found.ndim == 3 else luminance
        assert found.shape == expected.shape, name
        error = np.abs(found - expected.clip(0, 255)).max()
        assert error <= tolerance + (found.ndim == 2) + 0.5 * (tolerance > 0), (name, kind, turn, error)


def test_what_has_no_white_of_its_own_is_said_to_be_stretched(tmp_path: Path) -> None:
    def said(values: np.ndarray) -> list[str]:
        remarks: list[str] = []
        (tmp_path / "a.tif").write_bytes(tiff(values))
        reader.rgb(tmp_path / "a.tif", remarks.append)
        return [remark.removeprefix(f"{tmp_path / 'a.tif'}: ") for remark in remarks]

    assert said(np.array([[0, 65535]], np.uint16)) == []
    assert said(np.array([[0, 0.5]], np.float32)) == []
    assert said(np.array([[-5, 900]], np.int16)) == ["signed 16-bit numbers from -5 to 900, shown from black to white"]
    assert said(np.array([[7, 7]], np.int32)) == ["signed 32-bit numbers, all of them 7, shown as black"]
    assert said(np.array([[0, 3000]], np.uint16)) == ["its numbers reach 3000 of 65535, so that it looks nearly black"]
    assert said(np.array([[0, np.nan, 1]], np.float32)) == ["1 pixel is NaN, infinite, or marked as empty"]
    assert said(np.array([[0, np.nan, np.inf]], np.float32)) == ["2 pixels are NaN, infinite, or marked as empty"]


def test_numbers_that_are_none_look_like_paper_and_infinities_like_the_ends(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(np.array([[np.nan, -np.inf, np.inf, -4, 0, 4]], np.float32)))
    assert reader.grey(tmp_path / "a.tif").tolist() == [[255, 0, 255, 0, 128, 255]]
    (tmp_path / "a.tif").write_bytes(tiff(np.full((2, 2), np.nan, np.float32)))
    assert (reader.grey(tmp_path / "a.tif") == 255).all()


def frames() -> list[Image.Image]:
    return [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue", "lime")]


@pytest.mark.parametrize(
    ("format", "what"),
    [("MPO", "pictures"), ("TIFF", "pages"), ("GIF", "frames"), ("PNG", "frames"), ("WEBP", "frames")],
)
def test_of_several_pictures_the_first_is_read_and_a_remark_says_so(tmp_path: Path, format: str, what: str) -> None:
    first, *others = frames()
    file = tmp_path / "several"
    first.save(file, format, save_all=True, append_images=others)
    remarks: list[str] = []
    red = reader.rgb(file, remarks.append)
    assert np.abs(red.astype(int) - [255, 0, 0]).max() <= 2
    assert remarks == [f"{file}: the first of its 3 {what}"]
    shown, said = uploads.opened("mine", file.read_bytes())
    assert np.array_equal(np.asarray(shown), red)
    assert said == f"the first of its 3 {what}"


def test_a_damaged_second_picture_does_no_harm(tmp_path: Path) -> None:
    first, *others = frames()
    file = tmp_path / "several.tif"
    first.save(file, save_all=True, append_images=others)
    content = file.read_bytes()
    second = content.index(b"II*\0", 4) if content.count(b"II*\0") > 1 else len(content) // 3 * 2
    file.write_bytes(content[:second] + b"\xff" * (len(content) - second))
    assert (reader.rgb(file) == [255, 0, 0]).all()


def test_colours_of_16_bits_are_said_to_lose_half() -> None:
    remarks: list[str] = []
    reader.rgb(Upload("a", png16(np.zeros((2, 2, 3), np.uint16))), remarks.append)
    assert remarks == ["a: 16 bits a colour, of which Pillow reads the upper 8"]


def test_a_very_large_scan_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "scan.png"
    Image.new("1", (20_000, 15_000)).save(file)
    with pytest.raises(
        ImageError, match=r"20000×15000 pixels, 300 million; expected at most 200 million.*smaller.*=300"
    ):
        reader.rgb(file)
    small = tmp_path / "small.png"
    Image.new("L", (100, 100)).save(small)
    monkeypatch.setenv(reader.LIMIT, "9_999")
    with pytest.raises(ImageError, match="UNSTRIDE_MAX_PIXELS=10000"):
        reader.rgb(small)
    monkeypatch.setenv(reader.LIMIT, "10000")
    assert reader.rgb(small).shape == (100, 100, 3)
    monkeypatch.setenv(reader.LIMIT, "many")
    with pytest.raises(ImageError, match="UNSTRIDE_MAX_PIXELS is 'many'; expected a number of pixels"):
        reader.rgb(small)


def test_our_limit_alone_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's is left as it was."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert reader.rgb(Upload("a", by_pillow(Image.new("L", (100, 100)), "PNG"))).shape == (100, 100, 3)
    assert Image.MAX_IMAGE_PIXELS == 1000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty; expected a picture"),
        (b"words", "not an image that Pillow can read; expected one such as a PNG or a JPEG"),
        (b"\0\0\0\x18ftypheic" + bytes(99), "an HEIC photograph, which Pillow cannot read; export it as JPEG"),
        (b"%PDF-1.7", "a drawing or document"),
        (b"<svg xmlns=", "a drawing or document"),
        (by_pillow(Image.new("RGB", (9, 9)), "EPS"), "a drawing or document"),  # Pillow would start Ghostscript
        (tiff(np.zeros((4, 4), np.float64)), "a TIFF of 64-bit little-endian floats, 1 a pixel"),
        (tiff(np.zeros((4, 4), np.uint32), order=">"), "a TIFF of 32-bit big-endian unsigned numbers"),
        (b"II*\0\x08\0\0\0", "a damaged TIFF"),
    ],
)
def test_what_is_no_picture_is_refused_by_its_kind(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(content)
    for source in (file, Upload("a.png", content)):
        with pytest.raises(ImageError, match=rf"a\.png: {message}"):
            reader.rgb(source)


def test_remarks_on_many_files_are_folded() -> None:
    many = [f"{n}.mpo: the first of its 2 pictures" for n in range(9)]
    assert folders.folded(["a.tif: dark", *many]) == ["a.tif: dark", "0.mpo and 8 more: the first of its 2 pictures"]
    assert folders.folded(many[:3]) == many[:3]
