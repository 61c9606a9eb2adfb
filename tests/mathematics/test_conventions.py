"""The conventions against the frameworks themselves: what their arguments mean, and what `Geometry.to` gives them."""

import itertools

import keras
import numpy as np
import onnx
import onnx.helper
import onnxruntime
import pytest
import tensorflow as tf
import torch
from cases import arrays, assert_within, first, kernel_first, samples, terms_of
from hypothesis import given
from hypothesis import strategies as st
from jax import lax
from onnx.reference import ReferenceEvaluator

import unstride as us
from unstride import conventions, reference

FRAMEWORKS = ["torch", "keras", "tensorflow", "jax", "onnx"]


def back(geometry, framework, arguments, size):
    """A geometry from what `to` returned, with what the framework takes elsewhere."""
    extra = {
        "jax": {"kernel_size": geometry.kernel_size},
        "tensorflow": {"kernel_size": geometry.kernel_size, "input_size": size},
    }.get(framework, {})
    return getattr(conventions, framework)(**arguments, **extra)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_round_trips(framework):
    told = 0
    for geometry, size, _ in samples(1500, seed=1, ranks=(1, 2, 3)):
        try:
            arguments = geometry.to(framework, size)
        except us.NotExpressible as error:
            assert error.framework == framework
            assert error.recipe in str(error)
            if error.arguments is not None:
                full = back(geometry, framework, error.arguments, size)
                crops = [(b + c, e + f) for (b, e), (c, f) in zip(full.crops, error.crops, strict=True)]
                assert full.with_crops(crops) == geometry
        else:
            told += 1
            assert back(geometry, framework, arguments, size) == geometry
    assert told > 50


# --- what `to` returns, run by the framework --------------------------------------------------------------------------


def run_torch(x, kernel, arguments):
    arguments = {name: value for name, value in arguments.items() if name != "kernel_size"}
    function = [torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d][x.ndim - 3]
    y = function(torch.tensor(first(x)), torch.tensor(kernel_first(kernel)), None, **arguments)
    return np.moveaxis(y.numpy(), 1, -1)


def run_keras(x, kernel, arguments):
    layer_type = [keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose][x.ndim - 3]
    layer = layer_type(kernel.shape[-2], use_bias=False, **arguments)
    layer.build(x.shape)
    layer.set_weights([kernel])
    return np.asarray(layer(x.astype(np.float32)))


def run_tensorflow(x, kernel, arguments):
    function = [tf.nn.conv1d_transpose, tf.nn.conv2d_transpose, tf.nn.conv3d_transpose][x.ndim - 3]
    arguments = dict(arguments)
    shape = (len(x), *arguments.pop("output_shape"), kernel.shape[-2])
    return function(x.astype(np.float32), kernel.astype(np.float32), shape, **arguments).numpy()


def run_jax(x, kernel, arguments):
    return np.asarray(lax.conv_transpose(x, kernel, **arguments))


def onnx_model(arguments):
    node = onnx.helper.make_node("ConvTranspose", ["x", "w"], ["y"], **arguments)
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.helper.make_tensor_value_info(name, kind, None) for name in "xw"],
        [onnx.helper.make_tensor_value_info("y", kind, None)],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)


def onnx_feeds(x, kernel):
    return {"x": first(x).astype(np.float32), "w": kernel_first(kernel).astype(np.float32)}


def run_onnx(x, kernel, arguments):
    model = onnx_model(arguments).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.moveaxis(session.run(None, onnx_feeds(x, kernel))[0], 1, -1)


def run_onnx_reference(x, kernel, arguments):
    y = ReferenceEvaluator(onnx_model(arguments)).run(None, onnx_feeds(x, kernel))[0]
    return np.moveaxis(y, 1, -1)


RUN = {"torch": run_torch, "keras": run_keras, "tensorflow": run_tensorflow, "jax": run_jax, "onnx": run_onnx}
COUNTS = {"torch": 300, "keras": 400, "tensorflow": 250, "jax": 90, "onnx": 250}


