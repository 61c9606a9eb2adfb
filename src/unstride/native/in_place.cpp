// conv_transpose with large weights that few positions use: each tap's copy of the input is added to sums, as the operation is
// defined. A tap's weights of some columns then stay in the first-level cache for all positions, no tile is cut at the borders,
// and the next weights come from memory meanwhile.
#include <algorithm>
#include <vector>

#include "maps.hpp"
#include "memory.hpp"
#include "pool.hpp"

namespace unstride {

namespace {

template <class T>
class InPlaceRunner {
public:
    InPlaceRunner(const Plan& plan, const Kernels<T>& kernels, Grid<const T> from, Taps<const T> kernel, const T* bias,
                  Grid<T> out, bool relu)
        : plan(plan), p(plan.problem), kernels(kernels), kernel(kernel), bias(bias), out(out), relu(relu),
          cells(p.batch * p.out_size(0) * p.out_size(1) * p.out_size(2)), width(plan.blocks_at_once * most_dot_columns),
          limit(static_cast<int>(std::min<Size>(threads_for(plan.vector_operations), plan.pieces.size()))),
          input(p.batch * p.in_size(0) * p.in_size(1) * p.in_size(2) * input_step(p)), memory(cells * width * limit),
          in(grid(static_cast<const T*>(input.data()), p.in_size(0), p.in_size(1), p.in_size(2), input_step(p))) {
        for (Size k = 0; k < width; ++k) offsets[k] = k, written[k] = true;
        copy(from);
    }

    void all() const {
        parallel(static_cast<Size>(plan.pieces.size()), limit, [&](Size i, int worker) {
            const Size end = plan.pieces[i].block + plan.pieces[i].blocks;
            T* const own = memory.data() + cells * width * worker;
            const Grid<T> sums = grid(own, p.out_size(0), p.out_size(1), p.out_size(2), width);
            for (Size b = plan.pieces[i].block; b < end; b += plan.blocks_at_once) {
                const Size count = std::min(plan.blocks_at_once, end - b);
                const Size first = plan.columns[b], columns = plan.columns[b + count] - first;
                begin(sums.data, first, columns);
                for (Size tap = 0; tap < plan.passes(); ++tap) {
                    // Wanted next: the following tap of these columns, or the first tap of the following columns.
                    const Size next = tap + 1 < plan.passes() ? begin_of(tap + 1) : columns * kernel.big;
                    add(tap, b, count, sums, next - begin_of(tap));
                }
                deliver(sums.data, first, columns);
            }
        });
    }

private:
    const Plan& plan;
    const Problem& p;
    const Kernels<T>& kernels;
    const Taps<const T> kernel;
    const T* const bias;
    const Grid<T> out;
    const bool relu;
    const Size cells, width;  // of the sums
    const int limit;
    Scratch<T> input;         // a copy
    const Scratch<T> memory;  // of each worker: sums of all cells and some columns
    const Grid<const T> in;
    Size offsets[most_dots * most_dot_columns];  // of the columns of the sums: they are adjacent
    bool written[most_dots * most_dot_columns];

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

    void copy(const Grid<const T>& from) {
        T* to = input.data();
        each_cell(p.in_size(0), p.in_size(1), p.in_size(2), from, [&](const T* cell) {
            std::copy_n(cell, p.in_channels(), to);
            to += in.strides[3];
        });
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

    void deliver(const T* sums, Size first, Size columns) const {
        each_cell(p.out_size(0), p.out_size(1), p.out_size(2), out, [&](T* cell) {
            for (Size k = 0; k < columns; ++k) cell[first + k] = relu && sums[k] < T(0) ? T(0) : sums[k];
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

    // A tap's copies of the input, of `count` blocks of columns. `next`: how far from their weights those lie that follow.
    void add(Size tap, Size first, Size count, const Grid<T>& sums, Size next) const {
        Block<T> blocks[most_dots];
        for (Size k = 0; k < count; ++k) {
            const Size column = plan.columns[first + k];
            blocks[k] = {kernel.data + column * kernel.big, nullptr, column - plan.columns[first],
                         plan.columns[first + k + 1] - column};
        }
        const Segment segment{0, begin_of(tap), p.in_channels(), 0};
        Job<T> job{};
        job.in = in.data, job.out = sums.data;
        job.segments = &segment, job.segment_count = 1;
        job.blocks = blocks, job.block_count = count;
        job.weight_stride = kernel.big;
        job.offsets = offsets, job.written = written;
        job.add = true, job.next = next;
        job.walk.count[0] = p.batch, job.walk.in_step[0] = in.strides[0], job.walk.out_step[0] = sums.strides[0];
        const Phase phase = plan.pass(tap);
        for (int axis = 0; axis < 3; ++axis) {
            const Pass& pass = *phase.axis[axis];
            if (pass.boxes.empty()) return;  // cropped as a whole
            const Box& box = pass.boxes[0];
            job.in += box.first * in.strides[axis + 1];
            job.out += (pass.offset + box.first * pass.step) * sums.strides[axis + 1];
            job.walk.count[axis + 1] = box.count;
            job.walk.in_step[axis + 1] = in.strides[axis + 1];
            job.walk.out_step[axis + 1] = pass.step * sums.strides[axis + 1];
        }
        kernels.dot(job);
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
