// A call of one of the maps for arrays of known shapes, to which only the places in memory are missing.
#pragma once

#include <cstdint>
#include <vector>

#include "api/calls.hpp"

namespace unstride {

class Prepared {
public:
    struct Shape {
        std::vector<Size> sizes, strides;  // strides in numbers
    };

    // `first` and `second` are x and the kernel, or big and small. With `turned` the kernel, or the gradient, is described
    // as (*k, big, small) but lies in memory as (small, *k, big), as PyTorch's in the memory format channels_last. Throws
    // std::invalid_argument.
    Prepared(Map map, const Shape& first, const Shape& second, const Shape& out, bool bias, const Fields& fields,
             Layout layout, bool turned, int bytes);

    // Of numbers of `bytes` bytes, aligned for them, as many as the shapes say, which nobody changes meanwhile; on the
    // threads of the team, if there is one (team.hpp). `bias` is not read where there is none.
    void operator()(void* first, void* second, void* bias, void* out) const;

    // Both gradients of a map, where `slope` is that of its result and lies as that was described: by x, which lies as x if
    // that is dense, and by the kernel.
    void gradients(void* x, void* kernel, void* slope, void* x_gradient, void* kernel_gradient) const;

private:
    template <class T>
    void run_gradients(void* x, void* kernel, void* slope, void* x_gradient, void* kernel_gradient) const;
    template <class T>
    void run(void* first, void* second, void* bias, void* out) const;

    Map map_;
    Array first_, second_, out_, bias_;
    bool has_bias_;
    Fields fields_;
    Layout layout_;
    bool turned_;
};

}  // namespace unstride
