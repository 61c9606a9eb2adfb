"""Upscaling: the Keras model and its twin on NumPy arrays, exact tiles, every kind of picture, and the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from unstride import __main__ as cli
from unstride.app import weights
from unstride.app.images import reader, tiffs
from unstride.app.tasks.upscaler import inference
from unstride.app.tasks.upscaler.inference import Upscaler
from unstride.app.weights import ExportedModel
from unstride.models import upscaler
from unstride.models._upscaler import MARGIN


def network(scale: int, seed: int = 0) -> tuple[keras.Model, Upscaler]:
    """With random weights everywhere, those of the last layer too."""
    rng = np.random.default_rng(seed)
    model = upscaler(scale)
    model.set_weights([rng.normal(0, 0.15, values.shape).astype(np.float32) for values in model.get_weights()])
    return model, Upscaler(ExportedModel({"model": "upscaler", "scale": scale}, weights.export_weights(model)))


def cubic(scale: int) -> Upscaler:
    """Interpolation alone: nothing that the network adds."""
    _, made = network(scale)
    made.kernel[:] = 0
    made.bias = np.zeros(1, np.float32)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_it_begins_as_bicubic_interpolation(scale: int) -> None:
    """Pillow's, but for the features' random share."""
    model = upscaler(scale)
    kernel, bias = model.get_layer("enlarge").get_weights()
    assert np.abs(kernel[..., :-1]).max() > 0
    kernel[..., :-1] = 0
    model.get_layer("enlarge").set_weights([kernel, bias])
    image = np.random.default_rng(scale).random((30, 37), np.float32)
    found = keras.ops.convert_to_numpy(model(image[None, ..., None]))[0, ..., 0]
    whole = np.asarray(Image.fromarray(image).resize((37 * scale, 30 * scale), Image.Resampling.BICUBIC))
    edge = MARGIN * scale
    assert found.shape == ((30 - 16) * scale, (37 - 16) * scale)
    np.testing.assert_allclose(found, whole[edge:-edge, edge:-edge], atol=1e-6)


def test_other_scales_are_refused() -> None:
    with pytest.raises(ValueError, match="scale is 5; expected 2, 3 or 4"):
        upscaler(5)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_same_without_keras(scale: int) -> None:
    model, twin = network(scale)
    image = np.random.default_rng(1).random((23, 31), np.float32)
    padded = np.pad(image, MARGIN, mode="edge")[None, ..., None]
    expected = keras.ops.convert_to_numpy(model(padded))[0, ..., 0]
    np.testing.assert_allclose(twin.luminance(image), expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("tile", [1, 7, 16, 40])
def test_tiles_have_no_seams(tile: int) -> None:
    _, twin = network(3)
    image = np.random.default_rng(2).random((33, 40), np.float32)
    whole = twin.luminance(image, None)
    assert np.abs(twin.luminance(image, tile) - whole).max() <= 1e-5 * np.abs(whole).max()


def test_tiles_of_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut from the picture one by one, with neighbours' pixels around them."""
    _, twin = network(2)
    picture = Image.fromarray(np.random.default_rng(2).integers(0, 256, (33, 40, 3), np.uint8))
    whole = np.asarray(twin.picture(picture)).astype(int)
    monkeypatch.setattr(inference, "TILE", 9)
    told: list[int] = []
    assert np.abs(np.asarray(twin.picture(picture, told.append)).astype(int) - whole).max() <= 1  # rounding
    assert sum(told) == 33 * 40
    assert len(told) == 4 * 5


def noise(mode: str) -> Image.Image:
    rng = np.random.default_rng(3)
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, (13, 17), np.uint16))
    if mode == "F":
        return Image.fromarray(rng.normal(5, 3, (13, 17)).astype(np.float32))
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, (17, 13), rng.integers(0, 256, (13, 17, bands), np.uint8).tobytes())


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_modes_are_kept(mode: str) -> None:
    """Each band interpolated as Pillow does (in fractions), away from the edges, where Pillow has its own way."""
    image = noise(mode)
    large = cubic(2).picture(image)
    assert (large.mode, large.size) == (mode, (34, 26))
    white, tolerance = {"I;16": (65535, 1), "F": (np.inf, 1e-3)}.get(mode, (255, 1))
    for own, made in zip(image.split(), large.split(), strict=True):
        values = Image.fromarray(np.asarray(own, np.float32))
        expected = np.asarray(values.resize((34, 26), Image.Resampling.BICUBIC))[4:-4, 4:-4]
        expected = expected.clip(0 if mode != "F" else -np.inf, white)
        np.testing.assert_allclose(np.asarray(made, np.float32)[4:-4, 4:-4], expected, atol=tolerance)


