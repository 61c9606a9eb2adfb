// Depthwise: channels in the lanes, of the input, the weights and the output alike; a dozen positions share the weights.
#pragma once

#include "kernels/simd.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

constexpr int depthwise_rows = registers == 32 ? 14 : 10;
constexpr int max_run_taps = 4;  // taps whose weights stay in registers

// `count` adjacent taps: along a row, what one position reads through a tap the next reads through the one before.
struct TapRun {
    Size in, row;
    int count;
};

template <class T>
INLINE void finish(const DepthwiseJob<T>& job, const LaneMask<T>& lanes, bool whole, Vector<T> sum, T* to) {
    const Vector<T> value = job.relu ? relu<T>(sum) : sum;
    if (whole)
        store(to, value);
    else
        lanes.store(to, value);
}

// Positions that lie `step` numbers apart: each of their inputs is loaded once for all taps of a run. (64 channels, kernel 4,
// stride 2: 1.5 times as fast as loading it for each.)
template <class T, bool Whole, int Taps>
INLINE void add_run(const DepthwiseJob<T>& job, const TapRun& tap_run, Size first, const LaneMask<T>& lanes, const T* from,
                    Vector<T>* sums) {
    const Size step = job.loops.in_step[3];
    const T* const w = job.blocks[0].weights + tap_run.row * job.weight_stride + first;
    Vector<T> weights[Taps];
    UNROLLED
    for (int t = 0; t < Taps; ++t) weights[t] = load(w + t * job.weight_stride);
    const T* p = from + tap_run.in + first;
    UNROLLED
    for (int i = 0; i < depthwise_rows + Taps - 1; ++i, p += step) {
        const Vector<T> x = Whole ? load(p) : lanes.load(p);
        UNROLLED
        for (int t = 0; t < Taps; ++t)
            if (i - t >= 0 && i - t < depthwise_rows) sums[i - t] += x * weights[t];
    }
}

template <class T, bool Whole>
INLINE void depthwise_row(const DepthwiseJob<T>& job, const TapRun* tap_runs, Size count, Size first, const T* from, T* to) {
    const LaneMask<T> lanes(0, job.to - first);
    Vector<T> sums[depthwise_rows];
    UNROLLED
    for (int r = 0; r < depthwise_rows; ++r) sums[r] = load(job.blocks[0].bias + first);
    for (const TapRun* tap_run = tap_runs; tap_run < tap_runs + count; ++tap_run) {
        switch (tap_run->count) {
            case 1: add_run<T, Whole, 1>(job, *tap_run, first, lanes, from, sums); break;
            case 2: add_run<T, Whole, 2>(job, *tap_run, first, lanes, from, sums); break;
            case 3: add_run<T, Whole, 3>(job, *tap_run, first, lanes, from, sums); break;
            default: add_run<T, Whole, max_run_taps>(job, *tap_run, first, lanes, from, sums);
        }
    }
    UNROLLED
    for (int r = 0; r < depthwise_rows; ++r)
        finish<T>(job, lanes, Whole, sums[r], to + r * job.loops.out_step[3] + first);
}

// Positions anywhere.
template <class T, bool Whole>
INLINE void depthwise_tile(const DepthwiseJob<T>& job, Size first, int rows, const T* const* in, T* const* out) {
    using V = Vector<T>;
    const Block<T>& block = job.blocks[0];
    const LaneMask<T> lanes(0, job.to - first);
    V sums[depthwise_rows];
    UNROLLED
    for (int r = 0; r < depthwise_rows; ++r) sums[r] = load(block.bias + first);
    for (Size s = 0; s < job.run_count; ++s) {
        const InputRun& run = job.runs[s];
        V weights = load(block.weights + run.row * job.weight_stride + first);
        UNROLLED
        for (int r = 0; r < depthwise_rows; ++r) {
            const T* p = in[r] + run.in + first;
            sums[r] += (Whole ? load(p) : lanes.load(p)) * weights;
        }
    }
    UNROLLED
    for (int r = 0; r < depthwise_rows; ++r) {
        if (r >= rows) break;
        finish<T>(job, lanes, Whole, sums[r], out[r] + first);
    }
}

// Rows of at least a tile's length; the last tile of a row goes back over positions that the one before has written.
template <class T>
void depthwise_rows_of(const DepthwiseJob<T>& job, const TapRun* tap_runs, Size count) {
    const LoopNest& w = job.loops;
    for (Size i = 0; i < w.count[0] * w.count[1] * w.count[2]; ++i) {
        const Size y = i % w.count[2], z = i / w.count[2] % w.count[1], image = i / w.count[2] / w.count[1];
        const T* const in = job.in + image * w.in_step[0] + z * w.in_step[1] + y * w.in_step[2];
        T* const out = job.out + image * w.out_step[0] + z * w.out_step[1] + y * w.out_step[2];
        for (Size next = 0; next < w.count[3]; next += depthwise_rows) {
            const Size x = next + depthwise_rows <= w.count[3] ? next : w.count[3] - depthwise_rows;
            const T* const from = in + x * w.in_step[3];
            T* const to = out + x * w.out_step[3];
            Size first = 0;
            for (; first + W<T> <= job.to; first += W<T>) depthwise_row<T, true>(job, tap_runs, count, first, from, to);
            if (first < job.to) depthwise_row<T, false>(job, tap_runs, count, first, from, to);
        }
    }
}

template <class T>
void depthwise_job(const DepthwiseJob<T>& job) {
    constexpr Size max_tap_runs = 64;
    TapRun tap_runs[max_tap_runs];
    Size count = 0;
    for (Size s = 0; s < job.run_count && count <= max_tap_runs; ++s) {
        const InputRun& run = job.runs[s];
        const bool follows = s > 0 && run.in == job.runs[s - 1].in + job.loops.in_step[3] &&
                             run.row == job.runs[s - 1].row + 1 && tap_runs[count - 1].count < max_run_taps;
        if (follows)
            ++tap_runs[count - 1].count;
        else if (count++ < max_tap_runs)
            tap_runs[count - 1] = {run.in, run.row, 1};
    }
    if (job.loops.count[3] >= depthwise_rows && count <= max_tap_runs) {
        depthwise_rows_of(job, tap_runs, count);
        return;
    }
    Cursor cursor(job.loops);
    const T* in[depthwise_rows];
    T* out[depthwise_rows];
    for (Size left = positions(job.loops); left > 0;) {
        int rows = static_cast<int>(left < depthwise_rows ? left : depthwise_rows);
        cursor.take(rows, job.in, job.out, in, out);
        for (int r = rows; r < depthwise_rows; ++r) in[r] = in[rows - 1];
        left -= rows;
        Size first = 0;
        for (; first + W<T> <= job.to; first += W<T>) depthwise_tile<T, true>(job, first, rows, in, out);
        if (first < job.to) depthwise_tile<T, false>(job, first, rows, in, out);
    }
}

}  // namespace UNSTRIDE_SET
}  // namespace unstride
