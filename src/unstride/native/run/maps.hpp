// The three maps, run by plan over arrays in memory.
#pragma once

#include <algorithm>

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

// One call of conv or conv_transpose; `bias` may be null.
template <class T>
struct MapCall {
    const Plan& plan;
    const Kernels<T>& kernels;
    Grid<const T> in;
    WeightsView<const T> kernel;
    const T* bias;
    Grid<T> out;
    bool relu;
    const Problem& p = plan.problem;

    int workers() const {
        return static_cast<int>(std::min<Size>(threads_for(plan.vector_operations), std::max<Size>(plan.tasks(), 1)));
    }

    // Loops over some positions of a subconvolution, from the input to `to`; job.in and job.out become where the first begins.
    void place(Size images, const Subconvolution& sub, const BorderRegion* regions, const Grid<T>& to, Job<T>& job) const {
        job.loops.count[0] = images, job.loops.in_step[0] = in.strides[0], job.loops.out_step[0] = to.strides[0];
        for (int axis = 0; axis < 3; ++axis) {
            const AxisPhase& phase = *sub.axis[axis];
            const BorderRegion& region = regions[axis];
            job.in += region.first * phase.in_step * in.strides[axis + 1];
            job.out += (phase.offset + region.first * phase.step) * to.strides[axis + 1];
            job.loops.count[axis + 1] = region.count;
            job.loops.in_step[axis + 1] = phase.in_step * in.strides[axis + 1];
            job.loops.out_step[axis + 1] = phase.step * to.strides[axis + 1];
        }
    }
};

// Throws std::bad_alloc before it has written anything.
template <class T>
void run(const MapCall<T>& call);

// The same for plans of method `spatial`.
template <class T>
void run_spatial(const MapCall<T>& call);

// The same for plans that read the kernel unpacked.
template <class T>
void run_unpacked(const MapCall<T>& call);

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
