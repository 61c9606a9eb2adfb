#include "stack/winograd.hpp"

#include <algorithm>
#include <optional>

#include "runtime/caches.hpp"

namespace unstride {

namespace {

constexpr Size side = 6, tile_outputs = 4;  // frequencies and results of a tile along an axis
constexpr Size max_tiles = 24;  // even: tiles are multiplied two at a time
constexpr Size third = winograd_frequencies / 3;  // the frequencies of a pair of points along y

// Tiles that go through one stage of the algorithm before the next, with `vectors` vectors each, in `bytes` bytes.
Size chunk_tiles(Size vectors, int lanes, Size bytes) {
    const Size fit = bytes / (vectors * lanes * Size(sizeof(float)));
    return std::min(std::max<Size>(fit / 2 * 2, 2), max_tiles);
}

// Memory for chunks of tiles of `ins` and `outs` channels, and `frequencies` frequencies of each, tile by tile.
struct ChunkMemory {
    ChunkMemory(Size ins, Size outs, Size frequencies, int lanes, Size bytes)
        : tiles(chunk_tiles((ins + outs) * frequencies, lanes, bytes)), channel(step_of(frequencies) * lanes),
          in_tile(ins * channel), out_tile(outs * channel), out(tiles * in_tile), zeros(out + tiles * out_tile),
          numbers(zeros + std::max(ins, outs) * lanes) {}

    Size tiles, channel;            // from a channel to the next
    Size in_tile, out_tile;         // from a tile to the next
    Size out, zeros, numbers;       // where the second one's lie, and a place outside of a grid
};

constexpr Size max_results = frequency_step * max_frequency_positions * max_frequency_columns;

// Output channels of a map are computed in blocks of about the same size; where one begins. A block's weights lie together, a
// frequency after the other.
Size blocks_of(Size outs) { return ceil_div(outs, Size(max_frequency_columns)); }
Size block_begin(Size outs, Size block) { return outs * block / blocks_of(outs); }

// (The reading's stack on a Zen 4 with 1 MB of second-level cache: 4% less time than with chunks of 800 KB.)
// What a map makes of a chunk is transformed bit by bit, while it is in the first-level cache.
ChunkMemory map_memory(Size ins, int lanes) { return {ins, 0, winograd_frequencies, lanes, cache::winograd_chunk}; }

// The frequencies whose products are summed at a time: their sums are read and written for every chunk.
Size products_at_once(Size bigs, Size smalls, int lanes) {
    return bigs * smalls * winograd_frequencies * lanes * Size(sizeof(float)) <= cache::winograd_sums ? winograd_frequencies
                                                                                                      : third;
}

// Whether the small channels of products go to the lanes. Sums are then one number for each pair of channels instead of one
// for each lane: they stay in registers for a whole chunk, where the others go through the second-level cache.
bool transposes(Size smalls, int lanes) { return smalls % lanes == 0; }

ChunkMemory products_memory(Size bigs, Size smalls, int lanes) {
    if (transposes(smalls, lanes)) return {bigs, smalls, winograd_frequencies, lanes, cache::winograd_chunk};
    return {bigs, smalls, products_at_once(bigs, smalls, lanes), lanes, cache::winograd_sums_chunk};
}

// The Side x Side places of a grid from one on; outside of the grid `outside`. Returns the step from one place to the next,
// with the first of each row alone, or 0 where some are outside.
template <int Side>
Size find_places(const BatchGrid& grid, const float* numbers, Size z, Size y, Size x, const float* outside, float** places) {
    if (y >= 0 && y + Side <= grid.size[1] && x >= 0 && x + Side <= grid.size[2]) {
        for (Size i = 0; i < Side; ++i) places[i * Side] = const_cast<float*>(numbers) + grid.at(z, y + i, x);
        return grid.pixel;
    }
    for (Size i = 0; i < Side; ++i)
        for (Size j = 0; j < Side; ++j) {
            const bool inside = y + i >= 0 && y + i < grid.size[1] && x + j >= 0 && x + j < grid.size[2];
            places[i * Side + j] = const_cast<float*>(inside ? numbers + grid.at(z, y + i, x + j) : outside);
        }
    return 0;
}

// Rows of G, which takes three weights of an axis to six frequencies: 1, p and p2 over the product of p's differences from
// the other points.
struct AxisWeights {
    double rows[side][3];

