// conv and conv_transpose by method `spatial`: copies the input of an area to planes, computes strips of rows from them, and
// writes these to their cells.
#include <algorithm>
#include <cstring>
#include <vector>

#include "run/maps.hpp"
#include "runtime/memory.hpp"
#include "plan/spatial_plan.hpp"
#include "runtime/pool.hpp"

namespace unstride {

namespace {

template <class T>
class SpatialRunner : MapCall<T> {
public:
    explicit SpatialRunner(const MapCall<T>& call)
        : MapCall<T>(call), at(std::get<Spatial>(plan.work)), y(plan.axes[1][0]), x(plan.axes[2][0]), window_y(window_of(y)),
          window_x(window_of(x)), columns(plan.columns.back()), limit(call.workers()),
          input_size(at.slab * at.slabs + spatial_slack), result_size(at.result * columns + spatial_slack),
          memory((input_size + result_size) * limit), padded_bias(columns), weights(weight_count()) {
        for (Size i = 0; i < columns; ++i) padded_bias.data()[i] = bias ? bias[i % p.out_channels()] : T(0);
        pack();
    }

    void all() {
        parallel(static_cast<Size>(at.areas.size()), limit, [&](Size i, int worker) {
            T* const planes = memory.data() + (input_size + result_size) * worker;
            const Area& area = at.areas[i];
            for (Size image = area.image; image < area.image + area.images; ++image) {
                read(area, image, planes);
                compute(area, image, planes, planes + input_size);
            }
        });
    }

private:
    using MapCall<T>::plan, MapCall<T>::p, MapCall<T>::kernels, MapCall<T>::in, MapCall<T>::kernel, MapCall<T>::bias,
        MapCall<T>::out, MapCall<T>::relu;
    const Spatial& at;
    const AxisPhase &y, &x;
    const Window window_y, window_x;
    const Size columns;
    const int limit;
    const Size input_size, result_size;  // of a worker
    const Scratch<T> memory;
    const Scratch<T> padded_bias;
    const Scratch<T> weights;
    // [phase along z * blocks + block]
    struct Block {
        std::vector<Size> offsets;
        std::vector<Reach> reaches;
        const T* weights;
    };
    std::vector<Block> blocks;

    Size weight_count() const {
        Size count = 0;
        for (const std::vector<Spatial::Step>& steps : at.steps)
            for (const Spatial::Step& step : steps) count += (step.to - step.from) * p.in_channels();
        return count;
    }

    // Weights in the order in which they are used.
    void pack() {
        const Size blocks_per_phase = static_cast<Size>(plan.columns.size()) - 1, outs = p.out_channels();
        const Size in_step = p.transposed() ? 1 : kernel.big, out_step = p.transposed() ? kernel.big : 1;
        T* to = weights.data();
        for (Size i = 0; i < static_cast<Size>(at.steps.size()); ++i) {
            Block block{{}, {}, to};
            for (const Spatial::Step& step : at.steps[i]) {
                block.offsets.push_back(step.offset);
                if (block.reaches.empty() || block.reaches.back().from != step.from || block.reaches.back().to != step.to)
                    block.reaches.push_back({step.from, step.to, 0});
                ++block.reaches.back().count;
            }
            Size channel_weights = 0;
            for (const Spatial::Step& step : at.steps[i]) channel_weights += step.to - step.from;
            for (const Spatial::Step& step : at.steps[i]) {
                const Size jz = plan.axes[0][i / blocks_per_phase].index[step.taps[0]];
                for (int column = step.from; column < step.to; ++column) {
                    const Size c = plan.columns[i % blocks_per_phase] + column, cell = c / outs;
                    const Size jy = y.index[cell / x.group * y.taps() + step.taps[1]];
                    const Size jx = x.index[cell % x.group * x.taps() + step.taps[2]];
                    const T* from = kernel.data + ((jz * p.axes[1].kernel + jy) * p.axes[2].kernel + jx) * kernel.tap +
                                    c % outs * out_step;
                    for (Size channel = 0; channel < p.in_channels(); ++channel)
                        to[channel * channel_weights] = from[channel * in_step];
                    ++to;
                }
            }
            to += channel_weights * (p.in_channels() - 1);
            blocks.push_back(std::move(block));
        }
    }

    // The input of an area of an image to its planes.
    void read(const Area& area, Size image, T* planes) const {
        const Range slabs = slabs_of(plan, area);
        const Range rows = positions_of(plan, 1, y, area), row = positions_of(plan, 2, x, area);
        if (rows.count == 0 || row.count == 0) return;
        const Size count = rows.count + window_y.halo(), n = x.in_step * p.in_channels();
        for (Size z = 0; z < slabs.count; ++z)
            for (Size r = 0; r < count; ++r)
                for (Size part = 0; part < y.in_step; ++part) {
                    const Size in_z = slabs.first + z, in_y = (rows.first + window_y.first + r) * y.in_step + part;
                    T* const to = planes + z * at.slab + part * n * at.plane + r * at.pitch;
                    if (in_z < 0 || in_z >= p.in_size(0) || in_y < 0 || in_y >= p.in_size(1))
                        for (Size i = 0; i < n; ++i) std::memset(to + i * at.plane, 0, sizeof(T) * std::size_t(at.pitch));
                    else
                        read_row(in.data + image * in.strides[0] + in_z * in.strides[1] + in_y * in.strides[2], row, to);
                }
    }

