// Implicit GEMM with output channels in the lanes: the micro-kernel keeps the sums of R positions times C vectors of channels
// in registers, and broadcasts every input number once. igemm_scalar.hpp is the same, number by number. Reaches 95% of the
// multiply-add peak from about 100 products a cell on.
#pragma once

#include <type_traits>

#include "kernels/simd.hpp"
#include "runtime/caches.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

// Positions of a tile of C vectors. 12 x 2 accumulators of 32 registers leave two for weights and one for the input; 14 x 2
// spills. (Measured at 512 products, share of the peak: 12 x 2 95%, 8 x 3 95%, 14 x 1 86%.)
template <int C>
constexpr int igemm_rows = registers == 32 ? (C == 1 ? 14 : C == 2 ? 12 : 8) : (C == 1 ? 10 : C == 2 ? 6 : 4);

// `next`: the input of the next tile's positions, or null. Of long runs it is fetched into the second-level cache: 12 rows at
// once are more than the processor foresees. (Two cores of an Intel Emerald Rapids, whose third-level cache answers late: 3%
// faster from 256 numbers on, 8 to 25% where others use that cache too; shorter runs lose 3%.)
//
// UnpackedJob: weights are read where the kernel has them, and products are added to what the output has. Meanwhile each
// block of columns fetches a share of the rows that are wanted next, in the order of memory.
template <class J, class T, int R, int C>
void igemm_tile(const J& job, const Block<T>& block, const T* const* in, T* const* out, const T* const* next) {
    using V = Vector<T>;
    constexpr bool unpacked = std::is_same_v<J, UnpackedJob<T>>;
    constexpr int U = C == 1 ? 4 : registers == 32 ? 2 : 1;  // products between two looks at the loop's end
    constexpr Size line = cache::line / sizeof(T);
    Size step = C * W<T>;
    if constexpr (unpacked) step = job.weight_stride;
    V sums[R][C];
    UNROLLED
    for (int r = 0; r < R; ++r)
        UNROLLED
        for (int c = 0; c < C; ++c) {
            // The lines that the sums go to arrive while they are made: a store that waits for one holds up the next tile.
            __builtin_prefetch(out[r] + block.column + c * W<T>, 1);
            sums[r][c] = load(unpacked ? out[r] + block.column + c * W<T> : block.bias + c * W<T>);
        }
    for (Size s = 0; s < job.run_count; ++s) {
        const InputRun& run = job.runs[s];
        const T* p[R];
        UNROLLED
        for (int r = 0; r < R; ++r) p[r] = in[r] + (job.copies ? run.copy : run.in);
        const T* w = block.weights + run.row * step;
        [[maybe_unused]] const T* ahead = nullptr;
        if constexpr (unpacked)
            ahead = job.blocks[0].weights + run.row * step + job.next + (block.column - job.blocks[0].column) * run.length;
        const bool fetch = !unpacked && C > 1 && next && run.length >= 16 * line;
        Size k = 0;
        for (const Size whole = run.length / U * U; k < whole;) {
            Size end = whole;
            if (fetch) {
                UNROLLED
                for (int r = 0; r < R; ++r) __builtin_prefetch(next[r] + run.in + k, 0, 2);
                end = k + line < whole ? k + line : whole;
            }
            for (; k < end; k += U, w += U * step) {
                if (unpacked && next)
                    for (int i = 0; i < U * C; ++i) __builtin_prefetch(ahead + (k * C + i) * W<T>);
                UNROLLED
                for (int u = 0; u < U; ++u) {
                    V weights[C];
                    UNROLLED
                    for (int c = 0; c < C; ++c) weights[c] = load(w + u * step + c * W<T>);
                    UNROLLED
                    for (int r = 0; r < R; ++r)
                        UNROLLED
                        for (int c = 0; c < C; ++c) sums[r][c] += p[r][k + u] * weights[c];
                }
            }
        }
        for (; k < run.length; ++k, w += step) {
            V weights[C];
            UNROLLED
            for (int c = 0; c < C; ++c) weights[c] = load(w + c * W<T>);
            UNROLLED
            for (int r = 0; r < R; ++r)
                UNROLLED
                for (int c = 0; c < C; ++c) sums[r][c] += p[r][k] * weights[c];
        }
    }
    if (job.relu)
        UNROLLED
        for (int r = 0; r < R; ++r)
            UNROLLED
            for (int c = 0; c < C; ++c) sums[r][c] = relu<T>(sums[r][c]);
    Size from = job.from - block.column, to = job.to - block.column;
    if (from <= 0 && to >= C * W<T>) {
        UNROLLED
        for (int r = 0; r < R; ++r)
            UNROLLED
            for (int c = 0; c < C; ++c) store(out[r] + block.column + c * W<T>, sums[r][c]);
    } else {
        UNROLLED
        for (int c = 0; c < C; ++c) {
            const LaneMask<T> lanes(from - c * W<T>, to - c * W<T>);
            UNROLLED
            for (int r = 0; r < R; ++r) lanes.store(out[r] + block.column + c * W<T>, sums[r][c]);
        }
    }
}

