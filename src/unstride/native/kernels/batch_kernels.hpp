// Sums and products of a stack, with the batch in the lanes: any number of channels, any border and any sum over pixels is
// computed with full vectors, and what is broadcast is a weight. Measured on one core of a Zen 4 (AVX-512) as a share of the
// multiply-add peak: see benchmarks/training.py.
#pragma once

#include "kernels/simd.hpp"
#include "stack/batch_kernel_table.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

// Positions x columns of a tile of sums, and rows x columns of one of products: with 32 registers 6 x 4 leave room for the
// vectors of a position and a weight.
constexpr int batch_columns = 4;
constexpr int batch_rows = registers == 32 ? 6 : 2;
// Rows of a tile of transposed products, each a vector.
constexpr int transposed_rows = registers == 32 ? 16 : 12;

INLINE Vector<float> splat(float number) {
#if defined(__AVX512F__)
    return (Vector<float>)_mm512_set1_ps(number);
#elif defined(__AVX2__)
    return (Vector<float>)_mm256_set1_ps(number);
#else
    return Vector<float>{number, number, number, number};
#endif
}

template <int P, int Q>
void batch_sums(const BatchSums& job, Size position, Size column) {
    using V = Vector<float>;
    V sums[P][Q];
    UNROLLED
    for (int q = 0; q < Q; ++q) {
        const V bias = splat(job.bias ? job.bias[column + q] : 0.0f);
        UNROLLED
        for (int p = 0; p < P; ++p) sums[p][q] = bias;
    }
    const Size step = job.in_step;
    for (Size t = 0; t < job.taps; ++t) {
        const float* in = job.in[t] + position * step;
        const float* w = job.weights[t] + column;
        for (Size c = 0; c < job.channels; ++c, in += W<float>, w += job.weight_stride) {
            V x[P];
            UNROLLED
            for (int p = 0; p < P; ++p) {
                x[p] = load(in + p * step);
                IN_REGISTER(x[p]);
            }
            UNROLLED
            for (int q = 0; q < Q; ++q) {
                V weight = splat(w[q]);
                IN_REGISTER(weight);
                UNROLLED
                for (int p = 0; p < P; ++p) sums[p][q] += x[p] * weight;
            }
        }
    }
    float* out = job.out + position * job.out_step + column * W<float>;
    UNROLLED
    for (int p = 0; p < P; ++p)
        UNROLLED
        for (int q = 0; q < Q; ++q)
            store(out + p * job.out_step + q * W<float>, job.relu ? relu<float>(sums[p][q]) : sums[p][q]);
}

template <int Q, int... P>
INLINE void batch_sums_of(int positions, Indices<P...>, const BatchSums& job, Size position, Size column) {
    using Function = void (*)(const BatchSums&, Size, Size);
    static constexpr Function functions[] = {batch_sums<P + 1, Q>...};
    functions[positions - 1](job, position, column);
}

inline void batch_sums_job(const BatchSums& job) {
    using Rows = typename Count<batch_rows>::type;
    using Twice = typename Count<2 * batch_rows>::type;
    // Tiles of equal width: 26 positions are 6 + 5 + 5 + 5 + 5, and none of 2, which would wait for its sums. So would one
    // column of 6.
    const Size most = job.columns == 1 ? 2 * batch_rows : batch_rows;
    Size tiles = (job.positions + most - 1) / most;
    for (Size at = 0; tiles > 0; --tiles) {
        const int width = static_cast<int>((job.positions - at + tiles - 1) / tiles);
        Size column = 0;
        for (; column + 4 <= job.columns; column += 4) batch_sums_of<4>(width, Rows{}, job, at, column);
        switch (job.columns - column) {
            case 3: batch_sums_of<3>(width, Rows{}, job, at, column); break;
            case 2: batch_sums_of<2>(width, Rows{}, job, at, column); break;
            case 1: batch_sums_of<1>(width, Twice{}, job, at, column); break;
            default: break;
        }
        at += width;
    }
}

