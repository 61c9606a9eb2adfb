// kernel_gradient: for each tap the sum over positions of big times small, as tiles of sums that stay in registers.
#include <algorithm>
#include <cstring>

#include "maps.hpp"
#include "memory.hpp"
#include "pool.hpp"

namespace unstride {

namespace {

// Positions [first, first + count) along one axis.
struct Range {
    Size first, count;
};

template <class T>
class GradientRunner {
   public:
    GradientRunner(const GradientPlan& plan, const Kernels<T>& kernels, Grid<const T> big, Grid<const T> small,
                   Taps<T> gradient)
        : plan(plan), p(plan.problem), kernels(kernels), big(big), small(small), gradient(gradient),
          planes(p.axes[0].kernel * p.axes[1].kernel), parts(static_cast<Size>(plan.parts.size())),
          direct(parts == 1 && !plan.big_in_lanes && !plan.depthwise),
          size(p.groups * p.taps() * p.big_channels * p.small_channels),
          limit(plan.multiply_adds > 500e3 ? num_threads() : 1), memory(direct ? 0 : size * parts) {}

    void all() {
        clear();
        if (plan.depthwise)
            depthwise();
        else
            dense();
        if (!direct) finish();
    }

   private:
    const GradientPlan& plan;
    const Problem& p;
    const Kernels<T>& kernels;
    const Grid<const T> big, small;
    const Taps<T> gradient;
    const Size planes;  // taps along z and y
    const Size parts;
    const bool direct;  // sums lie in the gradient itself
    const Size size;
    const int limit;
    Scratch<T> memory;

    void clear() {
        if (!direct) {
            std::memset(memory.data(), 0, static_cast<std::size_t>(size * parts) * sizeof(T));
            return;
        }
        for (Size tap = 0; tap < p.taps(); ++tap)
            for (Size b = 0; b < p.big_channels; ++b)
                std::memset(gradient.data + tap * gradient.tap + b * gradient.big, 0,
                            static_cast<std::size_t>(p.groups * p.small_channels) * sizeof(T));
    }

    // The sums of one group, plane and run: rows() rows of `stride` numbers.
    T* sums(Size part, Size group, Size plane, Size run) const {
        if (direct) return gradient.data + (plane * p.axes[2].kernel + run) * gradient.tap + group * p.small_channels;
        return memory.data() + part * size + ((group * planes + plane) * plan.runs_per_row() + run) * plan.rows() * plan.lanes();
    }
    Size stride() const { return direct ? gradient.big : plan.lanes(); }

    void dense() {
        const Size rows = plan.rows(), lanes = plan.lanes(), runs = plan.runs_per_row();
        if (parts > 1) {
            parallel(parts, limit, [&](Size part, int) {
                for (const Piece& piece : plan.parts[part])
                    for (Size group = 0; group < p.groups; ++group)
                        for (Size plane = 0; plane < planes; ++plane)
                            for (Size run = 0; run < runs; ++run)
                                add(piece, part, group, plane, run, {0, rows}, {0, lanes});
            });
            return;
        }
        // A task reads slices of at most 64 channels of both.
        const Size row_cuts = (rows + 63) / 64, lane_cuts = (lanes + 63) / 64, each = (rows + row_cuts - 1) / row_cuts;
        parallel(p.groups * lane_cuts * planes * runs * row_cuts, limit, [&](Size i, int) {
            const Size cut = i % row_cuts, run = i / row_cuts % runs, plane = i / row_cuts / runs % planes;
            const Size lane = i / row_cuts / runs / planes % lane_cuts * 64, group = i / row_cuts / runs / planes / lane_cuts;
            const Range some{cut * each, std::min(each, rows - cut * each)}, wide{lane, std::min<Size>(64, lanes - lane)};
            for (const Piece& piece : plan.parts[0]) add(piece, 0, group, plane, run, some, wide);
        });
    }

    // Positions of a piece along an axis whose tap lies inside the big grid.
    Range valid(int axis, int tap, const Piece& piece) const {
        Size first = 0, end = 0;
        for (const Box& box : plan.axes[axis].boxes)
            if (tap >= box.tap && tap < box.tap + box.taps) {
                if (first == end) first = box.first;
                end = box.first + box.count;
            }
        return clip(axis, {first, end - first}, piece);
    }

    Range clip(int axis, Range range, const Piece& piece) const {
        if (axis != plan.split_axis) return range;
        const Size first = std::max(range.first, piece.cell);
        const Size end = std::min(range.first + range.count, piece.cell + piece.cells);
        return {first, std::max<Size>(end - first, 0)};
    }

    // Where the walk over `ranges` begins in both grids, for taps that are `shifts` away.
    void place(const Piece& piece, const Range* ranges, const Size* shifts, Size group, Walk& walk, const T*& in_big,
               const T*& in_small) const {
        in_big = big.data + piece.image * big.strides[0] + group * p.big_channels;
        in_small = small.data + piece.image * small.strides[0] + group * p.small_channels;
        walk.count[0] = piece.images;
        walk.in_step[0] = big.strides[0], walk.out_step[0] = small.strides[0];
        for (int axis = 0; axis < 3; ++axis) {
            const Pass& pass = plan.axes[axis];
            walk.count[axis + 1] = ranges[axis].count;
            walk.in_step[axis + 1] = pass.in_step * big.strides[axis + 1];
            walk.out_step[axis + 1] = small.strides[axis + 1];
            in_big += (ranges[axis].first * pass.in_step + shifts[axis]) * big.strides[axis + 1];
            in_small += ranges[axis].first * small.strides[axis + 1];
        }
    }

