#include "api/arrays.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

namespace unstride {

namespace {

[[noreturn]] void wrong(const Array& array, const std::string& what) {
    throw std::invalid_argument(std::string(array.name) + " " + what);
}

}  // namespace

bool Array::contiguous() const {
    Size expected = 1;
    for (int axis = dimensions - 1; axis >= 0; --axis) {
        if (size(axis) != 1 && stride(axis) != expected) return false;
        expected *= size(axis);
    }
    return true;
}

bool Array::empty() const { return std::any_of(sizes, sizes + dimensions, [](Size size) { return size == 0; }); }

void set_axis(Axis& axis, Size small, Size big, Size kernel, Size stride, Size dilation, Size begin) {
    axis = {small, big, kernel, stride, dilation, begin};
    constexpr Size most = Size(1) << 40;  // of any field: far beyond memory, and no sum or product of two overflows
    if (small < 0 || big < 0 || small > most || big > most)
        throw std::invalid_argument("a spatial size is out of range");
    if (stride < 1 || dilation < 1 || kernel < 1 || stride > most || dilation > most || begin > most || begin < -most ||
        kernel > std::numeric_limits<int>::max() || kernel - 1 > most / dilation || small - 1 > most / stride)
        throw std::invalid_argument("stride, dilation, crop or kernel size is out of range");
}

Problem problem_of(Map map, const Array& big, const Array& small, const Array& kernel, const Fields& fields, Layout layout) {
    const int rank = fields.rank, dimensions = rank + 2;
    for (const Array* array : {&big, &small, &kernel}) {
        if (array->dimensions != dimensions) wrong(*array, "has another number of dimensions than the geometry and two more");
        if (array->bytes != kernel.bytes) wrong(*array, "is of another type than the kernel");
        double count = 1;
        for (int axis = 0; axis < dimensions; ++axis) count *= static_cast<double>(array->size(axis));
        // A view may repeat numbers; beyond this, products of sizes could overflow.
        if (count > 281474976710656.0) wrong(*array, "is too large: it has more than 2^48 numbers");
    }
    Problem p;
    p.map = map;
    p.groups = fields.groups;
    p.batch = big.size(0);
    p.bytes = kernel.bytes;
    const int channel = layout.first ? 1 : dimensions - 1, space = layout.first ? 2 : 1;
    const Size smalls = kernel.size(layout.kernel_first ? 0 : rank + 1), bigs = kernel.size(layout.kernel_first ? 1 : rank);
    if (p.groups < 1 || p.groups > std::max<Size>(smalls, 1) || smalls % p.groups != 0)
        wrong(kernel, "has small channels that the groups do not divide");
    if (small.size(0) != p.batch) wrong(small, "has another batch");
    if (small.size(channel) != smalls) wrong(small, "has other channels than the kernel");
    if (big.size(channel) % p.groups != 0 || big.size(channel) / p.groups != bigs)
        wrong(big, "has other channels than the kernel");
    p.small_channels = smalls / p.groups, p.big_channels = bigs;
    for (int i = 0; i < rank; ++i)
        set_axis(p.axes[3 - rank + i], small.size(space + i), big.size(space + i),
                 kernel.size(layout.kernel_first ? 2 + i : i), fields.stride[i], fields.dilation[i], fields.begin[i]);
    return p;
}

}  // namespace unstride
