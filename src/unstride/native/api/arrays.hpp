// Arrays in memory, from whichever library they come; and the problem that they and a geometry describe.
#pragma once

#include "plan/problem.hpp"

namespace unstride {

constexpr int max_dimensions = 5;

// An array of float32 or float64, aligned for its numbers. `strides` are in numbers.
struct Array {
    const char* name;
    void* data;
    int dimensions, bytes;
    Size sizes[max_dimensions], strides[max_dimensions];

    Size size(int axis) const { return sizes[axis]; }
    Size stride(int axis) const { return strides[axis]; }
    bool contiguous() const;
    bool empty() const;
    template <class T>
    T* as() const {
        return static_cast<T*>(data);
    }
};

// The order of a kernel's axes in memory; Python's numbers for them are the same.
enum class KernelLayout {
    first,        // (small, big, *k)
    last,         // (*k, big, small)
    small_first,  // (small, *k, big): PyTorch's memory format channels_last
};

// Whether channels come first, in the two grids and in the kernel; PyTorch's memory formats mix the two.
struct Layout {
    bool first, kernel_first;
};

// What a geometry leaves open to an array's shape is read from the arrays.
struct Fields {
    Size stride[3], dilation[3], begin[3];
    int rank;
    Size groups;
};

// Checks the fields of one axis. Throws std::invalid_argument.
void set_axis(Axis& axis, Size small, Size big, Size kernel, Size stride, Size dilation, Size begin);

// The problem of arrays in that layout, checked so that no access is outside of them. Throws std::invalid_argument.
Problem problem_of(Map map, const Array& big, const Array& small, const Array& kernel, const Fields& fields, Layout layout);

}  // namespace unstride
