// A kernel's gradient: for every position the products of some numbers of one array (broadcast) with some vectors of the
// other are added to a tile of sums, which stays in registers for all positions.
#pragma once

#include "simd.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

template <int C>
constexpr int outer_rows = registers == 32 ? (C == 1 ? 14 : C == 2 ? 12 : C == 3 ? 8 : C == 4 ? 6 : 4)
                                           : (C == 1 ? 10 : C == 2 ? 6 : C == 3 ? 4 : C == 4 ? 3 : 2);
constexpr int outer_wide = registers == 32 ? 6 : 5;  // vectors where there are few rows

// The walk with its longest axis last and axes of one position left out: order does not matter to a sum, but the
// innermost loop should be long.
INLINE Walk inner_last(const Walk& walk) {
    Walk w = walk;
    int longest = 3;
    for (int d = 2; d >= 0; --d)
        if (w.count[d] > 4 * w.count[longest]) longest = d;
    auto swap = [](Size& x, Size& y) { Size z = x; x = y, y = z; };
    swap(w.count[longest], w.count[3]);
    swap(w.in_step[longest], w.in_step[3]);
    swap(w.out_step[longest], w.out_step[3]);
    return w;
}

// One tile of sums: rows a[0 .. R), and lanes from .. to of b[0 .. C * W). Whole: all lanes of b may be read.
template <class T>
struct Tile {
    const T* a;
    const T* b;
    const Walk& walk;
    Size from, to;
    T* sums;
    Size stride;
    const T* const* ahead;  // for each position what to fetch into the cache meanwhile, or null
    Size ahead_offset;
};

template <class T, int R, int C, bool Whole>
void outer(const Tile<T>& tile) {
    using V = Vector<T>;
    // A sum can be added to once in four cycles: few of them are kept twice, for every other position.
    constexpr int U = R * C <= 6 ? 2 : 1;
    V sums[U][R][C];
    UNROLLED
    for (int u = 0; u < U; ++u)
        UNROLLED
        for (int r = 0; r < R; ++r)
            UNROLLED
            for (int c = 0; c < C; ++c) sums[u][r][c] = V{};
    const Walk& walk = tile.walk;
    const Size a_step = walk.in_step[3], b_step = walk.out_step[3], count = walk.count[3];
    Lanes<T> lanes[C];
    UNROLLED
    for (int c = 0; c < C; ++c) lanes[c] = Lanes<T>(tile.from - c * W<T>, tile.to - c * W<T>);
    const T* const* const ahead = tile.ahead;
    auto add = [&](const T* a, const T* b, V(&to)[R][C]) __attribute__((always_inline)) {
        V y[C];
        UNROLLED
        for (int c = 0; c < C; ++c) y[c] = Whole ? load(b + c * W<T>) : lanes[c].load(b + c * W<T>);
        UNROLLED
        for (int r = 0; r < R; ++r)
            UNROLLED
            for (int c = 0; c < C; ++c) to[r][c] += a[r] * y[c];
    };
    for (Size i0 = 0; i0 < walk.count[0]; ++i0)
        for (Size i1 = 0; i1 < walk.count[1]; ++i1)
            for (Size i2 = 0; i2 < walk.count[2]; ++i2) {
                const T* a = tile.a + i0 * walk.in_step[0] + i1 * walk.in_step[1] + i2 * walk.in_step[2];
                const T* b = tile.b + i0 * walk.out_step[0] + i1 * walk.out_step[1] + i2 * walk.out_step[2];
                Size i = 0;
                if (Whole && U == 1 && ahead) {
                    for (; i < count; ++i, a += a_step, b += b_step) {
                        __builtin_prefetch(ahead[i] + tile.ahead_offset, 0, 2);
                        add(a, b, sums[0]);
                    }
                }
                for (; i + U <= count; i += U)
                    UNROLLED
                    for (int u = 0; u < U; ++u, a += a_step, b += b_step) add(a, b, sums[u]);
                for (; i < count; ++i, a += a_step, b += b_step) add(a, b, sums[0]);
            }
    UNROLLED
    for (int c = 0; c < C; ++c)
        UNROLLED
        for (int r = 0; r < R; ++r) {
            T* to = tile.sums + r * tile.stride + c * W<T>;
            V sum = sums[0][r][c];
            if (U == 2) sum += sums[U - 1][r][c];
            lanes[c].store(to, lanes[c].load(to) + sum);
        }
}

