// The three maps, run by plan over arrays in memory.
#pragma once

#include "plan/gradient_plan.hpp"
#include "plan/plan.hpp"
#include "run/kernel_table.hpp"

namespace unstride {

// Images, z, y, x, with channels adjacent; strides in numbers.
template <class T>
struct Grid {
    T* data;
    Size strides[4];
};

// A kernel of (taps, big channels of a group, small channels of all groups), the last adjacent; strides in numbers.
template <class T>
struct WeightsView {
    T* data;
    Size tap, big;
};

// Fewer numbers than these are moved or added before another thread wakes.
constexpr Size few_numbers = 1 << 15;

// How many threads a call of these vector operations takes. See `short_work`.
int threads_for(double vector_operations);

// conv and conv_transpose. `bias` may be null. Throws std::bad_alloc before it has written anything.
template <class T>
void run(const Plan& plan, const Kernels<T>& kernels, Grid<const T> in, WeightsView<const T> kernel, const T* bias, Grid<T> out,
         bool relu);

// The same for plans of method `spatial`.
template <class T>
void run_spatial(const Plan& plan, const Kernels<T>& kernels, Grid<const T> in, WeightsView<const T> kernel, const T* bias,
                Grid<T> out, bool relu);

// The same for plans that read the kernel unpacked.
template <class T>
void run_unpacked(const Plan& plan, const Kernels<T>& kernels, Grid<const T> in, WeightsView<const T> kernel, const T* bias,
                  Grid<T> out, bool relu);

// Whether all numbers of a grid are: `size` cells along z, y, x of `channels` each; those along x must be adjacent.
template <class T>
bool finite(const Kernels<T>& kernels, Grid<const T> grid, Size batch, const Size size[3], Size channels);

// The first `count` numbers become the sums of all parts of `count` numbers, in their order.
template <class T>
void add_parts(T* parts, Size part_count, Size count);

// `gradient` is written, not added to.
template <class T>
void run(const GradientPlan& plan, const Kernels<T>& kernels, Grid<const T> big, Grid<const T> small, WeightsView<T> gradient);

// to[b][j][i] = from[b][i][j], in parallel: how channels first becomes channels last and back.
template <class T>
void transpose(const Kernels<T>& kernels, const T* from, T* to, Size batch, Size rows, Size columns);

}  // namespace unstride
