// A kernel's gradient: for every position the products of some numbers of one array (broadcast) with some vectors of the
// other are added to a tile of sums, which stays in registers for all positions.
#pragma once

#include "kernels/simd.hpp"
#include "runtime/caches.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

template <int C>
constexpr int outer_rows = registers == 32 ? (C == 1 ? 14 : C == 2 ? 12 : C == 3 ? 8 : C == 4 ? 6 : 4)
                                           : (C == 1 ? 10 : C == 2 ? 6 : C == 3 ? 4 : C == 4 ? 3 : 2);
constexpr int outer_wide = registers == 32 ? 6 : 5;  // vectors where there are few rows

// The loop nest with its longest axis last and axes of one position left out: order does not matter to a sum, but the
// innermost loop should be long.
INLINE LoopNest inner_last(const LoopNest& loops) {
    LoopNest w = loops;
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
    const LoopNest& loops;
    Size from, to;
    T* sums;
    Size stride;
};

template <class T, int R, int C, bool Whole>
void outer_product_tile(const Tile<T>& tile) {
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
    const LoopNest& loops = tile.loops;
    const Size a_step = loops.in_step[3], b_step = loops.out_step[3], count = loops.count[3];
    LaneMask<T> lanes[C];
    UNROLLED
    for (int c = 0; c < C; ++c) lanes[c] = LaneMask<T>(tile.from - c * W<T>, tile.to - c * W<T>);
    auto add = [&](const T* a, const T* b, V(&to)[R][C]) __attribute__((always_inline)) {
        V y[C];
        UNROLLED
        for (int c = 0; c < C; ++c) y[c] = Whole ? load(b + c * W<T>) : lanes[c].load(b + c * W<T>);
        UNROLLED
        for (int r = 0; r < R; ++r)
            UNROLLED
            for (int c = 0; c < C; ++c) to[r][c] += a[r] * y[c];
    };
    for (Size i0 = 0; i0 < loops.count[0]; ++i0)
        for (Size i1 = 0; i1 < loops.count[1]; ++i1)
            for (Size i2 = 0; i2 < loops.count[2]; ++i2) {
                const T* a = tile.a + i0 * loops.in_step[0] + i1 * loops.in_step[1] + i2 * loops.in_step[2];
                const T* b = tile.b + i0 * loops.out_step[0] + i1 * loops.out_step[1] + i2 * loops.out_step[2];
                Size i = 0;
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
    static constexpr Function wholes[] = {outer_product_tile<T, R + 1, C, true>...};
    static constexpr Function parts[] = {outer_product_tile<T, R + 1, C, false>...};
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
void outer_direct(const OuterProduct<T>& job, const LoopNest& loops) {
    for (Size lane = job.from / W<T> * W<T>; lane < job.to;) {
        const int vectors = outer_vectors<T>(job.rows, job.to - lane), height = outer_height(vectors);
        const bool whole = job.from <= lane && job.to >= lane + vectors * W<T>;
        Size row = 0;
        for (Size tiles = (job.rows + height - 1) / height; tiles > 0; --tiles) {
            const int rows = static_cast<int>((job.rows - row + tiles - 1) / tiles);
            outer_tile<T>(rows, vectors, whole,
                          {job.a + row, job.b + lane, loops, job.from - lane, job.to - lane,
                           job.sums + row * job.stride + lane, job.stride});
            row += rows;
        }
        lane += vectors * W<T>;
    }
}

// With many channels a position's channels lie far apart, at distances that share few cache sets: some positions at a time are
// copied to panels, where what a tile reads is adjacent, for all tiles of up to 128 x 128 channels. The first tile that
// reads some channels copies it on the way, which its multiply-adds hide; those of the next positions are fetched meanwhile.
// (Zen 5, 128 x 128 channels of positions 4 and 2 KiB apart: 236 of 270 GFLOP/s, and 228 with copies made beforehand.)
//
//     panel of a: rows 0 .. R of position 0 | of position 1 | ...      one for each tile of rows
//     panel of b: lanes 0 .. 2 W of position 0 | of position 1 | ...   one for each tile of lanes
constexpr int panel_channels = product_channels;
template <class T>
constexpr int panel_positions = 256 / sizeof(T);
constexpr int panel_rows = outer_rows<2>;
template <class T>
constexpr int panel_lanes = 2 * W<T>;

// One tile of two vectors, of some positions.
template <class T>
struct PanelTile {
    int count;            // positions
    const T* const* as;   // where each one's channels of a lie, to be copied to panel a; or null, if it is there
    const T* const* bs;   // the same of b
    Size row, lane;       // where the tile begins in a slice, and
    Size rows, lanes;     // how many there are from there on, those of later tiles included
    T *a, *b;             // the panels: all positions, one behind the other
    T* sums;
    Size stride;
    const T* const* ahead;  // for each position what to fetch into the cache meanwhile, or null
    Size ahead_offset;
};

template <class T, int R, bool CopyA, bool CopyB>
void outer_panels(const PanelTile<T>& tile) {
    using V = Vector<T>;
    V sums[R][2];
    UNROLLED
    for (int r = 0; r < R; ++r)
        UNROLLED
        for (int c = 0; c < 2; ++c) sums[r][c] = V{};
    constexpr int vectors = (R + W<T> - 1) / W<T>;  // of a position's rows; what they hold too much, the next one overwrites
    const bool whole_a = tile.rows >= vectors * W<T>, whole_b = tile.lanes >= 2 * W<T>;
    const LaneMask<T> lanes[2] = {LaneMask<T>(0, tile.lanes), LaneMask<T>(0, tile.lanes - W<T>)};
    T *panel_a = tile.a, *panel_b = tile.b;
    for (int i = 0; i < tile.count; ++i, panel_a += R, panel_b += 2 * W<T>) {
        if (tile.ahead) __builtin_prefetch(tile.ahead[i] + tile.ahead_offset, 0, 2);
        const T* const a = CopyA ? tile.as[i] + tile.row : panel_a;
        const T* const b = CopyB ? tile.bs[i] + tile.lane : panel_b;
        V y[2];
        UNROLLED
        for (int c = 0; c < 2; ++c) {
            y[c] = !CopyB || whole_b ? load(b + c * W<T>) : lanes[c].load(b + c * W<T>);
            if (CopyB) store(panel_b + c * W<T>, y[c]);
        }
        if (CopyA)
            UNROLLED
            for (int v = 0; v < vectors; ++v)
                store(panel_a + v * W<T>,
                      whole_a ? load(a + v * W<T>) : LaneMask<T>(0, tile.rows - v * W<T>).load(a + v * W<T>));
        UNROLLED
        for (int r = 0; r < R; ++r)
            UNROLLED
            for (int c = 0; c < 2; ++c) sums[r][c] += a[r] * y[c];
    }
    UNROLLED
    for (int c = 0; c < 2; ++c)
        UNROLLED
        for (int r = 0; r < R; ++r) {
            T* const to = tile.sums + r * tile.stride + c * W<T>;
            lanes[c].store(to, lanes[c].load(to) + sums[r][c]);
        }
}

template <class T, int... R>
INLINE void outer_panels_of(Size rows, Indices<R...>, const PanelTile<T>& tile) {
    using Function = void (*)(const PanelTile<T>&);
    static constexpr Function functions[4][sizeof...(R)] = {{outer_panels<T, R + 1, false, false>...},
                                                            {outer_panels<T, R + 1, false, true>...},
                                                            {outer_panels<T, R + 1, true, false>...},
                                                            {outer_panels<T, R + 1, true, true>...}};
    functions[(tile.as ? 2 : 0) + (tile.bs ? 1 : 0)][rows - 1](tile);
}

template <class T>
void outer_packed(const OuterProduct<T>& job, Size first_row, Size rows, Size first_lane, Size lanes) {
    constexpr int most = panel_positions<T>, wide = panel_lanes<T>;
    constexpr Size line = cache::line / sizeof(T), a_panel = Size(most) * panel_rows + 2 * line, b_panel = Size(most) * wide;
    alignas(64) T a[(panel_channels + panel_rows - 1) / panel_rows * a_panel];
    alignas(64) T b[(panel_channels + wide - 1) / wide * b_panel];
    const T *as[2][most], *bs[2][most];  // of these positions and of the next
    Cursor cursor(job.loops);
    const Size all = positions(job.loops), chunks = (all + most - 1) / most;
    Size taken = 0;
    auto next = [&](int which) {
        if (taken == chunks) return 0;
        const int count = static_cast<int>((taken + 1) * all / chunks - taken * all / chunks);
        cursor.take(count, job.a + first_row, job.b + first_lane, as[which], bs[which]);
        // What is fetched ahead may be one position more.
        if (count < most) as[which][count] = as[which][0], bs[which][count] = bs[which][0];
        ++taken;
        return count;
    };
    const Size tiles = (rows + panel_rows - 1) / panel_rows;
    int now = 0, ready = 0;
    for (int count = next(0); count > 0; count = ready, now = 1 - now) {
        ready = next(1 - now);
        Size fetched = 0;  // each tile fetches one more line of every position
        for (Size lane = 0; lane < lanes; lane += wide)
            for (Size tile = 0; tile < tiles; ++tile, fetched += line) {
                const Size row = tile * rows / tiles, some = (tile + 1) * rows / tiles - row;
                const T* const* ahead = !ready                   ? nullptr
                                        : fetched < rows         ? as[1 - now]
                                        : fetched - rows < lanes ? bs[1 - now]
                                                                 : nullptr;
                outer_panels_of<T>(
                    some, typename Count<panel_rows>::type{},
                    {count, lane == 0 ? as[now] : nullptr, tile == 0 ? bs[now] : nullptr, row, lane, rows - row, lanes - lane,
                     a + tile * a_panel, b + lane / wide * b_panel,
                     job.sums + (first_row + row) * job.stride + first_lane + lane, job.stride, ahead,
                     fetched < rows ? fetched : fetched - (rows + line - 1) / line * line});
            }
    }
}

template <class T>
void outer_product_job(const OuterProduct<T>& job) {
    const Size lanes = job.to - job.from;
    const Size a_step = job.loops.in_step[3], b_step = job.loops.out_step[3], step = a_step > b_step ? a_step : b_step;
    // Measured with 64 x 64 channels in the second-level cache, GFLOP/s packed and direct, by bytes from one position to the
    // next, on a Zen 4 (8 lines a set of the first-level cache, copies made beforehand): 512 123 150, 1024 128 130, 2048 95 91,
    // 4096 110 59; on a Zen 5 (12 lines a set): 512 222 265, 1024 221 261, 2048 224 251, 4096 226 191, 8192 229 193.
    if (step * Size(sizeof(T)) <= 1024 || job.rows < 16 || lanes < 2 * W<T>) {
        outer_direct(job, inner_last(job.loops));
        return;
    }
    const Size row_cuts = (job.rows + panel_channels - 1) / panel_channels;
    const Size lane_cuts = (lanes + panel_channels - 1) / panel_channels;
    for (Size i = 0; i < row_cuts; ++i) {
        const Size row = i * job.rows / row_cuts, rows = (i + 1) * job.rows / row_cuts - row;
        for (Size j = 0; j < lane_cuts; ++j) {
            const Size lane = j * panel_channels;
            outer_packed(job, row, rows, job.from + lane, lanes - lane < panel_channels ? lanes - lane : panel_channels);
        }
    }
}

// Depthwise: both arrays' channels in the lanes. Four sums at a time hide the latency of an addition.
template <class T>
void depthwise_gradient_job(const DepthwiseGradient<T>& job) {
    using V = Vector<T>;
    const LoopNest loops = inner_last(job.loops);
    const Size a_step = loops.in_step[3], b_step = loops.out_step[3];
    for (Size lane = 0; lane < job.lanes; lane += W<T>) {
        const LaneMask<T> lanes(0, job.lanes - lane);
        V sums[4] = {V{}, V{}, V{}, V{}};
        for (Size i0 = 0; i0 < loops.count[0]; ++i0)
            for (Size i1 = 0; i1 < loops.count[1]; ++i1)
                for (Size i2 = 0; i2 < loops.count[2]; ++i2) {
                    const T* a = job.a + i0 * loops.in_step[0] + i1 * loops.in_step[1] + i2 * loops.in_step[2] + lane;
                    const T* b = job.b + i0 * loops.out_step[0] + i1 * loops.out_step[1] + i2 * loops.out_step[2] + lane;
                    Size i = 0;
                    for (; i + 4 <= loops.count[3]; i += 4)
                        for (int u = 0; u < 4; ++u, a += a_step, b += b_step) sums[u] += lanes.load(a) * lanes.load(b);
                    for (; i < loops.count[3]; ++i, a += a_step, b += b_step) sums[0] += lanes.load(a) * lanes.load(b);
                }
        lanes.store(job.sums + lane, lanes.load(job.sums + lane) + ((sums[0] + sums[1]) + (sums[2] + sums[3])));
    }
}

}  // namespace UNSTRIDE_SET
}  // namespace unstride
