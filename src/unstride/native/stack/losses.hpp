// Losses of single numbers, for arrays of them.
#pragma once

#include "api/arrays.hpp"

namespace unstride {

// loss = -(t log p + (1 - t) log(1 - p)) for each target t and prediction p, which counts as epsilon or 1 - epsilon beyond
// these, and its derivative with respect to p in `derivative`, unless that is null. All of float32, of one shape, without
// gaps. epsilon is from 2^-24, so that 1 - epsilon is less than 1, to 1/2. Throws std::invalid_argument.
void binary_crossentropy(const Array& target, const Array& predicted, float epsilon, const Array& loss,
                         const Array* derivative);

void check_epsilon(float epsilon);  // throws likewise

}  // namespace unstride
