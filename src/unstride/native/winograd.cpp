#include "winograd.hpp"

#include <algorithm>

namespace unstride {

namespace {

constexpr Size side = 6, made = 4;  // frequencies and results of a tile along an axis
constexpr Size most_tiles = 24;
constexpr Size third = winograd_frequencies / 3;  // the frequencies of a pair of points along y
constexpr Size chunk_bytes = 800 * 1024;  // of frequencies at a time: they should stay in the second-level cache
constexpr Size sums_bytes = 512 * 1024;   // of products, likewise
constexpr Size skew = 16;  // numbers: frequencies a multiple of 4096 bytes apart would share lines of the first-level cache

// Tiles that go through one stage of the algorithm before the next, with so many vectors each.
Size chunk_tiles(Size vectors, int lanes) {
    const Size fit = chunk_bytes / (vectors * lanes * Size(sizeof(float)));
    return std::min(std::max<Size>(fit, 6), most_tiles);
}

// Memory for chunks of tiles of `ins` and `outs` channels, and so many frequencies of each.
struct ChunkMemory {
    ChunkMemory(Size ins, Size in_frequencies, Size outs, Size out_frequencies, int lanes)
        : tiles(chunk_tiles(ins * in_frequencies + outs * out_frequencies, lanes)), in_step(tiles * ins * lanes + skew),
          out_step(tiles * outs * lanes + skew), out(in_frequencies * in_step), zeros(out + out_frequencies * out_step),
          numbers(zeros + std::max(ins, outs) * lanes) {}

