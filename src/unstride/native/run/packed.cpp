// conv and conv_transpose by packed weights: packs them, and hands each border region of each task to the kernel.
#include "run/maps.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "run/split_k.hpp"
#include "runtime/caches.hpp"
#include "runtime/memory.hpp"
#include "runtime/pool.hpp"

namespace unstride {

namespace {

constexpr Size min_blocks_for_copies = 2;       // blocks of columns: for one, a copy takes as long as it saves

template <class T>
class Runner : MapCall<T> {
public:
    explicit Runner(const MapCall<T>& call)
        : MapCall<T>(call), blocks(plan.blocks()), columns(plan.columns.back()),
          group_count(plan.method == Method::depthwise ? 1 : p.groups), limit(call.workers()),
          padded_bias(columns * group_count), max_taps(taps_of(plan)), copy_step(step_of_copies()),
          copies(limit * max_igemm_rows * copy_step), spaces(limit) {
        for (Space& space : spaces) {
            space.runs.reserve(static_cast<std::size_t>(max_taps)), space.blocks.resize(blocks);
            if (plan.method == Method::dot) space.offsets.resize(columns), space.written = std::make_unique<bool[]>(columns);
        }
        for (std::size_t worker = 0; copy_step && worker < spaces.size(); ++worker)
            spaces[worker].copies = copies.data() + static_cast<Size>(worker) * max_igemm_rows * copy_step;
        pad_bias();
    }

    void all() {
        if (const auto* work = std::get_if<PackedOnce>(&plan.work))
            all_of(*work);
        else if (const auto* work = std::get_if<PackedPerTask>(&plan.work))
            all_of(*work);
        else
            all_of(std::get<SplitK>(plan.work));
    }

private:
    using MapCall<T>::plan, MapCall<T>::p, MapCall<T>::kernels, MapCall<T>::in, MapCall<T>::kernel, MapCall<T>::bias,
        MapCall<T>::out, MapCall<T>::relu;
    const Size blocks, columns, group_count;
    const int limit;
    Scratch<T> padded_bias;
    const Size max_taps;  // of any subconvolution
    const Size copy_step;  // tile: from one position's copy to the next, or 0 where none is needed
    Scratch<T> copies;

    // What a worker fills for a job. Allocated beforehand, as a task must not throw.
    struct Space {
        std::vector<Block<T>> blocks;
        std::vector<InputRun> runs;
        std::vector<Size> offsets;  // these two of each column, for dots
        std::unique_ptr<bool[]> written;
        T* copies = nullptr;
    };
    std::vector<Space> spaces;

    static Size taps_of(const Plan& plan) {
        Size taps = 1;
        for (const auto& axis : plan.axes) {
            int most = 0;
            for (const AxisPhase& one : axis) most = std::max(most, one.taps());
            taps *= most;
        }
        return taps;
    }

    // Of positions that share lines of the first-level cache (igemm.hpp): an odd number of lines, so that copies do not.
    Size step_of_copies() const {
        constexpr Size line = cache::line / Size(sizeof(T)), shared = cache::alias / Size(sizeof(T));
        if (plan.method != Method::igemm || plan.axes[2][0].in_step * in.strides[3] % shared != 0) return 0;
        const Size step = (ceil_div(max_taps * p.in_channels(), line) | 1) * line;
        return max_igemm_rows * step * Size(sizeof(T)) <= cache::input_copies ? step : 0;
    }

    // Where a tap's weights begin in the kernel.
    Size tap(Size z, Size y, Size x) const { return ((z * p.axes[1].kernel + y) * p.axes[2].kernel + x) * kernel.tap; }

    static Size taps(const TapBlock& tap_block, int axis) { return std::max(tap_block.end[axis] - tap_block.first[axis], 0); }

    // Those taps of a tap block that a subconvolution has.
    static TapBlock part(const TapBlock& tap_block, const Subconvolution& sub) {
        TapBlock some = tap_block;
        for (int axis = 0; axis < 3; ++axis) some.end[axis] = std::min(tap_block.end[axis], sub.axis[axis]->taps());
        return some;
    }

