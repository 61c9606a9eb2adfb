// Matrix transposition in registers, for packing weights and for channels first.
#pragma once

#include "kernels/simd.hpp"

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

// Lane l of one of N vectors that hold N * W numbers, number by number from N rows in turn, comes from number N * l + C;
// K is the vector that is looked at.
template <class T, int N, int C, int K, int... L>
INLINE Vector<T> pick_apart(Vector<T> picked, Vector<T> v, Indices<L...>) {
    return SHUFFLE(picked, v, ((N * L + C) / W<T> == K ? W<T> + (N * L + C) % W<T> : L)...);
}

// The other way round: number J * W + l is in row (J * W + l) % N, here K.
template <class T, int N, int J, int K, int... L>
INLINE Vector<T> pick_together(Vector<T> picked, Vector<T> v, Indices<L...>) {
    return SHUFFLE(picked, v, ((J * W<T> + L) % N == K ? W<T> + (J * W<T> + L) / N : L)...);
}

// Apart: N vectors of N-tuples become one of every place in the tuple. Together: the other way round.
template <class T, int N, bool Apart>
struct Tuples {
    using V = Vector<T>;
    template <int C, int... K>
    static INLINE V one(const V* v, Indices<K...>) {
        V picked{};
        if constexpr (Apart)
            ((picked = pick_apart<T, N, C, K>(picked, v[K], typename Count<W<T>>::type{})), ...);
        else
            ((picked = pick_together<T, N, C, K>(picked, v[K], typename Count<W<T>>::type{})), ...);
        return picked;
    }
    template <int... C>
    static INLINE void all(const V* v, V* to, Indices<C...>) {
        ((to[C] = one<C>(v, typename Count<N>::type{})), ...);
    }
    static INLINE void turn(V* v) {
        if constexpr (N % 2 == 0 && N > 2) {
            // Halves of the tuples: N log2(N) shuffles instead of N * N.
            V even[N / 2], odd[N / 2];
            if constexpr (Apart) {
                UNROLLED
                for (int i = 0; i < N / 2; ++i) {
                    V pair[2] = {v[2 * i], v[2 * i + 1]}, parts[2];
                    Tuples<T, 2, true>::pairs(pair, parts);
                    even[i] = parts[0], odd[i] = parts[1];
                }
            } else {
                UNROLLED
                for (int i = 0; i < N / 2; ++i) even[i] = v[2 * i], odd[i] = v[2 * i + 1];
            }
            Tuples<T, N / 2, Apart>::turn(even), Tuples<T, N / 2, Apart>::turn(odd);
            UNROLLED
            for (int i = 0; i < N / 2; ++i) {
                if constexpr (Apart) {
                    v[2 * i] = even[i], v[2 * i + 1] = odd[i];
                } else {
                    V pair[2] = {even[i], odd[i]}, parts[2];
                    Tuples<T, 2, false>::pairs(pair, parts);
                    v[2 * i] = parts[0], v[2 * i + 1] = parts[1];
                }
            }
        } else if constexpr (N > 1) {
            V moved[N];
            all(v, moved, typename Count<N>::type{});
            UNROLLED
            for (int i = 0; i < N; ++i) v[i] = moved[i];
        }
    }
    static INLINE void pairs(const V* v, V* to) { all(v, to, typename Count<2>::type{}); }
};

// Matrices of N adjacent columns (Apart: N rows of the result), or of N rows that become N adjacent columns.
template <class T, int N, bool Apart>
void transpose_narrow(const T* from, T* to, Size stride, Size count) {
    Size i = 0;
    for (; i + W<T> <= count; i += W<T>) {
        Vector<T> v[N];
        UNROLLED
        for (int k = 0; k < N; ++k) v[k] = load(Apart ? from + i * N + k * W<T> : from + k * stride + i);
        Tuples<T, N, Apart>::turn(v);
        UNROLLED
        for (int k = 0; k < N; ++k) store(Apart ? to + k * stride + i : to + i * N + k * W<T>, v[k]);
    }
    if (i == count) return;
    const LaneMask<T> some(0, count - i);
    Vector<T> v[N];
    UNROLLED
    for (int k = 0; k < N; ++k) {
        if (Apart)
            v[k] = LaneMask<T>(0, (count - i) * N - k * W<T>).load(from + i * N + k * W<T>);
        else
            v[k] = some.load(from + k * stride + i);
    }
    Tuples<T, N, Apart>::turn(v);
    UNROLLED
    for (int k = 0; k < N; ++k) {
        if (Apart)
            some.store(to + k * stride + i, v[k]);
        else
            LaneMask<T>(0, (count - i) * N - k * W<T>).store(to + i * N + k * W<T>, v[k]);
    }
}

// (12 columns of 128 numbers: see below for squares.)
constexpr Size max_narrow = 8;

template <class T, bool Apart>
void transpose_narrow_of(Size columns, const T* from, T* to, Size stride, Size count) {
    switch (columns) {
        case 1: std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(T)); break;
        case 2: transpose_narrow<T, 2, Apart>(from, to, stride, count); break;
        case 3: transpose_narrow<T, 3, Apart>(from, to, stride, count); break;
        case 4: transpose_narrow<T, 4, Apart>(from, to, stride, count); break;
        case 5: transpose_narrow<T, 5, Apart>(from, to, stride, count); break;
        case 6: transpose_narrow<T, 6, Apart>(from, to, stride, count); break;
        case 7: transpose_narrow<T, 7, Apart>(from, to, stride, count); break;
        default: transpose_narrow<T, 8, Apart>(from, to, stride, count);
    }
}

template <class T>
void transpose(const T* from, Size from_stride, T* to, Size to_stride, Size rows, Size columns) {
    if (columns <= max_narrow && from_stride == columns && columns > 0) {
        transpose_narrow_of<T, true>(columns, from, to, to_stride, rows);
        return;
    }
    if (rows <= max_narrow && to_stride == rows && rows > 0) {
        transpose_narrow_of<T, false>(rows, from, to, from_stride, columns);
        return;
    }
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
                const LaneMask<T> in(0, width), out(0, height);
                for (int k = 0; k < w; ++k) v[k] = k < height ? in.load(source + k * from_stride) : Vector<T>{};
                transpose_square<T>(v);
                for (int k = 0; k < width; ++k) out.store(target + k * to_stride, v[k]);
            }
        }
}

}  // namespace UNSTRIDE_SET
}  // namespace unstride