    Size tiles, in_step, out_step;  // from a frequency to the next
    Size out, zeros, numbers;       // where what is made lies, and a place outside of a grid
};

ChunkMemory map_memory(Size ins, Size outs, int lanes) { return {ins, winograd_frequencies, outs, winograd_frequencies, lanes}; }

// The frequencies whose products are summed at a time: their sums are read and written for every chunk.
Size products_at_once(Size bigs, Size smalls, int lanes) {
    return bigs * smalls * winograd_frequencies * lanes * Size(sizeof(float)) <= sums_bytes ? winograd_frequencies : third;
}

ChunkMemory products_memory(Size bigs, Size smalls, int lanes) {
    const Size frequencies = products_at_once(bigs, smalls, lanes);
    return {bigs, frequencies, smalls, frequencies, lanes};
}

// The Side x Side places of a grid from one on; outside of the grid `outside`. Returns the step from one place to the next,
// with the first of each row alone, or 0 where some are outside.
template <int Side>
Size find_places(const LaneGrid& grid, const float* numbers, Size z, Size y, Size x, const float* outside, float** places) {
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
        const Pass pass = sweep(a, 1)[0];
        double pairs = 0;
        for (const Box& box : pass.boxes) pairs += double(box.count) * box.taps;
        products *= pairs, tiles *= double(ceil_div(std::max(a.small, a.big), made));
    }
    // In cycles, a vector of products each: a channel's transformations take about 110 and 90 for a tile.
    const double i = double(ins), o = double(outs);
    return tiles * (winograd_frequencies * i * o + 110 * i + 90 * o) < 0.9 * products * i * o;
}

Size winograd_numbers(Size ins, Size outs, int lanes) {
    return std::max(map_memory(ins, outs, lanes).numbers, products_memory(ins, outs, lanes).numbers);
}

void winograd_weights(const Passes& passes, Size groups, Size ins, Size outs, const float* from, float* to) {
    const Size pairs = ins * outs;
    const auto &y = passes[1][0].index, &x = passes[2][0].index;
    std::vector<float> rows(static_cast<std::size_t>(3 * pairs));  // one frequency along y
    for (Size group = 0; group < groups; ++group, from += 9 * pairs)
        for (Size f = 0; f < side; ++f) {
            std::fill(rows.begin(), rows.end(), 0.0f);
            for (Size i = 0; i < 3; ++i)
                for (Size j = 0; j < 3; ++j)
                    add(rows.data() + j * pairs, axis_weights.rows[f][i], from + (3 * y[i] + x[j]) * pairs, pairs);
            for (Size g = 0; g < side; ++g, to += pairs) {
                std::fill_n(to, pairs, 0.0f);
                for (Size j = 0; j < 3; ++j) add(to, axis_weights.rows[g][j], rows.data() + j * pairs, pairs);
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
    Size z[most_tiles], y[most_tiles], x[most_tiles];

    // Windows of a grid of so many channels, from a shift on, to frequencies; `pair` as in LaneTile.
    bool spread(const LaneKernels& kernels, const LaneGrid& grid, const float* numbers, Size shift_y, Size shift_x,
                const float* zeros, Size channels, int pair, float* to, Size step) const {
        float* places[side * side];
        bool finite = true;
        for (Size t = 0; t < tiles; ++t, to += channels * kernels.lanes) {
            const Size pixel = find_places<side>(grid, numbers, z[t], y[t] + shift_y, x[t] + shift_x, zeros, places);
            finite = kernels.spread({places, pixel, to, step, channels, pair, nullptr, false, nullptr, nullptr, nullptr}) && finite;
        }
        return finite;
    }

    bool spread_results(const LaneKernels& kernels, const LaneGrid& grid, const float* numbers, const float* zeros,
                        Size channels, int pair, float* to, Size step) const {
        float* places[made * made];
        bool finite = true;
        for (Size t = 0; t < tiles; ++t, to += channels * kernels.lanes) {
            const Size pixel = find_places<made>(grid, numbers, z[t], y[t], x[t], zeros, places);
            finite = kernels.spread_results({places, pixel, to, step, channels, pair, nullptr, false, nullptr, nullptr, nullptr}) && finite;
        }
        return finite;
    }

    void gather(const LaneKernels& kernels, const WinogradMap& map, Size group, float* from, Size step, const LaneGrid& grid,
                float* out) const {
        const Size channel = group * map.outs, shift = channel * kernels.lanes;
        const float* const bias = map.bias ? map.bias + channel : nullptr;
        const float* const kept = map.kept ? map.kept + shift : nullptr;
        float* const sums = map.sums ? map.sums + shift : nullptr;
        float* places[made * made];
        for (Size t = 0; t < tiles; ++t, from += map.outs * kernels.lanes) {
            if (const Size pixel = find_places<made>(grid, out + shift, z[t], y[t], x[t], nullptr, places))
                for (Size place = 0; place < made * made; ++place)
                    places[place] = places[place / made * made] + place % made * pixel;
            kernels.gather({places, 0, from, step, map.outs, -1, bias, map.relu, kept, out + shift, sums});
        }
    }
};

// The tiles of a grid, one after another, in chunks of about the same size, as long as `body` returns true.
template <class Body>
bool for_chunks(const LaneGrid& grid, Size most, Body body) {
    const Size wide = ceil_div(grid.size[2], made), high = ceil_div(grid.size[1], made), all = grid.size[0] * high * wide;
    const Size chunks = ceil_div(all, most);
    Chunk now;
    for (Size chunk = 0, tile = 0; chunk < chunks; ++chunk) {
        const Size end = all * (chunk + 1) / chunks;
        for (now.tiles = 0; tile < end; ++tile, ++now.tiles) {
            const Size at = now.tiles;
            now.z[at] = tile / wide / high, now.y[at] = tile / wide % high * made, now.x[at] = tile % wide * made;
        }
        if (!body(now)) return false;
    }
    return true;
}

}  // namespace

bool winograd_run(const LaneKernels& kernels, const WinogradMap& map, const LaneGrid& in_grid, const float* in,
                  const LaneGrid& out_grid, float* out, float* memory) {
    const Size lanes = kernels.lanes, pairs = map.ins * map.outs;
    const ChunkMemory layout = map_memory(map.ins, map.outs, kernels.lanes);
    float *const results = memory + layout.out, *const zeros = memory + layout.zeros;
    std::fill_n(zeros, map.ins * lanes, 0.0f);
    const Size shift_y = map.passes[1][0].shifts[0], shift_x = map.passes[2][0].shifts[0];
    LaneSums job{};
    job.taps = 1, job.channels = map.ins, job.columns = map.outs, job.weight_stride = map.outs;
    job.in_step = map.ins * lanes, job.out_step = map.outs * lanes;
    for (Size group = 0; group < map.groups; ++group) {
        const bool finite = for_chunks(out_grid, layout.tiles, [&](const Chunk& chunk) {
            if (!chunk.spread(kernels, in_grid, in + group * map.ins * lanes, shift_y, shift_x, zeros, map.ins, -1, memory,
                              layout.in_step))
                return false;
            job.positions = chunk.tiles;
            for (Size f = 0; f < winograd_frequencies; ++f) {
                const float* const input = memory + f * layout.in_step;
                const float* const weights = map.weights + (group * winograd_frequencies + f) * pairs;
                job.in = &input, job.weights = &weights, job.out = results + f * layout.out_step;
                kernels.sums(job);
            }
            chunk.gather(kernels, map, group, results, layout.out_step, out_grid, out);
            return true;
        });
        if (!finite) return false;
    }
    return true;
}

bool winograd_multiply(const LaneKernels& kernels, const Stage& stage, const LaneGrid& big_grid, const float* big,
                       const LaneGrid& small_grid, const float* small, float* sums, Size* offsets, float* memory) {
    const Size lanes = kernels.lanes, bigs = stage.big_channels, smalls = stage.small_channels;
    const Size at_once = products_at_once(bigs, smalls, kernels.lanes);
    const ChunkMemory layout = products_memory(bigs, smalls, kernels.lanes);
    float *const small_spread = memory + layout.out, *const zeros = memory + layout.zeros;
    std::fill_n(zeros, std::max(bigs, smalls) * lanes, 0.0f);
    for (Size c = 0; c < bigs; ++c) offsets[c] = c * lanes;
    const Size shift_y = stage.products[1][0].shifts[0], shift_x = stage.products[2][0].shifts[0];
    LaneProducts job{};
    job.lines = 1, job.a_step = bigs * lanes, job.b_step = smalls * lanes;
    job.offsets = offsets, job.rows = bigs, job.columns = smalls, job.stride = smalls;
    for (Size group = 0; group < stage.groups; ++group)
        for (Size first = 0; first < winograd_frequencies; first += at_once) {
            const int pair = at_once == third ? static_cast<int>(first / third) : -1;
            const Size sums_step = bigs * smalls * lanes;
            float* const to = sums + (group * winograd_frequencies + first) * sums_step;
            job.fresh = true;
            const bool finite = for_chunks(small_grid, layout.tiles, [&](const Chunk& chunk) {
                if (!chunk.spread(kernels, big_grid, big + group * bigs * lanes, shift_y, shift_x, zeros, bigs, pair, memory,
                                  layout.in_step) ||
                    !chunk.spread_results(kernels, small_grid, small + group * smalls * lanes, zeros, smalls, pair, small_spread,
                                          layout.out_step))
                    return false;
                job.positions = chunk.tiles;
                for (Size f = 0; f < at_once; ++f) {
                    job.a = memory + f * layout.in_step, job.b = small_spread + f * layout.out_step;
                    job.sums = to + f * sums_step;
                    kernels.products(job);
                }
                job.fresh = false;
                return true;
            });
            if (!finite) return false;
        }
    return true;
}

}  // namespace unstride