    Size rows(const Subconvolution& sub, const TapBlock& tap_block) const {
        const TapBlock some = part(tap_block, sub);
        return taps(some, 0) * taps(some, 1) * taps(some, 2) * (plan.method == Method::depthwise ? 1 : p.in_channels());
    }

    void pad_bias() {
        const Size channels = plan.method == Method::depthwise ? p.groups : p.out_channels();
        const Size used = plan.method == Method::depthwise ? p.groups : plan.cells() * p.out_channels();
        for (Size group = 0; group < group_count; ++group)
            for (Size i = 0; i < columns; ++i)
                padded_bias.data()[group * columns + i] = bias && i < used ? bias[group * channels + i % channels] : T(0);
    }

    // Packs the weights of columns [first, last) of a tap block of a subconvolution. A row is a tap and an input channel, a
    // column a cell and an output channel. With taps 0, 1, input channels a, b, and columns 0 to 3:
    //
    //     igemm: rows of columns                dot: columns of rows            depthwise: taps of channels
    //     0a0 0a1 0a2 0a3                       0a0 0b0 1a0 1b0                 0a 0b
    //     0b0 0b1 0b2 0b3                       0a1 0b1 1a1 1b1                 1a 1b
    //     1a0 1a1 1a2 1a3                       0a2 0b2 1a2 1b2
    //     1b0 1b1 1b2 1b3                       0a3 0b3 1a3 1b3
    //
    // Columns beyond the last are zeros, as are taps that a cell does not have.
    void pack(Size group, const Subconvolution& sub, const TapBlock& tap_block, Size first, Size last, T* to) const {
        const Size width = last - first, height = rows(sub, tap_block);
        const TapBlock some = part(tap_block, sub);
        const Size depth = plan.method == Method::depthwise ? 1 : p.in_channels();
        const Size outs = plan.method == Method::depthwise ? p.groups : p.out_channels();
        const AxisPhase &y = *sub.axis[1], &x = *sub.axis[2];
        if (height > 0 && (plan.gaps || last > y.group * x.group * outs))
            std::memset(to, 0, static_cast<std::size_t>(height * width) * sizeof(T));
        // Taps that are adjacent in the kernel, as those of one cell of a plain convolution are, are transposed together.
        const bool run = plan.method == Method::dot && !p.transposed() && plan.cells() == 1 && p.groups == 1 &&
                         kernel.tap == p.big_channels * kernel.big;
        const int together = run ? some.end[2] - some.first[2] : 1;
        Size row = 0;
        for (int tz = some.first[0]; tz < some.end[0]; ++tz)
            for (int ty = some.first[1]; ty < some.end[1]; ++ty)
                for (int tx = some.first[2]; tx < some.end[2]; tx += together, row += together * depth)
                    for (Size cell = first / outs; cell < y.group * x.group && cell * outs < last; ++cell) {
                        const Size jy = y.index[cell / x.group * y.taps() + ty], jx = x.index[cell % x.group * x.taps() + tx];
                        if (jy < 0 || jx < 0) continue;
                        const T* from = kernel.data + tap(sub.axis[0]->index[tz], jy, jx);
                        const Size begin = std::max(first, cell * outs), end = std::min(last, (cell + 1) * outs);
                        pack_taps(from, group, begin - cell * outs, end - begin, together, to, row, begin - first, width,
                                  height);
                    }
    }

    // `count` output channels from `channel` on, and all input channels, of one tap or several that are adjacent.
    void pack_taps(const T* tap, Size group, Size channel, Size count, Size taps, T* to, Size row, Size column, Size width,
                   Size height) const {
        if (plan.method == Method::depthwise) {
            std::memcpy(to + row * width, tap, static_cast<std::size_t>(count) * sizeof(T));
        } else if (p.transposed()) {
            const T* from = tap + channel * kernel.big + group * p.small_channels;
            if (plan.method == Method::igemm)
                kernels.transpose(from, kernel.big, to + row * width + column, width, count, p.small_channels);
            else
                copy(from, kernel.big, to + column * height + row, height, count, p.small_channels);
        } else {
            const T* from = tap + group * p.small_channels + channel;
            if (plan.method == Method::igemm)
                copy(from, kernel.big, to + row * width + column, width, p.big_channels, count);
            else
                kernels.transpose(from, kernel.big, to + column * height + row, height, taps * p.big_channels, count);
        }
    }

