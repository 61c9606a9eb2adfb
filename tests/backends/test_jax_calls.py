"""How the native kernels are called by XLA: what a program has of them, what they answer, and where it goes otherwise."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unstride as us
from unstride.backends.jax import native

SOURCES = Path(__file__).parents[2] / "src" / "unstride" / "native"
GEOMETRY = us.Geometry((3, 3), 2, 1)


def layer(channels="last", batch=2, c_small=4, c_big=6, size=(5, 6)):
    rng = np.random.default_rng(0)
    last = (batch, *size, c_small), (3, 3, c_big, c_small), (c_big,)
    front = (batch, c_small, *size), (c_small, c_big, 3, 3), (c_big,)
    return [rng.standard_normal(shape).astype("f") for shape in (last if channels == "last" else front)]


def step(channels):
    """A forward pass and all gradients."""

    def both(x, kernel, bias, upstream):
        y, pull = jax.vjp(
            lambda *o: us.conv_transpose(*o, GEOMETRY, channels=channels, activation="relu"), x, kernel, bias
        )
        return y, pull(upstream)

    return both


@pytest.mark.parametrize("channels", ["last", "first"])
def test_programs_call_the_kernels_and_move_nothing(channels):
    x, kernel, bias = layer(channels)
    forward = jax.jit(lambda *o: us.conv_transpose(*o, GEOMETRY, channels=channels, activation="relu"))
    program = forward.lower(x, kernel, bias).compile().as_text()
    assert program.count('custom_call_target="unstride_conv_transpose"') == 1
    for moved in ("transpose(", "copy(", "fusion(", "callback", "convolution("):
        assert moved not in program.replace("unstride_conv_transpose(", "")
    y = forward(x, kernel, bias)
    program = jax.jit(step(channels)).lower(x, kernel, bias, y).compile().as_text()
    for name in ("unstride_conv_transpose", "unstride_conv", "unstride_kernel_gradient"):
        assert program.count(f'custom_call_target="{name}"') == 1
    for moved in (" transpose(", " copy(", "callback", "convolution("):
        assert moved not in program


@pytest.mark.parametrize("channels", ["last", "first"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_bits_as_numpy_arrays_give(channels, dtype):
    x, kernel, bias = (a.astype(dtype) for a in layer(channels, 3, 20, 24, (9, 10)))
    with jax.enable_x64(dtype is np.float64):
        y = us.conv_transpose(jnp.asarray(x), jnp.asarray(kernel), jnp.asarray(bias), GEOMETRY, channels=channels)
        np.testing.assert_array_equal(y, us.conv_transpose(x, kernel, bias, GEOMETRY, channels=channels))
        u = np.asarray(y)
        gradient = us.kernel_gradient(jnp.asarray(u), jnp.asarray(x), GEOMETRY, channels=channels)
        np.testing.assert_array_equal(gradient, us.kernel_gradient(u, x, GEOMETRY, channels=channels))
        back = us.conv(jnp.asarray(u), jnp.asarray(kernel), None, GEOMETRY, channels=channels)
        np.testing.assert_array_equal(back, us.conv(u, kernel, None, GEOMETRY, channels=channels))


def test_the_smallest_numbers_survive_in_whichever_thread():
    # XLA's own threads make them zeros, the kernels' threads do not.
    x, kernel, _ = layer(batch=8, c_small=32, c_big=32, size=(16, 16))
    x, kernel = x * np.float32(1e-20), kernel * np.float32(1e-20)
    expected = us.conv_transpose(x, kernel, None, GEOMETRY)
    assert np.mean((expected != 0) & (abs(expected) < np.finfo(np.float32).tiny)) > 0.9
    got = np.asarray(jax.jit(lambda x, k: us.conv_transpose(x, k, None, GEOMETRY))(x, kernel))
    np.testing.assert_array_equal(got.view(np.int32), expected.view(np.int32))


def test_calls_from_many_threads():
    sets = [[a * (i + 1) for a in layer(batch=4, c_small=16, c_big=16, size=(12, 12))] for i in range(4)]
    run = jax.jit(step("last"))
    upstream = np.ones((4, 23, 23, 16), "f")
    expected = [jax.tree.map(np.asarray, run(*arrays, upstream)) for arrays in sets]
    failures = []

    def work(arrays, right):
        try:
            for _ in range(25):
                jax.tree.map(np.testing.assert_array_equal, run(*arrays, upstream), right)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(sets, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def call(*operands, name="unstride_conv_transpose", result=(2, 9, 11, 6), dtype=np.float32, **changed):
    attributes = {
        "stride": np.array([2, 2]),
        "dilation": np.array([1, 1]),
        "begin": np.array([1, 1]),
        "groups": np.int64(1),
        "first": np.int64(0),
        "kernel_first": np.int64(0),
        "relu": np.int64(0),
    } | changed
    attributes = {key: value for key, value in attributes.items() if value is not None}
    return native.ffi.ffi_call(name, jax.ShapeDtypeStruct(result, dtype))(*operands, **attributes)


def test_a_call_that_is_right():
    x, kernel, bias = layer()
    np.testing.assert_array_equal(call(x, kernel, bias), us.conv_transpose(x, kernel, bias, GEOMETRY))


def test_a_gradient_of_no_images_is_zero():
    x, kernel, _ = layer()
    big = np.zeros((0, 9, 11, 6), "f")
    made = call(big, x[:0], name="unstride_kernel_gradient", result=kernel.shape, relu=None)
    np.testing.assert_array_equal(made, np.zeros_like(kernel))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"stride": np.array([2])}, "stride is not one 64-bit integer for each axis"),
        ({"dilation": np.array([1, 1], np.int32)}, "dilation is not one 64-bit integer"),
        ({"begin": None}, "begin is missing"),
        ({"groups": np.array([1])}, "groups is missing, or of another kind"),
        ({"relu": np.float32(1)}, "relu is not a 64-bit integer"),
        ({"stride": np.array([0, 2])}, "stride, dilation, crop or kernel size is out of range"),
        ({"stride": np.array([2**62, 2])}, "out of range"),
        ({"groups": np.int64(5)}, "kernel has small channels that the groups do not divide"),
        ({"groups": np.int64(-1)}, "kernel has small channels that the groups do not divide"),
        ({"first": np.int64(1)}, "has other channels"),
        ({"result": (2, 9, 11, 7)}, "has other channels than the kernel"),
        ({"result": (3, 9, 11, 6)}, "has another batch"),
        ({"result": (2, 9, 66)}, "number of dimensions"),
        ({"dtype": np.int32}, "the result is not of type float32 or float64"),
        ({"dtype": np.float16}, "the result is not of type float32 or float64"),
        ({"name": "unstride_kernel_gradient", "relu": None}, "another number of arrays is expected"),
    ],
)
def test_a_call_that_is_wrong_is_an_error_of_xla(changed, message):
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        call(*layer(), **changed).block_until_ready()


@pytest.mark.parametrize(
    ("operands", "message"),
    [
        ((), "another number of arrays is expected"),
        (("x",), "another number of arrays is expected"),
        (("x", "kernel", "bias", "bias"), "another number of arrays is expected"),
        (("x", "kernel", "kernel"), "bias is not one adjacent number"),
        (("bias", "kernel"), "the arrays have not 1 to 3 axes"),
        (("x", "bias"), "number of dimensions"),
        (("six", "kernel"), "x has more than 5 dimensions"),
        (("integers", "kernel"), "x is not of type float32 or float64"),
    ],
)
def test_operands_that_are_wrong_are_an_error_of_xla(operands, message):
    arrays = dict(zip(("x", "kernel", "bias"), layer(), strict=True))
    arrays |= {"six": np.ones((2, 1, 1, 5, 6, 4), "f"), "integers": arrays["x"].astype(np.int32)}
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        call(*(arrays[name] for name in operands)).block_until_ready()


def run_python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_memory_that_cannot_be_had_is_an_error_of_xla():
    run_python(
        """
