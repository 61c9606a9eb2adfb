"""ONNX's own node tests of ConvTranspose, computed by unstride instead of an ONNX runtime.

    python tests/peers/onnx_nodes.py [numpy torch jax tensorflow]

Each case's attributes become a geometry by `us.conventions.onnx`, its inputs arrays of each of the libraries, and its
expected output comes from the onnx package. Exits with 1 if a result differs.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import helper

import unstride as us

EXPECTED_CASES = 11
MAKE: dict[str, tuple[str, Callable[[Any], Callable[[np.ndarray], Any]]]] = {
    "numpy": ("numpy", lambda module: module.asarray),
    "torch": ("torch", lambda module: module.tensor),
    "jax": ("jax.numpy", lambda module: module.asarray),
    "tensorflow": ("tensorflow", lambda module: module.constant),
}


def cases() -> list[Any]:
    with warnings.catch_warnings():  # all of ONNX's cases are made first, some of which overflow on purpose
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return list(collect_testcases("ConvTranspose"))


def attributes_of(case: Any) -> dict[str, Any]:
    found = {a.name: helper.get_attribute_value(a) for a in case.model.graph.node[0].attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}


def geometry_of(case: Any, x: np.ndarray, kernel: np.ndarray) -> us.Geometry:
    attributes = {"kernel_shape": kernel.shape[2:]} | attributes_of(case)
    if "output_shape" in attributes:
        attributes["input_size"] = x.shape[2:]
    return us.conventions.onnx(**attributes)


def main(libraries: list[str]) -> int:
    found = cases()
    failed = 0
    for library in libraries or list(MAKE):
        module, maker = MAKE[library]
        make = maker(importlib.import_module(module))
        for case in found:
            for inputs, outputs in case.data_sets:
                x, kernel, *bias = inputs
                geometry = geometry_of(case, x, kernel)
                got = us.conv_transpose(*map(make, (x, kernel, *bias)), geometry=geometry, channels="first")
                right = got.shape == outputs[0].shape and np.allclose(got, outputs[0], rtol=case.rtol, atol=case.atol)
                failed += not right
                print(f"{'ok' if right else 'FAILED':<7}{library:<11}{case.name}")
    print(f"{len(found)} cases, {failed} failures")
    return int(failed > 0 or len(found) < EXPECTED_CASES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