    void add(const Piece& piece, Size part, Size group, Size plane, Size run, Range rows, Range lanes) const {
        const int tz = static_cast<int>(plane / p.axes[1].kernel), ty = static_cast<int>(plane % p.axes[1].kernel);
        Range ranges[3] = {valid(0, tz, piece), valid(1, ty, piece), {0, 0}};
        if (ranges[0].count == 0 || ranges[1].count == 0) return;
        Size shifts[3] = {plan.axes[0].shifts[tz], plan.axes[1].shifts[ty], plan.axes[2].shifts[run]};
        T* to = sums(part, group, plane, run);
        if (!plan.runs) {
            ranges[2] = valid(2, static_cast<int>(run), piece);
            if (ranges[2].count > 0) outer(piece, group, ranges, shifts, rows, lanes, to);
            return;
        }
        for (const Box& box : plan.axes[2].boxes) {
            ranges[2] = clip(2, {box.first, box.count}, piece);
            // The taps inside the grid are a part of the run.
            Range inside = plan.big_in_lanes ? lanes : rows;
            const Size from = std::max(inside.first, box.tap * p.big_channels);
            const Size to_end = std::min(inside.first + inside.count, (box.tap + box.taps) * p.big_channels);
            inside = {from, to_end - from};
            if (ranges[2].count == 0 || inside.count <= 0) continue;
            if (plan.big_in_lanes)
                outer(piece, group, ranges, shifts, rows, inside, to);
            else
                outer(piece, group, ranges, shifts, inside, lanes, to);
        }
    }

    void outer(const Piece& piece, Size group, const Range* ranges, const Size* shifts, Range rows, Range lanes, T* to) const {
        Outer<T> job{};
        const T *in_big, *in_small;
        place(piece, ranges, shifts, group, job.walk, in_big, in_small);
        if (plan.big_in_lanes)
            for (int d = 0; d < 4; ++d) std::swap(job.walk.in_step[d], job.walk.out_step[d]);
        job.a = (plan.big_in_lanes ? in_small : in_big) + rows.first;
        job.b = plan.big_in_lanes ? in_big : in_small;
        job.rows = rows.count;
        job.from = lanes.first, job.to = lanes.first + lanes.count;
        job.stride = stride();
        job.sums = to + rows.first * job.stride;
        kernels.outer(job);
    }

    void depthwise() {
        const Size taps = p.taps();
        parallel(parts * taps, limit, [&](Size i, int) {
            const Size part = i / taps, tap = i % taps, plane = tap / p.axes[2].kernel, x = tap % p.axes[2].kernel;
            const int at[3] = {static_cast<int>(plane / p.axes[1].kernel), static_cast<int>(plane % p.axes[1].kernel),
                               static_cast<int>(x)};
            for (const Piece& piece : plan.parts[part]) {
                Range ranges[3];
                Size shifts[3];
                for (int axis = 0; axis < 3; ++axis)
                    ranges[axis] = valid(axis, at[axis], piece), shifts[axis] = plan.axes[axis].shifts[at[axis]];
                if (ranges[0].count == 0 || ranges[1].count == 0 || ranges[2].count == 0) continue;
                Pairs<T> job{};
                place(piece, ranges, shifts, 0, job.walk, job.a, job.b);
                job.lanes = p.groups, job.sums = memory.data() + part * size + tap * p.groups;
                kernels.pairs(job);
            }
        });
    }

    // Adds the parts in their order, and puts the sums where the gradient has them.
    void finish() {
        T* first = memory.data();
        for (Size part = 1; part < parts; ++part)
            for (Size i = 0; i < size; ++i) first[i] += first[part * size + i];
        const Size rows = plan.rows(), lanes = plan.lanes(), runs = plan.runs_per_row();
        if (plan.depthwise) {
            for (Size tap = 0; tap < p.taps(); ++tap)
                std::memcpy(gradient.data + tap * gradient.tap, first + tap * p.groups,
                            static_cast<std::size_t>(p.groups) * sizeof(T));
            return;
        }
        parallel(p.groups * planes * runs, limit, [&](Size i, int) {
            const Size group = i / (planes * runs), run = i % runs, plane = i / runs % planes;
            const T* from = sums(0, group, plane, run);
            T* to = gradient.data + (plane * p.axes[2].kernel + run) * gradient.tap + group * p.small_channels;
            if (plan.big_in_lanes) {
                kernels.transpose(from, lanes, to, gradient.big, rows, lanes);
            } else {
                for (Size row = 0; row < rows; ++row)
                    std::memcpy(to + row * gradient.big, from + row * lanes, static_cast<std::size_t>(lanes) * sizeof(T));
            }
        });
    }
};

}  // namespace

template <class T>
void run(const GradientPlan& plan, const Kernels<T>& kernels, Grid<const T> big, Grid<const T> small, Taps<T> gradient) {
    GradientRunner<T>(plan, kernels, big, small, gradient).all();
}

template void run(const GradientPlan&, const Kernels<float>&, Grid<const float>, Grid<const float>, Taps<float>);
template void run(const GradientPlan&, const Kernels<double>&, Grid<const double>, Grid<const double>, Taps<double>);

}  // namespace unstride
