#include "prepared.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "maps.hpp"
#include "memory.hpp"
#include "team.hpp"

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

template <class T>
void Prepared::run(void* first, void* second, void* bias, void* out) const {
    const Array& kernel = map_ == Map::kernel_gradient ? out_ : second_;
    Size count = turned_ ? 1 : 0;
    for (int axis = 0; axis < kernel.dimensions; ++axis) count *= kernel.size(axis);
    const Size smalls = kernel.dimensions > 0 ? kernel.size(kernel.dimensions - 1) : 0;
    const Scratch<T> memory(count);
    const Kernels<T>& set = kernels<T>(used_instruction_set());
    if (map_ == Map::kernel_gradient) {
        gradient(at(first_, first), at(second_, second), at(out_, count ? memory.data() : out), fields_, layout_);
        if (count) transpose(set, static_cast<const T*>(memory.data()), static_cast<T*>(out), 1, count / smalls, smalls);
        return;
    }
    if (count) transpose(set, static_cast<const T*>(second), memory.data(), 1, smalls, count / smalls);
    const Array offset = at(bias_, bias);
    compute(map_ == Map::conv_transpose, at(first_, first), at(second_, count ? memory.data() : second),
            has_bias_ ? &offset : nullptr, at(out_, out), fields_, layout_, false);
}

void Prepared::operator()(void* first, void* second, void* bias, void* out) const {
    const InTeam team;
    if (out_.bytes == 4)
        run<float>(first, second, bias, out);
    else
        run<double>(first, second, bias, out);
}

}  // namespace unstride
