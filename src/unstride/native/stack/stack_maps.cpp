#include "stack/stack_maps.hpp"

#include <algorithm>
#include <cstring>

#include "runtime/caches.hpp"

namespace unstride {

void run(const BatchKernels& kernels, const BatchMap& map, const BatchGrid& in_grid, const float* in, const BatchGrid& out_grid,
         float* out, const float** taps_in, const float** taps_weights) {
    const Size lanes = kernels.lanes, ky = map.axes[1].kernel, kx = map.axes[2].kernel;
    const Size tap_weights = map.ins * map.outs, taps = map.axes[0].kernel * ky * kx;
    BatchSums job{};
    job.in = taps_in, job.weights = taps_weights;
    job.channels = map.ins, job.columns = map.outs, job.weight_stride = map.outs, job.relu = map.relu;
    for (Size group = 0; group < map.groups; ++group) {
        const float* const from = in + group * map.ins * lanes;
        const float* const weights = map.weights + group * taps * tap_weights;
        float* const to = out + group * map.outs * lanes;
        job.bias = map.bias ? map.bias + group * map.outs : nullptr;
        // One row of positions that meet the same taps.
        const auto row = [&](const AxisPhase& pz, const BorderRegion& bz, Size z, const AxisPhase& py, const BorderRegion& by,
                             Size y, const AxisPhase& px, const BorderRegion& bx) {
            job.taps = 0;
            for (int tz = bz.tap; tz < bz.tap + bz.taps; ++tz)
                for (int ty = by.tap; ty < by.tap + by.taps; ++ty)
                    for (int tx = bx.tap; tx < bx.tap + bx.taps; ++tx) {
                        const Size tap = (pz.index[tz] * ky + py.index[ty]) * kx + px.index[tx];
                        taps_in[job.taps] = from + in_grid.at(z * pz.in_step + pz.shifts[tz], y * py.in_step + py.shifts[ty],
                                                              bx.first * px.in_step + px.shifts[tx]);
                        taps_weights[job.taps++] = weights + tap * tap_weights;
                    }
            job.positions = bx.count, job.in_step = px.in_step * in_grid.pixel, job.out_step = px.step * out_grid.pixel;
            job.out = to + out_grid.at(pz.offset + z * pz.step, py.offset + y * py.step, px.offset + bx.first * px.step);
            kernels.sums(job);
            if (!map.before) return;
            kernels.differentiate(job.out, map.kept + (job.out - out), job.positions, map.outs, job.out_step,
                                  map.before->activation, map.before->slope, map.sums + group * map.outs * lanes);
        };
        for (const AxisPhase& pz : map.phases[0])
            for (const BorderRegion& bz : pz.regions)
                for (Size z = bz.first; z < bz.first + bz.count; ++z)
                    for (const AxisPhase& py : map.phases[1])
                        for (const BorderRegion& by : py.regions)
                            for (Size y = by.first; y < by.first + by.count; ++y)
                                for (const AxisPhase& px : map.phases[2])
                                    for (const BorderRegion& bx : px.regions) row(pz, bz, z, py, by, y, px, bx);
    }
}

void multiply(const BatchKernels& kernels, const Stage& stage, const BatchGrid& big_grid, const float* big,
              const BatchGrid& small_grid, const float* small, float* sums, Size* offsets) {
    const Size lanes = kernels.lanes, ky = stage.axes[1].kernel, kx = stage.axes[2].kernel;
    const bool over_big = stage.products_over_big;
    // What is shifted by the taps, and what is not.
    const BatchGrid &a_grid = over_big ? small_grid : big_grid, &b_grid = over_big ? big_grid : small_grid;
    const float *a = over_big ? small : big, *b = over_big ? big : small;
    const Size a_channels = over_big ? stage.small_channels : stage.big_channels;
    const Size b_channels = over_big ? stage.big_channels : stage.small_channels;
    std::memset(sums, 0, static_cast<std::size_t>(stage.kernel_numbers() * lanes) * sizeof(float));
    const AxisPhase &pz = stage.products[0][0], &py = stage.products[1][0], &px = stage.products[2][0];
    BatchProducts job{};
    job.offsets = offsets, job.columns = b_channels, job.b_column = lanes, job.stride = over_big ? -b_channels : b_channels;
    job.a_line = py.in_step * a_grid.size[2] * a_grid.pixel, job.b_line = b_grid.size[2] * b_grid.pixel;
    job.a_step = px.in_step * a_grid.pixel, job.b_step = b_grid.pixel;
    const Size lines = std::max<Size>(cache::batch_rows / std::max<Size>(4 * (job.a_line + job.b_line), 1), 1);
    // Some rows of positions and one tap along z and y, all taps along x.
    const auto rows = [&](Size group, Size z, int tz, Size y, int ty, const BorderRegion& bx) {
        job.rows = 0;
        for (int tx = bx.tap; tx < bx.tap + bx.taps; ++tx)
            for (Size c = 0; c < a_channels; ++c)
                offsets[job.rows++] = (px.shifts[tx] - px.shifts[bx.tap]) * a_grid.pixel + c * lanes;
        job.positions = bx.count;
        job.a = a + group * a_channels * lanes + a_grid.at(z * pz.in_step + pz.shifts[tz], y * py.in_step + py.shifts[ty],
                                                           bx.first * px.in_step + px.shifts[bx.tap]);
        job.b = b + group * b_channels * lanes + b_grid.at(z, y, bx.first);
        const Size tap = (pz.index[tz] * ky + py.index[ty]) * kx + px.index[bx.tap];
        job.sums = sums + (group * stage.taps() + tap) * a_channels * b_channels * lanes;
        kernels.products(job);
    };
    for (Size group = 0; group < stage.groups; ++group)
        for (const BorderRegion& bz : pz.regions)
            for (Size z = bz.first; z < bz.first + bz.count; ++z)
                for (const BorderRegion& by : py.regions)
                    for (Size y = by.first; y < by.first + by.count; y += lines) {
                        job.lines = std::min(lines, by.first + by.count - y);
                        for (int tz = bz.tap; tz < bz.tap + bz.taps; ++tz)
                            for (int ty = by.tap; ty < by.tap + by.taps; ++ty)
                                for (const BorderRegion& bx : px.regions)
                                    if (bx.taps > 0) rows(group, z, tz, y, ty, bx);
                    }
}

}  // namespace unstride
