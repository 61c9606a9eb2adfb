#include "api/xla.hpp"

#include <algorithm>
#include <cfenv>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

#include "api/calls.hpp"
#include "runtime/caches.hpp"
#include "stack/losses.hpp"
#include "stack/stack.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace unstride {
namespace xla {

namespace {

[[noreturn]] void wrong(const std::string& what) { throw std::invalid_argument(what); }

// That XLA knows a struct as far as it is read here.
template <class Struct>
const Struct& checked(const Struct& given, std::size_t size = sizeof(Struct)) {
    if (given.struct_size < size) wrong("this version of XLA's foreign-function interface is not known");
    return given;
}

Array array_of(const char* name, const Arguments& all, std::int64_t index) {
    if (all.kinds[index] != buffer_argument) wrong(std::string(name) + " is no buffer");
    const Buffer& buffer = checked(*static_cast<const Buffer*>(all.values[index]));
    if (buffer.type != f32 && buffer.type != f64) wrong(std::string(name) + " is not of type float32 or float64");
    if (buffer.rank > max_dimensions) wrong(std::string(name) + " has more than 5 dimensions");
    Array array{name, buffer.data, static_cast<int>(buffer.rank), buffer.type == f32 ? 4 : 8, {}, {}};
    if (reinterpret_cast<std::uintptr_t>(buffer.data) % static_cast<std::size_t>(array.bytes) != 0)
        wrong(std::string(name) + " is not aligned");
    Size step = 1;
    for (int axis = array.dimensions - 1; axis >= 0; --axis) {
        array.sizes[axis] = buffer.sizes[axis], array.strides[axis] = step;
        step *= buffer.sizes[axis];
    }
    return array;
}

const void* attribute(const Attributes& all, const char* name, AttributeKind kind) {
    for (std::int64_t i = 0; i < all.count; ++i) {
        const Span& given_name = *all.names[i];
        if (given_name.size == std::strlen(name) && std::memcmp(given_name.data, name, given_name.size) == 0 &&
            all.kinds[i] == kind)
            return all.values[i];
    }
    wrong(std::string("the attribute ") + name + " is missing, or of another kind");
}

Size number(const Attributes& all, const char* name) {
    const auto& scalar = *static_cast<const ScalarAttribute*>(attribute(all, name, scalar_attribute));
    if (scalar.type != s64) wrong(std::string("the attribute ") + name + " is not a 64-bit integer");
    return *static_cast<const Size*>(scalar.value);
}

float real(const Attributes& all, const char* name) {
    const auto& scalar = *static_cast<const ScalarAttribute*>(attribute(all, name, scalar_attribute));
    if (scalar.type != f32) wrong(std::string("the attribute ") + name + " is not a float32");
    return *static_cast<const float*>(scalar.value);
}

void read_numbers(const Attributes& all, const char* name, int rank, Size* to) {
    const auto& array = *static_cast<const ArrayAttribute*>(attribute(all, name, array_attribute));
    if (array.type != s64 || array.size != static_cast<std::size_t>(rank))
        wrong(std::string("the attribute ") + name + " is not one 64-bit integer for each axis");
    std::copy_n(static_cast<const Size*>(array.data), rank, to);
}

Fields fields_of(const Attributes& all, int dimensions) {
    Fields fields{};
    fields.rank = dimensions - 2;
    if (fields.rank < 1 || fields.rank > 3) wrong("the arrays have not 1 to 3 axes of space and two more");
    read_numbers(all, "stride", fields.rank, fields.stride);
    read_numbers(all, "dilation", fields.rank, fields.dilation);
    read_numbers(all, "begin", fields.rank, fields.begin);
    fields.groups = number(all, "groups");
    return fields;
}

Layout layout_of(const Attributes& all) { return {number(all, "first") != 0, number(all, "kernel_first") != 0}; }

// XLA takes new memory from the system for a large result of every run, page by page as it is written to. Half of the time
// is saved, or more, if the pages are large (67 MB of result: 36 ms with small pages, 17 ms with large ones).
void prefer_huge_pages([[maybe_unused]] const Array& out) {
#if defined(__linux__)
    constexpr std::uintptr_t huge_page = cache::huge_page;
    const auto begin = reinterpret_cast<std::uintptr_t>(out.data);
    const auto end = begin + static_cast<std::uintptr_t>(out.sizes[0] * out.strides[0] * out.bytes);
    const std::uintptr_t first = (begin + huge_page - 1) / huge_page * huge_page, last = end / huge_page * huge_page;
    if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

void check_counts(const Call& call, std::int64_t min_count, std::int64_t most) {
    const std::int64_t given = checked(call.arguments).count;
    if (given < min_count || given > most || checked(call.results).count != 1) wrong("another number of arrays is expected");
    checked(call.attributes);
}

void forward(const Call& call, bool transposed) {
    check_counts(call, 2, 3);
    const Array x = array_of("x", call.arguments, 0), kernel = array_of("kernel", call.arguments, 1);
    const Array out = array_of("the result", call.results, 0);
    prefer_huge_pages(out);
    Array bias{};
    if (call.arguments.count == 3) bias = array_of("bias", call.arguments, 2);
    const Attributes& all = call.attributes;
    compute(transposed, x, kernel, call.arguments.count == 3 ? &bias : nullptr, out, fields_of(all, x.dimensions),
            layout_of(all), number(all, "relu") != 0);
}

void backward(const Call& call) {
    check_counts(call, 2, 2);
    const Array big = array_of("big", call.arguments, 0), small = array_of("small", call.arguments, 1);
    const Array out = array_of("the result", call.results, 0);
    if (big.empty() || small.empty()) {  // a sum of nothing
        if (!out.empty()) std::memset(out.data, 0, static_cast<std::size_t>(out.sizes[0] * out.strides[0] * out.bytes));
        return;
    }
    prefer_huge_pages(out);
    gradient(big, small, out, fields_of(call.attributes, big.dimensions), layout_of(call.attributes));
}

Stack stack_of(const Call& call, InstructionSet set = used_instruction_set()) {
    const auto& code = *static_cast<const ArrayAttribute*>(attribute(checked(call.attributes), "code", array_attribute));
    if (code.type != s64) wrong("the attribute code is not of 64-bit integers");
    return read_stack(static_cast<const Size*>(code.data), static_cast<Size>(code.size), set);
}

std::vector<Array> weights_of(const Arguments& all, std::int64_t from) {
    std::vector<Array> weights;
    for (std::int64_t i = from; i < all.count; ++i) weights.push_back(array_of("a weight", all, i));
    return weights;
}

void check_least(const Call& call, std::int64_t arguments, std::int64_t results) {
    if (checked(call.arguments).count < arguments || checked(call.results).count < results)
        wrong("another number of arrays is expected");
}

void forward_stack(const Call& call) {
    check_least(call, 1, 2);
    const Stack stack = stack_of(call);
    const Array x = array_of("x", call.arguments, 0), y = array_of("y", call.results, 0);
    const Array saved = array_of("what is kept", call.results, 1);
    prefer_huge_pages(saved);
    stack_forward(stack, x, weights_of(call.arguments, 1), y, saved.empty() ? nullptr : saved_of(stack, saved, x.sizes[0]));
}

void backward_stack(const Call& call) {
    check_least(call, 3, 1);
    const Array x = array_of("x", call.arguments, 0), saved = array_of("what is kept", call.arguments, 1);
    const Stack stack = stack_of(call, saved.empty() ? used_instruction_set() : saved_set(saved));
    const Array y_gradient = array_of("the gradient with respect to y", call.arguments, 2);
    const Array x_gradient = array_of("the gradient with respect to x", call.results, 0);
    stack_backward(stack, &x, weights_of(call.arguments, 3), y_gradient,
                   saved.empty() ? nullptr : saved_of(stack, saved, y_gradient.sizes[0]),
                   x_gradient.dimensions == 1 ? nullptr : &x_gradient, weights_of(call.results, 1));
}

void crossentropy_of_stack(const Call& call) {
    check_least(call, 2, 2);
    const Array x = array_of("x", call.arguments, 0), target = array_of("the target", call.arguments, 1);
    const Array y = array_of("y", call.results, 0), loss = array_of("the loss", call.results, 1);
    stack_crossentropy(stack_of(call), x, weights_of(call.arguments, 2), target, real(checked(call.attributes), "epsilon"), y,
                       loss, weights_of(call.results, 2));
}

void losses(const Call& call) {
    check_least(call, 2, 2);
    const Array target = array_of("the target", call.arguments, 0), predicted = array_of("the prediction", call.arguments, 1);
    const Array loss = array_of("the loss", call.results, 0), derivative = array_of("the derivative", call.results, 1);
    binary_crossentropy(target, predicted, real(checked(call.attributes), "epsilon"), loss,
                        derivative.empty() ? nullptr : &derivative);
}

// XLA lets its threads round the smallest numbers to zero. The kernels' own threads do not, and results should not depend
// on which thread computed what.
class PlainArithmetic {
   public:
    PlainArithmetic() {
        std::fegetenv(&before_);
        std::fesetenv(FE_DFL_ENV);
    }
    ~PlainArithmetic() { std::fesetenv(&before_); }
    PlainArithmetic(const PlainArithmetic&) = delete;
    PlainArithmetic& operator=(const PlainArithmetic&) = delete;

   private:
    std::fenv_t before_;
};

// When a function is registered it is called once for nothing but this.
bool answered(const Call& call) {
    for (Extension* extension = call.extensions; extension; extension = extension->next) {
        if (extension->kind != metadata_extension) continue;
        Metadata& metadata = *reinterpret_cast<MetadataExtension*>(extension)->metadata;
        // XLA serves old functions for a year or more, and refuses those that are newer than itself. It may not yet tell
        // how old that is; all else that we need is the same in every version.
        int minor = oldest_minor_version;
        if (call.api && call.api->version.major_version == major_version)
            minor = std::clamp(call.api->version.minor_version, oldest_minor_version, newest_minor_version);
        metadata.version.major_version = major_version;
        metadata.version.minor_version = minor;
        metadata.traits = 0;
        return true;
    }
    return false;
}

Error* failed(const Call& call, ErrorCode code, const char* name, const char* what) {
    std::string message;
    try {
        message = std::string("unstride.") + name + ": " + what;
    } catch (const std::bad_alloc&) {
    }
    NewError error{sizeof(NewError), nullptr, message.empty() ? what : message.c_str(), code};
    return call.api->new_error(&error);
}

template <class Body>
Error* guarded(Call* call, const char* name, Body body) {
    if (answered(*call)) return nullptr;
    // Without these there is no way to make an error; XLA catches what is thrown.
    if (call->struct_size < offsetof(Call, context) || !call->api || call->api->struct_size < sizeof(Api))
        throw std::runtime_error("unstride: this version of XLA's foreign-function interface is not known");
    try {
        checked(*call);
        if (call->stage != execute_stage) return nullptr;  // nothing to prepare
        const PlainArithmetic plain;
        body(*call);
        return nullptr;
    } catch (const std::bad_alloc&) {
        return failed(*call, resource_exhausted, name, "no memory for the arrays of a call");
    } catch (const std::invalid_argument& error) {
        return failed(*call, invalid_argument, name, error.what());
    } catch (const std::exception& error) {
        return failed(*call, internal, name, error.what());
    }
}

}  // namespace

Error* conv(Call* call) {
    return guarded(call, "conv", [](const Call& c) { forward(c, false); });
}

Error* conv_transpose(Call* call) {
    return guarded(call, "conv_transpose", [](const Call& c) { forward(c, true); });
}

Error* kernel_gradient(Call* call) {
    return guarded(call, "kernel_gradient", [](const Call& c) { backward(c); });
}

Error* stack_forward(Call* call) { return guarded(call, "stack", forward_stack); }

Error* stack_backward(Call* call) { return guarded(call, "stack", backward_stack); }

Error* stack_crossentropy(Call* call) { return guarded(call, "stack", crossentropy_of_stack); }

Error* binary_crossentropy(Call* call) { return guarded(call, "binary_crossentropy", losses); }

}  // namespace xla
}  // namespace unstride