    static void copy(const T* from, Size from_stride, T* to, Size to_stride, Size rows, Size columns) {
        for (Size i = 0; i < rows; ++i)
            std::memcpy(to + i * to_stride, from + i * from_stride, static_cast<std::size_t>(columns) * sizeof(T));
    }

    // Packed once for all; then every task computes all subconvolutions of its area.
    void all_of(const PackedOnce& work) {
        const Size tap_blocks = static_cast<Size>(plan.tap_blocks.size());
        const Size parts = group_count * plan.subconvolutions() * tap_blocks;
        std::vector<Size> where;  // of each group's, subconvolution's and tap block's weights; its blocks follow one another
        Size total = 0;
        for (Size i = 0; i < parts; ++i) {
            where.push_back(total);
            total += (rows(subconvolution_of(i / tap_blocks), plan.tap_blocks[i % tap_blocks]) * columns + 15) / 16 * 16;
        }
        Scratch<T> weights(total);
        parallel(parts * blocks, total > few_numbers ? limit : 1, [&](Size i, int) {
            const Size each = i / blocks, block = i % blocks;
            const Subconvolution sub = subconvolution_of(each / tap_blocks);
            const TapBlock& taps = plan.tap_blocks[each % tap_blocks];
            pack(each / tap_blocks / plan.subconvolutions(), sub, taps, plan.columns[block], plan.columns[block + 1],
                 weights.data() + where[each] + rows(sub, taps) * plan.columns[block]);
        });
        parallel(static_cast<Size>(work.areas.size()), limit, [&](Size i, int worker) {
            for (Size each = 0; each < parts; ++each)
                compute(work.areas[i], each / tap_blocks, plan.tap_blocks[each % tap_blocks], 0, blocks,
                        weights.data() + where[each], out, spaces[worker]);
        });
    }

    // Every task packs the blocks that it computes, into memory that stays in its core's cache.
    void all_of(const PackedPerTask& work) {
        const TapBlock& whole = plan.tap_blocks[0];
        const auto width = [&](const PackedPerTask::Task& task) {
            return plan.columns[task.block + task.blocks] - plan.columns[task.block];
        };
        Size most = 0;
        for (const auto& task : work.tasks)
            most = std::max(most, rows(subconvolution_of(task.subconvolution), whole) * width(task));
        most = (most + 15) / 16 * 16;
        Scratch<T> weights(most * limit);
        parallel(static_cast<Size>(work.tasks.size()), limit, [&](Size i, int worker) {
            const auto& task = work.tasks[i];
            const Subconvolution sub = subconvolution_of(task.subconvolution);
            T* const packed = weights.data() + most * worker;
            T* to = packed;
            for (Size b = task.block; b < task.block + task.blocks; ++b) {
                pack(task.subconvolution / plan.subconvolutions(), sub, whole, plan.columns[b], plan.columns[b + 1], to);
                to += rows(sub, whole) * (plan.columns[b + 1] - plan.columns[b]);
            }
            compute(task.area, task.subconvolution, whole, task.block, task.blocks, packed, out, spaces[worker]);
        });
    }

    // Every task packs and uses its tap blocks, one after another.
    void all_of(const SplitK& work) {
        Size most = 0;
        for (Size number = 0; number < plan.subconvolutions(); ++number)
            for (const TapBlock& taps : plan.tap_blocks) most = std::max(most, rows(subconvolution_of(number), taps));
        most = (most * columns + 15) / 16 * 16;
        Scratch<T> weights(most * limit);
        const Area everything{0, p.batch, 0, p.out_size(plan.split_axis)};
        split_k(p, work.tap_blocks, limit, out, bias, relu, [&](Size k, const Grid<T>& sums, int worker) {
            T* const packed = weights.data() + most * worker;
            for (Size number = 0; number < plan.subconvolutions(); ++number) {
                pack(0, subconvolution_of(number), plan.tap_blocks[k], 0, columns, packed);
                compute(everything, number, plan.tap_blocks[k], 0, blocks, packed, sums, spaces[worker]);
            }
        });
    }

