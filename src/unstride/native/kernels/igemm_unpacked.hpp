// Implicit GEMM over unpacked weights that have the input's channels adjacent: output channels are in the lanes, so that a few
// columns at a time are transposed in registers. The units that change places are eight bytes, one double or two floats; the
// two floats keep a lane each, and are added at the end. Every weight is loaded once, at an even pace, and memory is never
// idle. (DCGAN's first layer, one image, two cores of a Zen 5: 0.74 ms; with dots, which load six columns in the first quarter
// of the time that they then compute with them, 0.84. Units of a float need 16 columns, which are 4096 bytes apart and then
// share 12 lines of cache; units of four are broadcast at half the speed.)
#pragma once

#include "kernels/transpose.hpp"
#include "runtime/caches.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

constexpr int transposed_columns = W<double>;
static_assert(unpacked_columns % transposed_columns == 0, "");
constexpr int max_unpacked_tile = registers == 32 ? 16 : 10;  // positions, whose sums stay in registers

// One unit in all places of a vector.
template <class T, int... L>
INLINE Vector<T> broadcast_unit(const T* from, Indices<L...>) {
    double unit;
    std::memcpy(&unit, from, sizeof unit);
    return (Vector<T>)Vector<double>{((void)L, unit)...};
}

// Of each two lanes the sum, in the first half of the lanes.
template <class T, int... L>
INLINE Vector<T> sums_of_units(Vector<T> v, Indices<L...>) {
    if constexpr (sizeof(T) == sizeof(double)) return v;
    return SHUFFLE(v, v, (2 * L % W<T>)...) + SHUFFLE(v, v, (2 * L % W<T> + 1)...);
}

// A run of the input's channels, vector by vector. The first one begins `before` the run, where the weights' lines of cache do:
// a load that straddles two lines takes both, which made this a sixth slower.
struct Span {
    Size before, length, vectors;
};

// What is outside of the run is zero.
template <class T>
INLINE Vector<T> load(const T* from, const Span& span, Size vector) {
    const Size k = vector * W<T> - span.before;
    return k >= 0 && k + W<T> <= span.length ? load(from + k) : LaneMask<T>(-k, span.length - k).load(from + k);
}

// `columns` of them, from `column` on, at up to P positions. `in` has a vector of every position, then the next ones.
template <class T, int P>
void igemm_unpacked_tile(const UnpackedJob<T>& job, const Span& span, Size column, int columns, const T* in, T* const* out,
                         int rows, Size next) {
    constexpr int C = transposed_columns, unit = W<T> / C;
    constexpr Size lines = cache::line / vector_bytes;  // vectors of a line
    const T* row[C];
    for (int c = 0; c < C; ++c)  // those that are missing repeat the last
        row[c] = job.blocks[0].weights + (column + (c < columns ? c : columns - 1)) * job.weight_stride;
    constexpr int chains = P > 4 ? 1 : 2;  // of additions, which wait for each other where positions are few
    Vector<T> sums[P][chains] = {};
    // The first vector, those in between, and the last one. Where the ends are not whole they are read from copies.
    const Size begin = span.before > 0, end = (span.before + span.length) / W<T>;
    const Size cuts[] = {0, begin, begin < end ? end : begin, span.vectors};
    for (int part = 0; part < 3; ++part) {
        const Size first = cuts[part], count = cuts[part + 1] - first;
        if (count == 0) continue;
        T ends[C][W<T>];
        const T* w[C];
        for (int c = 0; c < C; ++c) {
            w[c] = part == 1 ? row[c] + first * W<T> - span.before : ends[c];
            if (part != 1) store(ends[c], load(row[c], span, first));
        }
        for (Size i = 0; i < count; ++i, in += P * W<T>) {
            if (next != 0 && (first + i) % lines == 0) {
                UNROLLED
                for (int c = 0; c < C; ++c) __builtin_prefetch(row[c] + (first + i) * W<T> + next);
            }
            Vector<double> weights[C];
            UNROLLED
            for (int c = 0; c < C; ++c) weights[c] = (Vector<double>)load(w[c] + i * W<T>);
            transpose_square<double>(weights);
            UNROLLED
            for (int c = 0; c < C; ++c)
                UNROLLED
                for (int p = 0; p < P; ++p) {
                    const Vector<T> x = broadcast_unit<T>(in + p * W<T> + c * unit, typename Count<C>::type{});
                    sums[p][c % chains] += x * (Vector<T>)weights[c];
                }
        }
    }
    const LaneMask<T> lanes(0, columns);
    UNROLLED
    for (int p = 0; p < P; ++p) {
        if (p >= rows) break;
        T* const to = out[p] + job.blocks[0].column + column;
        Vector<T> sum = sums[p][0];
        if constexpr (chains == 2) sum += sums[p][1];
        lanes.store(to, lanes.load(to) + sums_of_units<T>(sum, typename Count<W<T>>::type{}));
    }
}