template <int A, int B>
void batch_products(const BatchProducts& job, Size row, Size column) {
    using V = Vector<float>;
    V sums[A][B];
    Size offsets[A];
    float* to = job.sums + (row * job.stride + column) * W<float>;
    UNROLLED
    for (int a = 0; a < A; ++a) {
        offsets[a] = job.offsets[row + a];
        UNROLLED
        for (int b = 0; b < B; ++b) sums[a][b] = job.fresh ? V{} : load(to + (a * job.stride + b) * W<float>);
    }
    for (Size line = 0; line < job.lines; ++line) {
        const float* x = job.a + line * job.a_line;
        const float* y = job.b + line * job.b_line + column * job.b_column;
        for (Size i = 0; i < job.positions; ++i, x += job.a_step, y += job.b_step) {
            V columns[B];
            UNROLLED
            for (int b = 0; b < B; ++b) {
                columns[b] = load(y + b * job.b_column);
                IN_REGISTER(columns[b]);
            }
            UNROLLED
            for (int a = 0; a < A; ++a) {
                V one = load(x + offsets[a]);
                IN_REGISTER(one);
                UNROLLED
                for (int b = 0; b < B; ++b) sums[a][b] += one * columns[b];
            }
        }
    }
    UNROLLED
    for (int a = 0; a < A; ++a)
        UNROLLED
        for (int b = 0; b < B; ++b) store(to + (a * job.stride + b) * W<float>, sums[a][b]);
}

template <int B, int... A>
INLINE void batch_products_of(int rows, Indices<A...>, const BatchProducts& job, Size row, Size column) {
    using Function = void (*)(const BatchProducts&, Size, Size);
    static constexpr Function functions[] = {batch_products<A + 1, B>...};
    functions[rows - 1](job, row, column);
}

// One column: enough rows that their multiply-adds need not wait for one another.
inline void batch_products_column(const BatchProducts& job) {
    using Rows = typename Count<2 * batch_rows>::type;
    Size tiles = (job.rows + 2 * batch_rows - 1) / (2 * batch_rows);
    for (Size row = 0; tiles > 0; --tiles) {
        const int height = static_cast<int>((job.rows - row + tiles - 1) / tiles);
        batch_products_of<1>(height, Rows{}, job, row, 0);
        row += height;
    }
}

inline void batch_products_job(const BatchProducts& job) {
    using Rows = typename Count<batch_rows>::type;
    if (job.columns == 1) return batch_products_column(job);
    Size tiles = (job.rows + batch_rows - 1) / batch_rows;
    for (Size row = 0; tiles > 0; --tiles) {
        const int height = static_cast<int>((job.rows - row + tiles - 1) / tiles);
        Size column = 0;
        for (; column + 4 <= job.columns; column += 4) batch_products_of<4>(height, Rows{}, job, row, column);
        switch (job.columns - column) {
            case 3: batch_products_of<3>(height, Rows{}, job, row, column); break;
            case 2: batch_products_of<2>(height, Rows{}, job, row, column); break;
            case 1: batch_products_of<1>(height, Rows{}, job, row, column); break;
            default: break;
        }
        row += height;
    }
}

template <int A>
void transposed_products(const TransposedProducts& job, Size row, Size column) {
    using V = Vector<float>;
    constexpr Size step = frequency_step * W<float>;
    V sums[A] = {};
    const float* x = job.a + row * step;
    const float* y = job.b + column * step;
    for (Size i = 0; i < job.positions; ++i, x += job.a_step, y += job.b_step)
        for (Size lane = 0; lane < W<float>; ++lane) {
            V columns = load(y + lane * step);
            IN_REGISTER(columns);
            UNROLLED
            for (int a = 0; a < A; ++a) sums[a] += splat(x[a * step + lane]) * columns;
        }
    float* to = job.sums + row * job.stride + column;
    UNROLLED
    for (int a = 0; a < A; ++a, to += job.stride) store(to, job.fresh ? sums[a] : load(to) + sums[a]);
}

template <int... A>
INLINE void transposed_products_of(int rows, Indices<A...>, const TransposedProducts& job, Size row, Size column) {
    using Function = void (*)(const TransposedProducts&, Size, Size);
    static constexpr Function functions[] = {transposed_products<A + 1>...};
    functions[rows - 1](job, row, column);
}

inline void transposed_products_job(const TransposedProducts& job) {
    Size tiles = (job.rows + transposed_rows - 1) / transposed_rows;
    for (Size row = 0; tiles > 0; --tiles) {
        const int height = static_cast<int>((job.rows - row + tiles - 1) / tiles);
        for (Size column = 0; column < job.columns; column += W<float>)
            transposed_products_of(height, typename Count<transposed_rows>::type{}, job, row, column);
        row += height;
    }
}

}  // namespace UNSTRIDE_SET
}  // namespace unstride