    AxisWeights() {
        const double a = winograd_a, b = winograd_b;
        const double points[] = {0, 0, a, -a, b, -b};
        const double for_a = 2 * a * a * (a * a - b * b), for_b = 2 * b * b * (b * b - a * a);
        const double products[] = {a * a * b * b, 1, for_a, for_a, for_b, for_b};
        for (Size f = 0; f < side; ++f) {
            const double p = points[f], product = products[f];
            rows[f][0] = 1 / product, rows[f][1] = p / product, rows[f][2] = p * p / product;
        }
        rows[1][0] = 0, rows[1][2] = 1;  // infinity
    }
};

const AxisWeights axis_weights;

// to[p] += factor * from[p]
template <class T>
void add(T* to, double factor, const T* from, Size count) {
    const T f = static_cast<T>(factor);
    if (f != 0)
        for (Size p = 0; p < count; ++p) to[p] += f * from[p];
}

}  // namespace

bool winograd_pays(const Axis* axes, Size ins, Size outs) {
    const Axis& z = axes[0];
    if (z.kernel != 1 || z.stride != 1 || z.begin != 0 || z.small != z.big) return false;
    double products = 1, tiles = 1;
    for (int axis : {1, 2}) {
        const Axis& a = axes[axis];
        if (a.kernel != 3 || a.stride != 1 || a.dilation != 1) return false;
        const AxisPhase phase = sweep(a, 1)[0];
        double pairs = 0;
        for (const BorderRegion& region : phase.regions) pairs += double(region.count) * region.taps;
        products *= pairs, tiles *= double(ceil_div(std::max(a.small, a.big), tile_outputs));
    }
    // In cycles, a vector of products each: a channel's transformations take about 110 and 90 for a tile.
    const double i = double(ins), o = double(outs);
    return tiles * (winograd_frequencies * i * o + 110 * i + 90 * o) < 0.9 * products * i * o;
}

Size winograd_numbers(Size ins, Size outs, int lanes) {
    return std::max(
               {map_memory(ins, lanes).numbers, map_memory(outs, lanes).numbers, products_memory(ins, outs, lanes).numbers}) +
           max_results * lanes;
}

// For input channels 0, 1, a block of columns a, b, and the next one c, d:
//
//     frequency 0: 0a 0b 1a 1b | frequency 1: 0a 0b 1a 1b | ... | frequency 0: 0c 0d 1c 1d | ...
void winograd_weights(const AxisPhases& phases, Size groups, Size ins, Size outs, const float* from, float* to) {
    const Size pairs = ins * outs;
    const auto &y = phases[1][0].index, &x = phases[2][0].index;
    std::vector<float> rows(static_cast<std::size_t>(3 * pairs)), all(static_cast<std::size_t>(pairs));  // of one frequency
    for (Size group = 0; group < groups; ++group, from += 9 * pairs, to += winograd_frequencies * pairs)
        for (Size f = 0; f < side; ++f) {
            std::fill(rows.begin(), rows.end(), 0.0f);
            for (Size i = 0; i < 3; ++i)
                for (Size j = 0; j < 3; ++j)
                    add(rows.data() + j * pairs, axis_weights.rows[f][i], from + (3 * y[i] + x[j]) * pairs, pairs);
            for (Size g = 0; g < side; ++g) {
                std::fill(all.begin(), all.end(), 0.0f);
                for (Size j = 0; j < 3; ++j) add(all.data(), axis_weights.rows[g][j], rows.data() + j * pairs, pairs);
                for (Size block = 0; block < blocks_of(outs); ++block) {
                    const Size first = block_begin(outs, block), columns = block_begin(outs, block + 1) - first;
                    float* const own = to + (winograd_frequencies * first + (side * f + g) * columns) * ins;
                    for (Size in = 0; in < ins; ++in) std::copy_n(all.data() + in * outs + first, columns, own + in * columns);
                }
            }
        }
}

void winograd_gradient(const Stage& stage, const double* from, double* to) {
    const Size pairs = stage.big_channels * stage.small_channels;
    const auto &y = stage.products[1][0].index, &x = stage.products[2][0].index;
    std::vector<double> rows(static_cast<std::size_t>(3 * pairs));
    for (Size group = 0; group < stage.groups; ++group, to += 9 * pairs)
        for (Size f = 0; f < side; ++f) {
            std::fill(rows.begin(), rows.end(), 0.0);
            for (Size g = 0; g < side; ++g, from += pairs)
                for (Size j = 0; j < 3; ++j) add(rows.data() + j * pairs, axis_weights.rows[g][j], from, pairs);
            for (Size i = 0; i < 3; ++i)
                for (Size j = 0; j < 3; ++j)
                    add(to + (3 * y[i] + x[j]) * pairs, axis_weights.rows[f][i], rows.data() + j * pairs, pairs);
        }
}

namespace {

// Some tiles of a grid: where each one's results begin.
struct Chunk {
    Size tiles = 0;
    Size z[max_tiles], y[max_tiles], x[max_tiles];

