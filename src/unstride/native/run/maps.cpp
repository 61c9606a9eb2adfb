// conv and conv_transpose: packs the weights, and hands each box of each piece to its kernel.
#include "run/maps.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "runtime/memory.hpp"
#include "runtime/pool.hpp"

namespace unstride {

namespace {

constexpr Size most_copied = 640 * 1024;  // bytes a thread, of a tile's input: it should stay in the second-level cache
constexpr Size fewest_copied_for = 2;       // blocks of columns: for one, a copy takes as long as it saves

template <class T>
class Runner {
public:
    Runner(const Plan& plan, const Kernels<T>& kernels, Grid<const T> in, Taps<const T> kernel, const T* bias, Grid<T> out,
           bool relu)
        : plan(plan), p(plan.problem), kernels(kernels), in(in), kernel(kernel), out(out), relu(relu),
          blocks(static_cast<Size>(plan.columns.size()) - 1), columns(plan.columns.back()),
          group_count(plan.method == Method::lanes ? 1 : p.groups),
          limit(static_cast<int>(std::min<Size>(threads_for(plan.vector_operations), std::max<Size>(plan.pieces.size(), 1)))),
          padded_bias(columns * group_count), most_taps(taps_of(plan)), copy_step(step_of_copies()),
          copies(limit * most_tile_rows * copy_step), spaces(limit) {
        for (Space& space : spaces) {
            space.segments.reserve(static_cast<std::size_t>(most_taps)), space.blocks.resize(blocks);
            if (plan.method == Method::dot) space.offsets.resize(columns), space.written = std::make_unique<bool[]>(columns);
        }
        for (std::size_t worker = 0; copy_step && worker < spaces.size(); ++worker)
            spaces[worker].copies = copies.data() + static_cast<Size>(worker) * most_tile_rows * copy_step;
        pad_bias(bias);
    }

    void all() {
        if (plan.slicewise)
            by_slice();
        else if (plan.blockwise)
            by_block();
        else
            by_area();
    }

private:
    const Plan& plan;
    const Problem& p;
    const Kernels<T>& kernels;
    const Grid<const T> in;
    const Taps<const T> kernel;
    const Grid<T> out;
    const bool relu;
    const Size blocks, columns, group_count;
    const int limit;
    Scratch<T> padded_bias;
    const Size most_taps;  // of any phase
    const Size copy_step;  // tile: from one position's copy to the next, or 0 where none is needed
    Scratch<T> copies;

    // What a worker fills for a job. Allocated beforehand: a task must not throw.
    struct Space {
        std::vector<Block<T>> blocks;
        std::vector<Segment> segments;
        std::vector<Size> offsets;  // these two of each column, for dots
        std::unique_ptr<bool[]> written;
        T* copies = nullptr;
    };
    std::vector<Space> spaces;

    static Size taps_of(const Plan& plan) {
        Size taps = 1;
        for (const auto& axis : plan.axes) {
            int most = 0;
            for (const Pass& one : axis) most = std::max(most, one.taps());
            taps *= most;
        }
        return taps;
    }

    // Of positions that share lines of the first-level cache (tile.hpp): an odd number of lines, so that copies do not.
    Size step_of_copies() const {
        constexpr Size line = 64 / Size(sizeof(T)), shared = 4096 / Size(sizeof(T));
        if (plan.method != Method::tile || plan.axes[2][0].in_step * in.strides[3] % shared != 0) return 0;
        const Size step = (ceil_div(most_taps * p.in_channels(), line) | 1) * line;
        return most_tile_rows * step * Size(sizeof(T)) <= most_copied ? step : 0;
    }

    // Where a tap's weights begin in the kernel.
    Size tap(Size z, Size y, Size x) const { return ((z * p.axes[1].kernel + y) * p.axes[2].kernel + x) * kernel.tap; }

    static Size taps(const Slice& slice, int axis) { return std::max(slice.end[axis] - slice.first[axis], 0); }

    // Those taps of a slice that a pass has.
    static Slice part(const Slice& slice, const Phase& phase) {
        Slice some = slice;
        for (int axis = 0; axis < 3; ++axis) some.end[axis] = std::min(slice.end[axis], phase.axis[axis]->taps());
        return some;
    }

