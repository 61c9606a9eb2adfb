// The Python face of stacks.
#include <nanobind/stl/vector.h>

#include <deque>
#include <optional>

#include "api/buffers.hpp"
#include "stack/stack.hpp"
#include "runtime/unlocked.hpp"

namespace unstride {
namespace {

using Code = std::vector<Size>;

Stack stack_of(const Code& code, InstructionSet set = used_instruction_set()) {
    return read_stack(code.data(), static_cast<Size>(code.size()), set);
}

// A list of Python arrays as memory, for as long as this lives.
class Buffers {
   public:
    Buffers(const char* name, nb::list list, bool writable) {
        for (nb::handle item : list) {
            held_.emplace_back(name, item, writable);
            arrays_.push_back(*held_.back());
        }
    }
    const std::vector<Array>& operator*() const { return arrays_; }

   private:
    std::deque<Buffer> held_;
    std::vector<Array> arrays_;
};

Size saved_of_batch(const Code& code, Size batch) {
    if (batch < 0) throw std::invalid_argument("batch is negative");
    return saved_numbers(stack_of(code), batch);
}

Size batch_of(const Array& array) {
    if (array.dimensions < 1) throw std::invalid_argument(std::string(array.name) + " has no axes");
    return array.sizes[0];
}

void forward(const Code& code, nb::handle x, nb::list weights, nb::handle y, nb::handle saved) {
    const Stack stack = stack_of(code);
    const Buffer in("x", x, false), out("y", y, true);
    const Buffers kernels("a weight", weights, false);
    std::optional<Buffer> keep;
    if (!saved.is_none()) keep.emplace("saved", saved, true);
    float* const numbers = keep ? saved_of(stack, **keep, batch_of(*in)) : nullptr;
    const Unlocked unlocked;
    stack_forward(stack, *in, *kernels, *out, numbers);
}

void backward(const Code& code, nb::handle x, nb::list weights, nb::handle y_gradient, nb::handle saved, nb::handle x_gradient,
              nb::list weight_gradients) {
    std::optional<Buffer> in, keep, in_gradient;
    if (!x.is_none()) in.emplace("x", x, false);
    if (!saved.is_none()) keep.emplace("saved", saved, false);
    if (!x_gradient.is_none()) in_gradient.emplace("x_gradient", x_gradient, true);
    const Buffer out("y_gradient", y_gradient, false);
    const Buffers kernels("a weight", weights, false), gradients("a weight's gradient", weight_gradients, true);
    const Stack stack = stack_of(code, keep ? saved_set(**keep) : used_instruction_set());
    const float* const numbers = keep ? saved_of(stack, **keep, batch_of(*out)) : nullptr;
    const Unlocked unlocked;
    stack_backward(stack, in ? &**in : nullptr, *kernels, *out, numbers, in_gradient ? &**in_gradient : nullptr, *gradients);
}

void crossentropy(const Code& code, nb::handle x, nb::list weights, nb::handle target, float epsilon, nb::handle y,
                  nb::handle loss, nb::list weight_gradients) {
    const Stack stack = stack_of(code);
    const Buffer in("x", x, false), wanted("target", target, false), out("y", y, true), losses("loss", loss, true);
    const Buffers kernels("a weight", weights, false), gradients("a weight's gradient", weight_gradients, true);
    batch_of(*in);
    const Unlocked unlocked;
    stack_crossentropy(stack, *in, *kernels, *wanted, epsilon, *out, *losses, *gradients);
}

}  // namespace

void bind_stack(nb::module_& m) {
    m.def("stack_lanes", [] { return lanes_of(used_instruction_set(), 4); }, "Images that one group of a stack holds.");
    m.def("stack_saved", saved_of_batch, nb::arg("code"), nb::arg("batch"),
          "How many numbers a stack keeps from forward to backward.");
    m.def("stack_forward", forward, nb::arg("code"), nb::arg("x"), nb::arg("weights"), nb::arg("y"), nb::arg("saved").none(),
          "Writes a stack of x to y.");
    m.def("stack_backward", backward, nb::arg("code"), nb::arg("x").none(), nb::arg("weights"), nb::arg("y_gradient"),
          nb::arg("saved").none(), nb::arg("x_gradient").none(), nb::arg("weight_gradients"),
          "Writes a stack's gradients by the weights and, unless it is None, by x.");
    m.def(
        "stack_crossentropy", crossentropy, nb::arg("code"), nb::arg("x"), nb::arg("weights"), nb::arg("target"),
        nb::arg("epsilon"), nb::arg("y"), nb::arg("loss"), nb::arg("weight_gradients"),
        "Writes a stack of x to y, its binary cross-entropy with the target, and the gradients of that's sum by the weights.");
}

}  // namespace unstride
