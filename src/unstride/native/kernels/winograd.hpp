// The transformations of Winograd's F(4 x 4, 3 x 3), with the batch in the lanes. Its points are 0, infinity, a, -a, b, -b in
// this order; winograd.hpp says why these. Along one axis, for inputs d and results y, with e and o even and odd parts:
//     d -> a2 b2 d0 - (a2 + b2) d2 + d4, the same of d1, d3, d5,
//          e +- a o of e = d4 - b2 d2, o = d3 - b2 d1,   e +- b o of e = d4 - a2 d2, o = d3 - a2 d1
//     m -> y_j = [j = 0] m0 + [j = 3] m1 + a^j (m2 +- m3) + b^j (m4 +- m5), with + for even j and - for odd ones
#pragma once

#include "kernels/batch_kernels.hpp"
#include "kernels/transpose.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

constexpr float wa = winograd_a, wb = winograd_b, wa2 = wa * wa, wb2 = wb * wb;

// Two of the six frequencies of an axis: the points 0 and infinity, a and -a, or b and -b.
template <int Pair>
INLINE void input_transform_pair(const Vector<float>* d, Vector<float>& one, Vector<float>& other) {
    using V = Vector<float>;
    if constexpr (Pair == 0) {
        one = d[0] * (wa2 * wb2) + (d[4] - d[2] * (wa2 + wb2));
        other = d[1] * (wa2 * wb2) + (d[5] - d[3] * (wa2 + wb2));
    } else {
        constexpr float root = Pair == 1 ? wa : wb, square = Pair == 1 ? wb2 : wa2;
        const V e = d[4] - d[2] * square, o = d[3] - d[1] * square;
        one = e + o * root, other = e - o * root;
    }
}

// The adjoint of the output transform: four numbers of an axis to two of its frequencies.
template <int Pair>
INLINE void adjoint_transform_pair(const Vector<float>* d, Vector<float>& one, Vector<float>& other) {
    using V = Vector<float>;
    if constexpr (Pair == 0) {
        one = d[0], other = d[3];
    } else {
        constexpr float root = Pair == 1 ? wa : wb, square = root * root;
        const V e = d[0] + d[2] * square, o = d[1] + d[3] * square;
        one = e + o * root, other = e - o * root;
    }
}

// Along x: a row of numbers to its six frequencies.
template <bool Results>
INLINE void transform_row(const Vector<float>* d, Vector<float>* f) {
    if constexpr (Results)
        adjoint_transform_pair<0>(d, f[0], f[1]), adjoint_transform_pair<1>(d, f[2], f[3]),
            adjoint_transform_pair<2>(d, f[4], f[5]);
    else
        input_transform_pair<0>(d, f[0], f[1]), input_transform_pair<1>(d, f[2], f[3]), input_transform_pair<2>(d, f[4], f[5]);
}

// A channel's rows of frequencies that belong to a pair along y. `at(y, x)` is one of the Side x Side numbers. To `check` is
// added zero, or NaN if one of them is not finite: every number is in one of the sums looked at.
template <int Pair, bool Results, class At>
INLINE void transform_channel(At at, float* to, Vector<float>& check) {
    using V = Vector<float>;
    constexpr int side = Results ? 4 : 6;
    V rows[2][side];
    UNROLLED
    for (int x = 0; x < side; ++x) {
        V d[side];
        UNROLLED
        for (int y = 0; y < side; ++y) d[y] = at(y, x);  // what is not used is not loaded
        if constexpr (Results)
            adjoint_transform_pair<Pair>(d, rows[0][x], rows[1][x]);
        else
            input_transform_pair<Pair>(d, rows[0][x], rows[1][x]);
    }
    UNROLLED
    for (int row = 0; row < 2; ++row, to += 6 * W<float>) {
        V f[6];
        transform_row<Results>(rows[row], f);
        if (Results && Pair == 1 && row == 0) check += f[2] * 0.0f;
        if (!Results && Pair == 0) check += f[0] * 0.0f + f[1] * 0.0f;
        UNROLLED
        for (int x = 0; x < 6; ++x) store(to + x * W<float>, f[x]);
    }
}

