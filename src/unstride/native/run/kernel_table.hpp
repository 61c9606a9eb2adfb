// The compiled kernels: jobs as plain data, and a table of functions for every instruction set.
#pragma once

#include "plan/limits.hpp"
#include "runtime/processor.hpp"

namespace unstride {

// Positions of a region: images, z, y, x; steps in numbers, not bytes.
struct LoopNest {
    Size count[4];
    Size in_step[4];
    Size out_step[4];
};

// A run of adjacent numbers of the input, relative to a position, and the rows of packed weights that they meet; `copy` is
// where the run is in a copy of all runs of the position.
struct InputRun {
    Size in, row, length, copy;
};

// Some columns of the output, and their weights.
template <class T>
struct Block {
    const T* weights;
    const T* bias;  // padded like the columns
    Size column;    // where the block begins in a position's run of output
    Size columns;   // of igemm a multiple of the vector's length
};

// out[position][from .. to) = bias + sum over runs of in[position + run] * weights, and ReLU where asked for. What all of the
// kernels read; each has its own besides.
template <class T>
struct Job {
    const T* in;
    T* out;
    LoopNest loops;
    const InputRun* runs;
    Size run_count;
    const Block<T>* blocks;
    Size block_count;
    Size from, to;  // columns of the output to be written
    bool relu;
};

// A block's packed weights are (rows, columns).
template <class T>
struct IgemmJob : Job<T> {
    T* copies;       // room for max_igemm_rows positions' runs, from where they are read, or null
    Size copy_step;  // from one of them to the next
};

// Weights as the kernel has them, of one run. Products are added to what the output has.
template <class T>
struct UnpackedJob : Job<T> {
    T* copies;           // as above, and for igemm_unpacked igemm_unpacked_room() numbers
    Size copy_step;
    bool input_copied;   // igemm_unpacked: whether `copies` has these positions already
    Size weight_stride;  // from one row to the next; igemm_unpacked: from one column to the next
    Size next;           // from the first weights to those that are wanted next, fetched meanwhile; or 0
};

// A block's packed weights are (columns, rows).
template <class T>
struct DotJob : Job<T> {
    const Size* offsets;  // where each column is, relative to a position's output, and
    const bool* written;  // whether it is to be written
    Size weight_stride;   // from one column to the next
    bool add;             // to what the output has, instead of to the bias
    bool fresh;           // whether each row of positions reads what none before it has read
};

// The one block's packed weights are (taps, channels).
template <class T>
struct DepthwiseJob : Job<T> {
    Size weight_stride;  // from one tap to the next
};

// Room for the numbers that `igemm_unpacked` copies, of `length` channels at any number of positions up to the most. Tiles
// are filled up, but the most are whole tiles; so are vectors, at both ends.
constexpr Size igemm_unpacked_room(Size length, Size lanes) { return max_unpacked_positions * (length + 2 * lanes); }

// Columns from .. to of a SpatialJob read `count` numbers of every channel each.
struct Reach {
    int from, to;
    Size count;
};

// out[column][position] = bias[column] + sum over channels, and over the offsets that the column reaches, of
// in[channel * plane + offset + position] * weight, and ReLU where asked for. Weights lie in the order in which they are
// used: channel by channel, offset by offset. Up to spatial_slack numbers after the last position are read and written.
template <class T>
struct SpatialJob {
    const T* in;
    Size plane, channels;
    const Size* offsets;
    const Reach* reaches;
    Size reach_count;
    const T* weights;
    const T* bias;
    int columns;  // up to max_spatial_columns
    T* out;
    Size out_plane, count;
    bool relu;
};

// sums[row][lane] += in_a[position][row] * in_b[position][lane] over all positions; a kernel's gradient is made of these.
// `loops.in_step` is of a, `loops.out_step` of b. Of b only lanes from .. to are read; sums has `stride` numbers a row.
template <class T>
struct OuterProduct {
    const T* a;
    const T* b;
    LoopNest loops;
    Size rows;
    Size from, to;
    T* sums;
    Size stride;
};

// sums[lane] += a[position][lane] * b[position][lane]
template <class T>
struct DepthwiseGradient {
    const T* a;
    const T* b;
    LoopNest loops;
    Size lanes;
    T* sums;
};

template <class T>
struct Kernels {
    int lanes;
    void (*igemm)(const IgemmJob<T>&);
    void (*igemm_scalar)(const IgemmJob<T>&);  // its twin, number by number, for tests
    void (*igemm_rows)(const UnpackedJob<T>&);
    void (*igemm_unpacked)(const UnpackedJob<T>&);
    void (*dot)(const DotJob<T>&);
    void (*depthwise)(const DepthwiseJob<T>&);
    void (*spatial)(const SpatialJob<T>&);
    void (*outer_product)(const OuterProduct<T>&);
    void (*depthwise_gradient)(const DepthwiseGradient<T>&);
    // Whether there is neither infinity nor NaN among them.
    bool (*finite)(const T* from, Size count);
    // to[j * to_stride + i] = from[i * from_stride + j] for i < rows, j < columns
    void (*transpose)(const T* from, Size from_stride, T* to, Size to_stride, Size rows, Size columns);
};

template <class T>
const Kernels<T>& kernels(InstructionSet set);

// How many numbers of this size in bytes a vector has.
int lanes_of(InstructionSet set, int bytes);

// Floating-point operations a second, in billions, that one core does in registers alone; over at least `seconds`.
double fma_peak(InstructionSet set, double seconds);

}  // namespace unstride
