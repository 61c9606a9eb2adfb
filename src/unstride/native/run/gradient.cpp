// kernel_gradient: for each tap the sum over positions of big times small, as tiles of sums that stay in registers.
#include <algorithm>
#include <cstring>

#include "run/maps.hpp"
#include "runtime/memory.hpp"
#include "runtime/pool.hpp"

namespace unstride {

namespace {

template <class T>
class GradientRunner {
public:
    GradientRunner(const GradientPlan& plan, const Kernels<T>& kernels, Grid<const T> big, Grid<const T> small,
                   WeightsView<T> gradient)
        : plan(plan), p(plan.problem), kernels(kernels), big(big), small(small), gradient(gradient),
          parts(static_cast<Size>(plan.parts.size())), size(p.groups * p.taps() * p.big_channels * p.small_channels),
          limit(plan.multiply_adds > 500e3 ? num_threads() : 1), partial(parts > 1 ? size * parts : 0) {}

    void all() {
        if (plan.depthwise)
            depthwise();
        else
            dense();
        if (parts > 1) add_parts();
    }

private:
    const GradientPlan& plan;
    const Problem& p;
    const Kernels<T>& kernels;
    const Grid<const T> big, small;
    const WeightsView<T> gradient;
    const Size parts;
    const Size size;
    const int limit;
    const Scratch<T> partial;  // of each part, laid out like the gradient

    WeightsView<T> target(Size part) const {
        if (parts == 1) return gradient;
        const Size row = p.groups * p.small_channels;
        return {partial.data() + part * size, p.big_channels * row, row};
    }

    void dense() {
        const Size rows = plan.rows(), lanes = plan.lanes(), runs = plan.runs_per_row(), steps = plan.steps();
        const Size max_taps = ceil_div(steps, plan.tap_cuts);
        const Size max_rows = ceil_div(rows, plan.row_cuts);
        const Size step = std::min(product_channels, (lanes + 15) / 16 * 16);  // of a row of sums
        const Size each = max_taps * max_rows * step;
        const Scratch<T> memory(each * limit);
        parallel(parts * p.groups * plan.lane_cuts * plan.row_cuts * plan.tap_cuts, limit, [&](Size task, int worker) {
            const auto part_of = [&](Size total, Size cuts) {
                const Size i = task % cuts;
                task /= cuts;
                return Range{i * total / cuts, (i + 1) * total / cuts - i * total / cuts};
            };
            const Range taps = part_of(steps, plan.tap_cuts), some_rows = part_of(rows, plan.row_cuts);
            const Size lane = task % plan.lane_cuts * product_channels, group = task / plan.lane_cuts % p.groups;
            const Size part = task / plan.lane_cuts / p.groups;
            const Range some_lanes{lane, std::min(product_channels, lanes - lane)};
            T* const sums = memory.data() + each * worker;
            std::memset(sums, 0, static_cast<std::size_t>(each) * sizeof(T));
            for (const Area& area : plan.parts[part])
                for (Size i = 0; i < taps.count; ++i)
                    add(area, group, (taps.first + i) / runs, (taps.first + i) % runs, some_rows, some_lanes,
                        sums + i * some_rows.count * step, step);
            for (Size i = 0; i < taps.count; ++i)
                deliver(target(part), group, (taps.first + i) / runs, (taps.first + i) % runs, some_rows, some_lanes,
                        sums + i * some_rows.count * step, step);
        });
    }

    // Sums of a tap, or of a run of taps, to where the gradient has them.
    void deliver(WeightsView<T> to, Size group, Size plane, Size run, Range rows, Range lanes, const T* sums, Size step) const {
        T* const tap = to.data + (plane * p.axes[2].kernel + run) * to.tap + group * p.small_channels;
        if (plan.big_in_lanes) {
            kernels.transpose(sums, step, tap + lanes.first * to.big + rows.first, to.big, rows.count, lanes.count);
            return;
        }
        for (Size row = 0; row < rows.count; ++row)
            std::memcpy(tap + (rows.first + row) * to.big + lanes.first, sums + row * step,
                        static_cast<std::size_t>(lanes.count) * sizeof(T));
    }

    void add_parts() const {
        const Size row = p.groups * p.small_channels, rows = size / std::max<Size>(row, 1);
        const Size some = std::max<Size>(ceil_div(rows, 16), 1);  // rows a task
        parallel(ceil_div(rows, some), size * parts > few_numbers ? limit : 1, [&](Size task, int) {
            for (Size i = task * some; i < std::min(rows, (task + 1) * some); ++i) {
                const T* from = partial.data() + i * row;
                T* const to = gradient.data + i / p.big_channels * gradient.tap + i % p.big_channels * gradient.big;
                std::memcpy(to, from, static_cast<std::size_t>(row) * sizeof(T));
                for (Size part = 1; part < parts; ++part) {
                    from += size;
                    for (Size k = 0; k < row; ++k) to[k] += from[k];
                }
            }
        });
    }

    // Positions of an area along an axis whose tap is inside the big grid.
    Range valid(int axis, int tap, const Area& area) const {
        Size first = 0, end = 0;
        for (const BorderRegion& region : plan.axes[axis].regions)
            if (tap >= region.tap && tap < region.tap + region.taps) {
                if (first == end) first = region.first;
                end = region.first + region.count;
            }
        return clip(axis, {first, end - first}, area);
    }

