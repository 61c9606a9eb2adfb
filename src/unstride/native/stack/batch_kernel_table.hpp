// The kernels of a stack, with the batch in the vector lanes: a vector holds one number of each image of a group. Jobs as
// plain data, and a table of functions for every instruction set. All numbers are float32.
#pragma once

#include "run/kernel_table.hpp"

namespace unstride {

enum class Activation : Size { none, relu, leaky_relu, elu, tanh, sigmoid };

// out[position][column] = bias[column] + sum over taps and channels of in[tap][position][channel] * weight: positions along
// a row, each channel a vector.
struct BatchSums {
    const float* const* in;       // a tap's first position
    const float* const* weights;  // a tap's weights: (channels, weight_stride)
    Size taps, channels;
    float* out;
    Size positions, in_step, out_step;
    Size columns, weight_stride;
    const float* bias;  // or null
    bool relu;
};

// sums[row][column] += a[offsets[row]] * b[column] over positions, lane by lane; or = where they are `fresh`.
struct BatchProducts {
    const float* a;
    const float* b;
    Size lines, a_line, b_line;      // rows of positions
    Size positions, a_step, b_step;  // in a row
    const Size* offsets;
    Size rows, columns, b_column;    // numbers from one of b's columns to the next
    float* sums;
    Size stride;  // vectors from one row of sums to the next
    bool fresh;
};

// The same with b transposed (BatchKernels::adjoint_transform_transposed), so that columns are in the lanes: for each
// position, and each lane of a, sums[row][column] += a[row][lane] * b[lane][column]. A sum is one number here. Rows of a,
// and lanes of b, lie frequency_step vectors apart: `lines`, `offsets` and `b_column` are not used. The columns are a whole
// number of vectors.
using TransposedProducts = BatchProducts;

// Of Winograd's algorithm F(4 x 4, 3 x 3) (winograd.hpp): its frequencies, and the points that are not 0 and infinity.
constexpr Size winograd_frequencies = 36;
constexpr float winograd_a = 0.625f, winograd_b = 1.5f;
// A channel's frequencies are together, at places that the compiler knows; this many vectors from a channel to the next. It is
// an odd number, so that the same frequency of all channels does not share a few lines of the first-level cache.
constexpr Size step_of(Size frequencies) { return frequencies + 1; }
constexpr Size frequency_step = step_of(winograd_frequencies), third_step = step_of(winograd_frequencies / 3);

// Some results, as many as fit in the first-level cache:
// out[position][column][frequency] = sum over channels of in[position][channel][frequency] * weight, each a vector.
struct TransformDomainGemm {
    const float* in;
    Size step;  // numbers from one position to the next
    Size channels;
    const float* weights;  // (frequencies, channels, columns)
    float* out;
    int positions, columns;  // at most BatchKernels::frequency_positions and max_frequency_columns
};
constexpr int max_frequency_positions = 2, max_frequency_columns = 12;

// One tile of it: some places of a grid, a pointer to each one's first channel, and 36 vectors a channel.
struct WinogradTile {
    float* const* places;  // 6 x 6 or 4 x 4; of `output_transform` null where there is none
    Size pixel;  // of the input and adjoint transform: numbers from one place of a row to the next, or 0 where that differs
    float* frequencies;
    Size channels;
    int pair;  // of these: 0, 1 or 2 for one third of the frequencies, third_step vectors a channel; -1 for all
    const float* bias;  // of `output_transform`, or null
    bool relu;
    // Of `output_transform`, or null: y = relu(x) of a grid like that of the places, which begins at `out`. What is made is
    // then the gradient with respect to x, and added to `sums`, a vector for each channel.
    const float* kept;
    const float* out;
    float* sums;
};

// A loss of `numbers` targets and predictions, and its derivative by these, unless `derivative` is null (losses.hpp).
struct BatchLosses {
    const float* target;
    const float* predicted;
    Size numbers;
    float epsilon;
    float* loss;
    float* derivative;
};

struct BatchKernels {
    int lanes;
    void (*sums)(const BatchSums&);
    void (*products)(const BatchProducts&);
    void (*transposed_products)(const TransposedProducts&);
    int frequency_positions;  // at a time
    void (*transform_domain_gemm)(const TransformDomainGemm&);
    bool (*input_transform)(const WinogradTile&);          // 6 x 6 numbers to their frequencies; false if one is not finite
    void (*output_transform)(const WinogradTile&);          // frequencies to 4 x 4 results
    bool (*adjoint_transform)(const WinogradTile&);  // its adjoint: 4 x 4 numbers to frequencies; false as above
    // The same, transposed: of each W channels, a whole number of times, W vectors with one channel in each lane, one vector
    // for each lane that there was. All frequencies.
    bool (*adjoint_transform_transposed)(const WinogradTile&);
    // y = f(y), for `vectors` vectors
    void (*activate)(float* y, Size vectors, Activation activation, float slope);
    // gradient *= f'(x), from y = f(x), for positions of `channels` vectors, `step` numbers apart; what results is added to
    // bias, a vector for each channel.
    void (*differentiate)(float* gradient, const float* y, Size positions, Size channels, Size step, Activation activation,
                          float slope, float* bias);
    // to[row] = sum over the lanes of from[row], for `vectors` vectors
    void (*reduce)(const float* from, Size vectors, float* to);
    void (*binary_crossentropy)(const BatchLosses&);
};

const BatchKernels& batch_kernels(InstructionSet set);

}  // namespace unstride