    // Windows of a grid of `channels` channels, from a shift on, to frequencies; `pair` as in WinogradTile.
    bool input_transform(const BatchKernels& kernels, const BatchGrid& grid, const float* numbers, Size shift_y, Size shift_x,
                const float* zeros, Size channels, int pair, float* to, Size tile_step) const {
        float* places[side * side];
        bool finite = true;
        for (Size t = 0; t < tiles; ++t, to += tile_step) {
            const Size pixel = find_places<side>(grid, numbers, z[t], y[t] + shift_y, x[t] + shift_x, zeros, places);
            finite = kernels.input_transform({places, pixel, to, channels, pair, nullptr, false, nullptr, nullptr, nullptr}) &&
                     finite;
        }
        return finite;
    }

    // With `kernel`, which is adjoint_transform or adjoint_transform_transposed.
    bool adjoint_transform(bool (*kernel)(const WinogradTile&), const BatchGrid& grid, const float* numbers,
                        const float* zeros, Size channels, int pair, float* to, Size tile_step) const {
        float* places[tile_outputs * tile_outputs];
        bool finite = true;
        for (Size t = 0; t < tiles; ++t, to += tile_step) {
            const Size pixel = find_places<tile_outputs>(grid, numbers, z[t], y[t], x[t], zeros, places);
            finite = kernel({places, pixel, to, channels, pair, nullptr, false, nullptr, nullptr, nullptr}) && finite;
        }
        return finite;
    }

    // Frequencies of some tiles' and channels' results, as `TransformDomainGemm` has them.
    void output_transform(const BatchKernels& kernels, const WinogradMap& map, const TransformDomainGemm& gemm, Size first,
                          Size channel, const BatchGrid& grid, float* out) const {
        const Size shift = channel * kernels.lanes, numbers = gemm.columns * frequency_step * kernels.lanes;
        const float* const bias = map.bias ? map.bias + channel : nullptr;
        const float* const kept = map.kept ? map.kept + shift : nullptr;
        float* const sums = map.sums ? map.sums + shift : nullptr;
        float* places[tile_outputs * tile_outputs];
        float* from = gemm.out;
        for (Size t = first; t < first + gemm.positions; ++t, from += numbers) {
            if (const Size pixel = find_places<tile_outputs>(grid, out + shift, z[t], y[t], x[t], nullptr, places))
                for (Size place = 0; place < tile_outputs * tile_outputs; ++place)
                    places[place] = places[place / tile_outputs * tile_outputs] + place % tile_outputs * pixel;
            kernels.output_transform({places, 0, from, gemm.columns, -1, bias, map.relu, kept, out + shift, sums});
        }
    }
};

// The tiles of a grid, one after another, in chunks of `most`, as long as `body` returns true.
template <class Body>
bool for_chunks(const BatchGrid& grid, Size most, Body body) {
    const Size wide = ceil_div(grid.size[2], tile_outputs), high = ceil_div(grid.size[1], tile_outputs),
               all = grid.size[0] * high * wide;
    Chunk now;
    for (Size tile = 0; tile < all;) {
        const Size end = std::min(all, tile + most);
        for (now.tiles = 0; tile < end; ++tile, ++now.tiles) {
            const Size at = now.tiles;
            now.z[at] = tile / wide / high, now.y[at] = tile / wide % high * tile_outputs,
            now.x[at] = tile % wide * tile_outputs;
        }
        if (!body(now)) return false;
    }
    return true;
}

}  // namespace

namespace {

// From the frequencies of what a map takes to its results, a bit at a time that fits in the first-level cache.
class Results {
   public:
    // `memory` is room for max_results vectors.
    Results(const BatchKernels& kernels, const WinogradMap& map, const ChunkMemory& layout, const BatchGrid& grid, float* out,
            float* memory)
        : kernels_(kernels), map_(map), grid_(grid), out_(out) {
        job_.step = layout.in_tile, job_.channels = map.ins;
        job_.out = memory;
    }

    void make(const Chunk& chunk, Size group, const float* frequencies) {
        const float* const weights = map_.weights + group * winograd_frequencies * map_.ins * map_.outs;
        for (Size first = 0; first < chunk.tiles; first += job_.positions) {
            job_.positions = static_cast<int>(std::min<Size>(chunk.tiles - first, kernels_.frequency_positions));
            job_.in = frequencies + first * job_.step;
            for (Size block = 0; block < blocks_of(map_.outs); ++block) {
                const Size from = block_begin(map_.outs, block), columns = block_begin(map_.outs, block + 1) - from;
                job_.weights = weights + winograd_frequencies * map_.ins * from;
                job_.columns = static_cast<int>(columns);
                kernels_.transform_domain_gemm(job_);
                chunk.output_transform(kernels_, map_, job_, first, group * map_.outs + from, grid_, out_);
            }
        }
    }

