"""The native side of XLA's foreign-function interface, called as XLA calls it, but by ctypes and with frames that are
made by hand: other versions, structs that are too short, other stages."""

import ctypes

import numpy as np
import pytest

import unstride as us
from unstride import _native


def struct(name, fields):
    types = {"struct_size": ctypes.c_size_t, "extensions": ctypes.c_void_p}
    pairs = [(field, types[field]) if isinstance(field, str) else field for field in fields]
    return type(name, (ctypes.Structure,), {"_fields_": pairs})


Version = struct("Version", ["struct_size", "extensions", ("major", ctypes.c_int), ("minor", ctypes.c_int)])
Metadata = struct("Metadata", ["struct_size", ("version", Version), ("traits", ctypes.c_uint32)])
Extension = struct(
    "Extension",
    ["struct_size", ("kind", ctypes.c_int32), ("next", ctypes.c_void_p), ("metadata", ctypes.POINTER(Metadata))],
)
NewError = struct("NewError", ["struct_size", "extensions", ("message", ctypes.c_char_p), ("code", ctypes.c_int32)])
MAKE_ERROR = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(NewError))
Api = struct(
    "Api", ["struct_size", "extensions", ("version", Version), ("own", ctypes.c_void_p), ("new_error", MAKE_ERROR)]
)
Buffer = struct(
    "Buffer",
    [
        "struct_size",
        "extensions",
        ("type", ctypes.c_int32),
        ("data", ctypes.c_void_p),
        ("rank", ctypes.c_int64),
        ("sizes", ctypes.POINTER(ctypes.c_int64)),
    ],
)
KINDS, VALUES = ("kinds", ctypes.POINTER(ctypes.c_int32)), ("values", ctypes.POINTER(ctypes.c_void_p))
Arguments = struct("Arguments", ["struct_size", "extensions", ("count", ctypes.c_int64), KINDS, VALUES])
Span = struct("Span", [("data", ctypes.c_char_p), ("size", ctypes.c_size_t)])
Scalar = struct("Scalar", [("type", ctypes.c_int32), ("value", ctypes.c_void_p)])
Row = struct("Row", [("type", ctypes.c_int32), ("size", ctypes.c_size_t), ("data", ctypes.c_void_p)])
NAMES = ("names", ctypes.POINTER(ctypes.POINTER(Span)))
Attributes = struct("Attributes", ["struct_size", "extensions", ("count", ctypes.c_int64), KINDS, NAMES, VALUES])
Call = struct(
    "Call",
    [
        "struct_size",
        "extensions",
        ("api", ctypes.POINTER(Api)),
        ("context", ctypes.c_void_p),
        ("stage", ctypes.c_int32),
        ("arguments", Arguments),
        ("results", Arguments),
        ("attributes", Attributes),
    ],
)


def function(name):
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = pointer(_native.xla_targets()[name], None)
    return ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(Call))(address)