    Size rows(const Phase& phase, const Slice& slice) const {
        const Slice some = part(slice, phase);
        return taps(some, 0) * taps(some, 1) * taps(some, 2) * (plan.method == Method::lanes ? 1 : p.in_channels());
    }

    void pad_bias(const T* bias) {
        const Size channels = plan.method == Method::lanes ? p.groups : p.out_channels();
        const Size used = plan.method == Method::lanes ? p.groups : plan.cells() * p.out_channels();
        for (Size group = 0; group < group_count; ++group)
            for (Size i = 0; i < columns; ++i)
                padded_bias.data()[group * columns + i] = bias && i < used ? bias[group * channels + i % channels] : T(0);
    }

    // The weights of some columns of a slice of one pass, as their kernel reads them: (rows, columns) for tiles and for lanes,
    // (columns, rows) for dots. A row is a tap and an input channel.
    void pack(Size group, const Phase& phase, const Slice& slice, Size first, Size last, T* to) const {
        const Size width = last - first, height = rows(phase, slice);
        const Slice some = part(slice, phase);
        const Size depth = plan.method == Method::lanes ? 1 : p.in_channels();
        const Size outs = plan.method == Method::lanes ? p.groups : p.out_channels();
        const Pass &y = *phase.axis[1], &x = *phase.axis[2];
        if (height > 0 && (plan.gaps || last > y.group * x.group * outs))
            std::memset(to, 0, static_cast<std::size_t>(height * width) * sizeof(T));
        // Taps that are adjacent in the kernel, as those of one cell of a plain convolution are, are turned together.
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
                        const T* from = kernel.data + tap(phase.axis[0]->index[tz], jy, jx);
                        const Size begin = std::max(first, cell * outs), end = std::min(last, (cell + 1) * outs);
                        pack_taps(from, group, begin - cell * outs, end - begin, together, to, row, begin - first, width,
                                  height);
                    }
    }

    // `count` output channels from `channel` on, and all input channels, of one tap or several that are adjacent.
    void pack_taps(const T* tap, Size group, Size channel, Size count, Size taps, T* to, Size row, Size column, Size width,
                   Size height) const {
        if (plan.method == Method::lanes) {
            std::memcpy(to + row * width, tap, static_cast<std::size_t>(count) * sizeof(T));
        } else if (p.transposed()) {
            const T* from = tap + channel * kernel.big + group * p.small_channels;
            if (plan.method == Method::tile)
                kernels.transpose(from, kernel.big, to + row * width + column, width, count, p.small_channels);
            else
                copy(from, kernel.big, to + column * height + row, height, count, p.small_channels);
        } else {
            const T* from = tap + group * p.small_channels + channel;
            if (plan.method == Method::tile)
                copy(from, kernel.big, to + row * width + column, width, p.big_channels, count);
            else
                kernels.transpose(from, kernel.big, to + column * height + row, height, taps * p.big_channels, count);
        }
    }

    static void copy(const T* from, Size from_stride, T* to, Size to_stride, Size rows, Size columns) {
        for (Size i = 0; i < rows; ++i)
            std::memcpy(to + i * to_stride, from + i * from_stride, static_cast<std::size_t>(columns) * sizeof(T));
    }

    // Small weights, and those of dots whose sums are many: packed once for all, then every piece computes all passes of its
    // cells.
    void by_area() {
        const Size slices = static_cast<Size>(plan.slices.size()), parts = group_count * plan.passes() * slices;
        std::vector<Size> where;  // of each group's, pass's and slice's weights; its blocks follow one another
        Size total = 0;
        for (Size i = 0; i < parts; ++i) {
            where.push_back(total);
            total += (rows(pass_of(i / slices), plan.slices[i % slices]) * columns + 15) / 16 * 16;
        }
        Scratch<T> weights(total);
        parallel(parts * blocks, total > 1 << 15 ? limit : 1, [&](Size i, int) {
            const Size each = i / blocks, block = i % blocks;
            const Phase phase = pass_of(each / slices);
            const Slice& slice = plan.slices[each % slices];
            pack(each / slices / plan.passes(), phase, slice, plan.columns[block], plan.columns[block + 1],
                 weights.data() + where[each] + rows(phase, slice) * plan.columns[block]);
        });
        parallel(static_cast<Size>(plan.pieces.size()), limit, [&](Size i, int worker) {
            for (Size each = 0; each < parts; ++each)
                compute(plan.pieces[i], each / slices, plan.slices[each % slices], 0, blocks, weights.data() + where[each], out,
                        spaces[worker]);
        });
    }