template <class T>
struct UnpackedTile {
    int positions;
    void (*run)(const UnpackedJob<T>&, const Span&, Size, int, const T*, T* const*, int, Size);
};

// The smallest that has room for these positions.
template <class T, int... P>
INLINE UnpackedTile<T> unpacked_tile_of(int rows, Indices<P...>) {
    static constexpr UnpackedTile<T> all[] = {{P, igemm_unpacked_tile<T, P>}...};
    int i = 0;
    while (all[i].positions < rows) ++i;
    return all[i];
}

template <class T>
UnpackedTile<T> unpacked_tile_of(int rows) {
    if constexpr (max_unpacked_tile == 16)
        return unpacked_tile_of<T>(rows, Indices<1, 2, 3, 4, 6, 8, 9, 10, 12, 14, 16>{});
    else
        return unpacked_tile_of<T>(rows, Indices<1, 2, 3, 4, 6, 8, 9, 10>{});
}

// Copies the input's runs at some positions to where a tile reads them: a vector of each position, then their next vectors.
//
//     vector 0 of position 0 | vector 0 of position 1 | ... | vector 1 of position 0 | vector 1 of position 1 | ...
template <class T>
void copy_input(const T* const* in, int rows, int places, const Span& span, T* to) {
    for (int p = 0; p < places; ++p, to += W<T>) {
        const T* const from = in[p < rows ? p : rows - 1];  // those that are missing repeat the last
        store(to, load(from, span, 0));
        Size i = 1;
        for (; i + 1 < span.vectors; ++i) store(to + i * places * W<T>, load(from + i * W<T> - span.before));
        if (i < span.vectors) store(to + i * places * W<T>, load(from, span, i));
    }
}

template <class T>
void igemm_unpacked_job(const UnpackedJob<T>& job) {
    struct Group {
        UnpackedTile<T> tile;
        int rows;
        const T* in;
        T* out[max_unpacked_tile];
    } groups[max_unpacked_positions / max_unpacked_tile + 1];
    const InputRun& run = job.runs[0];
    const Size place = static_cast<Size>(reinterpret_cast<std::uintptr_t>(job.blocks[0].weights) / sizeof(T));
    const Size before = job.weight_stride % W<T> == 0 && run.length >= 32 * W<T> ? place % W<T> : 0;
    const Span span{before, run.length, (before + run.length + W<T> - 1) / W<T>};
    Cursor cursor(job.loops);
    int count = 0, left = static_cast<int>(positions(job.loops));
    T* to = job.copies;
    for (int parts = (left + max_unpacked_tile - 1) / max_unpacked_tile; parts > 0; --parts) {
        Group& group = groups[count++];
        group.rows = (left + parts - 1) / parts;
        group.tile = unpacked_tile_of<T>(group.rows);
        group.in = to;
        const T* in[max_unpacked_tile];
        cursor.take(group.rows, job.in + run.in, job.out, in, group.out);
        if (!job.input_copied) copy_input<T>(in, group.rows, group.tile.positions, span, to);
        to += group.tile.positions * span.vectors * W<T>;
        left -= group.rows;
    }
    const Size all = job.blocks[0].columns;
    for (Size column = 0; column < all; column += transposed_columns) {
        const int columns = static_cast<int>(all - column < transposed_columns ? all - column : transposed_columns);
        Size next = transposed_columns * job.weight_stride;
        if (column + transposed_columns >= all) next = job.next != 0 ? job.next - column * job.weight_stride : 0;
        for (int g = 0; g < count; ++g)
            groups[g].tile.run(job, span, column, columns, groups[g].in, groups[g].out, groups[g].rows, g == 0 ? next : 0);
    }
}

}  // namespace UNSTRIDE_SET
}  // namespace unstride
