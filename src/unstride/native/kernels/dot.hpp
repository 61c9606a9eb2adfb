// Few output channels: the lanes lie along the input's channels and taps, and are summed at the end. A tile of a few
// positions times a few columns shares the loads of both.
#pragma once

#include "simd.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

// One step of summing many vectors at once: of two vectors of `parts` sums each, one of twice as many. The lanes of each
// part are halved.
template <class T, int Parts, int... L>
INLINE Vector<T> halve(Vector<T> a, Vector<T> b, Indices<L...>) {
    constexpr int part = W<T> / Parts, half = part / 2;
    return SHUFFLE(a, b, ((L / half) * part + L % half)...) + SHUFFLE(a, b, ((L / half) * part + half + L % half)...);
}

// The sums of the lanes of N vectors, N at most W, in their order.
template <class T, int Parts, int N>
INLINE Vector<T> sums_of(const Vector<T> (&v)[N]) {
    if constexpr (Parts == W<T>) {
        return v[0];
    } else {
        constexpr int made = (N + 1) / 2;
        Vector<T> halves[made];
        UNROLLED
        for (int i = 0; i < made; ++i)
            halves[i] = halve<T, Parts>(v[2 * i], 2 * i + 1 < N ? v[2 * i + 1] : Vector<T>{}, typename Count<W<T>>::type{});
        return sums_of<T, 2 * Parts>(halves);
    }
}

template <int Q>
constexpr int dot_rows = registers == 32 ? (Q == 1 ? 14 : Q == 2 ? 12 : Q == 3 ? 8 : Q == 4 ? 6 : 4)
                                         : (Q == 1 ? 8 : Q == 2 ? 6 : Q == 3 ? 4 : Q == 4 ? 3 : 2);

template <class T, int Q>
void dot(const Job<T>& job, const Block<T>& block, int rows, const T* const* in, T* const* out) {
    using V = Vector<T>;
    constexpr int P = dot_rows<Q>;
    V sums[P][Q];
    UNROLLED
    for (int r = 0; r < P; ++r)
        UNROLLED
        for (int q = 0; q < Q; ++q) sums[r][q] = V{};
    for (Size s = 0; s < job.segment_count; ++s) {
        const Segment& segment = job.segments[s];
        const T* p[P];
        UNROLLED
        for (int r = 0; r < P; ++r) p[r] = in[r] + segment.in;
        const T* w = block.weights + segment.row;
        Size k = 0;
        for (; k + W<T> <= segment.length; k += W<T>) {
            V weights[Q];
            UNROLLED
            for (int q = 0; q < Q; ++q) weights[q] = load(w + q * job.weight_stride + k);
            UNROLLED
            for (int r = 0; r < P; ++r) {
                V x = load(p[r] + k);
                IN_REGISTER(x);  // or it would be loaded once more for each column
                UNROLLED
                for (int q = 0; q < Q; ++q) sums[r][q] += x * weights[q];
            }
        }
        if (k < segment.length) {
            // Both are masked: what lies beyond, times zero, need not be zero.
            const Lanes<T> lanes(0, segment.length - k);
            V weights[Q];
            UNROLLED
            for (int q = 0; q < Q; ++q) weights[q] = lanes.load(w + q * job.weight_stride + k);
            UNROLLED
            for (int r = 0; r < P; ++r) {
                V x = lanes.load(p[r] + k);
                UNROLLED
                for (int q = 0; q < Q; ++q) sums[r][q] += x * weights[q];
            }
        }
    }
    constexpr int count = P * Q, padded = (count + W<T> - 1) / W<T> * W<T>;
    T values[padded];
    UNROLLED
    for (int first = 0; first < padded; first += W<T>) {
        V some[W<T>];
        UNROLLED
        for (int i = 0; i < W<T>; ++i) some[i] = first + i < count ? sums[(first + i) / Q][(first + i) % Q] : V{};
        store(values + first, sums_of<T, 1>(some));
    }
    UNROLLED
    for (int q = 0; q < Q; ++q) {
        if (!job.written[block.column + q]) continue;
        const Size offset = job.offsets[block.column + q];
        const T bias = block.bias[q];
        for (int r = 0; r < rows; ++r) {
            const T value = values[r * Q + q] + bias;
            out[r][offset] = job.relu ? relu_one(value) : value;
        }
    }
}

template <class T>
void dot_job(const Job<T>& job) {
    Size most_columns = 1;
    for (Size b = 0; b < job.block_count; ++b)
        most_columns = job.blocks[b].columns > most_columns ? job.blocks[b].columns : most_columns;
    constexpr int heights[] = {0, dot_rows<1>, dot_rows<2>, dot_rows<3>, dot_rows<4>, 0, dot_rows<6>};
    int most = heights[most_columns];
    Cursor cursor(job.walk);
    const T* in[16];
    T* out[16];
    for (Size left = positions(job.walk); left > 0;) {
        int rows = static_cast<int>(left < most ? left : most);
        cursor.take(rows, job.in, job.out, in, out);
        left -= rows;
        for (Size b = 0; b < job.block_count; ++b) {
            const Block<T>& block = job.blocks[b];
            // Blocks of fewer columns take more positions at once than the widest one.
            int at = 0;
            while (at < rows) {
                int height = heights[block.columns];
                int now = rows - at < height ? rows - at : height;
                const T* tile_in[16];
                T* tile_out[16];
                for (int r = 0; r < height; ++r) {  // past the end: the last position once more
                    int source = at + (r < now ? r : now - 1);
                    tile_in[r] = in[source], tile_out[r] = out[source];
                }
                switch (block.columns) {
                    case 1: dot<T, 1>(job, block, now, tile_in, tile_out); break;
                    case 2: dot<T, 2>(job, block, now, tile_in, tile_out); break;
                    case 3: dot<T, 3>(job, block, now, tile_in, tile_out); break;
                    case 4: dot<T, 4>(job, block, now, tile_in, tile_out); break;
                    default: dot<T, 6>(job, block, now, tile_in, tile_out);
                }
                at += now;
            }
        }
    }
}

}  // namespace UNSTRIDE_SET
}  // namespace unstride
