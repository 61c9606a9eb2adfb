// Positions in the lanes: the input's channels lie apart, as planes, so that a vector of positions is one load, and weights
// are broadcast. For few channels on either side, which leave the lanes of the other kernels empty.
#pragma once

#include "kernels/simd.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

// Vectors of positions that R columns keep in registers besides what they read.
template <int R>
constexpr int spatial_vectors = registers == 32 ? (R == 1   ? 14
                                                   : R == 2 ? 10
                                                   : R == 3 ? 7
                                                   : R == 4 ? 6
                                                   : R == 5 ? 5
                                                   : R == 6 ? 4
                                                            : 3)
                                                : (R == 1   ? 6
                                                   : R == 2 ? 5
                                                   : R == 3 ? 3
                                                   : R <= 6 ? 2
                                                            : 1);
static_assert(spatial_vectors<1> * W<float> <= spatial_slack, "");

// Columns From .. To at `count` offsets. Returns where the weights go on.
template <class T, int R, int P, int From, int To>
INLINE const T* add_reach(const T* in, const Size* offsets, Size count, const T* w, Vector<T> (&sums)[R][P]) {
    for (Size t = 0; t < count; ++t, w += To - From) {
        Vector<T> x[P];
        UNROLLED
        for (int p = 0; p < P; ++p) {
            x[p] = load(in + offsets[t] + p * W<T>);
            if (To - From > 1) IN_REGISTER(x[p]);  // or it would be loaded once more for each column
        }
        UNROLLED
        for (int r = From; r < To; ++r)
            UNROLLED
            for (int p = 0; p < P; ++p) sums[r][p] += w[r - From] * x[p];
    }
    return w;
}

template <class T, int R, int From, int To, int P>
INLINE const T* reach_of(const T* in, const Size* offsets, Size count, const T* w, Vector<T> (&sums)[R][P]) {
    if constexpr (From < To && To <= R)
        return add_reach<T, R, P, From, To>(in, offsets, count, w, sums);
    else
        return w;
}

template <class T, int R, int P>
void spatial(const SpatialJob<T>& job, const T* in, T* out) {
    Vector<T> sums[R][P];
    UNROLLED
    for (int r = 0; r < R; ++r)
        UNROLLED
        for (int p = 0; p < P; ++p) sums[r][p] = Vector<T>{} + job.bias[r];
    const T* w = job.weights;
    for (Size channel = 0; channel < job.channels; ++channel, in += job.plane) {
        const Size* offsets = job.offsets;
        for (const Reach* reach = job.reaches; reach < job.reaches + job.reach_count; offsets += reach->count, ++reach) {
            switch (reach->from * max_spatial_columns + reach->to - 1) {
#define REACH(from, to)                                                                    \
    case from * max_spatial_columns + to - 1:                                              \
        w = reach_of<T, R, from, to>(in, offsets, reach->count, w, sums);                  \
        break;
                REACH(0, 1) REACH(0, 2) REACH(0, 3) REACH(0, 4) REACH(0, 5) REACH(0, 6) REACH(0, 7) REACH(0, 8)
                REACH(1, 2) REACH(1, 3) REACH(1, 4) REACH(1, 5) REACH(1, 6) REACH(1, 7) REACH(1, 8)
                REACH(2, 3) REACH(2, 4) REACH(2, 5) REACH(2, 6) REACH(2, 7) REACH(2, 8)
                REACH(3, 4) REACH(3, 5) REACH(3, 6) REACH(3, 7) REACH(3, 8)
                REACH(4, 5) REACH(4, 6) REACH(4, 7) REACH(4, 8)
                REACH(5, 6) REACH(5, 7) REACH(5, 8)
                REACH(6, 7) REACH(6, 8)
                REACH(7, 8)
#undef REACH
            }
        }
    }
    UNROLLED
    for (int r = 0; r < R; ++r)
        UNROLLED
        for (int p = 0; p < P; ++p) store(out + r * job.out_plane + p * W<T>, job.relu ? relu<T>(sums[r][p]) : sums[r][p]);
}

// The last positions go back over some that have been computed before.
template <class T, int R>
void spatial_of(const SpatialJob<T>& job) {
    constexpr Size some = spatial_vectors<R> * W<T>;
    for (Size next = 0; next < job.count; next += some) {
        const Size at = next + some <= job.count || job.count < some ? next : job.count - some;
        spatial<T, R, spatial_vectors<R>>(job, job.in + at, job.out + at);
    }
}

template <class T>
void spatial_job(const SpatialJob<T>& job) {
    switch (job.columns) {
        case 1: spatial_of<T, 1>(job); break;
        case 2: spatial_of<T, 2>(job); break;
        case 3: spatial_of<T, 3>(job); break;
        case 4: spatial_of<T, 4>(job); break;
        case 5: spatial_of<T, 5>(job); break;
        case 6: spatial_of<T, 6>(job); break;
        case 7: spatial_of<T, 7>(job); break;
        default: spatial_of<T, 8>(job);
    }
}

}  // namespace UNSTRIDE_SET
}  // namespace unstride
