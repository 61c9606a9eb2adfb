"""Sizes that are no numbers yet: programs that JAX, PyTorch and TensorFlow export, or compile, for any."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unstride as us
from unstride.geometry import convolution, same_zeros

RNG = np.random.default_rng(0)
KERNEL = RNG.standard_normal((3, 3, 4, 4)).astype("f")
BIAS = RNG.standard_normal(4).astype("f")
X = RNG.standard_normal((3, 11, 6, 4)).astype("f")
MAPS = {
    "conv_transpose": lambda x, k, b=BIAS: us.conv_transpose(x, k, b, stride=2, padding=1, activation="relu"),
    "conv_transpose same": lambda x, k, b=BIAS: us.conv_transpose(x, k, b, stride=2, padding="same"),
    "conv": lambda x, k, b=BIAS: us.conv(x, k, b, stride=2, padding=((1, 0), (0, 1)), activation="relu"),
    "conv same": lambda x, k, b=BIAS: us.conv(x, k, b, stride=2, padding="same"),
    "conv same, long strides": lambda x, k, b=BIAS: us.conv(x, k, b, stride=4, padding="same"),
    "kernel_gradient": lambda x, k, _=None: us.kernel_gradient(x, x + k[0, 0, 0, 0], kernel_size=3, padding="same"),
}


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 9), st.integers(1, 3))
def test_the_zeros_of_same_make_the_size_of_same(size, kernel_size, stride, dilation):
    begin, end = same_zeros(size, kernel_size, stride, dilation)
    geometry = convolution(size, (kernel_size,), stride, "same", dilation)
    assert begin == geometry.crops[0][0]
    assert 0 <= begin <= end <= begin + 1
    assert geometry.with_crops([(begin, end)]).conv_size(size) == geometry.conv_size(size) == (-(-size // stride),)


@pytest.mark.parametrize("name", MAPS)
def test_jax_exports(name):
    jax = pytest.importorskip("jax")
    from jax import export

    batch, height, width = export.symbolic_shape("b, h, w", constraints=["h >= 8", "w >= 5"])
    program = export.export(jax.jit(MAPS[name]))(jax.ShapeDtypeStruct((batch, height, width, 4), "float32"), KERNEL)
    np.testing.assert_allclose(program.call(X, KERNEL), MAPS[name](X, KERNEL), rtol=1e-4, atol=1e-3)


def test_jax_exports_the_derivatives_of_a_transposed_convolution():
    jax = pytest.importorskip("jax")
    from jax import export

    def gradients(x, kernel):
        return jax.grad(lambda *a: (us.conv_transpose(*a, stride=2, padding=1) ** 2).sum(), (0, 1))(x, kernel)

    batch, height, width = export.symbolic_shape("b, h, w")
    program = export.export(jax.jit(gradients))(jax.ShapeDtypeStruct((batch, height, width, 4), "float32"), KERNEL)
    for got, expected in zip(program.call(X, KERNEL), gradients(X, KERNEL), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("name", MAPS)
def test_tensorflow_traces(name):
    tf = pytest.importorskip("tensorflow")
    traced = tf.function(
        MAPS[name], input_signature=[tf.TensorSpec([None, None, None, 4]), tf.TensorSpec([3, 3, 4, 4])]
    )
    for x in (X, X[:1, :8, :5]):
        np.testing.assert_allclose(traced(x, KERNEL), MAPS[name](x, KERNEL), rtol=1e-4, atol=1e-3)
    assert traced.experimental_get_tracing_count() == 1


def torch_modules():
    torch = pytest.importorskip("torch")
    import unstride.torch as ut

    class Function(torch.nn.Module):
        def __init__(self, rule):
            super().__init__()
            self.rule, self.kernel = rule, torch.nn.Parameter(torch.from_numpy(KERNEL))
            self.bias = torch.nn.Parameter(torch.from_numpy(BIAS))  # PyTorch exports a NumPy array as a fake tensor

        def forward(self, x):
            return self.rule(x.movedim(1, -1), self.kernel, self.bias)

    torch.manual_seed(0)
    chain = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3), torch.nn.ReLU(), torch.nn.ConvTranspose2d(4, 4, 4, 2, 1))
    ut.accelerate(chain)
    return {
        **{name: Function(rule) for name, rule in MAPS.items()},
        "a transposed layer, same": ut.ConvTranspose2d(4, 4, 3, 2, "same"),
        "a layer, same": ut.Conv2d(4, 4, 3, 2, "same"),
        "a layer with pairs": ut.Conv2d(4, 4, 3, 2, ((1, 0), (0, 1))),
        "accelerated": chain,
    }


TORCH = (*MAPS, "a transposed layer, same", "a layer, same", "a layer with pairs", "accelerated")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of PyTorch's exporter, about itself
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", TORCH)
def test_pytorch_exports(name, strict):
    module = torch_modules()[name]
    import torch

    size = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        module, (torch.randn(2, 4, 8, 9),), dynamic_shapes=({0: size, 2: size, 3: size},), strict=strict
    ).module()
    for x in (np.moveaxis(X, -1, 1), np.moveaxis(X[:2, :9, :5], -1, 1)):
        x = torch.tensor(np.ascontiguousarray(x))
        np.testing.assert_allclose(program(x).detach(), module(x).detach(), rtol=1e-4, atol=1e-3)
