// How a map is computed: which output cells share taps, which kernel computes them, in which pieces. Plain data, the same
// for any number of threads; the kernels and the pool are not known here.
//
// Along one axis the output cells fall into passes. A transposed convolution of stride s has s of them, its phases: in
// phase r, cell q * s + r is a sum over the taps j with j * d = r + b (mod s) of input cell q + shift(j) (Geometry.phases
// in Python is the same rule). A plain convolution has one, whose input moves s cells for every output cell. Either way
//
//     out[offset + q * step + c] = sum over taps t of in[q * in_step + shifts[t]] * kernel[index[c][t]],
//
// where c counts the `group` adjacent cells that one position computes together: 1, or more where their channels alone do
// not fill the vector registers. Along the last axis such a group is a run of memory, and so are its channels. Where weights
// are read in place each tap is a pass, which adds its product to the output, as the operation is defined.
#pragma once

#include <vector>

#include "plan/problem.hpp"

namespace unstride {

// Positions [first, first + count) that have the same taps [tap, tap + taps) inside the input and the same cells
// [cell, cell + cells) inside the output.
struct Box {
    Size first, count;
    int tap, taps;
    Size cell, cells;
};

struct Pass {
    Size offset, step;             // of the output, in cells
    Size in_step;                  // of the input
    Size group;                    // cells a position
    std::vector<Size> shifts;      // ascending
    std::vector<Size> index;       // [cell][tap]: the kernel's tap, or -1 for none
    std::vector<Box> boxes;        // all positions, each in one box
    int taps() const { return static_cast<int>(shifts.size()); }
};

// One pass of each axis.
struct Phase {
    const Pass* axis[3];
    Size taps() const { return Size(axis[0]->taps()) * axis[1]->taps() * axis[2]->taps(); }
};

enum class Method {
    tile,   // output channels in the lanes, a tile of positions: the input is broadcast
    dot,    // input channels and taps in the lanes, summed at the end: for few output channels
    lanes,  // channels in the lanes, nothing summed over channels: depthwise
    planes,  // positions in the lanes, the input's channels copied apart: for few channels, see planes_plan.hpp
};

// A piece of work: images [image, image + images), cells [cell, cell + cells) along `Plan::split_axis`, of all passes; or,
// where the weights are large, some blocks of columns of one pass.
struct Piece {
    Size image, images, cell, cells;
    // Where `blockwise`: of this pass (groups * passes are counted), these blocks of columns. Where conv_transpose is
    // `in_place`: of all passes.
    Size pass, block, blocks;
    // Where `slicewise`: these slices. Where conv is `in_place`: these runs of rows_in_place rows of weights, pass by pass.
    Size slice = 0, slices = 0;
};

// Taps of a pass whose products are summed before those of the next: [first, end) along each axis. Where a pass has fewer
// taps than others, some may be missing.
struct Slice {
    int first[3], end[3];
};

// planes: one tap of all columns [from, to) of a block, which lies `offset` numbers from the position's own in the planes.
struct Step {
    Size offset;
    int from, to;
    int taps[3];
};

// planes: where things lie in a worker's memory, in numbers.
struct Planes {
    Size pitch = 0, plane = 0, slice = 0;  // from one row, plane, or input cell along z to the next one
    Size slices = 0;                       // at most
    Size strip = 1, result = 0;            // rows that are computed at once, and from one of their columns to the next
    std::vector<std::vector<Step>> steps;  // [pass along z * blocks + block]
};

struct Plan {
    Problem problem;
    Method method = Method::tile;
    std::vector<Pass> axes[3];   // along z, y, x
    std::vector<Size> columns;   // where each block of columns begins, and where the last one ends
    bool gaps = false;           // whether zeros stand in for taps that some cells of a group do not have
    bool blockwise = false;      // weights are packed block by block, in the cache of the thread that uses them
    bool in_place = false;       // weights are not packed: tiles read the kernel itself, each pass is a tap, and adds
    bool slicewise = false;      // pieces are slices of all cells' sums, which are added afterwards
    int split_axis = 1;
    std::vector<Slice> slices;   // of dots with many products; otherwise one, of all taps
    std::vector<Piece> pieces;
    Planes planes;
    double multiply_adds = 0;    // that the kernels do, those with padded lanes not counted
    double vector_operations = 0;  // the cost rule's estimate

    Size cells() const { return axes[1][0].group * axes[2][0].group; }  // that one position computes
    Size passes() const {
        return static_cast<Size>(axes[0].size() * axes[1].size() * axes[2].size());
    }
    Phase pass(Size number) const {
        const Size x = static_cast<Size>(axes[2].size()), y = static_cast<Size>(axes[1].size());
        return {{&axes[0][number / (x * y)], &axes[1][number / x % y], &axes[2][number % x]}};
    }
};

constexpr double short_work = 150e3;  // vector operations, about 40 microseconds: below, waking a thread costs too much

constexpr Size most_dot_columns = 6;
constexpr Size most_positions_in_place = 48;     // of a tap of conv_transpose
constexpr Size columns_in_place = 8;             // of conv_transpose: a multiple of those that are turned together
constexpr Size rows_in_place = 64;               // of weights, of conv: they are read before others
constexpr Size most_blocks_in_place = 128;       // of columns, of such rows
constexpr Size most_sums_in_place = 256 * 1024;  // bytes: they stay in the second-level cache
constexpr Size most_dots = 32;                   // columns of a position that are summed from lanes

Plan make_plan(const Problem& problem);

// About `wanted` pieces of all cells along one axis of all images: whole images, or parts of single ones.
std::vector<Piece> cut_areas(Size batch, Size cells, Size wanted);

// The passes along one axis: phase by phase, several phases at once, a plain convolution, and tap by tap.
std::vector<Pass> phases(const Axis& axis);
std::vector<Pass> sweep(const Axis& axis, Size group);
std::vector<Pass> by_tap(const Axis& axis, bool transposed);
std::vector<Pass> merged_phases(const Axis& axis, Size group);

const char* name(Method method);

}  // namespace unstride