def test_what_the_network_adds_goes_to_every_colour_alike() -> None:
    _, twin = network(2)
    image = noise("RGBA")
    added = [
        np.asarray(a, np.float32) - np.asarray(b, np.float32)
        for a, b in zip(twin.picture(image).split(), cubic(2).picture(image).split(), strict=True)
    ]
    assert np.abs(added[0]).max() > 10
    inside = [np.asarray(band).astype(int) for band in twin.picture(image).split()[:3]]
    free = np.all([(band > 0) & (band < 255) for band in inside], axis=0)  # not cut off at black or white
    free &= np.all([(np.asarray(b) > 0) & (np.asarray(b) < 255) for b in cubic(2).picture(image).split()[:3]], axis=0)
    assert free.sum() > 20
    assert np.abs(added[0] - added[1])[free].max() <= 2
    assert np.abs(added[0] - added[2])[free].max() <= 2
    assert np.abs(added[3]).max() == 0  # the transparency's


def test_palettes_and_bits_become_colours() -> None:
    twin = cubic(2)
    assert twin.picture(noise("RGB").quantize(8)).mode == "RGB"
    assert twin.picture(noise("L").convert("1")).mode == "L"
    see_through = noise("RGB").quantize(8)
    see_through.info["transparency"] = 0
    assert twin.picture(see_through).mode == "RGBA"


def test_what_ships_beats_interpolation() -> None:
    """On a photograph that it has not seen; by a good part of a decibel, so that a wrong file or layout shows."""
    from unstride.app.tasks.upscaler.metrics import quality
    from unstride.data import photographs

    for scale, gain in ((2, 1.0), (3, 0.7), (4, 0.4)):
        large, small = photographs.small(photographs.read("skimage", "astronaut.png").convert("L"), scale)
        twin = Upscaler(weights.find("upscaler", f"upscaler_x{scale}", None))
        psnr, ssim = quality(np.asarray(large), np.asarray(twin.picture(small)), scale)
        plain = np.asarray(small.resize(large.size, Image.Resampling.BICUBIC))
        psnr_plain, ssim_plain = quality(np.asarray(large), plain, scale)
        assert psnr > psnr_plain + gain
        assert ssim > ssim_plain


def test_quality_by_hand() -> None:
    from unstride.app.tasks.upscaler.metrics import quality

    image = np.full((20, 20), 100, np.uint8)
    other = image.copy()
    other[5, 5] = 110
    other[0, 0] = 255  # within the border
    psnr, ssim = quality(image, other, 2)
    assert psnr == pytest.approx(10 * np.log10(255**2 / (100 / 256)))
    assert ssim < 1


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    noise("RGBA").save("one.png")
    assert cli.main(["upscale", "one.png", "-o", "two.png"]) == 0
    assert "one.png: 17x13 to 34x26, two.png" in capsys.readouterr().out
    with Image.open("two.png") as image:
        assert (image.mode, image.size) == ("RGBA", (34, 26))
    noise("I;16").save("deep.png")
    assert cli.main(["upscale", "one.png", "deep.png", "-o", "large", "--scale", "3"]) == 0
    with Image.open("large/deep.png") as image:
        assert (image.mode, image.size) == ("I;16", (51, 39))


