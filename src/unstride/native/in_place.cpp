// Large weights that few positions use, tap by tap, where they lie: of conv_transpose each tap's copy of the input is added to
// sums, as the operation is defined, and of conv what each tap reads. Some weights then stay in the first caches for all
// positions, no tile is cut at the borders, and the next weights come from memory meanwhile.
#include <algorithm>
#include <array>
#include <vector>

#include "maps.hpp"
#include "memory.hpp"
#include "pool.hpp"

namespace unstride {

namespace {

constexpr Size most_dot_sums = most_dots * most_dot_columns;  // of a cell
constexpr Size tile_input = most_tile_rows * rows_in_place;

template <class T>
class InPlaceRunner {
public:
    InPlaceRunner(const Plan& plan, const Kernels<T>& kernels, Grid<const T> from, Taps<const T> kernel, const T* bias,
                  Grid<T> out, bool relu)
        : plan(plan), p(plan.problem), kernels(kernels), kernel(kernel), bias(bias), out(out), relu(relu),
          dots(plan.method == Method::dot), cells(p.batch * p.out_size(0) * p.out_size(1) * p.out_size(2)),
          width(dots ? plan.blocks_at_once * most_dot_columns : p.out_channels()),
          limit(static_cast<int>(std::min<Size>(threads_for(plan.vector_operations), plan.pieces.size()))),
          input(dots ? p.batch * p.in_size(0) * p.in_size(1) * p.in_size(2) * input_step(p) : limit * tile_input),
          memory(cells * width * (dots ? limit : static_cast<Size>(plan.pieces.size()))), in(dots ? copy(from) : from) {
        for (Size k = 0; k < most_dot_sums; ++k) offsets[k] = k, written[k] = true;
    }

    void all() const { dots ? by_columns() : by_rows(); }

private:
    const Plan& plan;
    const Problem& p;
    const Kernels<T>& kernels;
    const Taps<const T> kernel;
    const T* const bias;
    const Grid<T> out;
    const bool relu, dots;
    const Size cells, width;  // of the sums
    const int limit;
    const Scratch<T> input;   // dots: a copy of it; tiles: each worker's, of what a tile reads of some rows of weights
    const Scratch<T> memory;  // sums of all cells: each worker's of some columns, or each piece's of all
    const Grid<const T> in;
    Size offsets[most_dot_sums];  // of the columns of the sums: they are adjacent
    bool written[most_dot_sums];

    // Each piece computes some columns, and all taps of them.
    void by_columns() const {
        parallel(static_cast<Size>(plan.pieces.size()), limit, [&](Size i, int worker) {
            const Size end = plan.pieces[i].block + plan.pieces[i].blocks;
            T* const own = memory.data() + cells * width * worker;
            for (Size b = plan.pieces[i].block; b < end; b += plan.blocks_at_once) {
                const Size count = std::min(plan.blocks_at_once, end - b);
                const Size first = plan.columns[b], columns = plan.columns[b + count] - first;
                begin(own, first, columns);
                for (Size tap = 0; tap < plan.passes(); ++tap) {
                    // Wanted next: the following tap of these columns, or the first tap of the following columns.
                    const Size next = tap + 1 < plan.passes() ? begin_of(tap + 1) : columns * kernel.big;
                    add(tap, {0, 0, p.in_channels(), 0}, b, count, own, next - begin_of(tap), nullptr);
                }
                deliver(own, first, columns);
            }
        });
    }

    // Each piece adds the products of some rows of weights, of all columns: those rows are adjacent, and read in that order.
    void by_rows() const {
        const Size pieces = static_cast<Size>(plan.pieces.size()), blocks = static_cast<Size>(plan.columns.size()) - 1;
        const Size of_tap = ceil_div(p.in_channels(), rows_in_place), sums = cells * width;
        parallel(pieces, limit, [&](Size i, int worker) {
            const Piece& piece = plan.pieces[i];
            T* const own = memory.data() + i * sums;
            std::fill_n(own, sums, T(0));
            for (Size slice = piece.slice; slice < piece.slice + piece.slices; ++slice) {
                const Size row = slice % of_tap * rows_in_place, rows = std::min(rows_in_place, p.in_channels() - row);
                add(slice / of_tap, {row, row, rows, 0}, 0, blocks, own, rows * kernel.big, input.data() + worker * tile_input);
            }
        });
        add_parts(memory.data(), pieces, sums);
        deliver(memory.data(), 0, width, bias);
    }

    template <class U>
    static Grid<U> grid(U* data, Size depth, Size height, Size row, Size step) {
        return {data, {depth * height * row * step, height * row * step, row * step, step}};
    }

