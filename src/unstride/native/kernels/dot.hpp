// Few output channels: the lanes are the input's channels and taps, and are summed at the end. A tile of a few
// positions times a few columns shares the loads of both.
#pragma once

#include "kernels/simd.hpp"
#include "runtime/caches.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

// One step of summing many vectors at once: of two vectors of `parts` sums each, one of twice as many. The lanes of each
// part are halved.
template <class T, int Parts, int... L>
INLINE Vector<T> halve(Vector<T> a, Vector<T> b, Indices<L...>) {
    constexpr int part = W<T> / Parts, half = part / 2;
    return SHUFFLE(a, b, ((L / half) * part + L % half)...) + SHUFFLE(a, b, ((L / half) * part + half + L % half)...);
}

// The sums of the lanes of N vectors, N at most W, in their order.
template <class T, int Parts, int N>
INLINE Vector<T> sums_of(const Vector<T> (&v)[N]) {
    if constexpr (Parts == W<T>) {
        return v[0];
    } else if constexpr (N == 1) {
        // Alone: the lanes of each part are added to themselves, so that the sum stands in all lanes.
        const Vector<T> halves[1] = {halve<T, Parts>(v[0], v[0], typename Count<W<T>>::type{})};
        return sums_of<T, 2 * Parts>(halves);
    } else {
        constexpr int half = (N + 1) / 2;
        Vector<T> halves[half];
        UNROLLED
        for (int i = 0; i < half; ++i)
            halves[i] = halve<T, Parts>(v[2 * i], 2 * i + 1 < N ? v[2 * i + 1] : Vector<T>{}, typename Count<W<T>>::type{});
        return sums_of<T, 2 * Parts>(halves);
    }
}

// The sums of the lanes of N of the accumulators, in their order, from number `first` on.
template <class T, int Q, int N, int P>
INLINE Vector<T> sums_from(const Vector<T> (&sums)[P][Q], int first) {
    Vector<T> some[N];
    UNROLLED
    for (int i = 0; i < N; ++i) some[i] = sums[(first + i) / Q][(first + i) % Q];
    return sums_of<T, 1>(some);
}

template <int Q>
constexpr int dot_rows = registers == 32 ? (Q == 1 ? 14 : Q == 2 ? 12 : Q == 3 ? 8 : Q == 4 ? 6 : 4)
                                         : (Q == 1 ? 8 : Q == 2 ? 6 : Q == 3 ? 4 : Q == 4 ? 3 : 2);

// What a tile of positions has in common: where it reads and writes, and what the next tiles will read.
template <class T>
struct Places {
    const T* in[16];
    T* out[16];
    int rows;      // positions that are written; those after them are repetitions
    bool one_row;  // whether they are adjacent along x
    const T* ahead;  // what to fetch into the cache meanwhile, two numbers for each that is read; or null
    const T* next_tile;  // the same: what the next tile reads
};

template <class T, int Q, int P>
void dot(const DotJob<T>& job, const Block<T>& block, const Places<T>& places, bool solid) {
    using V = Vector<T>;
    V sums[P][Q];
    UNROLLED
    for (int q = 0; q < Q; ++q) {
        const V bias = job.add ? V{} : LaneMask<T>(0, 1).load(block.bias + q);  // one lane of all that are summed
        UNROLLED
        for (int r = 0; r < P; ++r) sums[r][q] = bias;
    }
    const bool fetches = places.ahead || places.next_tile;
    for (Size s = 0; s < job.run_count; ++s) {
        const InputRun& run = job.runs[s];
        const T* p[P];
        UNROLLED
        for (int r = 0; r < P; ++r) p[r] = places.in[r] + run.in;
        const T* w = block.weights + run.row;
        Size k = 0;
        for (; k + W<T> <= run.length; k += W<T>) {
            if (fetches) {
                if (places.ahead)
                    for (Size i = 0; i < 2 * W<T>; i += cache::line / Size(sizeof(T)))
                        __builtin_prefetch(places.ahead + 2 * (run.row + k) + i);
                if (places.next_tile) {
                    UNROLLED
                    for (int r = 0; r < P; ++r)
                        __builtin_prefetch(places.next_tile + r * job.loops.in_step[3] + run.in + k);
                }
            }
            V weights[Q];
            UNROLLED
            for (int q = 0; q < Q; ++q) weights[q] = load(w + q * job.weight_stride + k);
            UNROLLED
            for (int r = 0; r < P; ++r) {
                V x = load(p[r] + k);
                IN_REGISTER(x);  // or it would be loaded once more for each column
                UNROLLED
                for (int q = 0; q < Q; ++q) sums[r][q] += x * weights[q];
            }
        }
        if (k < run.length) {
            // Both are masked: what is beyond, times zero, need not be zero.
            const LaneMask<T> lanes(0, run.length - k);
            V weights[Q];
            UNROLLED
            for (int q = 0; q < Q; ++q) weights[q] = lanes.load(w + q * job.weight_stride + k);
            UNROLLED
            for (int r = 0; r < P; ++r) {
                V x = lanes.load(p[r] + k);
                UNROLLED
                for (int q = 0; q < Q; ++q) sums[r][q] += x * weights[q];
            }
        }
    }
    constexpr int count = P * Q, vectors = (count + W<T> - 1) / W<T>;
    V values[vectors];
    UNROLLED
    for (int i = 0; i < vectors; ++i) {
        // The last vector may have fewer sums, which take fewer additions.
        constexpr int last = count - (vectors - 1) * W<T>, whole = vectors > 1 ? W<T> : last;
        values[i] = i + 1 < vectors ? sums_from<T, Q, whole>(sums, i * W<T>) : sums_from<T, Q, last>(sums, i * W<T>);
        if (job.relu && !job.add) values[i] = relu<T>(values[i]);
    }
    if (solid && places.one_row) {
        T* const to = places.out[0] + job.offsets[block.column];
        UNROLLED
        for (int i = 0; i < vectors; ++i) {
            const int left = places.rows * Q - i * W<T>;
            if (left >= W<T>)
                store(to + i * W<T>, values[i]);
            else if (left > 0)
                LaneMask<T>(0, left).store(to + i * W<T>, values[i]);
        }
        return;
    }
    T each[vectors * W<T>];
    UNROLLED
    for (int i = 0; i < vectors; ++i) store(each + i * W<T>, values[i]);
    UNROLLED
    for (int q = 0; q < Q; ++q) {
        if (!job.written[block.column + q]) continue;
        const Size offset = job.offsets[block.column + q];
        UNROLLED
        for (int r = 0; r < P; ++r) {
            if (r >= places.rows) break;
            T& to = places.out[r][offset];
            if (job.add) {
                const T sum = to + each[r * Q + q];
                to = job.relu && sum < T(0) ? T(0) : sum;
            } else {
                to = each[r * Q + q];
            }
        }
    }
}