template <int C, class J, class T, int... R>
INLINE void igemm_tile_of(int rows, Indices<R...>, const J& job, const Block<T>& block, const T* const* in, T* const* out,
                          const T* const* next) {
    using Function = void (*)(const J&, const Block<T>&, const T* const*, T* const*, const T* const*);
    static constexpr Function functions[] = {igemm_tile<J, T, R + 1, C>...};
    functions[rows - 1](job, block, in, out, next);
}

template <int C, class J, class T>
INLINE void igemm_rows_of(int rows, const J& job, const Block<T>& block, const T* const* in, T* const* out,
                          const T* const* next) {
    igemm_tile_of<C>(rows, typename Count<igemm_rows<C>>::type{}, job, block, in, out, next);
}

// Positions a multiple of 4096 bytes apart share a set of lines of the first-level cache, which holds 8 or 12 of them: each
// line would be pushed out before its second number is read. Then their runs are copied, once for all blocks of columns. (One
// core of a Zen 4, 1024 -> 256 channels, k2 s2, 28 x 28: 97 -> 103 GFLOP/s, and 75 -> 94 while another process shares the
// core; with 1040 channels, which share no lines, 109 and 101.)
template <class J, class T>
INLINE void copy_runs(const J& job, int rows, const T* const* in, const T** copies) {
    for (int r = 0; r < rows; ++r) {
        T* const to = job.copies + r * job.copy_step;
        for (Size s = 0; s < job.run_count; ++s) {
            const InputRun& run = job.runs[s];
            std::memcpy(to + run.copy, in[r] + run.in, static_cast<std::size_t>(run.length) * sizeof(T));
        }
        copies[r] = to;
    }
}

template <template <class> class J, class T>
void igemm_job(const J<T>& job) {
    constexpr bool unpacked = std::is_same_v<J<T>, UnpackedJob<T>>;
    int widest = 1;
    for (Size b = 0; b < job.block_count; ++b) {
        int vectors = static_cast<int>(job.blocks[b].columns / W<T>);
        widest = vectors > widest ? vectors : widest;
    }
    int most = widest == 1 ? igemm_rows<1> : widest == 2 ? igemm_rows<2> : igemm_rows<3>;
    // Tiles of equal height: 16 positions are two tiles of 8, not one of 12 and one of 4, which would wait for its sums.
    Size left = positions(job.loops);
    Size tiles = (left + most - 1) / most;
    [[maybe_unused]] bool first = true;
    Cursor cursor(job.loops);
    const T* in[max_igemm_rows];
    const T* copies[max_igemm_rows];
    const T* next[max_igemm_rows];
    T* out[max_igemm_rows];
    for (; tiles > 0; --tiles) {
        int rows = static_cast<int>((left + tiles - 1) / tiles);
        cursor.take(rows, job.in, job.out, in, out);
        left -= rows;
        for (int r = 0; r < rows; ++r) next[r] = in[r] + job.loops.in_step[3] * rows;  // along a row
        if (job.copies) copy_runs(job, rows, in, copies);
        const T* const* const from = job.copies ? copies : in;
        const T* const* foreseen = tiles > 1 ? next : nullptr;
        if constexpr (unpacked) foreseen = first && job.next ? next : nullptr;
        for (Size b = 0; b < job.block_count; ++b) {
            const Block<T>& block = job.blocks[b];
            if (block.column >= job.to || block.column + block.columns <= job.from) continue;
            if constexpr (unpacked) {  // all blocks are of two vectors
                igemm_rows_of<2>(rows, job, block, from, out, foreseen);
            } else {
                switch (block.columns / W<T>) {
                    case 1: igemm_rows_of<1>(rows, job, block, from, out, foreseen); break;
                    case 2: igemm_rows_of<2>(rows, job, block, from, out, foreseen); break;
                    default: igemm_rows_of<3>(rows, job, block, from, out, foreseen);
                }
                foreseen = nullptr;  // once, with the first block
            }
        }
        first = false;
    }
}

}  // namespace UNSTRIDE_SET
}  // namespace unstride
