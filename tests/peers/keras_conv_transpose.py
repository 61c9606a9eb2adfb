"""Keras's own tests of its transposed convolutions, run with unstride's layers in place of Keras's.

    KERAS_BACKEND=jax python tests/peers/keras_conv_transpose.py [conv_transpose_test.py]

Keras ships the file inside its wheel (keras/src/layers/convolutional/conv_transpose_test.py); a path takes another.
Its tests find the layers in `keras.src.layers`, where ours are put first. One of them, `test_bad_init_args`, asserts
that layers refuse what ours are there to take (strides with dilation, output padding as large as the strides) and the
exact words of other refusals; it is left out, and `beyond` checks what it is about: bad arguments are refused, and the
others give the numbers of the definition. What Keras skips for the same reason stays skipped.

Exits with 0 if all pass.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.src import layers

import unstride.keras
from unstride import Geometry, GeometryError, reference

NAMES = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
LEAST = 180  # tests that Keras 3.15 has and does not skip


class Count:
    """A pytest plugin that counts."""

    passed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.passed += report.when == "call" and report.passed


def beyond() -> None:
    """What Keras's test of bad arguments is about, as it is with our layers."""
    for bad in ({"filters": 0}, {"kernel_size": (1, 0)}, {"strides": (1, 0)}, {"strides": 0}, {"padding": "causal"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            unstride.keras.Conv2DTranspose(**{"filters": 2, "kernel_size": 2} | bad)
    assert issubclass(GeometryError, ValueError)
    x = np.random.default_rng(0).standard_normal((1, 4, 3, 1)).astype("float32")
    for fields in (
        {"kernel_size": (3, 3), "strides": (2, 2), "output_padding": (3, 3)},
        {"kernel_size": (3, 3), "strides": (2, 3), "output_padding": (1, 3)},
        {"kernel_size": (2, 2), "strides": (2, 2), "dilation_rate": (2, 1)},
    ):
        layer = unstride.keras.Conv2DTranspose(1, **fields)
        y = keras.ops.convert_to_numpy(layer(x))
        geometry = Geometry(
            fields["kernel_size"], fields["strides"], "valid", fields.get("output_padding"),
            fields.get("dilation_rate", 1),
        )  # fmt: skip
        kernel = layer.get_weights()[0]
        np.testing.assert_allclose(y[0], reference.scatter(x[0], kernel, geometry), atol=1e-5)


def main(arguments: list[str]) -> int:
    for name in NAMES:
        setattr(layers, name, getattr(unstride.keras, name))
    default = Path(layers.__file__).parent / "convolutional" / "conv_transpose_test.py"
    path = Path(arguments[0]) if arguments else default
    if not path.is_file():
        print(f"there is no file {path}; give the path of Keras's conv_transpose_test.py")
        return 2
    beyond()
    count = Count()
    options = ["-q", "-p", "no:cacheprovider", "-W", "default", "--rootdir", str(path.parent), "-c", "/dev/null"]
    code = pytest.main([*options, "-k", "not test_bad_init_args", str(path)], plugins=[count])
    print(f"{count.passed} of Keras's tests passed on {keras.backend.backend()}")
    return int(code) or int(count.passed < LEAST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
