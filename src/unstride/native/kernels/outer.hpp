// A kernel's gradient: for every position the products of some numbers of one array (broadcast) with some vectors of the
// other are added to a tile of sums, which stays in registers for all positions.
#pragma once

#include "simd.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

template <int C>
constexpr int outer_rows = registers == 32 ? (C == 1 ? 14 : C == 2 ? 12 : C == 3 ? 8 : 4)
                                           : (C == 1 ? 10 : C == 2 ? 6 : C == 3 ? 4 : 2);
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

template <class T, int R, int C, bool Whole>
void outer(const Outer<T>& job, const Walk& walk, Size row, Size lane) {
    using V = Vector<T>;
    V sums[R][C];
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) sums[r][c] = V{};
    const Size a_step = walk.in_step[3], b_step = walk.out_step[3];
    auto part = [&](int c) { return Lanes<T>(job.from - lane - c * W<T>, job.to - lane - c * W<T>); };
    const T* a0 = job.a + row;
    const T* b0 = job.b + lane;
    for (Size i0 = 0; i0 < walk.count[0]; ++i0)
        for (Size i1 = 0; i1 < walk.count[1]; ++i1)
            for (Size i2 = 0; i2 < walk.count[2]; ++i2) {
                const T* a = a0 + i0 * walk.in_step[0] + i1 * walk.in_step[1] + i2 * walk.in_step[2];
                const T* b = b0 + i0 * walk.out_step[0] + i1 * walk.out_step[1] + i2 * walk.out_step[2];
                for (Size i = 0; i < walk.count[3]; ++i, a += a_step, b += b_step) {
                    V y[C];
                    for (int c = 0; c < C; ++c) y[c] = Whole ? load(b + c * W<T>) : part(c).load(b + c * W<T>);
#pragma GCC unroll 16
                    for (int r = 0; r < R; ++r)
                        for (int c = 0; c < C; ++c) sums[r][c] += a[r] * y[c];
                }
            }
    for (int c = 0; c < C; ++c) {
        const Lanes<T> lanes = part(c);
        for (int r = 0; r < R; ++r) {
            T* to = job.sums + (row + r) * job.stride + lane + c * W<T>;
            lanes.store(to, lanes.load(to) + sums[r][c]);
        }
    }
}

template <class T, int C, int... R>
INLINE void outer_of(int rows, Indices<R...>, bool whole, const Outer<T>& job, const Walk& walk, Size row, Size lane) {
    using Function = void (*)(const Outer<T>&, const Walk&, Size, Size);
    static constexpr Function wholes[] = {outer<T, R + 1, C, true>...};
    static constexpr Function parts[] = {outer<T, R + 1, C, false>...};
    (whole ? wholes : parts)[rows - 1](job, walk, row, lane);
}

template <class T, int C>
void outer_rows_of(const Outer<T>& job, const Walk& walk, Size lane) {
    bool whole = job.from <= lane && job.to >= lane + C * W<T>;
    Size tiles = (job.rows + outer_rows<C> - 1) / outer_rows<C>;
    for (Size row = 0, left = job.rows; tiles > 0; --tiles) {
        int rows = static_cast<int>((left + tiles - 1) / tiles);
        outer_of<T, C>(rows, typename Count<outer_rows<C>>::type{}, whole, job, walk, row, lane);
        row += rows, left -= rows;
    }
}

template <class T>
void outer_job(const Outer<T>& job) {
    const Walk walk = inner_last(job.walk);
    Size lane = job.from / W<T> * W<T>;
    while (lane < job.to) {
        Size vectors = (job.to - lane + W<T> - 1) / W<T>;
        if (job.rows <= outer_rows<outer_wide> && vectors >= outer_wide) {
            outer_rows_of<T, outer_wide>(job, walk, lane), lane += outer_wide * W<T>;
        } else if (vectors == 1) {
            outer_rows_of<T, 1>(job, walk, lane), lane += W<T>;
        } else if (vectors == 3) {
            outer_rows_of<T, 3>(job, walk, lane), lane += 3 * W<T>;
        } else {
            outer_rows_of<T, 2>(job, walk, lane), lane += 2 * W<T>;
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
