// The three maps for arrays in memory: arguments are checked so far that nothing crashes, plans are remembered, channels
// first becomes channels last. What Python, XLA or any other caller calls; it needs no Python, and holds no lock of its.
#pragma once

#include "api/arrays.hpp"
#include "plan/plan.hpp"
#include "runtime/processor.hpp"

namespace unstride {

constexpr Size max_phases = 1024;  // along an axis of a transposed convolution; each takes memory and time of its own

// The instruction set whose kernels run: the machine's widest, until another one is set.
InstructionSet used_instruction_set();
void use_instruction_set(InstructionSet set);

// Numbers of so many bytes in a vector of that instruction set.
int lanes_of(int bytes);

// Writes conv_transpose, or conv, of x to out. `bias` may be null. Throws std::invalid_argument or std::bad_alloc before
// anything is written.
void compute(bool transposed, const Array& x, const Array& kernel, const Array* bias, const Array& out, const Fields& fields,
             Layout layout, bool relu);

// Writes kernel_gradient of big and small to out, laid out as the kernel.
void gradient(const Array& big, const Array& small, const Array& out, const Fields& fields, Layout layout);

// Both gradients of conv_transpose, or of conv, where `grad_output` is the gradient with respect to its result: what both read is rearranged once.
void gradients(bool transposed, const Array& x, const Array& kernel, const Array& grad_output, const Array& x_gradient,
               const Array& kernel_gradient, const Fields& fields, Layout layout);

}  // namespace unstride
