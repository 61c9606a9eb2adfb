#include "api/prepared.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "run/maps.hpp"
#include "runtime/memory.hpp"
#include "runtime/team.hpp"

namespace unstride {

namespace {

Array array_of(const char* name, const Prepared::Shape& shape, int bytes) {
    if (shape.sizes.size() != shape.strides.size() || shape.sizes.size() > most_dimensions)
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

Prepared::Prepared(Map map, const Shape& first, const Shape& second, const Shape& out, bool bias, const Fields& fields,
                   Layout layout, bool turned, int bytes)
    : map_(map),
      first_(array_of(map == Map::kernel_gradient ? "big" : "x", first, bytes)),
      second_(array_of(map == Map::kernel_gradient ? "small" : "kernel", second, bytes)),
      out_(array_of("out", out, bytes)),
      bias_{"bias", nullptr, 1, bytes, {}, {1}},
      has_bias_(bias),
      fields_(fields),
      layout_(layout),
      turned_(turned) {
    if (bytes != 4 && bytes != 8) throw std::invalid_argument("bytes must be 4 or 8");
    if (turned && layout.kernel_first) throw std::invalid_argument("a kernel that is turned must be channels last");
    if (out_.dimensions == fields.rank + 2) bias_.sizes[0] = out_.size(layout.first ? 1 : fields.rank + 1);
}

// A kernel that lies turned, as it is described; or only memory for one.
template <class T>
class Upright {
   public:
    Upright(const Array& kernel, bool turned)
        : smalls_(turned ? kernel.size(kernel.dimensions - 1) : 1), count_(turned ? count_of(kernel) : 0), memory_(count_) {}

    void* read(const Kernels<T>& kernels, void* lies) {
        if (!count_) return lies;
        transpose(kernels, static_cast<const T*>(lies), memory_.data(), 1, smalls_, count_ / smalls_);
        return memory_.data();
    }
    void* room(void* lies) { return count_ ? memory_.data() : lies; }
    void write(const Kernels<T>& kernels, void* lies) {
        if (count_) transpose(kernels, static_cast<const T*>(memory_.data()), static_cast<T*>(lies), 1, count_ / smalls_, smalls_);
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
void Prepared::run(void* first, void* second, void* bias, void* out) const {
    const Kernels<T>& set = kernels<T>(used_instruction_set());
    if (map_ == Map::kernel_gradient) {
        Upright<T> kernel(out_, turned_);
        gradient(at(first_, first), at(second_, second), at(out_, kernel.room(out)), fields_, layout_);
        kernel.write(set, out);
        return;
    }
    Upright<T> kernel(second_, turned_);
    const Array offset = at(bias_, bias);
    compute(map_ == Map::conv_transpose, at(first_, first), at(second_, kernel.read(set, second)),
            has_bias_ ? &offset : nullptr, at(out_, out), fields_, layout_, false);
}

template <class T>
void Prepared::run_gradients(void* x, void* kernel, void* slope, void* x_gradient, void* kernel_gradient) const {
    const Kernels<T>& set = kernels<T>(used_instruction_set());
    Array by_x = at(first_, x_gradient), by_kernel = second_, slopes = at(out_, slope);
    Size step = 1;
    for (int axis = by_x.dimensions - 1; axis >= 0; --axis) by_x.strides[axis] = step, step *= by_x.size(axis);
    by_x.name = "x_gradient", by_kernel.name = "kernel_gradient", slopes.name = "slope";
    Upright<T> weights(second_, turned_), gradient(second_, turned_);
    unstride::gradients(map_ == Map::conv_transpose, at(first_, x), at(second_, weights.read(set, kernel)), slopes, by_x,
                        at(by_kernel, gradient.room(kernel_gradient)), fields_, layout_);
    gradient.write(set, kernel_gradient);
}

void Prepared::operator()(void* first, void* second, void* bias, void* out) const {
    const InTeam team;
    if (out_.bytes == 4)
        run<float>(first, second, bias, out);
    else
        run<double>(first, second, bias, out);
}

void Prepared::gradients(void* x, void* kernel, void* slope, void* x_gradient, void* kernel_gradient) const {
    if (map_ == Map::kernel_gradient) throw std::invalid_argument("a call of kernel_gradient has no gradients of its own");
    const InTeam team;
    if (out_.bytes == 4)
        run_gradients<float>(x, kernel, slope, x_gradient, kernel_gradient);
    else
        run_gradients<double>(x, kernel, slope, x_gradient, kernel_gradient);
}

}  // namespace unstride