class Frame:
    """A call of conv_transpose, and what it reported."""

    def __init__(self, x, kernel, out):
        self.errors = []
        self.kept = []  # what the structs point to

        @MAKE_ERROR
        def new_error(error):
            self.errors.append((error.contents.code, error.contents.message.decode()))
            return 1

        version = Version(ctypes.sizeof(Version), None, 0, 3)
        self.api = Api(ctypes.sizeof(Api), None, version, None, new_error)
        attributes = {
            "begin": [0],
            "dilation": [1],
            "first": 0,
            "groups": 1,
            "kernel_first": 0,
            "relu": 0,
            "stride": [2],
        }
        self.call = Call(ctypes.sizeof(Call), None, ctypes.pointer(self.api), None, 3)
        self.call.arguments = self.arguments(x, kernel)
        self.call.results = self.arguments(out)
        self.call.attributes = self.attributes(attributes)

    def keep(self, thing):
        self.kept.append(thing)
        return thing

    def pointers(self, things):
        return self.keep((ctypes.c_void_p * len(things))(*(ctypes.addressof(self.keep(thing)) for thing in things)))

    def arguments(self, *arrays):
        buffers = []
        for array in arrays:
            sizes = self.keep((ctypes.c_int64 * array.ndim)(*array.shape))
            kind = {"f4": 11, "f8": 12}[array.dtype.str[1:]]
            buffers.append(Buffer(ctypes.sizeof(Buffer), None, kind, self.keep(array).ctypes.data, array.ndim, sizes))
        kinds = self.keep((ctypes.c_int32 * len(arrays))(*[1] * len(arrays)))
        return Arguments(ctypes.sizeof(Arguments), None, len(arrays), kinds, self.pointers(buffers))

    def attributes(self, given):
        names, values, kinds = [], [], []
        for name, value in given.items():
            numbers = self.keep(np.array(value, np.int64))
            text = self.keep(name.encode())
            names.append(ctypes.pointer(self.keep(Span(text, len(text)))))
            scalar = numbers.ndim == 0
            values.append(Scalar(5, numbers.ctypes.data) if scalar else Row(5, numbers.size, numbers.ctypes.data))
            kinds.append(3 if scalar else 1)
        rows = self.keep((ctypes.POINTER(Span) * len(names))(*names))
        kinds = self.keep((ctypes.c_int32 * len(kinds))(*kinds))
        return Attributes(ctypes.sizeof(Attributes), None, len(names), kinds, rows, self.pointers(values))

    def run(self):
        return function("unstride_conv_transpose")(self.call)


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((2, 4, 3)).astype("f"), rng.standard_normal((3, 5, 3)).astype("f")
    out = np.full((2, 9, 5), np.nan, "f")
    made = Frame(x, kernel, out)
    made.out, made.expected = out, us.conv_transpose(x, kernel, stride=2)
    return made


def test_a_frame_made_by_hand_computes(frame):
    assert frame.run() is None
    assert not frame.errors
    np.testing.assert_array_equal(frame.out, frame.expected)


def test_a_longer_frame_of_a_later_version_computes(frame):
    frame.call.struct_size += 64
    frame.api.version.minor += 4
    assert frame.run() is None
    np.testing.assert_array_equal(frame.out, frame.expected)


def test_stages_before_the_computation_do_nothing(frame):
    for stage in (0, 1, 2):
        frame.call.stage = stage
        assert frame.run() is None
    assert np.isnan(frame.out).all()


@pytest.mark.parametrize("part", ["call", "arguments", "results", "attributes", "buffer"])
def test_a_struct_that_is_too_short_is_an_error(frame, part):
    if part == "buffer":
        at = frame.call.arguments.values[1]
        Buffer.from_address(at).struct_size -= 8
    elif part == "call":
        frame.call.struct_size -= 8
    else:
        getattr(frame.call, part).struct_size -= 8
    assert frame.run() == 1
    ((code, message),) = frame.errors
    assert code == 3
    assert message == "unstride.conv_transpose: this version of XLA's foreign-function interface is not known"
    assert np.isnan(frame.out).all()


@pytest.mark.parametrize(
    ("told", "answer"), [(None, (0, 1)), ((0, 1), (0, 1)), ((0, 2), (0, 2)), ((0, 9), (0, 3)), ((1, 0), (0, 1))]
)
def test_the_version_that_is_answered_when_xla_registers_a_function(told, answer):
    nothing = np.zeros((1, 1, 1), "f")
    frame = Frame(nothing, nothing, nothing)
    metadata = Metadata(ctypes.sizeof(Metadata), Version(ctypes.sizeof(Version)), 7)
    last = Extension(ctypes.sizeof(Extension), 1, None, ctypes.pointer(metadata))
    before = Extension(ctypes.sizeof(Extension), 99, ctypes.addressof(last))
    for extension in (last, before):
        frame.call.extensions = ctypes.addressof(extension)
        if told is None:
            frame.call.api = None
        else:
            frame.api.version.major, frame.api.version.minor = told
        metadata.traits = 7
        assert frame.run() is None
        assert (metadata.version.major, metadata.version.minor) == answer
        assert metadata.traits == 0
    assert not frame.errors
