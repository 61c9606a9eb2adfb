// Depthwise: channels in the lanes, of the input, the weights and the output alike; a dozen positions share the weights.
#pragma once

#include "simd.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

constexpr int channel_rows = registers == 32 ? 14 : 10;

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
        V value = job.relu ? relu<T>(sums[r]) : sums[r];
        if (Whole)
            store(out[r] + first, value);
        else
            lanes.store(out[r] + first, value);
    }
}

template <class T>
void channels_job(const Job<T>& job) {
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