def test_a_bad_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is named, with what is wrong; the others are done; the exit code is 1."""
    folder = tmp_path / "in"
    folder.mkdir()
    noise("RGB").save(folder / "good.png")
    noise("RGB").save(folder / "also.jpg")
    noise("CMYK").save(folder / "inks.jpg")
    whole = (folder / "good.png").read_bytes()
    (folder / "torn.png").write_bytes(whole[: len(whole) // 2])
    (folder / "words.png").write_text("words")
    frames = [noise("L"), noise("L").rotate(90)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    noise("RGB").save(folder / "odd.ico", sizes=[(17, 13)])
    (folder / "telephone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    assert cli.main(["upscale", "in", "-o", "out"]) == 1
    out, err = capsys.readouterr()
    assert [line.split(":")[0] for line in out.splitlines()] == [
        str(Path("in") / name) for name in ("also.jpg", "good.png", "inks.jpg", "moving.gif", "odd.ico")
    ]
    lines = err.splitlines()
    assert len(lines) == 4
    assert lines[0] == f"unstride: note: {Path('in') / 'moving.gif'}: the first of its 2 frames"
    assert "telephone.heic: an HEIC photograph" in lines[1]
    assert "torn.png: a damaged image" in lines[2]
    assert "words.png: not an image that Pillow can read" in lines[3]
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "also.jpg", "good.png", "inks.jpg", "moving.gif", "odd.ico",
    ]  # fmt: skip
    with Image.open("out/inks.jpg") as image:
        assert image.mode == "CMYK"


MISTAKES = {
    "scale": (["one.png", "-o", "two.png", "--scale", "5"], "--scale is 5; expected 2, 3 or 4"),
    "ending": (["one.png", "-o", "two.xyz"], "-o two.xyz: no picture format ends with '.xyz'"),
    "file for several": (["one.png", "two.png", "-o", "one.png"], "-o one.png is a file; expected a folder"),
    "itself": (["one.png", "two.png", "-o", "."], "-o: one.png is an input; nothing was written"),
    "no name": (["", "-o", "large"], "an IMAGE is empty; expected the name of a file or a folder"),
    "no output": (["one.png", "-o", ""], "-o is empty; expected a file's or a folder's name"),
    "empty model": (["one.png", "-o", "x.png", "--model", ""], "--model is empty"),
    "weights": (["one.png", "-o", "x.png", "--model", "nowhere.npz"], "nowhere.npz: no such file"),
    "no weights": (["one.png", "-o", "x.png", "--model", "one.png"], "one.png: not weights that can be loaded"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake: str, capsys: pytest.CaptureFixture[str]) -> None:
    noise("RGB").save("one.png")
    noise("RGB").save("two.png")
    arguments, message = MISTAKES[mistake]
    assert cli.main(["upscale", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_format_that_cannot_hold_it(capsys: pytest.CaptureFixture[str]) -> None:
    noise("RGBA").save("one.png")
    assert cli.main(["upscale", "one.png", "-o", "two.jpg"]) == 2
    err = capsys.readouterr().err
    assert "two.jpg: JPEG cannot hold it" in err
    assert "name an output like .png" in err
    assert not Path("two.jpg").exists()


@pytest.mark.parametrize(
    ("mode", "ending", "others"), [("CMYK", ".png", ".jpg or .tif"), ("RGBA", ".jpg", ".png or .tif")]
)
def test_what_to_name_instead_holds_the_picture(
    mode: str, ending: str, others: str, capsys: pytest.CaptureFixture[str]
) -> None:
    noise(mode).save("one.tif")
    assert cli.main(["upscale", "one.tif", "-o", f"two{ending}"]) == 2
    err = capsys.readouterr().err
    assert err.endswith(f"name an output like {others}\n")
    for other in others.split(" or "):
        assert cli.main(["upscale", "one.tif", "-o", f"two{other}"]) == 0


RUN = "from unstride.__main__ import main; raise SystemExit(main())"


def integers(kind: type) -> np.ndarray:
    """Smooth, with a bright and a dark half, over most of the type's range."""
    y, x = np.mgrid[:13, :17]
    wave = np.sin(x / 3) * np.cos(y / 4)
    if np.dtype(kind).kind == "f":
        return (wave * 1e5 - 3).astype(kind)
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    return ((wave * 0.45 + 0.5) * (high - low) + low).astype(kind)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.uint16, np.int32, np.uint32, np.float32])
@pytest.mark.parametrize("offset", [False, True])
def test_numbers_keep_their_type_and_range(kind: type, offset: bool) -> None:
    """Negative ones, those beyond 16 bits, and small differences between large ones."""
    values = integers(kind)
    if offset and np.dtype(kind).itemsize == 4 and kind is not np.float32:
        values = (np.iinfo(kind).max - 200 + integers(np.int8).astype(int) // 2).astype(kind)
    tiffs.write(Path("in.tif"), values)
    assert cli.main(["upscale", "in.tif", "-o", "out.tif"]) == 0
    found = reader.pixels("out.tif").values[..., 0]
    assert found.dtype == kind
    assert found.shape == (26, 34)
    # As its samples' bicubic enlargement, within what the network adds.
    exact = Image.fromarray((values.astype(float) - float(values.min())).astype(np.float32))
    expected = np.asarray(exact.resize((34, 26), Image.Resampling.BICUBIC)).astype(float) + float(values.min())
    span = float(values.max()) - float(values.min())
    assert np.abs(found.astype(float) - expected)[4:-4, 4:-4].max() < 0.05 * span + 1
    assert float(found.min()) < float(values.min()) + 0.1 * span
    assert float(found.max()) > float(values.max()) - 0.1 * span


def test_numbers_that_are_none_stay_where_they_are() -> None:
    values = integers(np.float32)
    plain = values.copy()
    values[3, 4], values[5:8, 9], values[12, 16] = np.nan, np.inf, -np.inf
    tiffs.write(Path("in.tif"), values)
    tiffs.write(Path("plain.tif"), plain)
    for name in ("in", "plain"):
        assert cli.main(["upscale", f"{name}.tif", "-o", f"{name}-2.tif"]) == 0
    found, whole = (reader.pixels(f"{name}-2.tif").values[..., 0] for name in ("in", "plain"))
    np.testing.assert_array_equal(np.isfinite(found), np.kron(np.isfinite(values), np.ones((2, 2), bool)))
    np.testing.assert_array_equal(found[10:16, 18:20], np.inf)
    np.testing.assert_array_equal(found[24:, 32:], -np.inf)
    far = np.s_[:, :2]  # the network sees 8 pixels around
    np.testing.assert_allclose(found[far], whole[far], atol=0.1 * np.ptp(plain))
    tiffs.write(Path("none.tif"), np.full((4, 4), np.nan, np.float32))
    assert cli.main(["upscale", "none.tif", "-o", "none-2.tif"]) == 0
    assert np.isnan(reader.pixels("none-2.tif").values).all()


def test_no_data_stays_no_data() -> None:
    """As maps of heights have it: far outside of the range of all others, which it would flatten."""
    for kind, empty in ((np.int16, -32768), (np.float32, float(np.float32(-3.4e38)))):
        values = (integers(np.int8).astype(float) * 10).astype(kind)
        values[2:5, 3:6] = empty
        tiffs.write(Path("in.tif"), values, empty)
        assert cli.main(["upscale", "in.tif", "-o", "out.tif"]) == 0
        found = reader.pixels("out.tif")
        assert found.empty == empty
        np.testing.assert_array_equal(found.values[..., 0] == empty, np.kron(values == empty, np.ones((2, 2), bool)))
        rest = found.values[found.values != empty].astype(float)
        assert -1400 < rest.min() < -900
        assert 900 < rest.max() < 1400


def test_numbers_that_only_tiff_keeps_are_refused_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in (np.int16, np.float32):
        tiffs.write(Path("in.tif"), integers(kind))
        for name in ("out.png", "out.jpg"):
            assert cli.main(["upscale", "in.tif", "-o", name]) == 2
            assert "name an output like .tif" in capsys.readouterr().err
            assert not Path(name).exists()


def test_no_input_is_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    noise("RGB").save("one.png")
    noise("RGB").save("two.png")
    Path("folder").mkdir()
    Path("hard.png").hardlink_to("one.png")
    Path("soft.png").symlink_to("one.png")
    Path("folder/one.png").symlink_to(Path("two.png").resolve())
    before = {path: path.read_bytes() for path in Path().rglob("*.png")}
    for arguments in (
        ["one.png", "-o", "one.png"],
        ["one.png", "-o", "folder/../one.png"],
        ["one.png", "-o", str(Path("one.png").resolve())],
        ["one.png", "-o", "hard.png"],
        ["one.png", "-o", "soft.png"],
        ["soft.png", "-o", "one.png"],
        ["one.png", "-o", "."],
        ["one.png", "two.png", "-o", "folder"],  # one's would be two
        [".", "-o", "."],
    ):
        assert cli.main(["upscale", *arguments]) == 2, arguments
        assert "an input; nothing was written" in capsys.readouterr().err
        assert cli.main(["segment", *arguments]) == 2, arguments
        assert "an input; nothing was written" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path().rglob("*.png")} == before
    noise("RGB").save("out-overlay.png")
    assert cli.main(["segment", "one.png", "out-overlay.png", "-o", "new"]) == 0
    assert cli.main(["segment", "out-overlay.png", "-o", "out.png"]) == 2
    assert "-o: out-overlay.png is an input" in capsys.readouterr().err
    noise("RGB").save("one-overlay.png")
    assert cli.main(["segment", "one.png", "one-overlay.png", "-o", "newer"]) == 2
    assert "one-overlay.png would be written twice" in capsys.readouterr().err


@pytest.mark.slow
def test_names_that_the_console_lacks_stop_no_batch() -> None:
    """In a console of ASCII, in the C locale, and with bytes that are no text."""
    names = [os.fsencode(name) for name in ("caf\u00e9.png", "\u6570.png", "plain.png")] + [b"raw\xff.png"]
    os.mkdir(b"in")  # noqa: PTH102
    for name in names:
        with open(os.path.join(b"in", name), "wb") as file:  # noqa: PTH118, PTH123
            noise("RGB").save(file, "PNG")
    Path("in/\u00fcbel.png").write_bytes(b"words")
    for environment in (
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "utf-8"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "C"},
    ):
        for command in ("upscale", "segment"):
            done = subprocess.run(
                [sys.executable, "-c", RUN, command, "in", "-o", "out"],
                capture_output=True,
                check=False,
                env={key: value for key, value in os.environ.items() if key != "PYTHONIOENCODING"} | environment,
            )
            assert done.returncode == 1, done.stderr
            assert len(done.stdout.splitlines()) == 4
            assert done.stderr.count(b"\n") == 1 + (command == "segment")  # which notes that it has found no digits
            assert b"bel.png: not an image" in done.stderr