    Range clip(int axis, Range range, const Area& area) const {
        if (axis != plan.split_axis) return range;
        const Size first = std::max(range.first, area.cell);
        const Size end = std::min(range.first + range.count, area.cell + area.cells);
        return {first, std::max<Size>(end - first, 0)};
    }

    // Where the loops over `ranges` begins in both grids, for taps that are `shifts` away.
    void place(const Area& area, const Range* ranges, const Size* shifts, Size group, LoopNest& loops, const T*& in_big,
               const T*& in_small) const {
        in_big = big.data + area.image * big.strides[0] + group * p.big_channels;
        in_small = small.data + area.image * small.strides[0] + group * p.small_channels;
        loops.count[0] = area.images;
        loops.in_step[0] = big.strides[0], loops.out_step[0] = small.strides[0];
        for (int axis = 0; axis < 3; ++axis) {
            const AxisPhase& phase = plan.axes[axis];
            loops.count[axis + 1] = ranges[axis].count;
            loops.in_step[axis + 1] = phase.in_step * big.strides[axis + 1];
            loops.out_step[axis + 1] = small.strides[axis + 1];
            in_big += (ranges[axis].first * phase.in_step + shifts[axis]) * big.strides[axis + 1];
            in_small += ranges[axis].first * small.strides[axis + 1];
        }
    }

    void add(const Area& area, Size group, Size plane, Size run, Range rows, Range lanes, T* sums, Size step) const {
        const int tz = static_cast<int>(plane / p.axes[1].kernel), ty = static_cast<int>(plane % p.axes[1].kernel);
        Range ranges[3] = {valid(0, tz, area), valid(1, ty, area), {0, 0}};
        if (ranges[0].count == 0 || ranges[1].count == 0) return;
        const Size shifts[3] = {plan.axes[0].shifts[tz], plan.axes[1].shifts[ty], plan.axes[2].shifts[run]};
        if (!plan.runs) {
            ranges[2] = valid(2, static_cast<int>(run), area);
            if (ranges[2].count > 0) outer_product(area, group, ranges, shifts, rows, lanes, sums, step);
            return;
        }
        for (const BorderRegion& region : plan.axes[2].regions) {
            ranges[2] = clip(2, {region.first, region.count}, area);
            // The taps inside the grid are a part of the run.
            const Range& whole = plan.big_in_lanes ? lanes : rows;
            const Size from = std::max(whole.first, region.tap * p.big_channels);
            const Size end = std::min(whole.first + whole.count, (region.tap + region.taps) * p.big_channels);
            const Range inside{from, end - from};
            if (ranges[2].count == 0 || inside.count <= 0) continue;
            if (plan.big_in_lanes)
                outer_product(area, group, ranges, shifts, rows, inside, sums, step, lanes.first);
            else
                outer_product(area, group, ranges, shifts, inside, lanes, sums + (from - rows.first) * step, step);
        }
    }

    // `sums` belongs to the first of `rows`, and to lane `first_lane` (that of `lanes`, unless told).
    void outer_product(const Area& area, Size group, const Range* ranges, const Size* shifts, Range rows, Range lanes, T* sums,
               Size step, Size first_lane = -1) const {
        if (first_lane < 0) first_lane = lanes.first;
        OuterProduct<T> job{};
        const T *in_big, *in_small;
        place(area, ranges, shifts, group, job.loops, in_big, in_small);
        if (plan.big_in_lanes)
            for (int d = 0; d < 4; ++d) std::swap(job.loops.in_step[d], job.loops.out_step[d]);
        job.a = (plan.big_in_lanes ? in_small : in_big) + rows.first;
        job.b = (plan.big_in_lanes ? in_big : in_small) + first_lane;
        job.rows = rows.count;
        job.from = lanes.first - first_lane, job.to = job.from + lanes.count;
        job.sums = sums;
        job.stride = step;
        kernels.outer_product(job);
    }

    void depthwise() {
        const Size taps = p.taps();
        parallel(parts * taps, limit, [&](Size i, int) {
            const Size part = i / taps, tap = i % taps, plane = tap / p.axes[2].kernel, x = tap % p.axes[2].kernel;
            std::memset(target(part).data + tap * target(part).tap, 0, static_cast<std::size_t>(p.groups) * sizeof(T));
            const int at[3] = {static_cast<int>(plane / p.axes[1].kernel), static_cast<int>(plane % p.axes[1].kernel),
                               static_cast<int>(x)};
            for (const Area& area : plan.parts[part]) {
                Range ranges[3];
                Size shifts[3];
                for (int axis = 0; axis < 3; ++axis)
                    ranges[axis] = valid(axis, at[axis], area), shifts[axis] = plan.axes[axis].shifts[at[axis]];
                if (ranges[0].count == 0 || ranges[1].count == 0 || ranges[2].count == 0) continue;
                DepthwiseGradient<T> job{};
                place(area, ranges, shifts, 0, job.loops, job.a, job.b);
                job.lanes = p.groups, job.sums = target(part).data + tap * target(part).tap;
                kernels.depthwise_gradient(job);
            }
        });
    }
};

}  // namespace

template <class T>
void run(const GradientPlan& plan, const Kernels<T>& kernels, Grid<const T> big, Grid<const T> small, WeightsView<T> gradient) {
    GradientRunner<T>(plan, kernels, big, small, gradient).all();
}

template void run(const GradientPlan&, const Kernels<float>&, Grid<const float>, Grid<const float>, WeightsView<float>);
template void run(const GradientPlan&, const Kernels<double>&, Grid<const double>, Grid<const double>, WeightsView<double>);

}  // namespace unstride