import resource
import jax, jax.numpy as jnp, unstride as us
x = jnp.ones((1, 64, 600_000))  # 154 MB, which channels last would be once more, and too much to be kept for later
kernel = jnp.ones((1, 64, 1))
rule = jax.jit(lambda x, k: us.conv(x, k, stride=1 << 12, channels="first"))
rule(x, kernel).block_until_ready()
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20), -1))
try:
    rule(x, kernel).block_until_ready()
except (jax.errors.JaxRuntimeError, ValueError) as error:  # the second where JAX knows the program already
    assert "RESOURCE_EXHAUSTED" in str(error) and "no memory for the arrays" in str(error), error
else:
    raise AssertionError("there was memory")
"""
    )


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler")
def test_the_declarations_are_those_of_jaxlibs_header(tmp_path):
    structs = {
        "Extension": ("XLA_FFI_Extension_Base", "struct_size:struct_size kind:type next:next"),
        "Version": ("XLA_FFI_Api_Version", "struct_size:struct_size extensions:extension_start major_version:major_version minor_version:minor_version"),
        "Metadata": ("XLA_FFI_Metadata", "struct_size:struct_size version:api_version traits:traits"),
        "MetadataExtension": ("XLA_FFI_Metadata_Extension", "base:extension_base metadata:metadata"),
        "NewError": ("XLA_FFI_Error_Create_Args", "struct_size:struct_size extensions:extension_start message:message code:errc"),
        "Api": ("XLA_FFI_Api", "struct_size:struct_size extensions:extension_start version:api_version own:internal_api new_error:XLA_FFI_Error_Create"),
        "Buffer": ("XLA_FFI_Buffer", "struct_size:struct_size extensions:extension_start type:dtype data:data rank:rank sizes:dims"),
        "Span": ("XLA_FFI_ByteSpan", "data:ptr size:len"),
        "ScalarAttribute": ("XLA_FFI_Scalar", "type:dtype value:value"),
        "ArrayAttribute": ("XLA_FFI_Array", "type:dtype size:size data:data"),
        "Attributes": ("XLA_FFI_Attrs", "struct_size:struct_size extensions:extension_start count:size kinds:types names:names values:attrs"),
        "Call": ("XLA_FFI_CallFrame", "struct_size:struct_size extensions:extension_start api:api context:ctx stage:stage arguments:args results:rets attributes:attrs"),
    }  # fmt: skip
    checks = []
    for theirs in ("XLA_FFI_Args", "XLA_FFI_Rets"):
        own = "struct_size:struct_size extensions:extension_start count:size kinds:types values:" + theirs[-4:].lower()
        structs |= {f"Arguments /* {theirs} */": (theirs, own)}
    for ours, (theirs, fields) in structs.items():
        for mine, other in (pair.split(":") for pair in fields.split()):
            checks.append(f"static_assert(offsetof(xla::{ours}, {mine}) == offsetof({theirs}, {other}));")
            checks.append(f"static_assert(sizeof(xla::{ours}::{mine}) == sizeof({theirs}::{other}));")
    # Where a struct is read whole, theirs is as large, or larger by fields at its end.
    sizes = {"Buffer": "Buffer", "Arguments": "Args", "Attributes": "Attrs", "Call": "CallFrame", "Api": "Api"}
    checks += [f"static_assert(sizeof(xla::{a}) <= XLA_FFI_{b}_STRUCT_SIZE);" for a, b in sizes.items()]
    for a, b in {"Span": "ByteSpan", "ScalarAttribute": "Scalar", "ArrayAttribute": "Array"}.items():
        checks.append(f"static_assert(sizeof(xla::{a}) == sizeof(XLA_FFI_{b}));")
    checks.append("static_assert(sizeof(xla::NewError) >= XLA_FFI_Error_Create_Args_STRUCT_SIZE);")
    values = {
        "invalid_argument": "Error_Code_INVALID_ARGUMENT",
        "resource_exhausted": "Error_Code_RESOURCE_EXHAUSTED",
        "internal": "Error_Code_INTERNAL",
        "s64": "DataType_S64",
        "f32": "DataType_F32",
        "f64": "DataType_F64",
        "array_attribute": "AttrType_ARRAY",
        "scalar_attribute": "AttrType_SCALAR",
        "buffer_argument": "ArgType_BUFFER",
        "buffer_argument /* of a result */": "RetType_BUFFER",
        "metadata_extension": "Extension_Metadata",
        "execute_stage": "ExecutionStage_EXECUTE",
        "major_version": "API_MAJOR",
    }
    checks += [f"static_assert(int(xla::{ours}) == int(XLA_FFI_{theirs}));" for ours, theirs in values.items()]
    checks.append("static_assert(xla::oldest_minor_version <= XLA_FFI_API_MINOR);")
    source = tmp_path / "check.cpp"
    includes = ["<cstddef>", '"xla/ffi/api/c_api.h"', '"api/xla.hpp"']
    lines = [*(f"#include {name}" for name in includes), "using namespace unstride;", *checks, "int main() {}"]
    source.write_text("\n".join(lines))
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))))
    folders = [f"-I{native.ffi.include_dir()}", f"-I{SOURCES}"]
    done = subprocess.run(
        [compiler, "-std=c++17", "-fsyntax-only", "-Wno-invalid-offsetof", *folders, str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def fresh(rule):
    """The program of a function that was never traced before."""
    return jax.jit(lambda *operands: rule(*operands))


def test_without_the_interface_the_numbers_are_the_same(monkeypatch):
    x, kernel, bias = layer()
    y = us.conv_transpose(x, kernel, bias, GEOMETRY, activation="relu")
    expected = jax.jit(step("last"))(x, kernel, bias, y)
    monkeypatch.setattr(native, "REGISTERED", False)
    program = fresh(step("last"))
    assert "custom_call" not in program.lower(x, kernel, bias, y).as_text()
    for one, other in zip(jax.tree.leaves(program(x, kernel, bias, y)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_a_jaxlib_that_refuses_the_kernels_is_no_error():
    run_python(
        """