   private:
    const BatchKernels& kernels_;
    const WinogradMap& map_;
    const BatchGrid& grid_;
    float* const out_;
    TransformDomainGemm job_{};
};

}  // namespace

bool winograd_run(const BatchKernels& kernels, const WinogradMap& map, const BatchGrid& in_grid, const float* in,
                  const BatchGrid& out_grid, float* out, float* memory) {
    const ChunkMemory layout = map_memory(map.ins, kernels.lanes);
    float* const zeros = memory + layout.zeros;
    std::fill_n(zeros, map.ins * kernels.lanes, 0.0f);
    const Size shift_y = map.phases[1][0].shifts[0], shift_x = map.phases[2][0].shifts[0];
    Results results(kernels, map, layout, out_grid, out, memory + layout.numbers);
    for (Size group = 0; group < map.groups; ++group) {
        const bool finite = for_chunks(out_grid, layout.tiles, [&](const Chunk& chunk) {
            if (!chunk.input_transform(kernels, in_grid, in + group * map.ins * kernels.lanes, shift_y, shift_x, zeros, map.ins,
                                       -1, memory, layout.in_tile))
                return false;
            results.make(chunk, group, memory);
            return true;
        });
        if (!finite) return false;
    }
    return true;
}

bool winograd_multiply(const BatchKernels& kernels, const Stage& stage, const BatchGrid& big_grid, const float* big,
                       const BatchGrid& small_grid, const float* small, float* sums, float* lane_sums,
                       const WinogradMap* adjoint, float* in_gradient, Size* offsets, float* memory) {
    const Size lanes = kernels.lanes, bigs = stage.big_channels, smalls = stage.small_channels;
    const bool transposed = transposes(smalls, kernels.lanes);
    const Size at_once = transposed ? winograd_frequencies : products_at_once(bigs, smalls, kernels.lanes);
    const ChunkMemory layout = products_memory(bigs, smalls, kernels.lanes);
    float *const small_transformed = memory + layout.out, *const zeros = memory + layout.zeros;
    std::fill_n(zeros, std::max(bigs, smalls) * lanes, 0.0f);
    for (Size c = 0; c < bigs; ++c) offsets[c] = c * layout.channel;
    const Size shift_y = stage.products[1][0].shifts[0], shift_x = stage.products[2][0].shifts[0];
    BatchProducts job{};
    job.lines = 1, job.a_step = layout.in_tile, job.b_step = layout.out_tile;
    job.offsets = offsets, job.rows = bigs, job.columns = smalls, job.b_column = layout.channel, job.stride = smalls;
    const auto multiply = transposed ? kernels.transposed_products : kernels.products;
    const auto transform_small = transposed ? kernels.adjoint_transform_transposed : kernels.adjoint_transform;
    const Size sums_step = bigs * smalls * (transposed ? 1 : lanes);
    std::optional<Results> results;
    if (adjoint) results.emplace(kernels, *adjoint, layout, small_grid, in_gradient, memory + layout.numbers);
    for (Size group = 0; group < stage.groups; ++group)
        for (Size first = 0; first < winograd_frequencies; first += at_once) {
            const int pair = at_once == third ? static_cast<int>(first / third) : -1;
            float* const to = (transposed ? sums : lane_sums) + (group * winograd_frequencies + first) * sums_step;
            job.fresh = true;
            const bool finite = for_chunks(small_grid, layout.tiles, [&](const Chunk& chunk) {
                if (!chunk.input_transform(kernels, big_grid, big + group * bigs * lanes, shift_y, shift_x, zeros, bigs, pair,
                                           memory, layout.in_tile) ||
                    !chunk.adjoint_transform(transform_small, small_grid, small + group * smalls * lanes, zeros, smalls, pair,
                                             small_transformed, layout.out_tile))
                    return false;
                job.positions = chunk.tiles;
                for (Size f = 0; f < at_once; ++f) {
                    job.a = memory + f * lanes, job.b = small_transformed + f * lanes;
                    job.sums = to + f * sums_step;
                    multiply(job);
                }
                job.fresh = false;
                if (results) results->make(chunk, group, memory);
                return true;
            });
            if (!finite) return false;
        }
    if (!transposed) kernels.reduce(lane_sums, stage.groups * winograd_frequencies * bigs * smalls, sums);
    return true;
}

bool winograd_shares(const Stage& stage, int lanes) {
    if (!stage.transposed) return false;
    const Size bigs = stage.big_channels, smalls = stage.small_channels;
    return transposes(smalls, lanes) || products_at_once(bigs, smalls, lanes) == winograd_frequencies;
}

}  // namespace unstride
