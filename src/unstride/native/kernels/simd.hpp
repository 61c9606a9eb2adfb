// Vectors of one instruction set. Only the kernels' source includes this; it is compiled once for each set, with
// UNSTRIDE_SET naming it, and everything is in a namespace of that name: the linker must not exchange functions.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#include "run/kernel_table.hpp"

// Keeps the compiler from folding a load into each of its uses.
#if defined(__x86_64__) || defined(__i386__)
#define IN_REGISTER(x) asm("" : "+v"(x))
#elif defined(__aarch64__)
#define IN_REGISTER(x) asm("" : "+w"(x))
#else
#define IN_REGISTER(x)
#endif

// Before a loop over an array that is to stay in registers: it does only if the compiler unrolls the loop early on.
#define UNROLLED _Pragma("GCC unroll 32")

#define INLINE inline __attribute__((always_inline))

namespace unstride {
namespace UNSTRIDE_SET {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
constexpr int registers = 32;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
constexpr int registers = 16;
#elif defined(__aarch64__)
constexpr int vector_bytes = 16;
constexpr int registers = 32;
#else
constexpr int vector_bytes = 16;
constexpr int registers = 16;
#endif

template <class T>
struct Vectors;
template <>
struct Vectors<float> {
    typedef float V __attribute__((vector_size(vector_bytes)));
    typedef float Anywhere __attribute__((vector_size(vector_bytes), aligned(4), may_alias));
    typedef std::int32_t I __attribute__((vector_size(vector_bytes)));
};
template <>
struct Vectors<double> {
    typedef double V __attribute__((vector_size(vector_bytes)));
    typedef double Anywhere __attribute__((vector_size(vector_bytes), aligned(8), may_alias));
    typedef std::int64_t I __attribute__((vector_size(vector_bytes)));
};
template <class T>
using Vector = typename Vectors<T>::V;
template <class T>
constexpr int W = vector_bytes / sizeof(T);

template <class T>
INLINE Vector<T> load(const T* p) {
    return *reinterpret_cast<const typename Vectors<T>::Anywhere*>(p);
}

template <class T>
INLINE void store(T* p, Vector<T> v) {
    *reinterpret_cast<typename Vectors<T>::Anywhere*>(p) = v;
}

// Not `v > 0 ? v : 0`, which would turn NaN into 0.
template <class T>
INLINE Vector<T> relu(Vector<T> v) {
    return v < Vector<T>{} ? Vector<T>{} : v;
}

// Lanes from .. to of a vector in memory; the others are neither read nor written, even where they lie outside the array.
template <class T>
struct LaneMask;

#if defined(__AVX512F__) && !defined(__SANITIZE_ADDRESS__)  // which does not see masked accesses
template <>
struct LaneMask<float> {
    __mmask16 mask = 0;
    LaneMask() = default;
    INLINE LaneMask(Size from, Size to) {
        to = to < 0 ? 0 : to > 16 ? 16 : to, from = from < 0 ? 0 : from > to ? to : from;
        mask = static_cast<__mmask16>(((1u << to) - 1) & ~((1u << from) - 1));
    }
    INLINE Vector<float> load(const float* p) const { return (Vector<float>)_mm512_maskz_loadu_ps(mask, p); }
    INLINE void store(float* p, Vector<float> v) const { _mm512_mask_storeu_ps(p, mask, (__m512)v); }
};
template <>
struct LaneMask<double> {
    __mmask8 mask = 0;
    LaneMask() = default;
    INLINE LaneMask(Size from, Size to) {
        to = to < 0 ? 0 : to > 8 ? 8 : to, from = from < 0 ? 0 : from > to ? to : from;
        mask = static_cast<__mmask8>(((1u << to) - 1) & ~((1u << from) - 1));
    }
    INLINE Vector<double> load(const double* p) const { return (Vector<double>)_mm512_maskz_loadu_pd(mask, p); }
    INLINE void store(double* p, Vector<double> v) const { _mm512_mask_storeu_pd(p, mask, (__m512d)v); }
};
#elif defined(__AVX2__) && !defined(__AVX512F__) && !defined(__SANITIZE_ADDRESS__)
template <>
struct LaneMask<float> {
    __m256i mask{};
    LaneMask() = default;
    INLINE LaneMask(Size from, Size to) {
        to = to > 8 ? 8 : to, from = from < 0 ? 0 : from;
        const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        mask = _mm256_and_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(to < 0 ? 0 : to)), lane),
                                _mm256_cmpgt_epi32(lane, _mm256_set1_epi32(static_cast<int>(from > 8 ? 8 : from) - 1)));
    }
    INLINE Vector<float> load(const float* p) const { return (Vector<float>)_mm256_maskload_ps(p, mask); }
    INLINE void store(float* p, Vector<float> v) const { _mm256_maskstore_ps(p, mask, (__m256)v); }
};
template <>
struct LaneMask<double> {
    __m256i mask{};
    LaneMask() = default;
    INLINE LaneMask(Size from, Size to) {
        to = to > 4 ? 4 : to, from = from < 0 ? 0 : from;
        const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
        mask = _mm256_and_si256(_mm256_cmpgt_epi64(_mm256_set1_epi64x(to < 0 ? 0 : to), lane),
                                _mm256_cmpgt_epi64(lane, _mm256_set1_epi64x((from > 4 ? 4 : from) - 1)));
    }
    INLINE Vector<double> load(const double* p) const { return (Vector<double>)_mm256_maskload_pd(p, mask); }
    INLINE void store(double* p, Vector<double> v) const { _mm256_maskstore_pd(p, mask, (__m256d)v); }
};
#else
template <class T>
struct LaneMask {
    int from = 0, to = 0;
    LaneMask() = default;
    INLINE LaneMask(Size first, Size last) {
        to = static_cast<int>(last < 0 ? 0 : last > W<T> ? W<T> : last);
        from = static_cast<int>(first < 0 ? 0 : first > to ? to : first);
    }
    INLINE Vector<T> load(const T* p) const {
        T lanes[W<T>] = {};
        for (int i = from; i < to; ++i) lanes[i] = p[i];
        return unstride::UNSTRIDE_SET::load(lanes);
    }
    INLINE void store(T* p, Vector<T> v) const {
        T lanes[W<T>];
        unstride::UNSTRIDE_SET::store(lanes, v);
        for (int i = from; i < to; ++i) p[i] = lanes[i];
    }
};
#endif