    // From one position of the copied input to the next: an odd number of cache lines. Where the given one's channels fill 4096
    // bytes, as weights' do, all that a dot reads at a time would share one set of the first-level cache.
    static Size input_step(const Problem& p) {
        constexpr Size line = 64 / Size(sizeof(T));
        return (ceil_div(p.in_channels(), line) | 1) * line;
    }

    Grid<const T> copy(const Grid<const T>& from) const {
        T* to = input.data();
        each_cell(p.in_size(0), p.in_size(1), p.in_size(2), from, [&](const T* cell) {
            std::copy_n(cell, p.in_channels(), to);
            to += input_step(p);
        });
        return grid(static_cast<const T*>(input.data()), p.in_size(0), p.in_size(1), p.in_size(2), input_step(p));
    }

    template <class U, class F>
    void each_cell(Size depth, Size height, Size row, const Grid<U>& of, const F& f) const {
        for (Size image = 0; image < p.batch; ++image)
            for (Size z = 0; z < depth; ++z)
                for (Size y = 0; y < height; ++y)
                    for (Size x = 0; x < row; ++x)
                        f(of.data + image * of.strides[0] + z * of.strides[1] + y * of.strides[2] + x * of.strides[3]);
    }

    void begin(T* sums, Size first, Size columns) const {
        for (Size cell = 0; cell < cells; ++cell, sums += width)
            for (Size k = 0; k < columns; ++k) sums[k] = bias ? bias[first + k] : T(0);
    }

    void deliver(const T* sums, Size first, Size columns, const T* added = nullptr) const {
        each_cell(p.out_size(0), p.out_size(1), p.out_size(2), out, [&](T* cell) {
            for (Size k = 0; k < columns; ++k) {
                const T sum = added ? sums[k] + added[k] : sums[k];
                cell[first + k] = relu && sum < T(0) ? T(0) : sum;
            }
            sums += width;
        });
    }

    // Where a tap's weights begin in the kernel.
    Size begin_of(Size tap) const {
        const Phase phase = plan.pass(tap);
        Size number = 0;
        for (int axis = 0; axis < 3; ++axis) number = number * p.axes[axis].kernel + phase.axis[axis]->index[0];
        return number * kernel.tap;
    }

    // Some of a tap's products, of `count` blocks of columns. `next`: how far from their weights those lie that follow.
    void add(Size tap, const Segment& segment, Size first, Size count, T* own, Size next, T* copies) const {
        const Grid<T> sums = grid(own, p.out_size(0), p.out_size(1), p.out_size(2), width);
        std::array<Block<T>, most_blocks_in_place> blocks;
        for (Size k = 0; k < count; ++k) {
            const Size column = plan.columns[first + k];
            const T* const weights = kernel.data + begin_of(tap) + column * (dots ? kernel.big : 1);
            blocks[k] = {weights, nullptr, column - plan.columns[first], plan.columns[first + k + 1] - column};
        }
        Job<T> job{};
        job.in = in.data, job.out = sums.data;
        job.segments = &segment, job.segment_count = 1;
        job.blocks = blocks.data(), job.block_count = count;
        job.weight_stride = kernel.big;
        job.offsets = offsets, job.written = written;
        job.from = 0, job.to = width;
        job.add = true, job.next = next;
        job.copies = copies, job.copy_step = rows_in_place;
        job.walk.count[0] = p.batch, job.walk.in_step[0] = in.strides[0], job.walk.out_step[0] = sums.strides[0];
        const Phase phase = plan.pass(tap);
        for (int axis = 0; axis < 3; ++axis) {
            const Pass& pass = *phase.axis[axis];
            if (pass.boxes.empty()) return;  // cropped as a whole
            const Box& box = pass.boxes[0];
            job.in += (box.first * pass.in_step + pass.shifts[0]) * in.strides[axis + 1];
            job.out += (pass.offset + box.first * pass.step) * sums.strides[axis + 1];
            job.walk.count[axis + 1] = box.count;
            job.walk.in_step[axis + 1] = pass.in_step * in.strides[axis + 1];
            job.walk.out_step[axis + 1] = pass.step * sums.strides[axis + 1];
        }
        (dots ? kernels.dot : kernels.tile)(job);
    }
};

}  // namespace

template <class T>
void run_in_place(const Plan& plan, const Kernels<T>& kernels, Grid<const T> in, Taps<const T> kernel, const T* bias,
                  Grid<T> out, bool relu) {
    InPlaceRunner<T>(plan, kernels, in, kernel, bias, out, relu).all();
}

template void run_in_place(const Plan&, const Kernels<float>&, Grid<const float>, Taps<const float>, const float*, Grid<float>,
                           bool);
template void run_in_place(const Plan&, const Kernels<double>&, Grid<const double>, Taps<const double>, const double*,
                           Grid<double>, bool);

}  // namespace unstride
