// Whole grids, by all threads: whether they are finite, the sum of several, and from channels first to channels last and back.
#include <algorithm>
#include <atomic>

#include "run/maps.hpp"
#include "runtime/caches.hpp"
#include "runtime/pool.hpp"

namespace unstride {

template <class T>
bool finite(const Kernels<T>& kernels, Grid<const T> grid, Size batch, const Size size[3], Size channels) {
    const Size rows = batch * size[0] * size[1], row = size[2] * channels;
    const Size some = std::max<Size>(few_numbers / std::max<Size>(row, 1), 1);  // rows a task
    std::atomic<bool> all{true};
    parallel(ceil_div(rows, some), rows * row > 2 * few_numbers ? num_threads() : 1, [&](Size task, int) {
        for (Size i = task * some; i < std::min(rows, (task + 1) * some) && all; ++i) {
            const Size image = i / (size[0] * size[1]), z = i / size[1] % size[0], y = i % size[1];
            const T* from = grid.data + image * grid.strides[0] + z * grid.strides[1] + y * grid.strides[2];
            if (!kernels.finite(from, row)) all = false;
        }
    });
    return all;
}

template bool finite(const Kernels<float>&, Grid<const float>, Size, const Size*, Size);
template bool finite(const Kernels<double>&, Grid<const double>, Size, const Size*, Size);

template <class T>
void add_parts(T* parts, Size part_count, Size count) {
    constexpr Size some = 4096;  // numbers a task
    parallel(ceil_div(count, some), count * part_count > few_numbers ? num_threads() : 1, [&](Size task, int) {
        T* const to = parts + task * some;
        const Size numbers = std::min(some, count - task * some);
        for (Size part = 1; part < part_count; ++part) {
            const T* const from = to + part * count;
            for (Size k = 0; k < numbers; ++k) to[k] += from[k];
        }
    });
}

template void add_parts(float*, Size, Size);
template void add_parts(double*, Size, Size);

template <class T>
void transpose(const Kernels<T>& kernels, const T* from, T* to, Size batch, Size rows, Size columns) {
    // Strips of the longer side, of about 64 KiB: reading or writing, one of the two is adjacent.
    const bool tall = rows > columns;
    const Size longer = tall ? rows : columns, shorter = tall ? columns : rows;
    const Size strip = std::max<Size>(cache::transposed_strip / Size(sizeof(T)) / std::max<Size>(shorter, 1) / 16 * 16, 16);
    const Size strips = ceil_div(longer, strip);
    parallel(batch * strips, batch * rows * columns > few_numbers ? num_threads() : 1, [&](Size i, int) {
        const Size image = i / strips * rows * columns, begin = i % strips * strip, count = std::min(strip, longer - begin);
        if (tall)
            kernels.transpose(from + image + begin * columns, columns, to + image + begin, rows, count, columns);
        else
            kernels.transpose(from + image + begin, columns, to + image + begin * rows, rows, rows, count);
    });
}

template void transpose(const Kernels<float>&, const float*, float*, Size, Size, Size);
template void transpose(const Kernels<double>&, const double*, double*, Size, Size, Size);

}  // namespace unstride
