// How a map is computed: which output cells share taps, which kernel computes them, and in which tasks. Plain data, the same
// for any number of threads; the kernels and the pool are not known here.
//
// Along one axis the output cells fall into phases. A transposed convolution of stride s has s of them: in phase r, cell q *
// s + r is a sum over the taps j with j * d = r + b (mod s) of input cell q + shift(j) (Geometry.phases in Python is the
// same rule). A plain convolution has one, whose input moves s cells for every output cell. Either way
//
//     out[offset + q * step + c] = sum over taps t of in[q * in_step + shifts[t]] * kernel[index[c][t]],
//
// where c counts the `group` adjacent cells that one position computes together: 1, or more where their channels alone do
// not fill the vector registers. Along the last axis such a group is a run of memory, and so are its channels. Where weights
// are read unpacked, each tap is a phase, which adds its product to the output, as the operation is defined.
#pragma once

#include <variant>
#include <vector>

#include "plan/problem.hpp"

namespace unstride {

// Positions [first, first + count) that have the same taps [tap, tap + taps) inside the input and the same cells
// [cell, cell + cells) inside the output.
struct BorderRegion {
    Size first, count;
    int tap, taps;
    Size cell, cells;
};

struct AxisPhase {
    Size offset, step;                  // of the output, in cells
    Size in_step;                       // of the input
    Size group;                         // cells a position
    std::vector<Size> shifts;           // ascending
    std::vector<Size> index;            // [cell][tap]: the kernel's tap, or -1 for none
    std::vector<BorderRegion> regions;  // all positions, each in one region
    int taps() const { return static_cast<int>(shifts.size()); }
};

// One phase of each axis.
struct Subconvolution {
    const AxisPhase* axis[3];
    Size taps() const { return Size(axis[0]->taps()) * axis[1]->taps() * axis[2]->taps(); }
};

enum class Method {
    igemm,      // implicit GEMM: output channels in the lanes, a tile of positions, the input is broadcast
    dot,        // input channels and taps in the lanes, summed at the end: for few output channels
    depthwise,  // channels in the lanes, nothing summed over channels
    spatial,    // positions in the lanes, the input's channels copied apart: for few channels, see spatial_plan.hpp
};

// Images [image, image + images), and of them the cells [cell, cell + cells) along `Plan::split_axis`.
struct Area {
    Size image, images, cell, cells;
};

// [first, first + count) of whatever is counted.
struct Range {
    Size first, count;
};

// Taps of a phase whose products are summed before those of the next: [first, end) along each axis. Where a phase has fewer
// taps than others, some may be missing.
struct TapBlock {
    int first[3], end[3];
};

// How the work is cut into tasks: one struct for each way; a plan has one of them.

// Small weights are packed once; each task computes an area, all of its phases and columns.
struct PackedOnce {
    std::vector<Area> areas;
};

// Large weights: each task packs some blocks of columns of one subconvolution, of those of all groups, into the cache of the
// thread that uses them.
struct PackedPerTask {
    struct Task {
        Area area;
        Size subconvolution, block, blocks;
    };
    std::vector<Task> tasks;
};

// Large weights for few sums, by method `dot`: each task packs some tap blocks and sums over them, for all cells. The tasks'
// sums are added afterwards, in their order.
struct SplitK {
    std::vector<Range> tap_blocks;
};

// Large weights for few positions of conv, which are not packed: the same, and each task reads some row blocks, of
// `unpacked_rows` rows each, which are counted phase by phase. Each phase is a tap.
struct UnpackedRows {
    std::vector<Range> row_blocks;
};

// The same of conv_transpose: tasks are some blocks of columns each, with all taps.
struct UnpackedColumns {};

// Method `spatial`. Where things are in a worker's memory, in numbers (see spatial_plan.hpp).
struct Spatial {
    // One tap of all columns [from, to) of a block, `offset` numbers from the position's own in the planes.
    struct Step {
        Size offset;
        int from, to;
        int taps[3];
    };
    std::vector<Area> areas;
    Size pitch = 0, plane = 0, slab = 0;   // from one row, plane, or input cell along z to the next one
    Size slabs = 0;                        // at most
    Size strip = 1, result = 0;            // rows that are computed at once, and from one of their columns to the next
    std::vector<std::vector<Step>> steps;  // [phase along z * blocks + block]
};

struct Plan {
    Problem problem;
    Method method = Method::igemm;
    std::vector<AxisPhase> axes[3];    // along z, y, x
    std::vector<Size> columns;         // where each block of columns begins, and where the last one ends
    std::vector<TapBlock> tap_blocks;  // of dots with many products; otherwise one, of all taps
    bool gaps = false;                 // whether zeros stand in for taps that some cells of a group do not have
    int split_axis = 1;
    std::variant<PackedOnce, PackedPerTask, SplitK, UnpackedRows, UnpackedColumns, Spatial> work;
    double multiply_adds = 0;      // that the kernels do, those with padded lanes not counted
    double vector_operations = 0;  // the cost rule's estimate

    bool unpacked() const {
        return std::holds_alternative<UnpackedRows>(work) || std::holds_alternative<UnpackedColumns>(work);
    }
    Size blocks() const { return static_cast<Size>(columns.size()) - 1; }
    Size tasks() const;
    Size cells() const { return axes[1][0].group * axes[2][0].group; }  // that one position computes
    Size subconvolutions() const {
        return static_cast<Size>(axes[0].size() * axes[1].size() * axes[2].size());
    }
    Subconvolution subconvolution(Size number) const {
        const Size x = static_cast<Size>(axes[2].size()), y = static_cast<Size>(axes[1].size());
        return {{&axes[0][number / (x * y)], &axes[1][number / x % y], &axes[2][number % x]}};
    }
};

constexpr Size max_phases = 1024;  // along an axis of a transposed convolution; each takes memory and time of its own

constexpr double short_work = 150e3;  // vector operations, about 40 microseconds: below, waking a thread costs too much

Plan make_plan(const Problem& problem);

// About `wanted` areas, of all cells along one axis of all images: whole images, or parts of single ones.
std::vector<Area> cut_areas(Size batch, Size cells, Size wanted);

// The phases along one axis: phase by phase, several phases at once, a plain convolution, and tap by tap.
std::vector<AxisPhase> phases(const Axis& axis);
std::vector<AxisPhase> sweep(const Axis& axis, Size group);
std::vector<AxisPhase> by_tap(const Axis& axis, bool transposed);
std::vector<AxisPhase> merged_phases(const Axis& axis, Size group);

const char* name(Method method);

}  // namespace unstride