template <class T, int C, int... R>
INLINE void outer_of(int rows, bool whole, Indices<R...>, const Tile<T>& tile) {
    using Function = void (*)(const Tile<T>&);
    static constexpr Function wholes[] = {outer<T, R + 1, C, true>...};
    static constexpr Function parts[] = {outer<T, R + 1, C, false>...};
    (whole ? wholes : parts)[rows - 1](tile);
}

template <class T, int C>
INLINE void outer_rows_of(int rows, bool whole, const Tile<T>& tile) {
    outer_of<T, C>(rows, whole, typename Count<outer_rows<C>>::type{}, tile);
}

template <class T>
void outer_tile(int rows, int vectors, bool whole, const Tile<T>& tile) {
    switch (vectors) {
        case 1: outer_rows_of<T, 1>(rows, whole, tile); break;
        case 2: outer_rows_of<T, 2>(rows, whole, tile); break;
        case 3: outer_rows_of<T, 3>(rows, whole, tile); break;
        case 4: outer_rows_of<T, 4>(rows, whole, tile); break;
        default: outer_rows_of<T, outer_wide>(rows, whole, tile);
    }
}

INLINE int outer_height(int vectors) {
    return vectors == 1   ? outer_rows<1>
           : vectors == 2 ? outer_rows<2>
           : vectors == 3 ? outer_rows<3>
           : vectors == 4 ? outer_rows<4>
                          : outer_rows<outer_wide>;
}

// Few rows take tiles of more vectors.
template <class T>
INLINE int outer_vectors(Size rows, Size lanes) {
    const Size vectors = (lanes + W<T> - 1) / W<T>;
    if (rows <= outer_rows<outer_wide> && vectors >= outer_wide) return outer_wide;
    if (rows <= outer_rows<4> && vectors >= 4 && vectors != 5) return 4;
    return vectors == 1 || vectors == 3 ? static_cast<int>(vectors) : 2;
}

// Straight from the arrays.
template <class T>
void outer_direct(const Outer<T>& job, const Walk& walk) {
    for (Size lane = job.from / W<T> * W<T>; lane < job.to;) {
        const int vectors = outer_vectors<T>(job.rows, job.to - lane), height = outer_height(vectors);
        const bool whole = job.from <= lane && job.to >= lane + vectors * W<T>;
        Size row = 0;
        for (Size tiles = (job.rows + height - 1) / height; tiles > 0; --tiles) {
            const int rows = static_cast<int>((job.rows - row + tiles - 1) / tiles);
            outer_tile<T>(rows, vectors, whole,
                          {job.a + row, job.b + lane, walk, job.from - lane, job.to - lane,
                           job.sums + row * job.stride + lane, job.stride, nullptr, 0});
            row += rows;
        }
        lane += vectors * W<T>;
    }
}

// With many channels a position's slices lie far apart, at distances that share few cache sets: some positions at a time
// are copied side by side first, for all tiles of up to 128 x 128 channels, and those of the next are fetched meanwhile.
// (GFLOP/s for positions 1 KiB apart in memory: 130, of 64 x 64 channels 110, without fetching 85.)
constexpr int packed_channels = 128;
template <class T>
constexpr int packed_positions = 256 / sizeof(T);
template <class T>
constexpr Size packed_step = packed_channels + 64 / sizeof(T);  // a cache line more than a power of two

template <class T>
INLINE void pack_positions(const T* const* from, int count, Size channels, T* to) {
    const Size whole = channels / W<T> * W<T>;
    const Lanes<T> rest(0, channels - whole);
    for (int i = 0; i < count; ++i, to += packed_step<T>) {
        for (Size k = 0; k < whole; k += W<T>) store(to + k, load(from[i] + k));
        if (whole < channels) store(to + whole, rest.load(from[i] + whole));
    }
}