def known_to_fail(framework, geometry, arguments):
    """What a framework's own code gets wrong or refuses, although its documentation gives it a meaning."""
    if framework == "tensorflow":  # on a CPU
        return max(geometry.dilation) > 1 and (geometry.rank == 3 or arguments["padding"] != "VALID")
    if framework in ("jax", "keras"):
        # jaxlib 0.10.2 ends the process where an axis with kernel 2 and stride 2 has no pads (see backends/jax_xla.py)
        return any(K == 2 and s == 2 for K, s in zip(geometry.spans, geometry.stride, strict=True))
    return False


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_framework_computes_with_them_what_we_do(framework):
    compared = 0
    for geometry, size, rng in samples(COUNTS[framework], seed=2, ranks=(1, 2, 3)):
        if 0 in geometry.output_size(size):
            continue
        x, kernel, _, _ = arrays(geometry, size, rng)
        crops = None
        try:
            arguments = geometry.to(framework, size)
        except us.NotExpressible as error:
            if error.arguments is None or (framework == "keras" and geometry.groups > 1):
                continue
            arguments, crops = error.arguments, error.crops
        if known_to_fail(framework, geometry, arguments):
            continue
        y = RUN[framework](x, kernel, arguments)
        if crops is not None:  # the recipe
            y = np.stack([reference.crop(sample, crops) for sample in y])
        compared += 1
        magnitude = us.conv_transpose(abs(x), abs(kernel), None, geometry)
        expected = us.conv_transpose(x, kernel, None, geometry)
        assert_within(y, expected, magnitude, terms_of(geometry, kernel), np.float32)
    assert compared >= 12


# --- what a framework's own arguments mean ----------------------------------------------------------------------------


def test_the_trap_that_shifts_by_a_pixel():
    x, kernel = [1, 10, 100], [1, 2, 3]

    def of(geometry):
        return us.conv_transpose(x, kernel, None, geometry, channels=None).tolist()

    early, late = [1, 2, 13, 20, 130, 200], [2, 13, 20, 130, 200, 300]
    assert of(conventions.keras(3, 2, "same")) == early
    assert of(conventions.jax(3, 2, "SAME")) == early
    assert of(conventions.onnx(3, 2, auto_pad="SAME_UPPER")) == early
    assert of(conventions.torch(3, 2, 1, 1)) == late
    assert of(conventions.onnx(3, 2, auto_pad="SAME_LOWER")) == late


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_sizes_as_keras_tells_them(padding):
    for k, s, n in itertools.product(range(1, 8), range(1, 6), range(1, 7)):
        for extra in [None, *range(s)]:
            layer = keras.layers.Conv1DTranspose(1, k, s, padding, extra)
            told = layer.compute_output_shape((None, n, 1))[1]
            assert conventions.keras(k, s, padding, extra).output_size(n) == (told,), (k, s, n, extra)


