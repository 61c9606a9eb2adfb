// The three maps, stacks and losses as foreign functions of XLA, called inside its programs with no Python on the way.
//
// XLA hands a function one C struct. Those that are needed of it are declared here, and not taken from the headers that
// come with jaxlib, so that building needs no JAX. A struct has its own size; later versions of the interface add fields
// at the end. tests/backends/test_jax_calls.py compares all of this with the headers of the jaxlib that is installed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace unstride {
namespace xla {

// Versions of the interface, all of major version 0, in which the declarations below hold: from jaxlib 0.4.34 on.
constexpr int major_version = 0, oldest_minor_version = 1, newest_minor_version = 3;

enum ErrorCode : std::int32_t { invalid_argument = 3, resource_exhausted = 8, internal = 13 };
enum Type : std::int32_t { s64 = 5, f32 = 11, f64 = 12 };
enum AttributeKind : std::int32_t { array_attribute = 1, scalar_attribute = 3 };
constexpr std::int32_t buffer_argument = 1;     // kind of an argument, and of a result
constexpr std::int32_t metadata_extension = 1;  // kind of an extension
constexpr std::int32_t execute_stage = 3;

struct Extension {
    std::size_t struct_size;
    std::int32_t kind;
    Extension* next;
};

struct Version {
    std::size_t struct_size;
    Extension* extensions;
    int major_version, minor_version;
};

// What a function says of itself when it is registered.
struct Metadata {
    std::size_t struct_size;
    Version version;
    std::uint32_t traits;
};

struct MetadataExtension {
    Extension base;
    Metadata* metadata;
};

struct Error;  // XLA's

struct NewError {
    std::size_t struct_size;
    Extension* extensions;
    const char* message;
    std::int32_t code;
};

// XLA's functions for ours. We call the first.
struct Api {
    std::size_t struct_size;
    Extension* extensions;
    Version version;
    const void* own;
    Error* (*new_error)(NewError*);
};

// An array in memory, without gaps and the last axis adjacent, as the program that calls is compiled to give it.
struct Buffer {
    std::size_t struct_size;
    Extension* extensions;
    std::int32_t type;
    void* data;
    std::int64_t rank;
    std::int64_t* sizes;
};

struct Arguments {  // or results
    std::size_t struct_size;
    Extension* extensions;
    std::int64_t count;
    std::int32_t* kinds;
    void** values;
};

struct Span {
    const char* data;
    std::size_t size;
};

struct ScalarAttribute {
    std::int32_t type;
    void* value;
};

struct ArrayAttribute {
    std::int32_t type;
    std::size_t size;
    void* data;
};

struct Attributes {
    std::size_t struct_size;
    Extension* extensions;
    std::int64_t count;
    std::int32_t* kinds;
    Span** names;
    void** values;
};

struct Call {
    std::size_t struct_size;
    Extension* extensions;
    const Api* api;
    void* context;
    std::int32_t stage;
    Arguments arguments, results;
    Attributes attributes;
};

// Arguments x, kernel and perhaps bias; attributes stride, dilation and begin (arrays, one number for each axis), groups,
// first, kernel_first and relu: all of 64-bit integers. Null, or an error of XLA's for what unstride::compute throws.
Error* conv(Call* call);
Error* conv_transpose(Call* call);

// Arguments big and small; the same attributes but for relu.
Error* kernel_gradient(Call* call);

// A stack of float32; attribute code, an array of 64-bit integers (stack.hpp). Arguments x and the weights; results y, and
// the numbers kept for backward, or none.
Error* stack_forward(Call* call);

// Arguments x, what forward kept (or no numbers: it is computed again), the gradient with respect to y, and the weights;
// results the gradient with respect to x (or no numbers: it is not wanted) and those by the weights.
Error* stack_backward(Call* call);

// The same attribute, and epsilon (a float32). Arguments x, target, and the weights; results y, the binary cross-entropy of
// each number of y, and the gradients of all these losses' sum by the weights.
Error* stack_crossentropy(Call* call);

// Arguments target and prediction, attribute epsilon (a float32); results the loss of each number, and its derivative by the
// prediction (or no numbers: it is not wanted).
Error* binary_crossentropy(Call* call);

}  // namespace xla
}  // namespace unstride
