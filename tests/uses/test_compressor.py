"""The compressor: its model in all variants, codes, the checkerboard's measure, the commands on a tiny run."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from unstride import cli, codes, runs
from unstride.compress_report import spectrum
from unstride.compressing import activity
from unstride.data import mnist
from unstride.deployed import extracted
from unstride.models import compressor
from unstride.models._compressor import decoder
from unstride.models._layers import CropLike, DepthToSpace

SMALL = ["--epochs", "1", "--limit", "60", "--batch-size", "20", "--code", "6"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("compressor") / "run"
    assert cli.main(["train", "compressor", "--run", str(folder), *SMALL, "--noise", "0.3"]) == 0
    return str(folder)


@pytest.mark.parametrize("upsample", ["transposed", "resize", "subpixel"])
@pytest.mark.parametrize("kernel", [3, 4])
def test_model(upsample: str, kernel: int, tmp_path: Path) -> None:
    model = compressor(5, upsample, kernel)
    images = np.random.default_rng(0).random((3, 28, 28, 1), np.float32)
    made = model.predict(images, verbose=0)
    assert made.shape == images.shape
    assert 0 < made.min() < made.max() < 1
    assert model.get_layer("encoder").predict(images, verbose=0).shape == (3, 5)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(images, verbose=0), made)


def test_refused() -> None:
    for arguments, message in (
        ((0,), "code is 0; expected how many numbers"),
        ((3, "nearest"), "upsample is 'nearest'; expected one of: transposed, resize, subpixel"),
        ((3, "resize", 1), "kernel is 1; expected a side of at least 2"),
    ):
        with pytest.raises(ValueError, match=message):
            compressor(*arguments)


def test_depth_to_space() -> None:
    x = np.random.default_rng(0).random((2, 3, 4, 8), np.float32)
    found = keras.ops.convert_to_numpy(DepthToSpace(2)(x))
    assert found.shape == (2, 6, 8, 2)
    for n, h, w, c in np.ndindex(found.shape):
        assert found[n, h, w, c] == x[n, h // 2, w // 2, (h % 2 * 2 + w % 2) * 2 + c]


def test_crop_like() -> None:
    image = np.random.default_rng(0).random((1, 6, 8, 2), np.float32)
    found = keras.ops.convert_to_numpy(CropLike()([image, np.zeros((1, 5, 7, 3), np.float32)]))
    np.testing.assert_array_equal(found, image[:, :5, :7])


def test_checkerboard() -> None:
    y, x = np.mgrid[:28, :28]
    board = ((x + y) % 2).astype(np.float32)[None]
    slow = np.cos(2 * np.pi * x / 28).astype(np.float32)[None]
    assert codes.checkerboard(board) == pytest.approx(100)
    assert codes.checkerboard(slow) == pytest.approx(0, abs=1e-9)
    # Half of the deviation is a quarter of the energy: (2 * 0.25)² = 0.25 beside the cosine's 0.5.
    assert codes.checkerboard(slow + 0.5 * board) == pytest.approx(100 * 0.0625 / (0.5 + 0.0625))
    assert codes.checkerboard(np.ones((1, 4, 4), np.float32)) == 0
    threes = (x % 3 == 0).astype(np.float32)[None, :27, :27]
    assert codes.checkerboard(threes, 3) == pytest.approx(100)
    assert codes.checkerboard(threes[:, :24, :24], 2) < 1


def test_uneven_taps_make_a_checkerboard() -> None:
    """k3 s2 reaches pixels by 1, 2 or 4 taps, k4 s2 all by 4."""
    found = {}
    for kernel in (3, 4):
        keras.utils.set_random_seed(0)
        found[kernel] = codes.checkerboard(activity(extracted(decoder(8, "transposed", kernel)), "transposed", 0)[None])
    assert found[3] > 5 * found[4]


def test_spectrum() -> None:
    board = (np.indices((28, 28)).sum(0) % 2).astype(np.float32)[None]
    found = spectrum(board)
    assert np.unravel_index(found.argmax(), found.shape) == (0, 0)  # the corner is the highest frequency
    assert found[0, 0] == pytest.approx(1, abs=1e-4)


def test_between() -> None:
    first, last = np.array([0.0, 2.0], np.float32), np.array([1.0, 0.0], np.float32)
    np.testing.assert_allclose(codes.between(first, last, 3), [[0, 2], [0.5, 1], [1, 0]])


def test_probe_and_plane() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3, dtype=np.uint8), 50)
    centres = np.array([[5, 0, 0, 0], [0, 5, 0, 0], [0, 0, 5, 0]])
    values = (centres[labels] + rng.normal(0, 0.5, (150, 4))).astype(np.float32)
    assert codes.probe(values[::2], labels[::2], values[1::2], labels[1::2]) == 1
    assert codes.probe(values[::2], rng.permutation(labels[::2]), values[1::2], labels[1::2]) < 0.9
    assert codes.plane(values, labels).shape == (150, 2)


def test_report(run: str) -> None:
    page = (Path(run) / "report.html").read_text()
    for text in ("The checkerboard", "transposed", "subpixel", "A map of the codes", "--noise", "0.3"):
        assert text in page
    assert {"checkerboards.png", "codes.png", "walk.png"} <= {at.name for at in (Path(run) / "pictures").iterdir()}


def test_noise_is_on_the_inputs_only(run: str) -> None:
    from unstride import tasks

    options = runs.load(run).options
    task = tasks.get("compressor")
    data = task.read(options)
    batches = task.batches(options, data)
    noisy, clean = batches[0]
    again, _ = batches[0]
    np.testing.assert_array_equal(noisy, again)
    assert (clean == data.training[batches.order[:20]][..., None] / np.float32(255)).all()
    assert 0.08 < (noisy - clean).std() < 0.3  # a half is cut off at black
    assert noisy.min() >= 0


def test_encode_decode_walk(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    digits = mnist()[1][0]
    for number in range(2):
        Image.fromarray(digits[number]).save(f"{number}.png")
    Path("broken.png").write_text("words")
    assert cli.main(["encode", run, "0.png", "broken.png", "1.png", "-o", "codes.json"]) == 1
    assert "broken.png: not an image that Pillow can read" in capsys.readouterr().err
    written = json.loads(Path("codes.json").read_text())["codes"]
    assert list(written) == ["0.png", "1.png"]
    assert all(len(code) == 6 for code in written.values())
    assert cli.main(["decode", run, "codes.json", "-o", "decoded.png"]) == 0
    with Image.open("decoded.png") as image:
        assert image.size == (2 * 28 * 8, 28 * 8)
    # As `reconstruct` has it: the same model in two steps.
    Path("list.json").write_text(json.dumps(list(written.values())))
    assert cli.main(["decode", run, "list.json", "-o", "again.png"]) == 0
    assert Path("again.png").read_bytes() == Path("decoded.png").read_bytes()
    assert cli.main(["walk", run, "0.png", "1", "--steps", "4"]) == 0
    with Image.open("walk.png") as image:
        walked = np.asarray(image)
    with Image.open("decoded.png") as image:
        decoded = np.asarray(image)
    assert walked.shape == (28 * 8, 4 * 28 * 8)
    # Both ends; within their tiles, because the pictures are smoothed.
    for column, place in ((0, 0), (3, 1)):
        a = walked[20:-20, column * 224 + 20 : column * 224 + 204].astype(int)
        b = decoded[20:-20, place * 224 + 20 : place * 224 + 204].astype(int)
        assert np.abs(a - b).max() <= 2
    assert cli.main(["walk", run, "0", "1", "--steps", "4", "-o", "walk.gif"]) == 0
    with Image.open("walk.gif") as image:
        assert image.format == "GIF"
        assert image.n_frames <= 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "RUN", "x.png", "-o", "codes.txt"], "expected a name that ends with .json"),
        (["decode", "RUN", "bad.json"], "bad.json: expected codes of 6 numbers each"),
        (["decode", "RUN", "torn.json"], "torn.json: not JSON"),
        (["walk", "RUN", "0", "10000"], "there is no test image 10000"),
        (["walk", "RUN", "0", "1", "--steps", "1"], "--steps is 1; expected from 2 to 1000"),
        (["walk", "RUN", "0", "1", "-o", "walk.xyz"], "no picture format ends with '.xyz'"),
    ],
)
def test_mistakes(run: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.json").write_text("[[1, 2]]")
    Path("torn.json").write_text("[[1, 2")
    capsys.readouterr()
    assert cli.main([run if at == "RUN" else at for at in arguments]) == 2
    assert message in capsys.readouterr().err
