"""A model's weights alone, to be used without Keras: a .npz file of float32 arrays and what to know of them.

`unstride train` leaves one in the run's folder, weights.npz; those in the package are such files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import runs
from .runs import RunError

Values = npt.NDArray[np.float32]

FILE, LAST = "weights.npz", "last.npz"
"""Of the trained model; and of the model after the last epoch, while it is still being trained."""
SHIPS = "shipped"
"""The name by which options choose the weights in the package, where others are a run's folder or a file."""
SHIPPED = Path(__file__).parent / "models" / "weights"


@dataclass(frozen=True)
class Deployed:
    """`weights` by layer and name, as "map_1/kernel"; `about`: the model's name and arguments, and its figures."""

    about: dict[str, Any]
    weights: dict[str, Values]

    def layer(self, name: str) -> tuple[Values, Values]:
        return self.weights[f"{name}/kernel"], self.weights[f"{name}/bias"]


def extracted(model: Any) -> dict[str, Values]:
    """The kernels and biases of a Keras model's layers, a batch normalization after a convolution being part of it.

    Those of a model in the model have its name before theirs, as "decoder/grid/kernel".
    """
    from ._keras import keras

    weights: dict[str, Values] = {}
    for layer in model.layers:
        if hasattr(layer, "layers"):
            weights |= {f"{layer.name}/{name}": values for name, values in extracted(layer).items()}
            continue
        if not hasattr(layer, "kernel"):
            continue
        kernel = np.asarray(keras.ops.convert_to_numpy(layer.kernel), np.float32)
        bias = np.zeros(kernel.shape[-1], np.float32)
        if layer.bias is not None:
            bias = np.asarray(keras.ops.convert_to_numpy(layer.bias), np.float32)
        for node in layer._outbound_nodes:
            after = node.operation
            if isinstance(after, keras.layers.BatchNormalization):
                scale, shift, mean, variance = (
                    np.asarray(keras.ops.convert_to_numpy(value), np.float64)
                    for value in (after.gamma, after.beta, after.moving_mean, after.moving_variance)
                )
                factor = scale / np.sqrt(variance + after.epsilon)
                kernel = (kernel * factor).astype(np.float32)
                bias = ((bias - mean) * factor + shift).astype(np.float32)
        weights[f"{layer.name}/kernel"], weights[f"{layer.name}/bias"] = kernel, bias
    return weights


def save(path: Path, deployed: Deployed, kind: type[np.floating[Any]] = np.float32) -> None:
    """Write them; as float16 they take half the room, and are float32 again when they are loaded."""
    about = np.frombuffer(json.dumps(deployed.about, sort_keys=True).encode(), np.uint8)

    def fill(beside: Path) -> None:
        values: dict[str, Any] = {name: value.astype(kind) for name, value in deployed.weights.items()}
        with beside.open("wb") as file:
            np.savez_compressed(file, about=about, **values)

    runs.write(path, fill)


def load(path: Path) -> Deployed:
    """The weights in a file, or a RunError that names it."""
    try:
        with np.load(path) as file:
            about = json.loads(file["about"].tobytes())
            return Deployed(about, {name: file[name].astype(np.float32) for name in file.files if name != "about"})
    except FileNotFoundError:
        raise RunError(f"{path}: no such file; expected weights that `unstride train` wrote") from None
    except Exception as error:  # at a damaged file NumPy raises zipfile's, zlib's and its own
        raise RunError(f"{path}: not weights that can be loaded ({error})") from error


def find(model: str, shipped: str, chosen: str | None) -> Deployed:
    """The weights to use: those of the run or file `chosen`, or else those that ship with the package."""
    if chosen is None:
        return load(SHIPPED / f"{shipped}.npz")
    if not chosen:
        raise RunError("--model is empty; expected a run, or its weights.npz")
    path = Path(chosen)
    if path.is_dir():
        run = runs.load(path)
        if run.options.model != model:
            raise RunError(f"{path}: a run of {run.options.model}; expected one of {model}")
        path = path / FILE
        if not path.is_file():
            raise RunError(f"{path.parent}: not trained to its end; continue it with: unstride train --resume --run")
    found = load(path)
    if found.about.get("model") != model:
        raise RunError(f"{path}: weights of {found.about.get('model')}; expected those of {model}")
    return found
