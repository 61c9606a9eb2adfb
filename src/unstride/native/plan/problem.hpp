// What is asked of the native core, as plain data.
#pragma once

#include <string_view>

#include "plan/limits.hpp"

namespace unstride {

enum class Map { conv, conv_transpose, kernel_gradient };

// The map of this name, among those that Python gives.
inline Map map_named(std::string_view name) {
    return name == "conv" ? Map::conv : name == "conv_transpose" ? Map::conv_transpose : Map::kernel_gradient;
}

// One axis: small cell i meets big cell i * stride + j * dilation - begin through kernel tap j, where both exist. The crop
// at the end is in the sizes.
struct Axis {
    Size small = 1, big = 1, kernel = 1, stride = 1, dilation = 1, begin = 0;
};

// One of the three maps for arrays of known sizes. Arrays are channels last and of three spatial axes z, y, x; an axis that
// is missing is an `Axis{}`. A kernel is (z, y, x, big channels of a group, groups * small channels of a group).
struct Problem {
    Map map = Map::conv_transpose;
    Axis axes[3];
    Size batch = 1;
    Size groups = 1;
    Size small_channels = 1, big_channels = 1;  // of one group
    bool dense_in = true, dense_out = true;     // whether cells adjacent along x are adjacent in memory
    bool finite = true;                         // whether zeros may stand in for taps that a cell does not have: no NaN * 0
    int lanes = 16;                             // numbers in a vector register
    int bytes = 4;                              // of a number

    bool transposed() const { return map == Map::conv_transpose; }
    Size in_channels() const { return transposed() ? small_channels : big_channels; }
    Size out_channels() const { return transposed() ? big_channels : small_channels; }
    Size in_size(int axis) const { return transposed() ? axes[axis].small : axes[axis].big; }
    Size out_size(int axis) const { return transposed() ? axes[axis].big : axes[axis].small; }
    Size taps() const { return axes[0].kernel * axes[1].kernel * axes[2].kernel; }
};

inline Size ceil_div(Size a, Size b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

}  // namespace unstride