    // Large weights: every piece packs the blocks that it computes, into memory that stays in its core's cache.
    void by_block() {
        const Slice& whole = plan.slices[0];
        Size most = 0;
        for (const Piece& piece : plan.pieces)
            most = std::max(most, rows(pass_of(piece.pass), whole) *
                                      (plan.columns[piece.block + piece.blocks] - plan.columns[piece.block]));
        most = (most + 15) / 16 * 16;
        Scratch<T> weights(most * limit);
        parallel(static_cast<Size>(plan.pieces.size()), limit, [&](Size i, int worker) {
            const Piece& piece = plan.pieces[i];
            const Phase phase = pass_of(piece.pass);
            T* const own = weights.data() + most * worker;
            T* to = own;
            for (Size b = piece.block; b < piece.block + piece.blocks; ++b) {
                pack(piece.pass / plan.passes(), phase, whole, plan.columns[b], plan.columns[b + 1], to);
                to += rows(phase, whole) * (plan.columns[b + 1] - plan.columns[b]);
            }
            compute(piece, piece.pass, whole, piece.block, piece.blocks, own, out, spaces[worker]);
        });
    }

    // Large weights for few sums: every piece packs and uses its slices of them, for sums of all cells that are its own.
    void by_slice() {
        const Size pieces = static_cast<Size>(plan.pieces.size()), outs = p.out_channels();
        const Size row = p.out_size(2) * outs, plane = p.out_size(1) * row, image = p.out_size(0) * plane;
        const Size sums = p.batch * image;
        Size most = 0;
        for (Size pass = 0; pass < plan.passes(); ++pass)
            for (const Slice& slice : plan.slices) most = std::max(most, rows(pass_of(pass), slice));
        most = (most * columns + 15) / 16 * 16;
        Scratch<T> weights(most * limit), memory(sums * pieces);
        parallel(pieces, limit, [&](Size i, int worker) {
            const Piece& piece = plan.pieces[i];
            T* const own = weights.data() + most * worker;
            const Grid<T> to{memory.data() + i * sums, {image, plane, row, outs}};
            std::memset(to.data, 0, static_cast<std::size_t>(sums) * sizeof(T));
            for (Size slice = piece.slice; slice < piece.slice + piece.slices; ++slice)
                for (Size pass = 0; pass < plan.passes(); ++pass) {
                    pack(0, pass_of(pass), plan.slices[slice], 0, columns, own);
                    compute(piece, pass, plan.slices[slice], 0, blocks, own, to, spaces[worker]);
                }
        });
        add_parts(memory.data(), pieces, sums);
        deliver(memory.data());
    }

    void deliver(const T* sums) const {
        const Size outs = p.out_channels();
        for (Size image = 0; image < p.batch; ++image)
            for (Size z = 0; z < p.out_size(0); ++z)
                for (Size y = 0; y < p.out_size(1); ++y)
                    for (Size x = 0; x < p.out_size(2); ++x, sums += outs) {
                        T* const to = out.data + image * out.strides[0] + z * out.strides[1] + y * out.strides[2] +
                                      x * out.strides[3];
                        for (Size k = 0; k < outs; ++k) {
                            const T sum = sums[k] + padded_bias.data()[k];
                            to[k] = relu && sum < T(0) ? T(0) : sum;
                        }
                    }
    }

    Phase pass_of(Size number) const { return plan.pass(number % plan.passes()); }  // passes of all groups are counted

