// Matrix transposition in registers, for packing weights and for channels first.
#pragma once

#include "simd.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

template <class T, int... L>
INLINE void riffle(Vector<T> a, Vector<T> b, Vector<T>& low, Vector<T>& high, Indices<L...>) {
    low = SHUFFLE(a, b, (L / 2 + (L % 2) * W<T>)...);
    high = SHUFFLE(a, b, (W<T> / 2 + L / 2 + (L % 2) * W<T>)...);
}

// Riffling the first half of the rows with the second transposes once it has been done log2(W) times.
template <class T>
INLINE void transpose_square(Vector<T>* v) {
    for (int stage = 1; stage < W<T>; stage *= 2) {
        Vector<T> next[W<T>];
        UNROLLED
        for (int i = 0; i < W<T> / 2; ++i)
            riffle<T>(v[i], v[i + W<T> / 2], next[2 * i], next[2 * i + 1], typename Count<W<T>>::type{});
        UNROLLED
        for (int i = 0; i < W<T>; ++i) v[i] = next[i];
    }
}

template <class T>
void transpose(const T* from, Size from_stride, T* to, Size to_stride, Size rows, Size columns) {
    constexpr int w = W<T>;
    for (Size i = 0; i < rows; i += w)
        for (Size j = 0; j < columns; j += w) {
            Vector<T> v[w];
            const T* source = from + i * from_stride + j;
            T* target = to + j * to_stride + i;
            if (i + w <= rows && j + w <= columns) {
                UNROLLED
                for (int k = 0; k < w; ++k) v[k] = load(source + k * from_stride);
                transpose_square<T>(v);
                UNROLLED
                for (int k = 0; k < w; ++k) store(target + k * to_stride, v[k]);
            } else {
                int height = static_cast<int>(rows - i < w ? rows - i : w);
                int width = static_cast<int>(columns - j < w ? columns - j : w);
                const Lanes<T> in(0, width), out(0, height);
                for (int k = 0; k < w; ++k) v[k] = k < height ? in.load(source + k * from_stride) : Vector<T>{};
                transpose_square<T>(v);
                for (int k = 0; k < width; ++k) out.store(target + k * to_stride, v[k]);
            }
        }
}

}  // namespace UNSTRIDE_SET
}  // namespace unstride