template <int Pair, bool Results, class At>
INLINE void transform_pairs(At at, float* to, Vector<float>& check) {
    if constexpr (Pair >= 0) {
        transform_channel<Pair, Results>(at, to, check);
    } else {
        transform_channel<0, Results>(at, to, check);
        transform_channel<1, Results>(at, to + 12 * W<float>, check);
        transform_channel<2, Results>(at, to + 24 * W<float>, check);
    }
}

INLINE bool all_zero(Vector<float> numbers) {
    bool zero = true;
    for (int lane = 0; lane < W<float>; ++lane) zero = zero && numbers[lane] == 0.0f;
    return zero;
}

template <int Pair, bool Results>
bool transform_tile(const WinogradTile& tile) {
    constexpr int side = Results ? 4 : 6;
    constexpr Size step = Pair < 0 ? frequency_step : third_step;
    const Size numbers = tile.channels * W<float>, pixel = tile.pixel;
    float* const to = tile.frequencies;
    // Copies: for all that the compiler knows, what is stored might change the tile.
    const float* places[side * side];
    for (int i = 0; i < side * side; i += pixel ? side : 1) places[i] = tile.places[i];
    Vector<float> check{};
    if (pixel) {  // rows of adjacent places
        for (Size c = 0; c < numbers; c += W<float>)
            transform_pairs<Pair, Results>([&](int y, int x) { return load(places[y * side] + c + x * pixel); }, to + c * step,
                                           check);
    } else {
        for (Size c = 0; c < numbers; c += W<float>)
            transform_pairs<Pair, Results>([&](int y, int x) { return load(places[y * side + x] + c); }, to + c * step, check);
    }
    return all_zero(check);
}

template <bool Results>
INLINE bool transform_any(const WinogradTile& tile) {
    static constexpr bool (*functions[])(const WinogradTile&) = {transform_tile<-1, Results>, transform_tile<0, Results>,
                                                             transform_tile<1, Results>, transform_tile<2, Results>};
    return functions[tile.pair + 1](tile);
}

inline bool adjoint_transform_transposed(const WinogradTile& tile) {
    using V = Vector<float>;
    constexpr Size square = W<float> * W<float>;
    alignas(64) float transposed[16 * square];
    Vector<float> check{};
    for (Size c = 0; c < tile.channels * W<float>; c += square) {
        for (int place = 0; place < 16; ++place) {
            const float* const from = tile.pixel ? tile.places[place / 4 * 4] + place % 4 * tile.pixel : tile.places[place];
            V v[W<float>];
            UNROLLED
            for (int i = 0; i < W<float>; ++i) v[i] = load(from + c + i * W<float>);
            transpose_square<float>(v);
            UNROLLED
            for (int i = 0; i < W<float>; ++i) store(transposed + place * square + i * W<float>, v[i]);
        }
        for (Size i = 0; i < square; i += W<float>)
            transform_pairs<-1, true>([&](int y, int x) { return load(transposed + (4 * y + x) * square + i); },
                                   tile.frequencies + (c + i) * frequency_step, check);
    }
    return all_zero(check);
}

inline bool input_transform(const WinogradTile& tile) { return transform_any<false>(tile); }
inline bool adjoint_transform(const WinogradTile& tile) { return transform_any<true>(tile); }

// Sums of P positions x Q columns need as many registers.
constexpr int frequency_positions = registers == 32 ? max_frequency_positions : 1;

template <int P, int Q>
void transform_domain_gemm_of(const TransformDomainGemm& job) {
    using V = Vector<float>;
    const float* w = job.weights;
    for (Size f = 0; f < winograd_frequencies; ++f) {
        V sums[P][Q] = {};
        const float* x = job.in + f * W<float>;
        for (Size c = 0; c < job.channels; ++c, x += frequency_step * W<float>, w += Q) {
            V numbers[P];
            UNROLLED
            for (int p = 0; p < P; ++p) {
                numbers[p] = load(x + p * job.step);
                IN_REGISTER(numbers[p]);
            }
            UNROLLED
            for (int q = 0; q < Q; ++q) {
                V weight = splat(w[q]);
                if constexpr (P > 1) IN_REGISTER(weight);
                UNROLLED
                for (int p = 0; p < P; ++p) sums[p][q] += numbers[p] * weight;
            }
        }
        float* const out = job.out + f * W<float>;
        UNROLLED
        for (int p = 0; p < P; ++p)
            UNROLLED
            for (int q = 0; q < Q; ++q) store(out + (p * Q + q) * frequency_step * W<float>, sums[p][q]);
    }
}

