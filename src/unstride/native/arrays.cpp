#include "arrays.hpp"

#include <nanobind/nanobind.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

namespace unstride {

namespace {

[[noreturn]] void wrong(const Buffer& array, const std::string& what) {
    throw std::invalid_argument(std::string(array.name()) + " " + what);
}

}  // namespace

Buffer::Buffer(const char* name, PyObject* array, bool writable) : name_(name) {
    if (PyObject_GetBuffer(array, &view_, PyBUF_STRIDES | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) != 0)
        throw nanobind::python_error();
    const bool real = view_.format && ((!std::strcmp(view_.format, "f") && view_.itemsize == 4) ||
                                       (!std::strcmp(view_.format, "d") && view_.itemsize == 8));
    bool whole = real && reinterpret_cast<std::uintptr_t>(view_.buf) % static_cast<std::size_t>(view_.itemsize) == 0;
    for (int axis = 0; whole && axis < view_.ndim; ++axis) whole = view_.strides[axis] % view_.itemsize == 0;
    if (whole && view_.ndim <= 5) return;
    PyBuffer_Release(&view_);
    throw std::invalid_argument(std::string(name) + (real ? " is not aligned, or of more than 5 dimensions"
                                                          : " is not of type float32 or float64 in this machine's byte order"));
}

bool Buffer::contiguous() const {
    Size expected = 1;
    for (int axis = dimensions() - 1; axis >= 0; --axis) {
        if (size(axis) != 1 && stride(axis) != expected) return false;
        expected *= size(axis);
    }
    return true;
}

void set_axis(Axis& axis, Size small, Size big, Size kernel, Size stride, Size dilation, Size begin) {
    axis = {small, big, kernel, stride, dilation, begin};
    constexpr Size most = Size(1) << 40;  // of any field: far beyond memory, and no sum or product of two overflows
    if (small < 0 || big < 0 || small > most || big > most)
        throw std::invalid_argument("a spatial size is out of range");
    if (stride < 1 || dilation < 1 || kernel < 1 || stride > most || dilation > most || begin > most || begin < -most ||
        kernel > std::numeric_limits<int>::max() || kernel > most / dilation || small > most / stride)
        throw std::invalid_argument("stride, dilation, crop or kernel size is out of range");
}

Problem problem_of(Map map, const Buffer& big, const Buffer& small, const Buffer& kernel, const Fields& fields, bool first) {
    const int rank = fields.rank, dimensions = rank + 2;
    for (const Buffer* array : {&big, &small, &kernel}) {
        if (array->dimensions() != dimensions) wrong(*array, "has another number of dimensions than the geometry and two more");
        if (array->bytes() != kernel.bytes()) wrong(*array, "is of another type than the kernel");
        double count = 1;
        for (int axis = 0; axis < dimensions; ++axis) count *= static_cast<double>(array->size(axis));
        // A view may repeat numbers; beyond this, products of sizes could overflow.
        if (count > 281474976710656.0) wrong(*array, "is too large: it has more than 2^48 numbers");
    }
    Problem p;
    p.map = map;
    p.groups = fields.groups;
    p.batch = big.size(0);
    p.bytes = kernel.bytes();
    const int channel = first ? 1 : dimensions - 1, space = first ? 2 : 1;
    const Size smalls = kernel.size(first ? 0 : rank + 1), bigs = kernel.size(first ? 1 : rank);
    if (p.groups < 1 || p.groups > std::max<Size>(smalls, 1) || smalls % p.groups != 0)
        wrong(kernel, "has small channels that the groups do not divide");
    if (small.size(0) != p.batch) wrong(small, "has another batch");
    if (small.size(channel) != smalls) wrong(small, "has other channels than the kernel");
    if (big.size(channel) % p.groups != 0 || big.size(channel) / p.groups != bigs) wrong(big, "has other channels than the kernel");
    p.small_channels = smalls / p.groups, p.big_channels = bigs;
    for (int i = 0; i < rank; ++i)
        set_axis(p.axes[3 - rank + i], small.size(space + i), big.size(space + i), kernel.size(first ? 2 + i : i),
                 fields.stride[i], fields.dilation[i], fields.begin[i]);
    return p;
}

}  // namespace unstride
