// Sums over K in parts, for few cells and large weights: each part adds its products to sums of all cells, which are added
// afterwards in the parts' order, so that they do not depend on the number of threads.
#pragma once

#include <cstring>
#include <vector>

#include "run/maps.hpp"
#include "runtime/memory.hpp"
#include "runtime/pool.hpp"

namespace unstride {

// Sums of all cells, each of `width` adjacent columns, as a grid.
template <class T>
Grid<T> sums_grid(const Problem& p, T* sums, Size width) {
    const Size row = p.out_size(2) * width, plane = p.out_size(1) * row;
    return {sums, {p.out_size(0) * plane, plane, row, width}};
}

// Writes `columns` of the sums' columns, from the first one on, to the output's columns from `first` on. `bias` may be null.
template <class T>
void write_sums(const Problem& p, const T* sums, Size width, Grid<T> out, Size first, Size columns, const T* bias, bool relu) {
    for (Size image = 0; image < p.batch; ++image)
        for (Size z = 0; z < p.out_size(0); ++z)
            for (Size y = 0; y < p.out_size(1); ++y)
                for (Size x = 0; x < p.out_size(2); ++x, sums += width) {
                    T* const to = out.data + image * out.strides[0] + z * out.strides[1] + y * out.strides[2] +
                                  x * out.strides[3] + first;
                    for (Size k = 0; k < columns; ++k) {
                        const T sum = bias ? sums[k] + bias[k] : sums[k];
                        to[k] = relu && sum < T(0) ? T(0) : sum;
                    }
                }
}

// add(k, sums, worker) adds products number k to a grid of sums.
template <class T, class Add>
void split_k(const Problem& p, const std::vector<Range>& parts, int limit, Grid<T> out, const T* bias, bool relu, Add add) {
    const Size count = static_cast<Size>(parts.size()), width = p.out_channels();
    const Size sums = p.batch * p.out_size(0) * p.out_size(1) * p.out_size(2) * width;
    const Scratch<T> memory(sums * count);
    parallel(count, limit, [&](Size i, int worker) {
        const Grid<T> to = sums_grid(p, memory.data() + i * sums, width);
        std::memset(to.data, 0, static_cast<std::size_t>(sums) * sizeof(T));
        for (Size k = parts[i].first; k < parts[i].first + parts[i].count; ++k) add(k, to, worker);
    });
    add_parts(memory.data(), count, sums);
    write_sums(p, memory.data(), width, out, 0, width, bias, relu);
}

}  // namespace unstride
