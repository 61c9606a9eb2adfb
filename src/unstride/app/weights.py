"""Exports a model's weights for use without Keras: a .npz file of float32 arrays with a description of the model.

`unstride train` writes one to the run folder, weights.npz. The files in the package have the same format.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._files import write
from ..data import Doubles, Values
from . import runs, weight_shapes
from .errors import RunError

FILE, LAST = "weights.npz", "last.npz"
"""The weights of the trained model, and, during the training, those after the last epoch."""
MAX_UNPACKED_BYTES = 1 << 28
"""The most bytes of a file's arrays, unpacked: far more than any of our models has."""
SHIPS = "shipped"
"""The value of an option that chooses the weights in the package, instead of a run folder or a file."""
SHIPPED = Path(__file__).parents[1] / "models" / "weights"


@dataclass(frozen=True)
class ExportedModel:
    """A model for use without Keras.

    Attributes
    ----------
    about : dict
        The model's name and what else its inference needs, such as the scale.
    weights : dict
        The arrays by layer and name, such as "map_1/kernel".
    """

    about: dict[str, Any]
    weights: dict[str, Values]

    def layer(self, name: str) -> tuple[Values, Values]:
        return self.weights[f"{name}/kernel"], self.weights[f"{name}/bias"]


def export_weights(model: Any) -> dict[str, Values]:
    """The kernels and biases of a Keras model's layers, with batch normalizations folded into the layers before them.

    Names in a nested model begin with its own name, as in "decoder/grid/kernel".

    Raises
    ------
    ValueError
        A batch normalization cannot be folded, because the layer before it has an activation or other consumers.
    """
    from ..backends.keras.imported import keras

    transposed = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
    weights: dict[str, Values] = {}
    for layer in model.layers:
        if hasattr(layer, "layers"):
            weights |= {f"{layer.name}/{name}": values for name, values in export_weights(layer).items()}
            continue
        if not hasattr(layer, "kernel"):
            continue
        kernel = np.asarray(keras.ops.convert_to_numpy(layer.kernel), np.float32)
        axis = -2 if isinstance(layer, transposed) else -1  # the axis of the output channels
        bias = np.zeros(kernel.shape[axis], np.float32)
        if layer.bias is not None:
            bias = np.asarray(keras.ops.convert_to_numpy(layer.bias), np.float32)
        after = [node.operation for node in layer._outbound_nodes]
        normal = next((one for one in after if isinstance(one, keras.layers.BatchNormalization)), None)
        if normal is not None:
            if len(after) > 1 or layer.activation is not keras.activations.linear:
                raise ValueError(
                    f"the batch normalization {normal.name!r} follows {layer.name!r}, which has an activation or "
                    "goes elsewhere too, and so cannot be part of it"
                )
            factor, shift = _normalization(normal)
            kernel = (kernel * (factor[:, None] if axis == -2 else factor)).astype(np.float32)
            bias = (bias * factor + shift).astype(np.float32)
        weights[f"{layer.name}/kernel"], weights[f"{layer.name}/bias"] = kernel, bias
    return weights


def _normalization(layer: Any) -> tuple[Doubles, Doubles]:
    """The factor and the shift of a batch normalization in inference, for each channel."""
    from ..backends.keras.imported import keras

    def numbers(variable: Any, missing: float) -> Any:
        return missing if variable is None else np.asarray(keras.ops.convert_to_numpy(variable), np.float64)

    factor = numbers(layer.gamma, 1) / np.sqrt(numbers(layer.moving_variance, 1) + layer.epsilon)
    return factor, numbers(layer.beta, 0) - numbers(layer.moving_mean, 0) * factor


def save(path: Path, exported: ExportedModel, kind: type[np.floating[Any]] = np.float32) -> None:
    """Write a model. float16 halves the file; `load` converts it back to float32."""
    about = np.frombuffer(json.dumps(exported.about, sort_keys=True).encode(), np.uint8)

    def fill(temporary: Path) -> None:
        values: dict[str, Any] = {name: value.astype(kind) for name, value in exported.weights.items()}
        with temporary.open("wb") as file:
            np.savez_compressed(file, about=about, **values)

    write(path, fill)


def load(path: Path) -> ExportedModel:
    """The weights in a file.

    Raises
    ------
    RunError
        The file is missing, damaged or too large, or its arrays do not fit its model or are not finite. The message
        names the file.
    """
    if not path.exists():
        raise RunError(f"{path}: no such file; expected weights that `unstride train` wrote")
    if not path.is_file():  # opening a pipe would wait for a writer
        raise RunError(f"{path}: no regular file; expected weights that `unstride train` wrote")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_room(sum(part.file_size for part in archive.infolist()))
        with np.load(path) as file:
            about = json.loads(file["about"].tobytes())
            if not isinstance(about, dict):
                raise TypeError(f"it is about {about!r:.40}; expected a model")
            weights = {name: _float32(name, file[name]) for name in file.files if name != "about"}
        if weight_shapes.is_known(about.get("model")):
            _check_shapes(weights, weight_shapes.expected(about))
        return ExportedModel(about, weights)
    except Exception as error:  # for damaged files NumPy raises errors of zipfile, zlib and its own
        raise RunError(f"{path}: not weights that can be loaded ({error})") from error


def _check_room(size: int) -> None:
    if size > MAX_UNPACKED_BYTES:
        raise ValueError(f"it unpacks to {size:,} bytes; expected no more than {MAX_UNPACKED_BYTES:,}")


def _float32(name: str, values: npt.NDArray[Any]) -> Values:
    if values.dtype.kind != "f":
        raise ValueError(f"{name} is of type {values.dtype}; expected floating-point numbers")
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    if not np.isfinite(single).all():
        raise ValueError(f"{name} has numbers that are not finite in float32")
    return single


def _check_shapes(weights: dict[str, Values], expected: dict[str, weight_shapes.Shape]) -> None:
    if missing := sorted(expected.keys() - weights.keys()):
        raise ValueError(f"it has no {missing[0]}")
    if others := sorted(weights.keys() - expected.keys()):
        raise ValueError(f"it has {others[0]}, which its model has not")
    for name, shape in expected.items():
        actual = weights[name].shape
        if len(actual) != len(shape) or any(n != m for n, m in zip(actual, shape, strict=True) if m is not None):
            wanted = "(" + ", ".join("any" if m is None else str(m) for m in shape) + ")"
            raise ValueError(f"{name} has shape {actual}; expected {wanted}")


def find(model: str, shipped: str, chosen: str | None) -> ExportedModel:
    """The model of the run or file `chosen`, or else the one in the package."""
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
    exported = load(path)
    if exported.about.get("model") != model:
        raise RunError(f"{path}: weights of {exported.about.get('model')}; expected those of {model}")
    return exported
