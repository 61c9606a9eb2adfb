// Large weights that few positions use, tap by tap, where they lie: of conv_transpose each tap's copy of the input is added to
// sums, as the operation is defined, and of conv what each tap reads. All positions use some weights together, no tile is cut
// at the borders, and the next weights come from memory meanwhile.
#include <algorithm>
#include <array>
#include <vector>

#include "run/maps.hpp"
#include "runtime/memory.hpp"
#include "runtime/pool.hpp"

namespace unstride {

namespace {

constexpr Size tile_input = max_igemm_rows * unpacked_rows;
constexpr Size channels_at_once = 1024;  // of the input: their weights of some columns meet all positions before others
static_assert(max_unpacked_positions <= max_igemm_unpacked_positions);

template <class T>
class UnpackedRunner {
public:
    UnpackedRunner(const Plan& plan, const Kernels<T>& kernels, Grid<const T> in, WeightsView<const T> kernel, const T* bias,
                  Grid<T> out, bool relu)
        : plan(plan), p(plan.problem), kernels(kernels), in(in), kernel(kernel), bias(bias), out(out), relu(relu),
          cells(p.batch * p.out_size(0) * p.out_size(1) * p.out_size(2)),
          limit(static_cast<int>(std::min<Size>(threads_for(plan.vector_operations), plan.items.size()))),
          blocks(static_cast<Size>(plan.columns.size()) - 1),
          shares(p.transposed() ? shares_of_columns() : static_cast<Size>(plan.items.size())),
          width(p.transposed() ? ceil_div(blocks, shares) * unpacked_columns : p.out_channels()),
          room(p.transposed() ? igemm_unpacked_room(std::min(p.in_channels(), channels_at_once), p.lanes) : tile_input),
          input(limit * room), memory(cells * width * (p.transposed() ? limit : shares)) {}

    void all() const { p.transposed() ? by_columns() : by_rows(); }

private:
    const Plan& plan;
    const Problem& p;
    const Kernels<T>& kernels;
    const Grid<const T> in;
    const WeightsView<const T> kernel;
    const T* const bias;
    const Grid<T> out;
    const bool relu;
    const Size cells;         // of the sums
    const int limit;
    const Size blocks;        // of columns
    const Size shares;        // of the work: of conv_transpose some adjacent work items each, of conv one
    const Size width;         // of the sums
    const Size room;          // of a worker
    const Scratch<T> input;   // each worker's, of what some weights meet
    const Scratch<T> memory;  // sums of all cells: each worker's of some columns, or each share's of all

    // Each copies the input, which takes as long as a block of columns does: one or two shares for each thread, unless sums
    // are too many.
    Size shares_of_columns() const {
        const Size usual = blocks < 32 * limit ? limit : 2 * limit;
        const Size least = ceil_div(cells * p.out_channels() * p.bytes, max_unpacked_sums);
        return std::min(std::max(usual, least), blocks);
    }

    Size first_column(Size share) const { return plan.columns[share * blocks / shares]; }

    // Each share computes some columns, and all taps of them: the weights of a tap are adjacent.
    void by_columns() const {
        parallel(shares, limit, [&](Size i, int worker) {
            const Size first = first_column(i), count = first_column(i + 1) - first, depth = p.in_channels();
            T* const own = memory.data() + width * cells * worker;
            begin(own, first, count);
            for (Size tap = 0; tap < plan.subconvolutions(); ++tap)
                for (Size from = 0; from < depth; from += channels_at_once) {
                    const Size end = std::min(from + channels_at_once, depth), here = begin_of(tap) + from;
                    // Wanted next: the following channels, or the first ones of the following tap.
                    Size next = channels_at_once;
                    if (end == depth) next = tap + 1 < plan.subconvolutions() ? begin_of(tap + 1) - here : 0;
                    const Block<T> block{kernel.data + here + first * kernel.big, nullptr, 0, count};
                    add(tap, {from, 0, end - from, 0}, &block, 1, own, next, worker);
                }
            deliver(own, first, count);
        });
    }

    // Each work item adds the products of some rows of weights, of all columns: those rows are adjacent, and read in that order.
    void by_rows() const {
        const Size of_tap = ceil_div(p.in_channels(), unpacked_rows), sums = cells * width;
        parallel(shares, limit, [&](Size i, int worker) {
            const WorkItem& item = plan.items[i];
            T* const own = memory.data() + i * sums;
            std::fill_n(own, sums, T(0));
            std::array<Block<T>, max_unpacked_blocks> some;
            for (Size tap_block = item.tap_block; tap_block < item.tap_block + item.tap_blocks; ++tap_block) {
                const Size tap = tap_block / of_tap, row = tap_block % of_tap * unpacked_rows;
                const Size rows = std::min(unpacked_rows, p.in_channels() - row);
                for (Size k = 0; k < blocks; ++k) {
                    const Size column = plan.columns[k];
                    some[k] = {kernel.data + begin_of(tap) + column, nullptr, column, plan.columns[k + 1] - column};
                }
                add(tap, {row, row, rows, 0}, some.data(), blocks, own, rows * kernel.big, worker);
            }
        });
        add_parts(memory.data(), shares, sums);
        deliver(memory.data(), 0, width, bias);
    }

