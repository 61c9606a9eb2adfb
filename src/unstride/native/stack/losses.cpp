#include "stack/losses.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "stack/batch_kernel_table.hpp"
#include "runtime/pool.hpp"

namespace unstride {

namespace {

constexpr Size numbers_per_task = 8192;  // numbers: some microseconds of work

void check_like(const Array& array, const Array& target) {
    bool same = array.bytes == 4 && array.dimensions == target.dimensions && array.contiguous();
    for (int axis = 0; same && axis < target.dimensions; ++axis) same = array.sizes[axis] == target.sizes[axis];
    if (!same) throw std::invalid_argument(std::string(array.name) + " is not of float32 and of the target's shape");
}

}  // namespace

void check_epsilon(float epsilon) {
    if (!(epsilon >= 0x1p-24f && epsilon <= 0.5f)) throw std::invalid_argument("epsilon is not from 2^-24 to 1/2");
}

void binary_crossentropy(const Array& target, const Array& predicted, float epsilon, const Array& loss,
                         const Array* derivative) {
    check_epsilon(epsilon);
    check_like(target, target);
    check_like(predicted, target);
    check_like(loss, target);
    if (derivative) check_like(*derivative, target);
    Size numbers = 1;
    for (int axis = 0; axis < target.dimensions; ++axis) numbers *= target.sizes[axis];
    const BatchKernels& kernels = batch_kernels(used_instruction_set());
    parallel((numbers + numbers_per_task - 1) / numbers_per_task, [&](Size task, int) {
        const Size at = task * numbers_per_task;
        kernels.binary_crossentropy({target.as<float>() + at, predicted.as<float>() + at,
                                     std::min(numbers_per_task, numbers - at), epsilon, loss.as<float>() + at,
                                     derivative ? derivative->as<float>() + at : nullptr});
    });
}

}  // namespace unstride
