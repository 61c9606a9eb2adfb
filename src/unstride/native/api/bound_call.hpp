// A call bound to shapes and strides; only the data pointers vary.
#pragma once

#include <cstdint>
#include <vector>

#include "api/calls.hpp"

namespace unstride {

class BoundCall {
public:
    struct Shape {
        std::vector<Size> sizes, strides;  // strides in numbers
    };

    // `first` and `second` are x and the kernel, or big and small. A kernel, or its
    // gradient, of KernelLayout::small_first is described as (*k, big, small). Throws std::invalid_argument.
    BoundCall(Map map, const Shape& first, const Shape& second, const Shape& out, bool bias, const Fields& fields,
             bool channels_first, KernelLayout kernel_layout, int bytes);

    // Of numbers of `bytes` bytes, aligned for them, as many as the shapes say, which nobody changes meanwhile; on the
    // threads of OpenMP, if there are any (openmp_pool.hpp). `bias` is not read where there is none.
    void operator()(void* first, void* second, void* bias, void* out) const;

    // Both gradients of a map, where `grad_output` is laid out as `out` was described: with respect to x, laid out as x if
    // that is dense, and with respect to the kernel.
    void gradients(void* x, void* kernel, void* grad_output, void* x_gradient, void* kernel_gradient) const;

private:
    template <class T>
    void run_gradients(void* x, void* kernel, void* grad_output, void* x_gradient, void* kernel_gradient) const;
    template <class T>
    void run(void* first, void* second, void* bias, void* out) const;

    Map map_;
    Array first_, second_, out_, bias_;
    bool has_bias_;
    Fields fields_;
    Layout layout_;
    bool transposes_kernel_;
};

}  // namespace unstride
