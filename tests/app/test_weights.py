"""Files of weights: what is wrong with one is said with its name before anything is computed."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from unstride.app.errors import RunError
from unstride.app.weight_shapes import expected
from unstride.app.weights import SHIPPED, export_weights, load
from unstride.models import autoencoder, compressor, segmenter, upscaler

FILES = sorted(SHIPPED.glob("*.npz"))


def parts(name="upscaler_x2"):
    with np.load(SHIPPED / f"{name}.npz") as file:
        return json.loads(file["about"].tobytes()), {key: file[key] for key in file.files if key != "about"}


def written(path, about, weights):
    np.savez(path, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **weights)
    return path


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_ships_is_as_its_model_says(file):
    found = load(file)
    assert {name: values.shape for name, values in found.weights.items()}.keys() == expected(found.about).keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("about", "model"),
    [
        ({"model": "autoencoder", "layers": "conv 6 3 2, up 5 4 2, conv 3 1"}, lambda: autoencoder("conv 6 3 2, up 5 4 2, conv 3 1")),
        ({"model": "compressor", "code": 3, "upsample": "transposed"}, lambda: compressor(3, "transposed", 5)),
        ({"model": "compressor", "code": 3, "upsample": "resize"}, lambda: compressor(3, "resize", 2)),
        ({"model": "compressor", "code": 3, "upsample": "subpixel"}, lambda: compressor(3, "subpixel", 3)),
        ({"model": "upscaler", "scale": 3}, lambda: upscaler(3)),
        ({"model": "segmenter", "levels": 4, "classes": ["a", "b", "c"]}, lambda: segmenter(3)),
    ],
    ids=lambda part: "-".join(map(str, part.values())) if isinstance(part, dict) else "",  # the same in each process
)  # fmt: skip
def test_the_shapes_are_the_keras_models(about, model, tmp_path):
    weights = export_weights(model())
    assert load(written(tmp_path / "w.npz", about, weights)).about == about


def without(weights, name):
    return {key: values for key, values in weights.items() if key != name}


def with_number(weights, number, name="map_2/kernel"):
    values = weights[name].astype(np.result_type(number, np.float32))
    values.flat[7] = number
    return weights | {name: values}


CHANGES = {
    "missing": (lambda a, w: (a, without(w, "map_3/bias")), "it has no map_3/bias"),
    "another": (lambda a, w: (a, w | {"map_9/bias": w["map_1/bias"]}), "it has map_9/bias, which its model has not"),
    "shape": (lambda a, w: (a, w | {"shrink/kernel": w["shrink/kernel"].T}), r"shrink/kernel has shape \(16, 32, 1, 1\); expected \(1, 1, 32, 16\)"),
    "rank": (lambda a, w: (a, w | {"shrink/bias": w["shrink/bias"][None]}), r"shrink/bias has shape \(1, 16\); expected \(16\)"),
    "nan": (lambda a, w: (a, with_number(w, np.nan)), "map_2/kernel has numbers that are not finite"),
    "infinite": (lambda a, w: (a, with_number(w, -np.inf)), "map_2/kernel has numbers that are not finite"),
    "large": (lambda a, w: (a, with_number(w, np.float64(1e300))), "map_2/kernel has numbers that are not finite in float32"),
    "complex": (lambda a, w: (a, with_number(w, 1j)), "map_2/kernel is of type complex64"),
    "whole": (lambda a, w: (a, w | {"map_1/bias": np.zeros(16, int)}), "map_1/bias is of type int64"),
    "objects": (lambda a, w: (a, w | {"map_1/bias": np.array([None] * 16)}), "allow_pickle"),
    "another scale": (lambda a, w: (a | {"scale": 3}, w), r"enlarge/kernel has shape \(8, 8, 1, 17\); expected \(11, 11, 1, 17\)"),
    "no scale": (lambda _, w: ({"model": "upscaler"}, w), "scale is None; expected one of: 2, 3, 4"),
    "a wrong scale": (lambda a, w: (a | {"scale": [2]}, w), r"scale is \[2\]; expected one of"),
    "a list": (lambda _, w: ([1], w), r"it is about \[1\]; expected a model"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_was_changed(name, tmp_path):
    change, message = CHANGES[name]
    path = written(tmp_path / "w.npz", *change(*parts()))
    with pytest.raises(RunError, match=rf"w\.npz: not weights that can be loaded \(.*{message}"):
        load(path)


@pytest.mark.parametrize(
    ("name", "about", "message"),
    [
        ("autoencoder", {"layers": 3}, "layers is 3"),
        ("autoencoder", {"layers": "conv 999999 3"}, "filters of a layer is 999999"),
        ("autoencoder", {"layers": "conv 8 28, conv 8 28"}, "the kernel spans 28 cells"),
        ("compressor", {"code": "32"}, "code is '32'"),
        ("compressor", {"code": 10**9}, "encoder/code/kernel has shape"),
        ("compressor", {"upsample": "resize"}, "it has no decoder/resize_1/bias"),
        ("segmenter", {"levels": 9}, "levels is 9; expected one of: 4"),
        ("segmenter", {"classes": ["a"]}, r"classes is \['a'\]; expected at least two names"),
        ("segmenter", {"classes": ["a", "b"]}, "logits/kernel has shape"),
    ],
)
def test_what_it_says_about_itself_is_wrong(name, about, message, tmp_path):
    old, weights = parts(name)
    with pytest.raises(RunError, match=message):
        load(written(tmp_path / "w.npz", old | about, weights))


def test_a_part_of_a_file_is_no_weights(tmp_path):
    whole = FILES[-1].read_bytes()
    for end in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "w.npz").write_bytes(whole[:end])
        with pytest.raises(RunError, match=r"w\.npz: not weights that can be loaded"):
            load(tmp_path / "w.npz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunError, match="pipe: no regular file"):
        load(tmp_path / "pipe")


def test_a_small_file_that_unpacks_to_much(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as part:
        for _ in range(300):
            part.write(bytes(1 << 20))
    assert Path(tmp_path / "w.npz").stat().st_size < 1 << 20
    with pytest.raises(RunError, match="it unpacks to 314,572,800 bytes; expected no more than 268,435,456"):
        load(tmp_path / "w.npz")
