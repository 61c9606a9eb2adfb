// A run of convolutions and transposed convolutions with elementwise activations, computed over groups of images: a group
// fills the vector lanes, and goes through all stages before the next one begins, so that what is between the stages stays
// in the cache and is laid out as the kernels like it: (z, y, x, channel, image of the group). All numbers are float32.
#pragma once

#include <vector>

#include "api/arrays.hpp"
#include "stack/batch_kernel_table.hpp"
#include "plan/plan.hpp"

namespace unstride {

// The numbers of a group at one place of a stack.
struct BatchGrid {
    Size size[3];
    Size channels;  // of all groups of channels
    Size pixel;     // numbers from a position to the next

    Size positions() const { return size[0] * size[1] * size[2]; }
    Size numbers() const { return positions() * pixel; }
    Size at(Size z, Size y, Size x) const { return ((z * size[1] + y) * size[2] + x) * pixel; }
};

using AxisPhases = std::vector<AxisPhase>[3];

struct Stage {
    bool transposed, bias;
    Activation activation;
    float slope;
    Size groups, big_channels, small_channels;  // channels of one group
    Axis axes[3];
    AxisPhases forward, backward, products;  // the map, its adjoint, and the positions that a kernel's gradient sums over
    // These are small positions; or big ones, where those have as many, and channels to fill the columns of a tile of sums,
    // which the small ones have not.
    bool products_over_big;
    bool winograd;  // whether all three are computed by that algorithm

    Size taps() const { return axes[0].kernel * axes[1].kernel * axes[2].kernel; }
    Size in_channels() const { return transposed ? small_channels : big_channels; }
    Size out_channels() const { return transposed ? big_channels : small_channels; }
    Size kernel_numbers() const { return taps() * groups * big_channels * small_channels; }
    // Whether the kernel of sums computes the activation as well.
    bool fused() const { return activation == Activation::none || activation == Activation::relu; }
};

struct Stack {
    int rank;
    bool first;  // channels, in images and kernels
    InstructionSet set;  // whose vectors, of `lanes` images, the grids are laid out for
    int lanes;
    std::vector<Stage> stages;
    std::vector<BatchGrid> grids;  // before each stage, and after the last one

    Size saved() const;  // numbers of a group's grids
    Size groups(Size batch) const { return ceil_div(batch, lanes); }
};

// A stack from its description as integers: the number of spatial axes, 1 for channels first and 0 for last, the number of
// stages, the input's channels and size; then for each stage: 1 if transposed, output channels, groups, 1 if it has a bias,
// activation, bits of the activation's slope, kernel size, stride, dilation, crop at the beginning, output size.
// Throws std::invalid_argument.
Stack read_stack(const Size* code, Size count, InstructionSet set);

// How many numbers are kept from forward to backward: the grids of all groups, and last a number for the instruction set
// that laid them out, with which backward reads them.
Size saved_numbers(const Stack& stack, Size batch);

// The numbers of such an array, which are read or written; and the instruction set that wrote them. Throw
// std::invalid_argument.
float* saved_of(const Stack& stack, const Array& saved, Size batch);
InstructionSet saved_set(const Array& saved);

// Writes the stack of x to y. `weights` are for each stage its kernel, then its bias if it has one. If `saved` is not null,
// saved_numbers() are written to it.
void stack_forward(const Stack& stack, const Array& x, const std::vector<Array>& weights, const Array& y, float* saved);

// Writes the gradients with respect to the weights, summed over the images in an order that depends on their number alone,
// and, if `x_gradient` is not null, that by x. Where `saved` is null, the stack of x is computed once more; otherwise x is
// not read.
void stack_backward(const Stack& stack, const Array* x, const std::vector<Array>& weights, const Array& y_gradient,
                    const float* saved, const Array* x_gradient, const std::vector<Array>& weight_gradients);

// Forwards, loss and backwards at once, so that of each group only sums are left: writes the stack of x to y, to `loss` the
// binary cross-entropy of each number of y with its target (losses.hpp), and the gradients of the losses' sum.
void stack_crossentropy(const Stack& stack, const Array& x, const std::vector<Array>& weights, const Array& target,
                        float epsilon, const Array& y, const Array& loss, const std::vector<Array>& weight_gradients);

}  // namespace unstride
