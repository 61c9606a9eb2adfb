"""PyTorch's own samples of its convolutions, run through ours: `python tests/peers/torch_opinfo.py`.

The samples are those that PyTorch tests its operators with (`torch.testing._internal.common_methods_invocations`). Each
is computed by PyTorch's function and by `unstride.conv_transpose` or `unstride.conv`, with the gradients by all
arguments, in the types that ours take: not complex numbers, and not integers. It needs the package expecttest, as
PyTorch's own tests do.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import torch
from torch.testing._internal.common_methods_invocations import op_db

import unstride as us

NAMES = [f"nn.functional.{kind}{rank}d" for kind in ("conv_transpose", "conv") for rank in (1, 2, 3)]
TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
PARAMETERS = {
    "conv_transpose": ("weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
    "conv": ("weight", "bias", "stride", "padding", "dilation", "groups"),
}


def ours(kind: str, x: torch.Tensor, kernel: torch.Tensor, bias: Any, **fields: Any) -> torch.Tensor:
    """The sample's call, in our words."""
    rank = kernel.dim() - 2
    fields = {name: _per_axis(value, rank) for name, value in fields.items()}
    function = us.conv_transpose if kind == "conv_transpose" else us.conv
    if x.dim() == rank + 1:
        return function(x[None], kernel, bias, channels="first", **fields)[0]
    return function(x, kernel, bias, channels="first", **fields)


def _per_axis(value: Any, rank: int) -> Any:
    if isinstance(value, tuple | list):
        return tuple(value) * rank if len(value) == 1 else tuple(value)
    return value


def check(name: str, dtype: torch.dtype) -> Counter[str]:
    """Compares all samples of one operator and type; raises AssertionError at the first difference."""
    kind = name.removeprefix("nn.functional.")[:-2]
    counts: Counter[str] = Counter()
    for info in op_db:
        if info.name != name or dtype not in info.supported_dtypes("cpu"):
            continue
        for sample in info.sample_inputs("cpu", dtype, requires_grad=True):
            given = dict(zip(PARAMETERS[kind], sample.args, strict=False)) | sample.kwargs
            kernel, bias = given.pop("weight"), given.pop("bias", None)
            given["groups"] = _one(given.get("groups", 1))
            expected = info.op(sample.input, *sample.args, **sample.kwargs)
            got = ours(kind, sample.input, kernel, bias, **given)
            about = f"{name}, {dtype}: {sample}"
            compare(got, expected, about)
            leaves = [leaf for leaf in (sample.input, kernel, bias) if leaf is not None]
            grad_output = torch.linspace(-1, 1, expected.numel(), dtype=torch.float64).reshape(expected.shape).to(dtype)
            for mine, right in zip(
                torch.autograd.grad(got, leaves, grad_output),
                torch.autograd.grad(expected, leaves, grad_output),
                strict=True,
            ):
                compare(mine, right, about)
            counts["compared"] += 1
    return counts


def _one(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple | list) else value)


def compare(got: torch.Tensor, expected: torch.Tensor, about: str) -> None:
    # PyTorch's own tolerances for the type; half precision sums in another order.
    tolerances = {torch.bfloat16: (5e-2, 5e-2), torch.float16: (5e-3, 5e-3), torch.float32: (1e-4, 1e-4)}
    atol, rtol = tolerances.get(expected.dtype, (1e-9, 1e-9))
    torch.testing.assert_close(
        got,
        expected,
        atol=atol * max(1.0, expected.detach().abs().max().item()),
        rtol=rtol,
        msg=lambda m: f"{about}\n{m}",
    )


def main() -> int:
    for name in NAMES:
        for dtype in TYPES:
            print(f"{name} {dtype}: {dict(check(name, dtype))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
