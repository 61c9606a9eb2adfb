// The three maps for arrays in memory: arguments are checked so far that nothing crashes, plans are remembered, channels
// first becomes channels last. What Python, XLA or any other caller calls; it needs no Python, and holds no lock of its.
#pragma once

#include "api/arrays.hpp"
#include "runtime/processor.hpp"

namespace unstride {


// Writes conv_transpose, or conv, of x to out. `bias` may be null. Throws std::invalid_argument or std::bad_alloc before
// anything is written.
void compute(bool transposed, const Array& x, const Array& kernel, const Array* bias, const Array& out, const Fields& fields,
             Layout layout, bool relu, InstructionSet set = used_instruction_set());

// Writes kernel_gradient of big and small to out, laid out as the kernel.
void gradient(const Array& big, const Array& small, const Array& out, const Fields& fields, Layout layout,
              InstructionSet set = used_instruction_set());

// Both gradients of conv_transpose, or of conv, where `grad_output` is the gradient with respect to its result: what both
// read is rearranged once.
void gradients(bool transposed, const Array& x, const Array& kernel, const Array& grad_output, const Array& x_gradient,
               const Array& kernel_gradient, const Fields& fields, Layout layout,
               InstructionSet set = used_instruction_set());

}  // namespace unstride
