// Elementwise functions and their derivatives on vectors of float32.
#pragma once

#include "kernels/batch_kernels.hpp"
#include "kernels/transpose.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

using Floats = Vector<float>;
using Integers = Vectors<float>::I;

// exp(x) - 1 with an error of a few units in the last place, also where x is small. x = n ln 2 + r with |r| <= ln 2 / 2;
// exp(r) - 1 is summed as its Taylor series, whose first 8 terms are exact to float32 there; the result is
// 2^n (exp(r) - 1) + (2^n - 1). ln 2 is taken off in two parts, of which the first has so few bits that n times it is exact
// (Cody and Waite).
INLINE Floats exponential_less_one(Floats x) {
    const Floats high = splat(88.7228f), low = splat(-87.0f);  // above: infinite in float32; below: -1
    const Floats inside = x > high ? high : x < low ? low : x;
    const Floats magic = splat(12582912.0f);  // 1.5 * 2^23: what is added to it is rounded to an integer
    const Floats shifted = inside * splat(1.44269504f) + magic;
    const Floats n = shifted - magic;
    const Floats r = (inside - n * splat(0.693359375f)) - n * splat(-2.12194440e-4f);
    constexpr float terms[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f};
    Floats p = splat(1.0f / 40320);
    UNROLLED
    for (const float term : terms) p = p * r + splat(term);
    p = p * r * r + r;
    // n may be 128, and 2^128 is not a number: half of it, twice. Half of 2^-126 becomes 0, and next to 1 that is the same.
    const Integers half = ((Integers)shifted - (Integers)magic) + 126;
    const Floats scale = (Floats)(half << 23);
    const Floats result = (scale * p + (scale - splat(0.5f))) * splat(2.0f);
    return x > high ? splat(__builtin_inff()) : x < low ? splat(-1.0f) : x != x ? x : result;
}

INLINE Floats activated(Floats x, Activation activation, float slope) {
    const Floats zero{}, one = splat(1.0f), two = splat(2.0f);
    switch (activation) {
        case Activation::relu: return relu<float>(x);
        case Activation::leaky_relu: return x < zero ? x * splat(slope) : x;
        case Activation::elu: return x < zero ? splat(slope) * exponential_less_one(x) : x;
        case Activation::tanh: {  // (e^2x - 1) / (e^2x + 1), of |x|, and 1 beyond 10
            const Floats size = x < zero ? -x : x;
            const Floats e = exponential_less_one(size > splat(10.0f) ? splat(20.0f) : size * two);
            const Floats y = e / (e + two);
            return x < zero ? -y : y;
        }
        case Activation::sigmoid: return one / (exponential_less_one(-x) + two);
        default: return x;
    }
}

// f'(x) where f(x) = y. A slope of 0 makes of all that is negative 0, so 0 counts as negative.
INLINE Floats slope_at(Floats y, Activation activation, float slope) {
    const Floats zero{}, one = splat(1.0f);
    switch (activation) {
        case Activation::relu: return y <= zero ? zero : one;
        case Activation::leaky_relu: return y <= zero ? splat(slope) : one;
        case Activation::elu: return y <= zero ? y + splat(slope) : one;
        case Activation::tanh: return one - y * y;
        case Activation::sigmoid: return y * (one - y);
        default: return one;
    }
}

template <Activation A>
void activate_all(float* y, Size vectors, float slope) {
    for (Size i = 0; i < vectors; ++i, y += W<float>) store(y, activated(load(y), A, slope));
}

// C adjacent channels of all positions, so that their sums stay in registers.
template <Activation A, int C>
void differentiate_channels(float* gradient, const float* y, Size positions, Size step, float slope, float* bias) {
    Floats sums[C];
    UNROLLED
    for (int c = 0; c < C; ++c) sums[c] = load(bias + c * W<float>);
    for (Size i = 0; i < positions; ++i, gradient += step, y += step)
        UNROLLED
        for (int c = 0; c < C; ++c) {
            Floats g = load(gradient + c * W<float>);
            if constexpr (A != Activation::none) {
                const Floats f = load(y + c * W<float>);
                // Not times 0: where the activation is flat, nothing passes, however large.
                g = A == Activation::relu ? (f <= Floats{} ? Floats{} : g) : g * slope_at(f, A, slope);
                store(gradient + c * W<float>, g);
            }
            sums[c] += g;
        }
    UNROLLED
    for (int c = 0; c < C; ++c) store(bias + c * W<float>, sums[c]);
}

template <Activation A>
void differentiate_all(float* gradient, const float* y, Size positions, Size channels, Size step, float slope, float* bias) {
    Size c = 0;
    for (; c + 8 <= channels; c += 8)
        differentiate_channels<A, 8>(gradient + c * W<float>, y + c * W<float>, positions, step, slope, bias + c * W<float>);
    for (; c < channels; ++c)
        differentiate_channels<A, 1>(gradient + c * W<float>, y + c * W<float>, positions, step, slope, bias + c * W<float>);
}

// A loop for each activation: none asks in every round which one it is.
inline void activate(float* y, Size vectors, Activation activation, float slope) {
    using Loop = void (*)(float*, Size, float);
    static constexpr Loop loops[] = {activate_all<Activation::none>, activate_all<Activation::relu>,
                                     activate_all<Activation::leaky_relu>, activate_all<Activation::elu>,
                                     activate_all<Activation::tanh>, activate_all<Activation::sigmoid>};
    if (activation != Activation::none) loops[static_cast<Size>(activation)](y, vectors, slope);
}

inline void differentiate(float* gradient, const float* y, Size positions, Size channels, Size step, Activation activation,
                          float slope, float* bias) {
    using Loop = void (*)(float*, const float*, Size, Size, Size, float, float*);
    static constexpr Loop loops[] = {differentiate_all<Activation::none>, differentiate_all<Activation::relu>,
                                     differentiate_all<Activation::leaky_relu>, differentiate_all<Activation::elu>,
                                     differentiate_all<Activation::tanh>, differentiate_all<Activation::sigmoid>};
    loops[static_cast<Size>(activation)](gradient, y, positions, channels, step, slope, bias);
}

inline void reduce_lanes(const float* from, Size vectors, float* to) {
    constexpr int w = W<float>;
    Size i = 0;
    for (; i + w <= vectors; i += w) {
        Floats v[w], sum{};
        UNROLLED
        for (int k = 0; k < w; ++k) v[k] = load(from + (i + k) * w);
        transpose_square<float>(v);
        UNROLLED
        for (int k = 0; k < w; ++k) sum += v[k];
        store(to + i, sum);
    }
    for (; i < vectors; ++i) {
        float sum = 0;
        for (int lane = 0; lane < w; ++lane) sum += from[i * w + lane];
        to[i] = sum;
    }
}

}  // namespace UNSTRIDE_SET
}  // namespace unstride
