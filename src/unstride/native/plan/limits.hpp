// Numbers that the plans and the kernels agree on.
#pragma once

#include <cstdint>

namespace unstride {

using Size = std::int64_t;

constexpr Size max_dot_columns = 6;      // of a block
constexpr Size max_dots = 32;            // columns of a position that are summed from lanes; so at most as many blocks
constexpr int max_spatial_columns = 8;   // of a block: accumulators and what they read fit in the registers
constexpr Size spatial_slack = 256;      // numbers that the kernel may read and write beyond the last position
constexpr Size product_channels = 128;   // of a kernel gradient's task, in each array

constexpr int max_igemm_rows = 16;            // positions of a tile
constexpr int max_unpacked_positions = 48;    // of a tap of conv_transpose, unpacked
constexpr Size unpacked_columns = 8;          // of conv_transpose: a multiple of those that are transposed together
constexpr Size unpacked_rows = 64;            // of weights, of conv: they are read before others
constexpr Size max_unpacked_blocks = 128;     // of columns, of such rows

}  // namespace unstride
