// What a stack is given and what it makes, as arrays: checked, and laid out for the lanes or back.
#pragma once

#include <vector>

#include "run/kernel_table.hpp"
#include "stack/stack.hpp"

namespace unstride {

// The shape of a batch of images at one place of a stack.
std::vector<Size> image_shape(const Stack& stack, const BatchGrid& grid, Size batch);

// Throw std::invalid_argument, which names the array, unless it is contiguous, of float32 and of that shape; and likewise
// for a kernel, and a bias where there is one, of every stage.
void check(const Array& array, const std::vector<Size>& sizes);
void check_weights(const Stack& stack, const std::vector<Array>& weights);

// Where a kernel's number is in its array.
inline Size kernel_place(const Stack& stack, const Stage& stage, Size group, Size tap, Size big, Size small) {
    const Size smalls = stage.groups * stage.small_channels, s = group * stage.small_channels + small;
    return stack.first ? (s * stage.big_channels + big) * stage.taps() + tap : (tap * stage.big_channels + big) * smalls + s;
}

// A kernel as the sums read it, (group, tap, channel that is summed over, column): for the map, or for its adjoint.
void pack(const Stack& stack, const Stage& stage, const float* kernel, bool adjoint, float* to);

// Images of a batch, to and from the lanes.
struct Images {
    const Stack& stack;
    const BatchGrid& grid;

    Size numbers() const { return grid.positions() * grid.channels; }

    // Lanes without an image get the last one's numbers, or zeros.
    void read(const Kernels<float>& kernels, const float* images, Size count, bool zeros, float* lanes) const;
    void write(const Kernels<float>& kernels, const float* lanes, Size count, float* images) const;
};

}  // namespace unstride