    void read_row(const T* from, Range row, T* to) const {
        const Size channels = p.in_channels(), n = x.in_step * channels, length = row.count + window_x.halo();
        const Size start = row.first + window_x.first;  // of the planes, in positions
        const Size whole = p.in_size(2) / x.in_step, rest = p.in_size(2) % x.in_step;
        const Size begin = std::min(std::max<Size>(-start, 0), length), end = std::min(std::max(whole - start, begin), length);
        if (end > begin) kernels.transpose(from + (start + begin) * n, n, to + begin, at.plane, end - begin, n);
        const bool partial = rest > 0 && end < length && start + end == whole;
        for (Size i = 0; i < n; ++i) {
            T* const plane = to + i * at.plane;
            std::fill(plane, plane + begin, T(0));
            std::fill(plane + end, plane + at.pitch, T(0));
            if (partial && i < rest * channels) plane[end] = from[whole * n + i];
        }
    }

    void compute(const Area& area, Size image, const T* planes, T* results) const {
        const Size blocks_per_phase = static_cast<Size>(plan.columns.size()) - 1;
        const Range slabs = slabs_of(plan, area);
        const Range rows = positions_of(plan, 1, y, area), row = positions_of(plan, 2, x, area);
        if (rows.count == 0 || row.count == 0) return;
        SpatialJob<T> job{};
        job.plane = at.plane, job.channels = p.in_channels();
        job.out_plane = at.result, job.relu = relu;
        for (Size phase = 0; phase < static_cast<Size>(plan.axes[0].size()); ++phase) {
            const AxisPhase& z = plan.axes[0][phase];
            const Range deep = positions_of(plan, 0, z, area);
            for (Size q = deep.first; q < deep.first + deep.count; ++q) {
                const Size slab = z.shifts.empty() ? 0 : q * z.in_step + z.shifts[0] - slabs.first;
                for (Size strip = 0; strip < rows.count; strip += at.strip) {
                    const Size count = std::min(at.strip, rows.count - strip);
                    job.in = planes + slab * at.slab + strip * at.pitch;
                    job.count = (count - 1) * at.pitch + row.count;
                    for (Size b = 0; b < blocks_per_phase; ++b) {
                        const Block& block = blocks[phase * blocks_per_phase + b];
                        job.offsets = block.offsets.data(), job.reaches = block.reaches.data();
                        job.reach_count = static_cast<Size>(block.reaches.size());
                        job.weights = block.weights, job.bias = padded_bias.data() + plan.columns[b];
                        job.columns = static_cast<int>(plan.columns[b + 1] - plan.columns[b]);
                        job.out = results + plan.columns[b] * at.result;
                        kernels.spatial(job);
                    }
                    T* const to = out.data + image * out.strides[0] + (z.offset + q * z.step) * out.strides[1];
                    for (Size r = 0; r < count; ++r) write(rows.first + strip + r, row, results + r * at.pitch, to);
                }
            }
        }
    }

    // A row of positions to its rows of cells.
    void write(Size position, Range row, const T* results, T* to) const {
        const Size n = x.group * p.out_channels(), size = p.out_size(2) * p.out_channels();
        for (Size c = 0; c < y.group; ++c, results += n * at.result) {
            const Size out_y = y.offset + position * y.step + c;
            if (out_y < 0 || out_y >= p.out_size(1)) continue;
            T* const cells = to + out_y * out.strides[2];
            Size first = row.first, end = row.first + row.count;
            auto number = [&](Size q) { return (x.offset + q * x.step) * p.out_channels(); };
            auto write_part = [&](Size q) {
                for (Size i = 0; i < n; ++i)
                    if (number(q) + i >= 0 && number(q) + i < size)
                        cells[number(q) + i] = results[i * at.result + q - row.first];
            };
            if (number(first) < 0) write_part(first++);
            if (end > first && number(end - 1) + n > size) write_part(--end);
            if (end > first)
                kernels.transpose(results + first - row.first, at.result, cells + number(first), n, n, end - first);
        }
    }
};

}  // namespace

template <class T>
void run_spatial(const MapCall<T>& call) {
    SpatialRunner<T>(call).all();
}

template void run_spatial(const MapCall<float>&);
template void run_spatial(const MapCall<double>&);

}  // namespace unstride