template <class T>
void outer_packed(const Outer<T>& job, Size first_row, Size rows, Size first_lane, Size lanes) {
    constexpr int most = packed_positions<T>;
    constexpr Size step = packed_step<T>, line = 64 / sizeof(T);
    alignas(64) T a[most * step];
    alignas(64) T b[most * step];
    const T *as[2][most], *bs[2][most];  // of this chunk and of the next
    Cursor cursor(job.walk);
    Size left = positions(job.walk);
    auto next = [&](int which) {
        const int count = static_cast<int>(left < most ? left : most);
        cursor.take(count, job.a + first_row, job.b + first_lane, as[which], bs[which]);
        left -= count;
        return count;
    };
    int now = 0, ready = 0;
    for (int count = next(0); count > 0; count = ready, now = 1 - now) {
        ready = next(1 - now);
        pack_positions(as[now], count, rows, a);
        pack_positions(bs[now], count, lanes, b);
        const Walk walk{{1, 1, 1, count}, {0, 0, 0, step}, {0, 0, 0, step}};
        Size fetched = 0;  // each tile fetches one more line of every position
        for (Size lane = 0; lane < lanes;) {
            const int vectors = outer_vectors<T>(rows, lanes - lane), height = outer_height(vectors);
            Size row = 0;
            for (Size tiles = (rows + height - 1) / height; tiles > 0; --tiles, fetched += line) {
                const int some = static_cast<int>((rows - row + tiles - 1) / tiles);
                const T* const* ahead = ready < count            ? nullptr
                                        : fetched < rows         ? as[1 - now]
                                        : fetched - rows < lanes ? bs[1 - now]
                                                                 : nullptr;
                outer_tile<T>(some, vectors, true,
                              {a + row, b + lane, walk, 0, lanes - lane,
                               job.sums + (first_row + row) * job.stride + first_lane + lane, job.stride, ahead,
                               fetched < rows ? fetched : fetched - (rows + line - 1) / line * line});
                row += some;
            }
            lane += vectors * W<T>;
        }
    }
}

template <class T>
void outer_job(const Outer<T>& job) {
    const Size lanes = job.to - job.from;
    const Size a_step = job.walk.in_step[3], b_step = job.walk.out_step[3], step = a_step > b_step ? a_step : b_step;
    // Measured with 64 x 64 channels in the second-level cache, GFLOP/s packed and direct, by bytes from one position to the
    // next: 512 123 150, 1024 128 130, 2048 95 91, 4096 110 59.
    if (step * Size(sizeof(T)) <= 1024 || job.rows < 16 || lanes < 2 * W<T>) {
        outer_direct(job, inner_last(job.walk));
        return;
    }
    const Size row_cuts = (job.rows + packed_channels - 1) / packed_channels;
    const Size lane_cuts = (lanes + packed_channels - 1) / packed_channels;
    for (Size i = 0; i < row_cuts; ++i) {
        const Size row = i * job.rows / row_cuts, rows = (i + 1) * job.rows / row_cuts - row;
        for (Size j = 0; j < lane_cuts; ++j) {
            const Size lane = j * packed_channels;
            outer_packed(job, row, rows, job.from + lane, lanes - lane < packed_channels ? lanes - lane : packed_channels);
        }
    }
}

// Depthwise: both arrays' channels in the lanes. Four sums at a time hide the latency of an addition.
template <class T>
void pairs_job(const Pairs<T>& job) {
    using V = Vector<T>;
    const Walk walk = inner_last(job.walk);
    const Size a_step = walk.in_step[3], b_step = walk.out_step[3];
    for (Size lane = 0; lane < job.lanes; lane += W<T>) {
        const Lanes<T> lanes(0, job.lanes - lane);
        V sums[4] = {V{}, V{}, V{}, V{}};
        for (Size i0 = 0; i0 < walk.count[0]; ++i0)
            for (Size i1 = 0; i1 < walk.count[1]; ++i1)
                for (Size i2 = 0; i2 < walk.count[2]; ++i2) {
                    const T* a = job.a + i0 * walk.in_step[0] + i1 * walk.in_step[1] + i2 * walk.in_step[2] + lane;
                    const T* b = job.b + i0 * walk.out_step[0] + i1 * walk.out_step[1] + i2 * walk.out_step[2] + lane;
                    Size i = 0;
                    for (; i + 4 <= walk.count[3]; i += 4)
                        for (int u = 0; u < 4; ++u, a += a_step, b += b_step) sums[u] += lanes.load(a) * lanes.load(b);
                    for (; i < walk.count[3]; ++i, a += a_step, b += b_step) sums[0] += lanes.load(a) * lanes.load(b);
                }
        lanes.store(job.sums + lane, lanes.load(job.sums + lane) + ((sums[0] + sums[1]) + (sums[2] + sums[3])));
    }
}

}  // namespace UNSTRIDE_SET
}  // namespace unstride
