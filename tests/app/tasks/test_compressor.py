"""The compressor: its model in all variants, codes, the checkerboard's measure, the commands on a tiny run."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unstride import __main__ as cli
from unstride import codes
from unstride.app import runs
from unstride.app.tasks.compressor import lessons, report
from unstride.app.tasks.compressor.inference import Compressor, activity, decoded, random_weights
from unstride.app.tasks.compressor.report import spectrum
from unstride.app.tasks.datasets import Dataset
from unstride.data import mnist, mnist_test
from unstride.models import compressor
from unstride.models._layers import CropLike, DepthToSpace

SMALL = ["--epochs", "1", "--limit", "60", "--batch-size", "20", "--code", "6"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("compressor") / "run"
    assert cli.main(["train", "compressor", "--run", str(folder), *SMALL, "--noise", "0.3"]) == 0
    return str(folder)


@pytest.mark.slow
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


ROWS, COLUMNS = np.mgrid[:28, :28]


def tiled(pattern: np.ndarray) -> np.ndarray:
    """A picture of 28x28 that is nothing but the pattern, again and again, with the mean 0 and the deviation 1."""
    pattern = (pattern - pattern.mean()) / pattern.std()
    return np.tile(pattern, (28 // pattern.shape[0], 28 // pattern.shape[1]))


@settings(max_examples=60, deadline=None)
@given(
    period=st.sampled_from([2, 4]),
    values=st.lists(st.integers(-9, 9), min_size=16, max_size=16),
    slope=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
    amplitude=st.floats(0.001, 10),
    level=st.floats(-5, 5),
)
def test_a_checkerboard_of_known_amplitude_is_measured(
    period: int, values: list[int], slope: tuple[float, float], amplitude: float, level: float
) -> None:
    """On a ramp, however steep: the pattern's deviation in percent of the picture's."""
    pattern = np.array(values[: period**2], float).reshape(period, period)
    if np.ptp(pattern) == 0:
        pattern[0, 0] += 1
    picture = level + amplitude * tiled(pattern) + slope[0] * ROWS + slope[1] * COLUMNS
    expected = 100 * amplitude / picture.std()
    assert codes.checkerboard(picture[None]) == pytest.approx(expected, rel=1e-6)
    assert codes.checkerboard(7 * picture[None] + 3) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("waves", [0.5, 1, 2])
def test_smooth_pictures_have_no_checkerboard(waves: float) -> None:
    wave = np.cos(2 * np.pi * waves * ROWS / 28 + 1) * np.cos(2 * np.pi * waves * COLUMNS / 28 + 2)
    blob = np.exp(-((ROWS - 12) ** 2 + (COLUMNS - 15) ** 2) / (2 * (14 / waves / 2) ** 2))
    frame = 1 / (
        1 + np.exp(-(np.minimum(ROWS, 27 - ROWS) - 3.0) * min(waves, 1))
    )  # dark towards an edge, as decoders' answers are
    for picture in (wave, blob, frame):
        assert codes.checkerboard(picture[None]) < 3
    assert codes.checkerboard(np.full((2, 28, 28), 0.3)) == 0


def test_noise_averages_out_over_the_pictures() -> None:
    noise = np.random.default_rng(0).standard_normal((400, 28, 28))
    assert 5 < codes.checkerboard(noise[:1]) < 30
    assert codes.checkerboard(noise) < 2


def test_the_checkerboards_measure_refuses() -> None:
    for images, period, words in (
        (np.zeros((28, 28)), 4, r"shape \(28, 28\); expected \(n, height, width\)"),
        (np.zeros((1, 28, 7)), 4, "8 pixels along each side"),
        (np.zeros((0, 28, 28)), 4, "at least one image"),
        (np.zeros((1, 28, 28)), 1, "period is 1; expected at least 2"),
    ):
        with pytest.raises(ValueError, match=words):
            codes.checkerboard(images, period)


def test_a_period_of_three() -> None:
    threes = (COLUMNS % 3 == 0).astype(float)[None, :27, :27]
    assert codes.checkerboard(threes, 3) == pytest.approx(100)
    assert codes.checkerboard(threes, 2) < 15


@pytest.mark.parametrize("kernel", [3, 4, 6])
def test_the_measure_agrees_with_the_eye_on_three_decoders(kernel: int) -> None:
    """Resize-convolution is smooth. Sub-pixel convolution is speckled, with a kernel of 6 at period 4 alone, and so are
    transposed convolutions; with a kernel that the stride does not divide, that is nearly all there is to see."""
    found = {
        name: codes.checkerboard(activity(random_weights(8, name, kernel, 0), name, 0)[None])
        for name in ("transposed", "resize", "subpixel")
    }
    assert found["resize"] < 10 < 15 < min(found["subpixel"], found["transposed"])
    assert (found["transposed"] > 80) == (kernel == 3)


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


@pytest.mark.slow
def test_report(run: str) -> None:
    page = (Path(run) / "report.html").read_text()
    for text in ("The checkerboard", "transposed", "subpixel", "A map of the codes", "--noise", "0.3"):
        assert text in page
    assert {"checkerboards.png", "codes.png", "walk.png"} <= {at.name for at in (Path(run) / "pictures").iterdir()}


@pytest.mark.slow
def test_decoders_are_compared_without_keras(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which compiles a program for each: minutes, after a training of seconds."""
    from unstride.app import tasks
    from unstride.app.weights import FILE, load

    for name in ("fit", "predict", "compile", "__call__"):
        monkeypatch.setattr(keras.Model, name, None)
    monkeypatch.setattr(report, "STEPS_OF_A_LESSON", (2, 3))
    options = runs.load(run).options
    data: Dataset = tasks.get("compressor").read(options)
    network = Compressor(load(Path(run) / FILE))
    compared = report.compare(network, data, 0, 2)
    assert [(at.name, at.kernel) for at in compared] == list(report.COMPARED)
    assert all(np.isfinite([at.untrained, at.trained, at.error]).all() for at in compared)


