#include "api/bound_call.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "run/maps.hpp"
#include "runtime/memory.hpp"
#include "runtime/openmp_pool.hpp"

namespace unstride {

namespace {

Array array_of(const char* name, const BoundCall::Shape& shape, int bytes) {
    if (shape.sizes.size() != shape.strides.size() || shape.sizes.size() > max_dimensions)
        throw std::invalid_argument(std::string(name) + " must have as many strides as sizes, at most 5");
    Array array{name, nullptr, static_cast<int>(shape.sizes.size()), bytes, {}, {}};
    std::copy(shape.sizes.begin(), shape.sizes.end(), array.sizes);
    std::copy(shape.strides.begin(), shape.strides.end(), array.strides);
    return array;
}

Array at(Array array, void* data) {
    array.data = data;
    return array;
}

}  // namespace

BoundCall::BoundCall(Map map, const Shape& first, const Shape& second, const Shape& out, bool bias, const Fields& fields,
                     bool channels_first, KernelLayout kernel_layout, int bytes)
    : map_(map),
      first_(array_of(map == Map::kernel_gradient ? "big" : "x", first, bytes)),
      second_(array_of(map == Map::kernel_gradient ? "small" : "kernel", second, bytes)),
      out_(array_of("out", out, bytes)),
      bias_{"bias", nullptr, 1, bytes, {}, {1}},
      has_bias_(bias),
      fields_(fields),
      layout_{channels_first, kernel_layout == KernelLayout::first},
      transposes_kernel_(kernel_layout == KernelLayout::small_first) {
    if (bytes != 4 && bytes != 8) throw std::invalid_argument("bytes must be 4 or 8");
    if (out_.dimensions == fields.rank + 2) bias_.sizes[0] = out_.size(channels_first ? 1 : fields.rank + 1);
}

// A kernel of KernelLayout::small_first, transposed to KernelLayout::last; or only memory for one.
template <class T>
class KernelLast {
   public:
       KernelLast(const Array& kernel, bool transposes)
           : smalls_(transposes ? kernel.size(kernel.dimensions - 1) : 1), count_(transposes ? count_of(kernel) : 0),
             memory_(count_) {}

       void* read(const Kernels<T>& kernels, void* data) {
           if (!count_) return data;
           transpose(kernels, static_cast<const T*>(data), memory_.data(), 1, smalls_, count_ / smalls_);
           return memory_.data();
       }
    void* room(void* data) { return count_ ? memory_.data() : data; }
    void write(const Kernels<T>& kernels, void* data) {
        if (count_)
            transpose(kernels, static_cast<const T*>(memory_.data()), static_cast<T*>(data), 1, count_ / smalls_, smalls_);
    }

   private:
    static Size count_of(const Array& kernel) {
        Size count = 1;
        for (int axis = 0; axis < kernel.dimensions; ++axis) count *= kernel.size(axis);
        return count;
    }
    const Size smalls_, count_;
    Scratch<T> memory_;
};

template <class T>
void BoundCall::run(void* first, void* second, void* bias, void* out) const {
    const InstructionSet set = used_instruction_set();
    const Kernels<T>& table = kernels<T>(set);
    if (map_ == Map::kernel_gradient) {
        KernelLast<T> kernel(out_, transposes_kernel_);
        gradient(at(first_, first), at(second_, second), at(out_, kernel.room(out)), fields_, layout_, set);
        kernel.write(table, out);
        return;
    }
    KernelLast<T> kernel(second_, transposes_kernel_);
    const Array offset = at(bias_, bias);
    compute(map_ == Map::conv_transpose, at(first_, first), at(second_, kernel.read(table, second)),
            has_bias_ ? &offset : nullptr, at(out_, out), fields_, layout_, false, set);
}

template <class T>
void BoundCall::run_gradients(void* x, void* kernel, void* grad_output, void* x_gradient, void* kernel_gradient) const {
    const InstructionSet set = used_instruction_set();
    const Kernels<T>& table = kernels<T>(set);
    Array by_x = at(first_, x_gradient), by_kernel = second_, grad_outputs = at(out_, grad_output);
    Size step = 1;
    for (int axis = by_x.dimensions - 1; axis >= 0; --axis) by_x.strides[axis] = step, step *= by_x.size(axis);
    by_x.name = "x_gradient", by_kernel.name = "kernel_gradient", grad_outputs.name = "grad_output";
    KernelLast<T> weights(second_, transposes_kernel_), gradient(second_, transposes_kernel_);
    unstride::gradients(map_ == Map::conv_transpose, at(first_, x), at(second_, weights.read(table, kernel)), grad_outputs,
                        by_x, at(by_kernel, gradient.room(kernel_gradient)), fields_, layout_, set);
    gradient.write(table, kernel_gradient);
}

void BoundCall::operator()(void* first, void* second, void* bias, void* out) const {
    const OnOpenMP team;
    if (out_.bytes == 4)
        run<float>(first, second, bias, out);
    else
        run<double>(first, second, bias, out);
}

void BoundCall::gradients(void* x, void* kernel, void* grad_output, void* x_gradient, void* kernel_gradient) const {
    if (map_ == Map::kernel_gradient) throw std::invalid_argument("a call of kernel_gradient has no gradients of its own");
    const OnOpenMP team;
    if (out_.bytes == 4)
        run_gradients<float>(x, kernel, grad_output, x_gradient, kernel_gradient);
    else
        run_gradients<double>(x, kernel, grad_output, x_gradient, kernel_gradient);
}

}  // namespace unstride
