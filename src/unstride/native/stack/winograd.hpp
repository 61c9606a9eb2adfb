// Winograd's algorithm F(4 x 4, 3 x 3) for stages of kernel size 3 x 3 and stride 1, with the batch in the lanes: sixteen
// results of a channel pair from 36 products instead of 144, and sixteen contributions to a kernel's gradient likewise.
//
// The points 0, infinity, +-5/8 and +-3/2 are exact in binary, as their squares are, and lose less to rounding than the usual
// 0, infinity, +-1 and +-2: over 32 channels 5.8e-7 of a result's standard deviation instead of 1.3e-6, where plain sums lose
// 3e-7. Rounding errors are bounded by the sizes of all numbers of a tile, not of the products alone
// (tests/stacks/test_winograd.py states the bound).
//
// What is not finite would spread over a whole tile: then nothing is promised of the results, `false` is returned, and the
// caller computes plain sums.
#pragma once

#include "stack/stack.hpp"

namespace unstride {

// Whether the algorithm applies to a stage, and takes less time than the plain sums: `ins` channels are transformed, `outs`
// come out.
bool winograd_pays(const Axis* axes, Size ins, Size outs);

// Memory that one worker needs for chunks of tiles; no stage needs more for either of its maps and its products.
Size winograd_numbers(Size ins, Size outs, int lanes);

// A kernel (group, tap, in, out) of a map with these phases, as (group, block of out, frequency, in, out of the block).
void winograd_weights(const AxisPhases& phases, Size groups, Size ins, Size outs, const float* from, float* to);

// A stage's map, or its adjoint.
struct WinogradMap {
    const AxisPhases& phases;
    Size groups, ins, outs;
    const float* weights;  // of winograd_weights
    const float* bias;
    bool relu;
    // Of an adjoint, or null: the results, of ReLU, of the stage before, in a grid like that of what is made. It becomes the
    // gradient with respect to what that ReLU was given, and is added to `sums`, a vector for each channel.
    const float* kept = nullptr;
    float* sums = nullptr;
};

bool winograd_run(const BatchKernels& kernels, const WinogradMap& map, const BatchGrid& in_grid, const float* in,
                  const BatchGrid& out_grid, float* out, float* memory);

// sums[group][frequency][big channel][small channel], of one group of images. `lane_sums` is room for a vector for each. With
// an adjoint, where the stage shares, it is run as well, chunk by chunk: the gradient is read and transformed once for both.
bool winograd_multiply(const BatchKernels& kernels, const Stage& stage, const BatchGrid& big_grid, const float* big,
                       const BatchGrid& small_grid, const float* small, float* sums, float* lane_sums,
                       const WinogradMap* adjoint, float* in_gradient, Size* offsets, float* memory);

// Whether a stage's products and its adjoint look at the same windows of the gradient: of a transposed convolution they do.
bool winograd_shares(const Stage& stage, int lanes);

// Adds such sums to the gradient (group, tap, big channel, small channel).
void winograd_gradient(const Stage& stage, const double* from, double* to);

}  // namespace unstride
