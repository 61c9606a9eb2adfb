// The maps of a stage between grids whose lanes are images, by plain sums (winograd.hpp has another way for some stages).
#pragma once

#include "stack/stack.hpp"

namespace unstride {

// One of a stage's two maps between its grids.
struct BatchMap {
    const AxisPhases& phases;
    const Axis* axes;
    Size groups, ins, outs;  // channels of one group
    const float* weights;
    const float* bias;
    bool relu;
    // Of an adjoint, or null: the stage before this one, and its results, in a grid like that of what is made. This becomes the
    // gradient with respect to what that stage's activation was given, while it is in the cache, and is added to `sums`, a
    // vector for each channel.
    const Stage* before = nullptr;
    const float* kept = nullptr;
    float* sums = nullptr;
};

// `taps_in` and `taps_weights` are room for a pointer for each tap.
void run(const BatchKernels& kernels, const BatchMap& map, const BatchGrid& in_grid, const float* in, const BatchGrid& out_grid,
         float* out, const float** taps_in, const float** taps_weights);

// sums[group][tap][big channel][small channel][lane], of one group of images. `offsets` is room for a number for each tap
// along x of each big channel.
void multiply(const BatchKernels& kernels, const Stage& stage, const BatchGrid& big_grid, const float* big,
              const BatchGrid& small_grid, const float* small, float* sums, Size* offsets);

}  // namespace unstride
