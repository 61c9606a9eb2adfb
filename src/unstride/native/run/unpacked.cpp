// Large weights for few positions, which are not packed: they are read tap by tap, as the kernel has them. Of conv_transpose
// each tap's products are added to sums at the cells that it lays the input down on, of conv to those that read through it. All
// positions use some weights together, no tile is cut at the borders, and the next weights are fetched meanwhile.
#include <algorithm>
#include <array>

#include "run/maps.hpp"
#include "run/split_k.hpp"
#include "runtime/caches.hpp"
#include "runtime/memory.hpp"
#include "runtime/pool.hpp"

namespace unstride {

namespace {

constexpr Size channels_at_once = 1024;  // of the input: their weights of some columns meet all positions before others

template <class T>
class UnpackedRunner : MapCall<T> {
public:
    explicit UnpackedRunner(const MapCall<T>& call)
        : MapCall<T>(call), limit(call.workers()),
          room(p.transposed() ? igemm_unpacked_room(std::min(p.in_channels(), channels_at_once), p.lanes)
                              : max_igemm_rows * unpacked_rows),
          input(limit * room) {}

    void all() const {
        if (const auto* work = std::get_if<UnpackedRows>(&plan.work))
            all_rows(*work);
        else
            by_columns();
    }

private:
    using MapCall<T>::plan, MapCall<T>::p, MapCall<T>::kernels, MapCall<T>::in, MapCall<T>::kernel, MapCall<T>::bias,
        MapCall<T>::out, MapCall<T>::relu;
    const int limit;
    const Size room;         // of a worker
    const Scratch<T> input;  // each worker's copies of what some weights meet

    // Of conv_transpose: each share computes some columns, and all taps of them; the weights of a tap are adjacent. Each copies
    // the input, which takes as long as a block of columns does: one or two shares for each thread, unless sums are too many.
    void by_columns() const {
        const Size cells = p.batch * p.out_size(0) * p.out_size(1) * p.out_size(2), blocks = plan.blocks();
        const Size usual = blocks < 32 * limit ? limit : 2 * limit;
        const Size least = ceil_div(cells * p.out_channels() * p.bytes, cache::unpacked_sums);
        const Size shares = std::min(std::max(usual, least), blocks), width = ceil_div(blocks, shares) * unpacked_columns;
        const Scratch<T> memory(cells * width * limit);
        parallel(shares, limit, [&](Size i, int worker) {
            const Size first = plan.columns[i * blocks / shares], count = plan.columns[(i + 1) * blocks / shares] - first;
            const Size depth = p.in_channels();
            const Grid<T> sums = sums_grid(p, memory.data() + width * cells * worker, width);
            for (Size cell = 0; cell < cells; ++cell)
                for (Size k = 0; k < count; ++k) sums.data[cell * width + k] = bias ? bias[first + k] : T(0);
            for (Size tap = 0; tap < plan.subconvolutions(); ++tap)
                for (Size from = 0; from < depth; from += channels_at_once) {
                    const Size end = std::min(from + channels_at_once, depth), here = weights_of(tap) + from;
                    // Wanted next: the following channels, or the first ones of the following tap.
                    Size next = channels_at_once;
                    if (end == depth) next = tap + 1 < plan.subconvolutions() ? weights_of(tap + 1) - here : 0;
                    const Block<T> block{kernel.data + here + first * kernel.big, nullptr, 0, count};
                    add(tap, {from, 0, end - from, 0}, &block, 1, sums, next, worker);
                }
            write_sums(p, sums.data, width, out, first, count, static_cast<const T*>(nullptr), relu);
        });
    }

    // Of conv: each part adds the products of some rows of weights, of all columns; those rows are adjacent, and read in that
    // order.
    void all_rows(const UnpackedRows& work) const {
        const Size of_tap = ceil_div(p.in_channels(), unpacked_rows);
        split_k(p, work.row_blocks, limit, out, bias, relu, [&](Size k, const Grid<T>& sums, int worker) {
            const Size tap = k / of_tap, row = k % of_tap * unpacked_rows;
            const Size rows = std::min(unpacked_rows, p.in_channels() - row);
            std::array<Block<T>, max_unpacked_blocks> some;
            for (Size b = 0; b < plan.blocks(); ++b) {
                const Size column = plan.columns[b];
                some[b] = {kernel.data + weights_of(tap) + column, nullptr, column, plan.columns[b + 1] - column};
            }
            add(tap, {row, row, rows, 0}, some.data(), plan.blocks(), sums, rows * kernel.big, worker);
        });
    }

    // Where a tap's weights begin in the kernel.
    Size weights_of(Size tap) const {
        const Subconvolution sub = plan.subconvolution(tap);
        Size number = 0;
        for (int axis = 0; axis < 3; ++axis) number = number * p.axes[axis].kernel + sub.axis[axis]->index[0];
        return number * kernel.tap;
    }

    // Whether two taps meet the same input, and their weights begin at the same place of a vector.
    bool same_input(Size tap, Size other) const {
        bool same = (weights_of(tap) - weights_of(other)) % p.lanes == 0;
        for (int axis = 0; axis < 3; ++axis) {
            const AxisPhase &a = *plan.subconvolution(tap).axis[axis], &b = *plan.subconvolution(other).axis[axis];
            same = same && a.regions.size() == b.regions.size();
            if (same && !a.regions.empty())
                same = a.regions[0].first == b.regions[0].first && a.regions[0].count == b.regions[0].count;
        }
        return same;
    }

    // Some of a tap's products. `next`: how far from the first of their weights those lie that follow.
    void add(Size tap, const InputRun& run, const Block<T>* blocks, Size count, const Grid<T>& sums, Size next,
             int worker) const {
        UnpackedJob<T> job{};
        job.in = in.data, job.out = sums.data;
        job.runs = &run, job.run_count = 1;
        job.blocks = blocks, job.block_count = count;
        job.weight_stride = kernel.big;
        job.from = 0, job.to = sums.strides[3];
        job.next = next;
        job.input_copied = tap > 0 && p.transposed() && p.in_channels() <= channels_at_once && same_input(tap, tap - 1);
        job.copies = input.data() + worker * room, job.copy_step = unpacked_rows;
        const Subconvolution sub = plan.subconvolution(tap);
        BorderRegion regions[3];
        for (int axis = 0; axis < 3; ++axis) {
            const AxisPhase& phase = *sub.axis[axis];
            if (phase.regions.empty()) return;  // cropped as a whole
            regions[axis] = phase.regions[0];
            job.in += phase.shifts[0] * in.strides[axis + 1];
        }
        this->place(p.batch, sub, regions, sums, job);
        (p.transposed() ? kernels.igemm_unpacked : kernels.igemm_rows)(job);
    }
};

}  // namespace

template <class T>
void run_unpacked(const MapCall<T>& call) {
    UnpackedRunner<T>(call).all();
}

template void run_unpacked(const MapCall<float>&);
template void run_unpacked(const MapCall<double>&);

}  // namespace unstride
