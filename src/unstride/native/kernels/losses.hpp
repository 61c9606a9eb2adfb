// Losses that are functions of one target and one prediction, with their derivatives, on vectors of float32.
#pragma once

#include "kernels/activations.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

// log(x) of positive, finite x with an error of a few units in the last place. x = 2^n m with m from about 0.7 to 1.4;
// with s = (m - 1) / (m + 1), log m = 2 (s + s^3 / 3 + s^5 / 5 + ...), whose first five terms are exact to float32 there.
// ln 2 is taken in two parts; n times the first is exact.
INLINE Floats logarithm(Floats x) {
    const Integers least = (Integers)splat(0.70710678f), above = (Integers)x - least;
    const Floats m = (Floats)((above & 0x7fffff) + least), count = __builtin_convertvector(above >> 23, Floats);
    const Floats s = (m - splat(1.0f)) / (m + splat(1.0f)), s2 = s * s;
    constexpr float terms[] = {1.0f / 7, 1.0f / 5, 1.0f / 3};
    Floats p = splat(1.0f / 9);
    UNROLLED
    for (const float term : terms) p = p * s2 + splat(term);
    const Floats fraction = s + s + (s + s) * s2 * p;
    const Floats log = count * splat(0.693359375f) + (fraction + count * splat(-2.12194440e-4f));
    return x != x ? x : log;
}

// -(t log p + (1 - t) log(1 - p)) with p between epsilon and 1 - epsilon, and its derivative by p: 0 beyond these.
INLINE void crossentropy(Floats t, Floats p, Floats low, Floats high, Floats& loss, Floats& derivative) {
    const Floats one = splat(1.0f);
    const Floats q = p < low ? low : p > high ? high : p, rest = one - q;
    loss = -(t * logarithm(q) + (one - t) * logarithm(rest));
    derivative = p < low || p > high ? Floats{} : (q - t) / (q * rest);
}

inline void binary_crossentropy(const BatchLosses& job) {
    const Floats low = splat(job.epsilon), high = splat(1.0f - job.epsilon);
    Floats loss, derivative;
    Size i = 0;
    for (; i + W<float> <= job.numbers; i += W<float>) {
        crossentropy(load(job.target + i), load(job.predicted + i), low, high, loss, derivative);
        store(job.loss + i, loss);
        if (job.derivative) store(job.derivative + i, derivative);
    }
    if (i == job.numbers) return;
    const LaneMask<float> lanes(0, job.numbers - i);
    crossentropy(lanes.load(job.target + i), lanes.load(job.predicted + i), low, high, loss, derivative);
    lanes.store(job.loss + i, loss);
    if (job.derivative) lanes.store(job.derivative + i, derivative);
}

}  // namespace UNSTRIDE_SET
}  // namespace unstride
