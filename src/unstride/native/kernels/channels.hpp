// Depthwise: channels in the lanes, of the input, the weights and the output alike; a dozen positions share the weights.
#pragma once

#include "kernels/simd.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

constexpr int channel_rows = registers == 32 ? 14 : 10;
constexpr int most_run = 4;  // taps whose weights stay in registers

// `count` adjacent taps: along a row, what one position reads through a tap the next reads through the one before.
struct Run {
    Size in, row;
    int count;
};

template <class T>
INLINE void finish(const Job<T>& job, const Lanes<T>& lanes, bool whole, Vector<T> sum, T* to) {
    const Vector<T> value = job.relu ? relu<T>(sum) : sum;
    if (whole)
        store(to, value);
    else
        lanes.store(to, value);
}

// Positions that lie `step` numbers apart: each of their inputs is loaded once for all taps of a run. (64 channels, kernel 4,
// stride 2: 1.5 times as fast as loading it for each.)
template <class T, bool Whole, int Taps>
INLINE void add_run(const Job<T>& job, const Run& run, Size first, const Lanes<T>& lanes, const T* from, Vector<T>* sums) {
    const Size step = job.walk.in_step[3];
    const T* const w = job.blocks[0].weights + run.row * job.weight_stride + first;
    Vector<T> weights[Taps];
    UNROLLED
    for (int t = 0; t < Taps; ++t) weights[t] = load(w + t * job.weight_stride);
    const T* p = from + run.in + first;
    UNROLLED
    for (int i = 0; i < channel_rows + Taps - 1; ++i, p += step) {
        const Vector<T> x = Whole ? load(p) : lanes.load(p);
        UNROLLED
        for (int t = 0; t < Taps; ++t)
            if (i - t >= 0 && i - t < channel_rows) sums[i - t] += x * weights[t];
    }
}

template <class T, bool Whole>
INLINE void row_of_channels(const Job<T>& job, const Run* runs, Size count, Size first, const T* from, T* to) {
    const Lanes<T> lanes(0, job.to - first);
    Vector<T> sums[channel_rows];
    UNROLLED
    for (int r = 0; r < channel_rows; ++r) sums[r] = load(job.blocks[0].bias + first);
    for (const Run* run = runs; run < runs + count; ++run) {
        switch (run->count) {
            case 1: add_run<T, Whole, 1>(job, *run, first, lanes, from, sums); break;
            case 2: add_run<T, Whole, 2>(job, *run, first, lanes, from, sums); break;
            case 3: add_run<T, Whole, 3>(job, *run, first, lanes, from, sums); break;
            default: add_run<T, Whole, most_run>(job, *run, first, lanes, from, sums);
        }
    }
    UNROLLED
    for (int r = 0; r < channel_rows; ++r)
        finish<T>(job, lanes, Whole, sums[r], to + r * job.walk.out_step[3] + first);
}

// Positions anywhere.
template <class T, bool Whole>
INLINE void channels_of(const Job<T>& job, Size first, int rows, const T* const* in, T* const* out) {
    using V = Vector<T>;
    const Block<T>& block = job.blocks[0];
    const Lanes<T> lanes(0, job.to - first);
    V sums[channel_rows];
    UNROLLED
    for (int r = 0; r < channel_rows; ++r) sums[r] = load(block.bias + first);
    for (Size s = 0; s < job.segment_count; ++s) {
        const Segment& segment = job.segments[s];
        V weights = load(block.weights + segment.row * job.weight_stride + first);
        UNROLLED
        for (int r = 0; r < channel_rows; ++r) {
            const T* p = in[r] + segment.in + first;
            sums[r] += (Whole ? load(p) : lanes.load(p)) * weights;
        }
    }
    UNROLLED
    for (int r = 0; r < channel_rows; ++r) {
        if (r >= rows) break;
        finish<T>(job, lanes, Whole, sums[r], out[r] + first);
    }
}

// Rows of at least a tile's length; the last tile of a row goes back over positions that the one before has written.
template <class T>
void rows_of_channels(const Job<T>& job, const Run* runs, Size count) {
    const Walk& w = job.walk;
    for (Size i = 0; i < w.count[0] * w.count[1] * w.count[2]; ++i) {
        const Size y = i % w.count[2], z = i / w.count[2] % w.count[1], image = i / w.count[2] / w.count[1];
        const T* const in = job.in + image * w.in_step[0] + z * w.in_step[1] + y * w.in_step[2];
        T* const out = job.out + image * w.out_step[0] + z * w.out_step[1] + y * w.out_step[2];
        for (Size next = 0; next < w.count[3]; next += channel_rows) {
            const Size x = next + channel_rows <= w.count[3] ? next : w.count[3] - channel_rows;
            const T* const from = in + x * w.in_step[3];
            T* const to = out + x * w.out_step[3];
            Size first = 0;
            for (; first + W<T> <= job.to; first += W<T>) row_of_channels<T, true>(job, runs, count, first, from, to);
            if (first < job.to) row_of_channels<T, false>(job, runs, count, first, from, to);
        }
    }
}

template <class T>
void channels_job(const Job<T>& job) {
    constexpr Size most_runs = 64;
    Run runs[most_runs];
    Size count = 0;
    for (Size s = 0; s < job.segment_count && count <= most_runs; ++s) {
        const Segment& segment = job.segments[s];
        const bool follows = s > 0 && segment.in == job.segments[s - 1].in + job.walk.in_step[3] &&
                             segment.row == job.segments[s - 1].row + 1 && runs[count - 1].count < most_run;
        if (follows)
            ++runs[count - 1].count;
        else if (count++ < most_runs)
            runs[count - 1] = {segment.in, segment.row, 1};
    }
    if (job.walk.count[3] >= channel_rows && count <= most_runs) {
        rows_of_channels(job, runs, count);
        return;
    }
    Cursor cursor(job.walk);
    const T* in[channel_rows];
    T* out[channel_rows];
    for (Size left = positions(job.walk); left > 0;) {
        int rows = static_cast<int>(left < channel_rows ? left : channel_rows);
        cursor.take(rows, job.in, job.out, in, out);
        for (int r = rows; r < channel_rows; ++r) in[r] = in[rows - 1];
        left -= rows;
        Size first = 0;
        for (; first + W<T> <= job.to; first += W<T>) channels_of<T, true>(job, first, rows, in, out);
        if (first < job.to) channels_of<T, false>(job, first, rows, in, out);
    }
}

}  // namespace UNSTRIDE_SET
}  // namespace unstride
