// Python arrays as memory, through the buffer protocol; and the problem that they and a geometry describe.
#pragma once

#include <Python.h>

#include "problem.hpp"

namespace unstride {

// A float32 or float64 array for as long as this lives. Throws std::invalid_argument naming it, or a Python error.
class Buffer {
   public:
    Buffer(const char* name, PyObject* array, bool writable);
    ~Buffer() { PyBuffer_Release(&view_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    const char* name() const { return name_; }
    int dimensions() const { return view_.ndim; }
    Size size(int axis) const { return view_.shape[axis]; }
    Size stride(int axis) const { return view_.strides[axis] / view_.itemsize; }  // in numbers
    int bytes() const { return static_cast<int>(view_.itemsize); }
    bool contiguous() const;
    template <class T>
    T* data() const {
        return static_cast<T*>(view_.buf);
    }

   private:
    const char* name_;
    Py_buffer view_;
};

// What a geometry leaves open to an array's shape is read from the arrays.
struct Fields {
    Size stride[3], dilation[3], begin[3];
    int rank;
    Size groups;
};

// Checks the fields of one axis. Throws std::invalid_argument.
void set_axis(Axis& axis, Size small, Size big, Size kernel, Size stride, Size dilation, Size begin);

// The problem of arrays in the layout `first`, checked so that no access lies outside of them. `kernel` has the layout of
// the arrays, too. Throws std::invalid_argument.
Problem problem_of(Map map, const Buffer& big, const Buffer& small, const Buffer& kernel, const Fields& fields, bool first);

}  // namespace unstride