    // Some blocks of columns, whose packed weights follow one another, of a slice of a pass, to where `to` has them.
    void compute(const Piece& piece, Size number, const Slice& slice, Size first, Size count, const T* weights,
                 const Grid<T>& to, Space& space) const {
        const Size group = number / plan.passes(), height = rows(pass_of(number), slice);
        const Phase phase = pass_of(number);
        for (Size b = 0; b < count; ++b) {
            const Size column = plan.columns[first + b], width = plan.columns[first + b + 1] - column;
            space.blocks[b] = {weights, padded_bias.data() + group * columns + column, column, width};
            weights += height * width;
        }
        const Slice some = part(slice, phase);
        Job<T> job{};
        job.weight_stride = plan.method == Method::dot ? height : columns;
        job.written = space.written.get(), job.offsets = space.offsets.data();
        job.copies = count >= fewest_copied_for ? space.copies : nullptr, job.copy_step = copy_step;
        // Of several slices each meets all positions with the weights of one block, which stay in the first-level cache.
        const Size together = plan.slices.size() > 1 ? 1 : count;
        for (Box z : phase.axis[0]->boxes) {
            if (!clip(0, *phase.axis[0], piece, z)) continue;
            for (Box y : phase.axis[1]->boxes) {
                if (!clip(1, *phase.axis[1], piece, y)) continue;
                for (Box x : phase.axis[2]->boxes) {
                    if (!clip(2, *phase.axis[2], piece, x)) continue;
                    Box boxes[3] = {z, y, x};
                    if (!cut(some, boxes, job)) continue;
                    place(piece, group, phase, boxes, to, job);
                    if (plan.method == Method::dot)
                        list_columns(phase, boxes, to, space.blocks[0].column, space.blocks[count - 1], space);
                    connect(phase, some, boxes, space.segments);
                    job.segments = space.segments.data(), job.segment_count = static_cast<Size>(space.segments.size());
                    for (Size b = 0; b < count; b += together) {
                        job.blocks = space.blocks.data() + b, job.block_count = together;
                        job.fresh = b == 0 && boxes[1].taps <= phase.axis[1]->in_step;
                        compute(job);
                    }
                }
            }
        }
    }

    void compute(const Job<T>& job) const {
        (plan.method == Method::tile ? kernels.tile : plan.method == Method::dot ? kernels.dot : kernels.channels)(job);
    }

    // Leaves of a box's taps those of the slice. The first of its slices writes, the others add, the last one rectifies.
    bool cut(const Slice& some, Box* boxes, Job<T>& job) const {
        bool empty = false, first = true, last = true, any = true;
        for (int axis = 0; axis < 3; ++axis) empty = empty || boxes[axis].taps == 0;
        for (int axis = 0; axis < 3; ++axis) {
            Box& box = boxes[axis];
            const int from = box.tap, end = box.tap + box.taps;
            first = first && (empty ? some.first[axis] == 0 : some.first[axis] <= from && from < some.end[axis]);
            last = last && some.first[axis] < end && end <= some.end[axis];
            box.tap = std::max(from, some.first[axis]);
            box.taps = std::min(end, some.end[axis]) - box.tap;
            any = any && box.taps > 0;
        }
        job.add = plan.slicewise || !first, job.relu = relu && (empty || last) && !plan.slicewise;
        return first || any;
    }

    // The positions of `box` whose first cell lies in the piece.
    bool clip(int axis, const Pass& pass, const Piece& piece, Box& box) const {
        if (axis != plan.split_axis) return box.count > 0;
        auto position = [&](Size cell) { return ceil_div(cell - pass.offset, pass.step); };
        const Size from = piece.cell == 0 ? 0 : position(piece.cell);
        const Size to = position(piece.cell + piece.cells);
        const Size end = std::min(box.first + box.count, to);
        box.first = std::max(box.first, from);
        box.count = end - box.first;
        return box.count > 0;
    }