    // Those of all groups are counted.
    Subconvolution subconvolution_of(Size number) const { return plan.subconvolution(number % plan.subconvolutions()); }

    // Some blocks of columns, whose packed weights follow one another, of a tap block of a subconvolution, to where `to` has
    // them.
    void compute(const Area& area, Size number, const TapBlock& tap_block, Size first, Size count, const T* weights,
                 const Grid<T>& to, Space& space) const {
        const Size group = number / plan.subconvolutions();
        const Subconvolution sub = subconvolution_of(number);
        const Size height = rows(sub, tap_block);
        for (Size b = 0; b < count; ++b) {
            const Size column = plan.columns[first + b], width = plan.columns[first + b + 1] - column;
            space.blocks[b] = {weights, padded_bias.data() + group * columns + column, column, width};
            weights += height * width;
        }
        const TapBlock taps = part(tap_block, sub);
        if (plan.method == Method::igemm) {
            IgemmJob<T> job{};
            job.copies = count >= min_blocks_for_copies ? space.copies : nullptr, job.copy_step = copy_step;
            each_region(job, kernels.igemm, area, group, sub, taps, count, to, space);
        } else if (plan.method == Method::dot) {
            DotJob<T> job{};
            job.weight_stride = height;
            job.written = space.written.get(), job.offsets = space.offsets.data();
            each_region(job, kernels.dot, area, group, sub, taps, count, to, space);
        } else {
            DepthwiseJob<T> job{};
            job.weight_stride = columns;
            each_region(job, kernels.depthwise, area, group, sub, taps, count, to, space);
        }
    }

    template <class J>
    void each_region(J& job, void (*kernel)(const J&), const Area& area, Size group, const Subconvolution& sub,
                     const TapBlock& taps, Size count, const Grid<T>& to, Space& space) const {
        // Of several tap blocks each meets all positions with the weights of one block, which stay in the first-level cache.
        const Size together = plan.tap_blocks.size() > 1 ? 1 : count;
        for (BorderRegion z : sub.axis[0]->regions) {
            if (!clip(0, *sub.axis[0], area, z)) continue;
            for (BorderRegion y : sub.axis[1]->regions) {
                if (!clip(1, *sub.axis[1], area, y)) continue;
                for (BorderRegion x : sub.axis[2]->regions) {
                    if (!clip(2, *sub.axis[2], area, x)) continue;
                    BorderRegion regions[3] = {z, y, x};
                    if (!cut(taps, regions, job)) continue;
                    place_in(area, group, sub, regions, to, job);
                    if constexpr (std::is_same_v<J, DotJob<T>>)
                        list_columns(sub, regions, to, space.blocks[0].column, space.blocks[count - 1], space);
                    connect(sub, taps, regions, space.runs);
                    job.runs = space.runs.data(), job.run_count = static_cast<Size>(space.runs.size());
                    for (Size b = 0; b < count; b += together) {
                        job.blocks = space.blocks.data() + b, job.block_count = together;
                        if constexpr (std::is_same_v<J, DotJob<T>>)
                            job.fresh = b == 0 && regions[1].taps <= sub.axis[1]->in_step;
                        kernel(job);
                    }
                }
            }
        }
    }

    // Leaves of a region's taps those of the tap block. The first of its tap blocks writes, the others add, the last one
    // rectifies; of split-K all add.
    template <class J>
    bool cut(const TapBlock& some, BorderRegion* regions, J& job) const {
        bool empty = false, first = true, last = true, any = true;
        for (int axis = 0; axis < 3; ++axis) empty = empty || regions[axis].taps == 0;
        for (int axis = 0; axis < 3; ++axis) {
            BorderRegion& region = regions[axis];
            const int from = region.tap, end = region.tap + region.taps;
            first = first && (empty ? some.first[axis] == 0 : some.first[axis] <= from && from < some.end[axis]);
            last = last && some.first[axis] < end && end <= some.end[axis];
            region.tap = std::max(from, some.first[axis]);
            region.taps = std::min(end, some.end[axis]) - region.tap;
            any = any && region.taps > 0;
        }
        const bool split = std::holds_alternative<SplitK>(plan.work);
        if constexpr (std::is_same_v<J, DotJob<T>>) job.add = split || !first;
        job.relu = relu && (empty || last) && !split;
        return first || any;
    }