// Half of a tile costs about half of its time.
template <class T, int Q>
void some_dots(const DotJob<T>& job, const Block<T>& block, const Places<T>& places, bool solid) {
    constexpr int all = dot_rows<Q>, half = (all + 1) / 2;
    places.rows > half ? dot<T, Q, all>(job, block, places, solid) : dot<T, Q, half>(job, block, places, solid);
}

// Columns whose cells are adjacent, and fill the step from one position along x to the next.
template <class T>
bool solid(const DotJob<T>& job, const Block<T>& block) {
    bool whole = block.columns == job.loops.out_step[3];
    for (Size q = 0; q < block.columns; ++q)
        whole = whole && job.written[block.column + q] && job.offsets[block.column + q] == job.offsets[block.column] + q;
    return whole;
}

template <class T>
void dot_job(const DotJob<T>& job) {
    constexpr int heights[] = {0, dot_rows<1>, dot_rows<2>, dot_rows<3>, dot_rows<4>, 0, dot_rows<6>};
    bool whole[max_dots];
    int highest = 1;
    for (Size b = 0; b < job.block_count; ++b) {
        whole[b] = !job.add && solid(job, job.blocks[b]);
        highest = heights[job.blocks[b].columns] > highest ? heights[job.blocks[b].columns] : highest;
    }
    // What the last run of a tile and of the next ones will read, often new to the cache, arrives during the first. (100 MB
    // of input, 3 x 3 taps of 32 channels, one core: 7.9 ms, 14.4 without; a row farther ahead 9.6.) Where all of it is new,
    // the next tile's arrives. (FCN's upsampling, 16 and 64 taps, gradients of the input: 4 and 10% faster.)
    const Size read_bytes = positions(job.loops) * job.loops.in_step[3] * Size(sizeof(T));
    const bool new_rows = job.fresh && read_bytes * job.run_count > cache::hidden;
    const bool far = !new_rows && job.run_count > 1 && read_bytes > cache::hidden;
    const Size ahead = far ? job.runs[job.run_count - 1].in : 0;
    Cursor cursor(job.loops);
    for (Size left = positions(job.loops); left > 0;) {
        // All blocks of some positions, whose input is in the first-level cache by then.
        const Size row = job.loops.count[3] - cursor.at[3], tiles = (row + highest - 1) / highest;
        // They end where a row does if that leaves few places unfilled: results of one row are stored at once.
        const Size even = row * 8 >= tiles * highest * 7 ? (row + tiles - 1) / tiles : highest;
        const Size some = left < even ? left : even;
        left -= some;
        const Cursor start = cursor;
        for (Size b = 0; b < job.block_count; ++b) {
            const Block<T>& block = job.blocks[b];
            const int height = heights[block.columns];
            cursor = start;
            for (Size rest = some; rest > 0;) {
                Places<T> places{};
                places.rows = static_cast<int>(rest < height ? rest : height);
                places.one_row = places.rows <= job.loops.count[3] - cursor.at[3];
                cursor.take(places.rows, job.in, job.out, places.in, places.out);
                places.ahead = far && b == 0 ? places.in[0] + ahead : nullptr;
                places.next_tile = new_rows && b == 0 ? places.in[0] + height * job.loops.in_step[3] : nullptr;
                for (int r = places.rows; r < height; ++r) places.in[r] = places.in[places.rows - 1];
                rest -= places.rows;
                switch (block.columns) {
                    case 1: some_dots<T, 1>(job, block, places, whole[b]); break;
                    case 2: some_dots<T, 2>(job, block, places, whole[b]); break;
                    case 3: some_dots<T, 3>(job, block, places, whole[b]); break;
                    case 4: some_dots<T, 4>(job, block, places, whole[b]); break;
                    default: some_dots<T, 6>(job, block, places, whole[b]);
                }
            }
        }
    }
}

}  // namespace UNSTRIDE_SET
}  // namespace unstride