@pytest.mark.parametrize("auto_pad", ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"])
def test_onnx_output_shapes_around_the_full_size_as_onnxs_runners_read_them(auto_pad):
    """Whatever ONNX Runtime accepts, and what the reference evaluator does beyond the full size without SAME_*."""
    compared = {"onnxruntime": [], "reference": []}
    for k, s, d, n in itertools.product((1, 3), (1, 2, 4), (1, 2), (1, 3)):
        x, kernel = 10.0 ** np.arange(n)[None, :, None], np.arange(1.0, k + 1)[:, None, None]
        full = (n - 1) * s + (k - 1) * d + 1
        for op, length in itertools.product(range(min(s, 2)), range(max(1, full - 2), full + s + 3)):
            arguments = {"kernel_shape": [k], "strides": [s], "dilations": [d], "auto_pad": auto_pad}
            arguments |= {"output_padding": [op], "output_shape": [length]}
            y = us.conv_transpose(x, kernel, None, conventions.onnx(**arguments, input_size=n))
            beyond = length - full - op
            runners = {"onnxruntime": run_onnx}
            if beyond > 0 and not auto_pad.startswith("SAME"):
                runners["reference"] = run_onnx_reference
            for name, run in runners.items():
                try:
                    theirs = run(x, kernel, arguments)
                except Exception:  # more than a stride beyond, which both refuse
                    assert beyond > 0, arguments
                    continue
                np.testing.assert_array_equal(y, theirs, f"{name} {arguments}")
                compared[name].append(beyond)
    assert {-2, -1, 0, 1, 2, 3} <= set(compared["onnxruntime"])
    assert auto_pad.startswith("SAME") or {1, 2, 3} <= set(compared["reference"])


@pytest.mark.parametrize("auto_pad", ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"])
def test_onnx_auto_pad_and_output_shape_as_onnxruntime_reads_them(auto_pad):
    rng = np.random.default_rng(4)
    for _ in range(60):
        k, s, d, n = (int(rng.integers(1, high)) for high in (6, 4, 3, 5))
        if auto_pad.startswith("SAME") and (k - 1) * d + 1 < s:
            continue  # ONNX Runtime gives (n - 1) * s + K where ONNX says n * s
        arguments = {"kernel_shape": [k], "strides": [s], "dilations": [d], "auto_pad": auto_pad}
        if auto_pad == "NOTSET":
            arguments["output_padding"] = [int(rng.integers(0, s))]
            arguments["pads"] = [int(p) for p in rng.integers(0, 3, 2)]
        length = (n - 1) * s + (k - 1) * d + 1
        if auto_pad != "VALID" and rng.integers(2):
            arguments.pop("pads", None)
            arguments["output_shape"] = [int(rng.integers(max(1, length - 2), length + 1))]
        geometry = conventions.onnx(**arguments, input_size=n)
        if geometry.full_size(n)[0] - sum(geometry.crops[0]) < 1:
            continue
        x, kernel = rng.integers(-9, 10, (1, n, 2)).astype(float), rng.integers(-9, 10, (k, 3, 2)).astype(float)
        np.testing.assert_array_equal(
            run_onnx(x, kernel, arguments), us.conv_transpose(x, kernel, None, geometry), str(arguments)
        )


@given(
    st.integers(1, 6), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3), st.integers(1, 5), st.data()
)  # fmt: skip
def test_torch_output_size(k, s, p, d, n, data):
    layer = torch.nn.ConvTranspose1d(1, 1, k, s, p, dilation=d, bias=False).double()
    least = (n - 1) * s - 2 * p + d * (k - 1) + 1
    wanted = data.draw(st.integers(least - 1, least + s))
    x = torch.ones(1, 1, n, dtype=torch.float64)
    arguments = {"kernel_size": k, "stride": s, "padding": p, "dilation": d, "output_size": (wanted,), "input_size": n}
    if least < 1:
        return
    if not least <= wanted < least + s:
        with pytest.raises(us.GeometryError, match="output_size"):
            conventions.torch(**arguments)
        return
    geometry = conventions.torch(**arguments)
    kernel = layer.weight.detach().numpy()
    expected = us.conv_transpose(x.numpy(), kernel, None, geometry, channels="first")
    np.testing.assert_allclose(layer(x, output_size=(wanted,)).detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("padding", ["SAME", "VALID", "explicit"])
def test_tensorflow_output_shape(padding):
    rng = np.random.default_rng(5)
    compared = 0
    for _ in range(500):
        k, s, n = rng.integers(1, 6, 2), rng.integers(1, 4, 2), rng.integers(1, 5, 2)
        pads = rng.integers(0, 3, (2, 2))
        shape = (n - 1) * s + k + rng.integers(-3, 3, 2)
        if shape.min() < 1:
            continue
        value = [[0, 0], *pads.tolist(), [0, 0]] if padding == "explicit" else padding
        x, kernel = rng.integers(-9, 10, (1, *n, 2)).astype(float), rng.integers(-9, 10, (*k, 3, 2)).astype(float)
        arguments = {"strides": [1, *s.tolist(), 1], "padding": value, "output_shape": shape.tolist()}
        try:
            y = run_tensorflow(x, kernel, arguments)
        except tf.errors.OpError:
            continue
        compared += 1
        geometry = conventions.tensorflow(
            tuple(k), **arguments | {"output_shape": (1, *shape.tolist(), 3)}, input_size=tuple(n)
        )
        np.testing.assert_array_equal(y, us.conv_transpose(x, kernel, None, geometry), str((n, arguments)))
    assert compared > 20


def test_jax_flips_unless_told():
    rng = np.random.default_rng(6)
    x, kernel = rng.standard_normal((1, 4, 2)), rng.standard_normal((3, 5, 2))
    geometry = conventions.jax(3, (2,), "SAME")
    expected = us.conv_transpose(x, kernel, None, geometry)
    own = np.asarray(lax.conv_transpose(x, np.swapaxes(kernel[::-1], 1, 2), (2,), "SAME"))
    np.testing.assert_allclose(own, expected, atol=1e-5)
    own = np.asarray(
        lax.conv_transpose(x, np.swapaxes(kernel[::-1], 1, 2), (2,), [(1, 0)], use_consistent_padding=True)
    )
    geometry = conventions.jax(3, 2, [(1, 0)], use_consistent_padding=True)
    np.testing.assert_allclose(own, us.conv_transpose(x, kernel, None, geometry), atol=1e-5)


def test_named_recipes():
    with pytest.raises(us.NotExpressible, match="then crop") as caught:
        us.Geometry(3, 2, ((0, 1),)).to("torch")
    assert caught.value.arguments["padding"] == (0,)
    assert caught.value.crops == ((0, 1),)
    with pytest.raises(us.NotExpressible, match=r"unstride\.keras\.Conv2DTranspose"):
        us.Geometry((3, 3), groups=2).to("keras")
    with pytest.raises(us.NotExpressible, match="feature_group_count=2"):
        us.Geometry(3, groups=2).to("jax")
    with pytest.raises(us.NotExpressible, match="one call for each group"):
        us.Geometry(3, groups=2).to("tensorflow", 4)
    assert issubclass(us.NotExpressible, ValueError)
    assert issubclass(us.GeometryError, ValueError)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: us.Geometry(3).to("mxnet"), "framework is 'mxnet'; expected one of 'torch', 'keras'"),
        (lambda: us.Geometry(3).to("tensorflow"), "size is missing"),
        (lambda: conventions.torch(3, output_size=8), "input_size is missing; output_size means"),
        (lambda: conventions.torch(3, 2, input_size=3, output_size=12), "output_size of axis 0 is 12; .* 7 to 8"),
        (lambda: conventions.tensorflow(3, input_size=3), "output_shape is missing"),
        (lambda: conventions.tensorflow(3, 1, "FULL", output_shape=5, input_size=3), "padding is 'FULL'"),
        (lambda: conventions.tensorflow((3, 3), (1, 2, 1), output_shape=5, input_size=3), "strides has 3 entries"),
        (lambda: conventions.onnx(3, auto_pad="SAME"), "auto_pad is 'SAME'"),
        (lambda: conventions.onnx((3, 3), pads=[1, 1]), r"pads is \[1, 1\]; expected 4 ints"),
        (lambda: conventions.torch(3, 2, "same"), "padding is 'same'; expected an integer"),
        (lambda: conventions.jax(3, 2, 1), "padding is 1; expected 'SAME', 'VALID' or a list"),
        (lambda: conventions.tensorflow(3, 1, None, output_shape=5, input_size=3), "padding is None"),
        (lambda: conventions.tensorflow(3, (2, 2, 1), output_shape=5, input_size=3), "expected 1 for batch"),
        (lambda: conventions.tensorflow(3, output_shape=-5, input_size=3), "output_shape is -5"),
        (
            lambda: conventions.tensorflow((3, 3), 2, [[1, 99], [1, 0]], output_shape=8, input_size=4),
            "contradict each other",
        ),
        (lambda: conventions.jax(3, 2, "FULL"), "padding is 'FULL'"),
        (
            lambda: conventions.onnx((3, 3), 2, output_shape=(14, 14), input_size=(1, 8, 7, 7)),
            r"input_size has 4 entries, .*: 2; leave out batch and channels$",
        ),
        (
            lambda: conventions.onnx(3, 2, output_shape=(14, 14), input_size=(7, 7)),
            "input_size has 2 entries, .*: 1; give the kernel's size as a number an axis",
        ),
        (lambda: us.Geometry((3, 3)).output_size((1, 7, 7, 3)), "input size has 4 entries, .* batch and channels$"),
        (lambda: us.Geometry((3, 3), stride=(1, 2, 2, 1)), r"stride has 4 entries, .* one int for each axis: 2$"),
    ],
)
def test_errors(call, message):
    with pytest.raises(us.ArgumentError, match=message):
        call()
