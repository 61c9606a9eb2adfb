"""The arguments of each framework's call in a program: those of its setting, without defaults.

The rest of each program is data: ``shared/programs.json``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..settings import shown
from .case import Case, Raw

Arguments = dict[str, Any]


def _keras(case: Case) -> Arguments:
    named = {"strides": case.trace.geometry.stride, "padding": "valid"}
    if case.trace.transposed:
        named["output_padding"] = (0,) * case.trace.rank
    if case.stretch is None:
        named = _shown(case, "kernel_size")
    return {"kernel_size": Raw("kernel.shape"), **named, "use_bias": case.own_bias is not None}


def _torch(case: Case) -> Arguments:
    return _bias(case) | _shown(case, "kernel_size")


def _tensorflow(case: Case) -> Arguments:
    trace = case.trace
    named = dict(case.arguments)
    if case.stretch is not None:
        named = {"strides": trace.geometry.stride, "padding": "VALID"}
    if trace.transposed:
        size = named.pop("output_shape", trace.full_size)
        named = {"output_shape": (1, *size, 1), **named}
    if trace.rank == 1:
        (named["strides"],) = named["strides"]
    return _undilated(case, named, "dilations")


def _jax(case: Case) -> Arguments:
    named = dict(case.arguments)
    if not case.trace.transposed:
        axes = "DHW"[3 - case.trace.rank :]
        named["dimension_numbers"] = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
    return _undilated(case, named, "rhs_dilation")


def _onnx(case: Case) -> Arguments:
    return _shown(case, "kernel_shape")


def _unstride(case: Case) -> Arguments:
    geometry = case.trace.geometry
    named: Arguments = {"stride": geometry.stride, "padding": geometry.crops, "dilation": geometry.dilation}
    for name, default in (("stride", 1), ("padding", 0), ("dilation", 1)):
        entries = {n for entry in named[name] for n in (entry if isinstance(entry, tuple) else (entry,))}
        if len(entries) == 1:  # one number says it all
            (named[name],) = entries
        if named[name] == default:
            del named[name]
    return _bias(case) | named | {"channels": None}


def _shown(case: Case, kernel_size: str) -> Arguments:
    return dict(shown({name: value for name, value in case.arguments.items() if name != kernel_size}))


def _bias(case: Case) -> Arguments:
    return {} if case.own_bias is None else {"bias": Raw(case.own_bias)}


def _undilated(case: Case, named: Arguments, name: str) -> Arguments:
    if max(case.trace.geometry.dilation) == 1:
        named.pop(name, None)
    return named


WRITERS: dict[str, Callable[[Case], Arguments]] = {
    "keras": _keras,
    "torch": _torch,
    "tensorflow": _tensorflow,
    "jax": _jax,
    "onnx": _onnx,
    "numpy": lambda _: {},
    "unstride": _unstride,
}
