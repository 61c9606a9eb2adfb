#include "stack/stack_arrays.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace unstride {

namespace {

[[noreturn]] void wrong(const Array& array, const std::string& what) {
    throw std::invalid_argument(std::string(array.name) + " " + what);
}

}  // namespace

void check(const Array& array, const std::vector<Size>& sizes) {
    if (array.bytes != 4) wrong(array, "is not of type float32");
    if (!array.contiguous()) wrong(array, "is not contiguous");
    if (array.dimensions != static_cast<int>(sizes.size()) || !std::equal(sizes.begin(), sizes.end(), array.sizes)) {
        std::string expected;
        for (Size size : sizes) expected += (expected.empty() ? "" : ", ") + std::to_string(size);
        wrong(array, "is not of the shape (" + expected + ")");
    }
}

std::vector<Size> image_shape(const Stack& stack, const BatchGrid& grid, Size batch) {
    std::vector<Size> shape{batch};
    shape.insert(shape.end(), grid.size + 3 - stack.rank, grid.size + 3);
    shape.insert(stack.first ? shape.begin() + 1 : shape.end(), grid.channels);
    return shape;
}

void check_weights(const Stack& stack, const std::vector<Array>& weights) {
    std::size_t at = 0;
    for (const Stage& stage : stack.stages) {
        if (weights.size() < at + (stage.bias ? 2 : 1))
            throw std::invalid_argument("weights: there are fewer than the stages need");
        std::vector<Size> shape;
        for (int axis = 3 - stack.rank; axis < 3; ++axis) shape.push_back(stage.axes[axis].kernel);
        const Size small = stage.groups * stage.small_channels, big = stage.big_channels;
        shape.insert(stack.first ? shape.begin() : shape.end(), stack.first ? small : big);
        shape.insert(stack.first ? shape.begin() + 1 : shape.end(), stack.first ? big : small);
        check(weights[at++], shape);
        if (stage.bias) check(weights[at++], {stage.groups * stage.out_channels()});
    }
    if (at != weights.size()) throw std::invalid_argument("weights: there are more than the stages need");
}

void pack(const Stack& stack, const Stage& stage, const float* kernel, bool adjoint, float* to) {
    const bool small_in = stage.transposed != adjoint;
    const Size ins = small_in ? stage.small_channels : stage.big_channels;
    const Size outs = small_in ? stage.big_channels : stage.small_channels;
    for (Size group = 0; group < stage.groups; ++group)
        for (Size tap = 0; tap < stage.taps(); ++tap)
            for (Size in = 0; in < ins; ++in)
                for (Size out = 0; out < outs; ++out)
                    *to++ = kernel[kernel_place(stack, stage, group, tap, small_in ? out : in, small_in ? in : out)];
}

void Images::read(const Kernels<float>& kernels, const float* images, Size count, bool zeros, float* lanes) const {
    const Size width = kernels.lanes, cells = grid.positions();
    if (stack.first) {
        for (Size c = 0; c < grid.channels; ++c)
            kernels.transpose(images + c * cells, numbers(), lanes + c * width, grid.pixel, count, cells);
    } else if (grid.pixel == grid.channels * width) {
        kernels.transpose(images, numbers(), lanes, width, count, numbers());
    } else {
        for (Size i = 0; i < cells; ++i)
            kernels.transpose(images + i * grid.channels, numbers(), lanes + i * grid.pixel, width, count, grid.channels);
    }
    if (count == width) return;
    for (Size i = 0; i < cells; ++i)
        for (Size c = 0; c < grid.channels; ++c) {
            float* vector = lanes + i * grid.pixel + c * width;
            std::fill(vector + count, vector + width, zeros ? 0.0f : vector[count - 1]);
        }
}

void Images::write(const Kernels<float>& kernels, const float* lanes, Size count, float* images) const {
    const Size width = kernels.lanes, cells = grid.positions();
    if (stack.first) {
        for (Size c = 0; c < grid.channels; ++c)
            kernels.transpose(lanes + c * width, grid.pixel, images + c * cells, numbers(), cells, count);
    } else if (grid.pixel == grid.channels * width) {
        kernels.transpose(lanes, width, images, numbers(), numbers(), count);
    } else {
        for (Size i = 0; i < cells; ++i)
            kernels.transpose(lanes + i * grid.pixel, width, images + i * grid.channels, numbers(), grid.channels, count);
    }
}

}  // namespace unstride