    void begin(T* sums, Size first, Size columns) const {
        for (Size cell = 0; cell < cells; ++cell, sums += width)
            for (Size k = 0; k < columns; ++k) sums[k] = bias ? bias[first + k] : T(0);
    }

    void deliver(const T* sums, Size first, Size columns, const T* added = nullptr) const {
        for (Size i = 0; i < cells; ++i, sums += width) {
            const Size x = i % p.out_size(2), y = i / p.out_size(2) % p.out_size(1), plane = i / p.out_size(2) / p.out_size(1);
            T* const cell = out.data + plane / p.out_size(0) * out.strides[0] + plane % p.out_size(0) * out.strides[1] +
                            y * out.strides[2] + x * out.strides[3];
            for (Size k = 0; k < columns; ++k) {
                const T sum = added ? sums[k] + added[k] : sums[k];
                cell[first + k] = relu && sum < T(0) ? T(0) : sum;
            }
        }
    }

    // Where a tap's weights begin in the kernel.
    Size begin_of(Size tap) const {
        const Subconvolution sub = plan.subconvolution(tap);
        Size number = 0;
        for (int axis = 0; axis < 3; ++axis) number = number * p.axes[axis].kernel + sub.axis[axis]->index[0];
        return number * kernel.tap;
    }

    // Whether two taps meet the same input, and their weights begin at the same place of a vector.
    bool same_input(Size tap, Size other) const {
        bool same = (begin_of(tap) - begin_of(other)) % p.lanes == 0;
        for (int axis = 0; axis < 3; ++axis) {
            const AxisPhase &a = *plan.subconvolution(tap).axis[axis], &b = *plan.subconvolution(other).axis[axis];
            same = same && a.regions.size() == b.regions.size();
            if (same && !a.regions.empty()) same = a.regions[0].first == b.regions[0].first && a.regions[0].count == b.regions[0].count;
        }
        return same;
    }

    // Some of a tap's products. `next`: how far from the first of their weights those lie that follow.
    void add(Size tap, const InputRun& run, const Block<T>* blocks, Size count, T* own, Size next, int worker) const {
        const Size row = p.out_size(2) * width, plane = p.out_size(1) * row;
        const Grid<T> sums{own, {p.out_size(0) * plane, plane, row, width}};
        Job<T> job{};
        job.in = in.data, job.out = sums.data;
        job.runs = &run, job.run_count = 1;
        job.blocks = blocks, job.block_count = count;
        job.weight_stride = kernel.big;
        job.from = 0, job.to = width;
        job.add = true, job.next = next;
        job.input_copied = tap > 0 && p.transposed() && p.in_channels() <= channels_at_once && same_input(tap, tap - 1);
        job.copies = input.data() + worker * room, job.copy_step = unpacked_rows;
        job.loops.count[0] = p.batch, job.loops.in_step[0] = in.strides[0], job.loops.out_step[0] = sums.strides[0];
        const Subconvolution sub = plan.subconvolution(tap);
        for (int axis = 0; axis < 3; ++axis) {
            const AxisPhase& phase = *sub.axis[axis];
            if (phase.regions.empty()) return;  // cropped as a whole
            const BorderRegion& region = phase.regions[0];
            job.in += (region.first * phase.in_step + phase.shifts[0]) * in.strides[axis + 1];
            job.out += (phase.offset + region.first * phase.step) * sums.strides[axis + 1];
            job.loops.count[axis + 1] = region.count;
            job.loops.in_step[axis + 1] = phase.in_step * in.strides[axis + 1];
            job.loops.out_step[axis + 1] = phase.step * sums.strides[axis + 1];
        }
        (p.transposed() ? kernels.igemm_unpacked : kernels.igemm)(job);
    }
};

}  // namespace

template <class T>
void run_unpacked(const Plan& plan, const Kernels<T>& kernels, Grid<const T> in, WeightsView<const T> kernel, const T* bias,
                  Grid<T> out, bool relu) {
    UnpackedRunner<T>(plan, kernels, in, kernel, bias, out, relu).all();
}

template void run_unpacked(const Plan&, const Kernels<float>&, Grid<const float>, WeightsView<const float>, const float*, Grid<float>,
                           bool);
template void run_unpacked(const Plan&, const Kernels<double>&, Grid<const double>, WeightsView<const double>, const double*,
                           Grid<double>, bool);

}  // namespace unstride