import jax, numpy as np, unstride as us
from jax._src.lib import xla_client
def refused(*_, **__):
    raise RuntimeError("incompatible version")
xla_client.register_custom_call_target = refused
x, kernel = np.ones((1, 4, 2), "f"), np.ones((3, 2, 2), "f")
y = us.conv_transpose(jax.numpy.asarray(x), jax.numpy.asarray(kernel), stride=2)
np.testing.assert_array_equal(y, us.conv_transpose(x, kernel, stride=2))
from unstride.backends.jax import native as jax_native
assert not jax_native.REGISTERED
"""
    )


def test_exported_programs_need_no_kernels_of_ours():
    x, kernel, bias = layer()
    rule = fresh(step("last"))
    y = us.conv_transpose(x, kernel, bias, GEOMETRY, activation="relu")
    (batch,) = jax.export.symbolic_shape("batch")
    shapes = [jax.ShapeDtypeStruct((batch, *array.shape[1:]), array.dtype) for array in (x, y)]
    exported = jax.export.export(rule)(shapes[0], kernel, bias, shapes[1])
    assert "unstride_conv" not in exported.mlir_module()
    for one, other in zip(
        jax.tree.leaves(exported.call(x, kernel, bias, y)), jax.tree.leaves(rule(x, kernel, bias, y)), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_other_platforms_get_xlas_own_convolution():
    x, kernel, bias = layer()
    y = us.conv_transpose(x, kernel, bias, GEOMETRY, activation="relu")
    for platform in ("cuda", "tpu"):
        text = fresh(step("last")).trace(x, kernel, bias, y).lower(lowering_platforms=(platform,)).as_text()
        assert "custom_call" not in text
        assert text.count("stablehlo.convolution") == 3


def test_programs_for_several_devices():
    run_python(
        """