    void place(const Piece& piece, Size group, const Phase& phase, const Box* boxes, const Grid<T>& to, Job<T>& job) const {
        job.in = in.data + piece.image * in.strides[0] + group * p.in_channels();
        job.out = to.data + piece.image * to.strides[0] + group * p.out_channels();
        job.walk.count[0] = piece.images, job.walk.in_step[0] = in.strides[0], job.walk.out_step[0] = to.strides[0];
        for (int axis = 0; axis < 3; ++axis) {
            const Pass& pass = *phase.axis[axis];
            const Box& box = boxes[axis];
            job.in += box.first * pass.in_step * in.strides[axis + 1];
            job.out += (pass.offset + box.first * pass.step) * to.strides[axis + 1];
            job.walk.count[axis + 1] = box.count;
            job.walk.in_step[axis + 1] = pass.in_step * in.strides[axis + 1];
            job.walk.out_step[axis + 1] = pass.step * to.strides[axis + 1];
        }
        const Size channels = plan.method == Method::lanes ? p.groups : p.out_channels();
        job.from = boxes[2].cell * channels;
        job.to = (boxes[2].cell + boxes[2].cells) * channels;
    }

    // Where the columns of some blocks lie, for a dot: a column is a cell along y, one along x, and a channel.
    void list_columns(const Phase& phase, const Box* boxes, const Grid<T>& to, Size first, const Block<T>& last,
                      Space& space) const {
        const Size outs = p.out_channels(), width = phase.axis[2]->group;
        for (Size column = first; column < last.column + last.columns; ++column) {
            const Size y = column / outs / width, x = column / outs % width;
            space.offsets[column] = y * to.strides[2] + x * to.strides[3] + column % outs;
            space.written[column] = y >= boxes[1].cell && y < boxes[1].cell + boxes[1].cells && x >= boxes[2].cell &&
                                    x < boxes[2].cell + boxes[2].cells;
        }
    }

    // Which input numbers a position reads: along x in one run where the cells are adjacent.
    void connect(const Phase& phase, const Slice& some, const Box* boxes, std::vector<Segment>& segments) const {
        segments.clear();
        const Pass &z = *phase.axis[0], &y = *phase.axis[1], &x = *phase.axis[2];
        const Size depth = plan.method == Method::lanes ? 1 : p.in_channels();
        const bool runs = plan.method != Method::lanes && p.groups == 1 && p.dense_in;
        for (int tz = boxes[0].tap; tz < boxes[0].tap + boxes[0].taps; ++tz)
            for (int ty = boxes[1].tap; ty < boxes[1].tap + boxes[1].taps; ++ty)
                for (int tx = boxes[2].tap; tx < boxes[2].tap + boxes[2].taps; ++tx) {
                    const Size plane = (tz - some.first[0]) * taps(some, 1) + ty - some.first[1];
                    const Size row = (plane * taps(some, 2) + tx - some.first[2]) * depth;
                    const bool follows = tx > boxes[2].tap && x.shifts[tx] == x.shifts[tx - 1] + 1;
                    if (runs && follows) {
                        segments.back().length += depth;
                    } else {
                        const Size copy = segments.empty() ? 0 : segments.back().copy + segments.back().length;
                        segments.push_back({z.shifts[tz] * in.strides[1] + y.shifts[ty] * in.strides[2] +
                                                x.shifts[tx] * in.strides[3],
                                            row, depth, copy});
                    }
                }
    }
};

}  // namespace

int threads_for(double vector_operations) { return vector_operations < short_work ? 1 : num_threads(); }

template <class T>
void run(const Plan& plan, const Kernels<T>& kernels, Grid<const T> in, Taps<const T> kernel, const T* bias, Grid<T> out,
         bool relu) {
    if (plan.method == Method::planes)
        run_planes(plan, kernels, in, kernel, bias, out, relu);
    else if (plan.in_place)
        run_in_place(plan, kernels, in, kernel, bias, out, relu);
    else
        Runner<T>(plan, kernels, in, kernel, bias, out, relu).all();
}

template void run(const Plan&, const Kernels<float>&, Grid<const float>, Taps<const float>, const float*, Grid<float>, bool);
template void run(const Plan&, const Kernels<double>&, Grid<const double>, Taps<const double>, const double*, Grid<double>,
                  bool);

}  // namespace unstride