// Lanes of a and b, chosen at compile time: index i < W of a, i >= W of b.
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, decltype(a < a){__VA_ARGS__})
#endif

template <int... I>
struct Indices {};
template <int N, int... I>
struct Count : Count<N - 1, N - 1, I...> {};
template <int... I>
struct Count<0, I...> {
    using type = Indices<I...>;
};

// Walks the positions of a region, image by image, row by row.
struct Cursor {
    const LoopNest* loops;
    Size at[4] = {0, 0, 0, 0};
    Size in = 0, out = 0;

    INLINE explicit Cursor(const LoopNest& w) : loops(&w) {}

    INLINE void next_row() {
        at[3] = 0;
        in -= loops->count[3] * loops->in_step[3], out -= loops->count[3] * loops->out_step[3];
        for (int d = 2; d >= 0; --d) {
            in += loops->in_step[d], out += loops->out_step[d];
            if (++at[d] < loops->count[d]) return;
            in -= loops->count[d] * loops->in_step[d], out -= loops->count[d] * loops->out_step[d];
            at[d] = 0;
        }
    }

    template <class T, class U>
    INLINE void take(int n, const T* from, U* to, const T** ins, U** outs) {
        for (int i = 0; i < n;) {
            Size left = loops->count[3] - at[3];
            int row = left < n - i ? static_cast<int>(left) : n - i;
            for (int r = 0; r < row; ++r, ++i) {
                ins[i] = from + in, outs[i] = to + out;
                in += loops->in_step[3], out += loops->out_step[3];
            }
            at[3] += row;
            if (at[3] == loops->count[3]) next_row();
        }
    }
};

INLINE Size positions(const LoopNest& w) { return w.count[0] * w.count[1] * w.count[2] * w.count[3]; }

}  // namespace UNSTRIDE_SET
}  // namespace unstride