template <int... Q>
INLINE void transform_domain_gemm_for(const TransformDomainGemm& job, Indices<Q...>) {
    using Function = void (*)(const TransformDomainGemm&);
    static constexpr Function functions[][sizeof...(Q)] = {{transform_domain_gemm_of<1, Q + 1>...},
                                                           {transform_domain_gemm_of<frequency_positions, Q + 1>...}};
    functions[job.positions - 1][job.columns - 1](job);
}

inline void transform_domain_gemm(const TransformDomainGemm& job) {
    transform_domain_gemm_for(job, typename Count<max_frequency_columns>::type{});
}

// Six frequencies of an axis to its four results.
INLINE void output_transform_axis(const Vector<float>* m, Vector<float>* y, int step) {
    using V = Vector<float>;
    const V sa = m[2] + m[3], da = m[2] - m[3], sb = m[4] + m[5], db = m[4] - m[5];
    y[0] = m[0] + sa + sb;
    y[step] = da * wa + db * wb;
    y[2 * step] = sa * wa2 + sb * wb2;
    y[3 * step] = m[1] + (da * (wa * wa2) + db * (wb * wb2));
}

// The lines of a later channel, into the first-level cache: sixteen places on a few pages are more than processors foresee.
// Measured on an Emerald Rapids with grids in the third-level cache, a tile's channel: 224 instead of 449 cycles.
template <bool Kept>
INLINE void fetch_places(const WinogradTile& tile, Size shift) {
    UNROLLED
    for (int i = 0; i < 16; ++i) {
        float* const place = tile.places[i];
        if (!place) continue;
        __builtin_prefetch(place + shift, 1);
        if constexpr (Kept) __builtin_prefetch(tile.kept + (place - tile.out) + shift);
    }
}

template <bool Kept>
void output_transform_tile(const WinogradTile& tile) {
    using V = Vector<float>;
    const Size channels = tile.channels;
    const bool relus = tile.relu;
    for (Size c = 0; c < channels; ++c) {
        const float* const from = tile.frequencies + c * frequency_step * W<float>;
        V columns[4][6];
        UNROLLED
        for (int x = 0; x < 6; ++x) {
            V m[6];
            UNROLLED
            for (int y = 0; y < 6; ++y) m[y] = load(from + (6 * y + x) * W<float>);
            output_transform_axis(m, columns[0] + x, 6);
        }
        fetch_places<Kept>(tile, (c + 2) * W<float>);
        const V bias = splat(tile.bias ? tile.bias[c] : 0.0f);
        V sum = Kept ? load(tile.sums + c * W<float>) : V{};
        UNROLLED
        for (int y = 0; y < 4; ++y) {
            V results[4];
            output_transform_axis(columns[y], results, 1);
            UNROLLED
            for (int x = 0; x < 4; ++x) {
                float* const place = tile.places[4 * y + x];
                if (!place) continue;
                V result = results[x] + bias;
                if constexpr (Kept) {  // as `differentiate` does it
                    const V y_kept = load(tile.kept + (place - tile.out) + c * W<float>);
                    result = y_kept <= V{} ? V{} : result;
                    sum += result;
                } else if (relus) {
                    result = relu<float>(result);
                }
                store(place + c * W<float>, result);
            }
        }
        if constexpr (Kept) store(tile.sums + c * W<float>, sum);
    }
}

inline void output_transform(const WinogradTile& tile) {
    tile.kept ? output_transform_tile<true>(tile) : output_transform_tile<false>(tile);
}

}  // namespace UNSTRIDE_SET
}  // namespace unstride