def test_the_lesson_is_as_long_as_the_training_was() -> None:
    least, most = report.STEPS_OF_A_LESSON
    assert report.lesson_steps(1) == least
    assert report.lesson_steps(10 * report.BATCH * 100) == 100
    assert report.lesson_steps(10**9) == most


@pytest.mark.parametrize("upsample", ["transposed", "resize", "subpixel"])
@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_a_decoders_gradients(upsample: str, kernel: int) -> None:
    """Against differences of the loss, in the direction of each gradient itself."""
    rng = np.random.default_rng(0)
    weights = {name: values.astype(np.float64) for name, values in random_weights(6, upsample, kernel, 0).items()}
    asked, targets = rng.standard_normal((3, 6)), rng.random((3, 28, 28))

    def loss(now: dict[str, np.ndarray]) -> float:
        made = decoded(now, upsample, asked).astype(np.float64)
        return float(-np.mean(targets * np.log(made) + (1 - targets) * np.log1p(-made)))

    found = lessons.gradients(weights, upsample, asked, targets)
    assert set(found) == set(weights)
    for name, slope in found.items():
        length = float(np.linalg.norm(slope))
        step = 0.01 * slope / length
        change = loss(weights | {name: weights[name] + step}) - loss(weights | {name: weights[name] - step})
        assert change / 0.02 == pytest.approx(length, rel=0.03), name


def test_a_lesson_is_learned_and_is_the_same_again() -> None:
    images = mnist_test()[0][:64] / np.float32(255)
    asked = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
    before = random_weights(8, "transposed", 4, 0)
    kept = {name: values.copy() for name, values in before.items()}
    after, again = (lessons.taught(before, "transposed", asked, images, steps=12, batch=32, seed=3) for _ in range(2))
    errors = [np.square(decoded(weights, "transposed", asked) - images).mean() for weights in (before, after)]
    assert errors[1] < errors[0] / 2
    for name, values in before.items():
        np.testing.assert_array_equal(values, kept[name])
        np.testing.assert_array_equal(after[name], again[name])


def test_noise_is_on_the_inputs_only(run: str) -> None:
    from unstride.app import tasks

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


@pytest.mark.slow
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
