// Python's arrays as memory.
#pragma once

#include <nanobind/nanobind.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "api/arrays.hpp"

namespace unstride {

namespace nb = nanobind;

// A Python array as memory, through the buffer protocol, for as long as this lives. Throws std::invalid_argument naming it,
// or a Python error.
class Buffer {
   public:
    Buffer(const char* name, nb::handle array, bool writable) {
        if (PyObject_GetBuffer(array.ptr(), &view_, PyBUF_STRIDES | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) != 0)
            throw nb::python_error();
        const bool real = view_.format && ((!std::strcmp(view_.format, "f") && view_.itemsize == 4) ||
                                           (!std::strcmp(view_.format, "d") && view_.itemsize == 8));
        bool whole = real && reinterpret_cast<std::uintptr_t>(view_.buf) % static_cast<std::size_t>(view_.itemsize) == 0;
        for (int axis = 0; whole && axis < view_.ndim; ++axis) whole = view_.strides[axis] % view_.itemsize == 0;
        if (!whole || view_.ndim > max_dimensions) {
            PyBuffer_Release(&view_);
            throw std::invalid_argument(std::string(name) +
                                        (real ? " is not aligned, or of more than 5 dimensions"
                                              : " is not of type float32 or float64 in this machine's byte order"));
        }
        array_ = {name, view_.buf, view_.ndim, static_cast<int>(view_.itemsize), {}, {}};
        for (int axis = 0; axis < view_.ndim; ++axis)
            array_.sizes[axis] = view_.shape[axis], array_.strides[axis] = view_.strides[axis] / view_.itemsize;
    }
    ~Buffer() { PyBuffer_Release(&view_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    const Array& operator*() const { return array_; }

   private:
    Py_buffer view_;
    Array array_;
};

inline Fields fields_of(const std::vector<Size>& stride, const std::vector<Size>& dilation, const std::vector<Size>& begin,
                 Size groups) {
    if (stride.empty() || stride.size() > 3 || dilation.size() != stride.size() || begin.size() != stride.size())
        throw std::invalid_argument("stride, dilation and begin must have one entry for each of 1 to 3 axes");
    Fields f{};
    f.rank = static_cast<int>(stride.size());
    std::copy(stride.begin(), stride.end(), f.stride);
    std::copy(dilation.begin(), dilation.end(), f.dilation);
    std::copy(begin.begin(), begin.end(), f.begin);
    f.groups = groups;
    return f;
}

// An array of numbers of any value, whose memory is used again after it.
nb::object empty(const std::vector<std::size_t>& shape, int bytes);

void bind_cached_calls(nb::module_& m);
void bind_stack(nb::module_& m);
void bind_testing(nb::module_& m);

}  // namespace unstride