    // The positions of `region` whose first cell is in the area.
    bool clip(int axis, const AxisPhase& phase, const Area& area, BorderRegion& region) const {
        if (axis != plan.split_axis) return region.count > 0;
        auto position = [&](Size cell) { return ceil_div(cell - phase.offset, phase.step); };
        const Size from = area.cell == 0 ? 0 : position(area.cell);
        const Size to = position(area.cell + area.cells);
        const Size end = std::min(region.first + region.count, to);
        region.first = std::max(region.first, from);
        region.count = end - region.first;
        return region.count > 0;
    }

    void place_in(const Area& area, Size group, const Subconvolution& sub, const BorderRegion* regions, const Grid<T>& to,
                  Job<T>& job) const {
        job.in = in.data + area.image * in.strides[0] + group * p.in_channels();
        job.out = to.data + area.image * to.strides[0] + group * p.out_channels();
        this->place(area.images, sub, regions, to, job);
        const Size channels = plan.method == Method::depthwise ? p.groups : p.out_channels();
        job.from = regions[2].cell * channels;
        job.to = (regions[2].cell + regions[2].cells) * channels;
    }

    // Where the columns of some blocks lie, for a dot: a column is a cell along y, one along x, and a channel.
    void list_columns(const Subconvolution& sub, const BorderRegion* regions, const Grid<T>& to, Size first,
                      const Block<T>& last, Space& space) const {
        const Size outs = p.out_channels(), width = sub.axis[2]->group;
        for (Size column = first; column < last.column + last.columns; ++column) {
            const Size y = column / outs / width, x = column / outs % width;
            space.offsets[column] = y * to.strides[2] + x * to.strides[3] + column % outs;
            space.written[column] = y >= regions[1].cell && y < regions[1].cell + regions[1].cells && x >= regions[2].cell &&
                                    x < regions[2].cell + regions[2].cells;
        }
    }

    // Which input numbers a position reads: along x in one run where the cells are adjacent.
    void connect(const Subconvolution& sub, const TapBlock& some, const BorderRegion* regions,
                 std::vector<InputRun>& runs) const {
        runs.clear();
        const AxisPhase &z = *sub.axis[0], &y = *sub.axis[1], &x = *sub.axis[2];
        const Size depth = plan.method == Method::depthwise ? 1 : p.in_channels();
        const bool adjacent = plan.method != Method::depthwise && p.groups == 1 && p.dense_in;
        for (int tz = regions[0].tap; tz < regions[0].tap + regions[0].taps; ++tz)
            for (int ty = regions[1].tap; ty < regions[1].tap + regions[1].taps; ++ty)
                for (int tx = regions[2].tap; tx < regions[2].tap + regions[2].taps; ++tx) {
                    const Size plane = (tz - some.first[0]) * taps(some, 1) + ty - some.first[1];
                    const Size row = (plane * taps(some, 2) + tx - some.first[2]) * depth;
                    const bool follows = tx > regions[2].tap && x.shifts[tx] == x.shifts[tx - 1] + 1;
                    if (adjacent && follows) {
                        runs.back().length += depth;
                    } else {
                        const Size copy = runs.empty() ? 0 : runs.back().copy + runs.back().length;
                        runs.push_back({z.shifts[tz] * in.strides[1] + y.shifts[ty] * in.strides[2] +
                                                x.shifts[tx] * in.strides[3],
                                            row, depth, copy});
                    }
                }
    }
};

}  // namespace

int threads_for(double vector_operations) { return vector_operations < short_work ? 1 : num_threads(); }

template <class T>
void run(const MapCall<T>& call) {
    if (std::holds_alternative<Spatial>(call.plan.work))
        run_spatial(call);
    else if (call.plan.unpacked())
        run_unpacked(call);
    else
        Runner<T>(call).all();
}

template void run(const MapCall<float>&);
template void run(const MapCall<double>&);

}  // namespace unstride