import jax, jax.numpy as jnp, numpy as np, unstride as us
from jax.sharding import Mesh, NamedSharding, PartitionSpec
assert len(jax.devices()) == 2
spread = NamedSharding(Mesh(np.array(jax.devices()), ("batch",)), PartitionSpec("batch"))
rng = np.random.default_rng(0)
x, kernel = rng.standard_normal((4, 5, 2)).astype("f"), rng.standard_normal((3, 4, 2)).astype("f")
rule = jax.jit(lambda x, k: us.conv_transpose(x, k, stride=2))
y = rule(jax.device_put(x, spread), kernel)
assert y.sharding.is_equivalent_to(spread, 3)
np.testing.assert_allclose(y, us.conv_transpose(x, kernel, stride=2), rtol=1e-5, atol=1e-5)
apart = jax.device_put(jnp.asarray(x), jax.devices()[1])
assert us.conv_transpose(apart, kernel, stride=2).devices() == {jax.devices()[1]}
each = jax.shard_map(rule, mesh=spread.mesh, in_specs=(PartitionSpec("batch"), PartitionSpec()), out_specs=spread.spec)
np.testing.assert_allclose(each(x, kernel), us.conv_transpose(x, kernel, stride=2), rtol=1e-5, atol=1e-5)
""",
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
        JAX_PLATFORMS="cpu",
    )
