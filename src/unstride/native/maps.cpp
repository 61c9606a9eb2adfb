// conv and conv_transpose: packs the weights, and hands each box of each piece to its kernel.
#include "maps.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "memory.hpp"
#include "pool.hpp"

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
        if (plan.blockwise)
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

    Size rows(const Phase& phase) const { return phase.taps() * (plan.method == Method::lanes ? 1 : p.in_channels()); }

    void pad_bias(const T* bias) {
        const Size channels = plan.method == Method::lanes ? p.groups : p.out_channels();
        const Size used = plan.method == Method::lanes ? p.groups : plan.cells() * p.out_channels();
        for (Size group = 0; group < group_count; ++group)
            for (Size i = 0; i < columns; ++i)
                padded_bias.data()[group * columns + i] = bias && i < used ? bias[group * channels + i % channels] : T(0);
    }

    // The weights of one block of columns of one pass, as its kernel reads them: (rows, columns) for tiles and for lanes,
    // (columns, rows) for dots. A row is a tap and an input channel.
    void pack(Size group, const Phase& phase, Size block, T* to) const {
        const Size first = plan.columns[block], last = plan.columns[block + 1], width = last - first;
        const Size depth = plan.method == Method::lanes ? 1 : p.in_channels();
        const Size outs = plan.method == Method::lanes ? p.groups : p.out_channels();
        const Pass &y = *phase.axis[1], &x = *phase.axis[2];
        if (rows(phase) > 0 && (plan.gaps || last > y.group * x.group * outs))
            std::memset(to, 0, static_cast<std::size_t>(rows(phase) * width) * sizeof(T));
        Size row = 0;
        for (const Size jz : phase.axis[0]->index)
            for (int ty = 0; ty < y.taps(); ++ty)
                for (int tx = 0; tx < x.taps(); ++tx, row += depth)
                    for (Size cell = first / outs; cell < y.group * x.group && cell * outs < last; ++cell) {
                        const Size jy = y.index[cell / x.group * y.taps() + ty], jx = x.index[cell % x.group * x.taps() + tx];
                        if (jy < 0 || jx < 0) continue;
                        const T* from = kernel.data + tap(jz, jy, jx);
                        const Size begin = std::max(first, cell * outs), end = std::min(last, (cell + 1) * outs);
                        pack_tap(from, group, begin - cell * outs, end - begin, to, row, begin - first, width, rows(phase));
                    }
    }

    // `count` output channels from `channel` on, and all input channels, of one tap.
    void pack_tap(const T* tap, Size group, Size channel, Size count, T* to, Size row, Size column, Size width,
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
                kernels.transpose(from, kernel.big, to + column * height + row, height, p.big_channels, count);
        }
    }

    static void copy(const T* from, Size from_stride, T* to, Size to_stride, Size rows, Size columns) {
        for (Size i = 0; i < rows; ++i)
            std::memcpy(to + i * to_stride, from + i * from_stride, static_cast<std::size_t>(columns) * sizeof(T));
    }

    // Small weights: packed once for all, then every piece computes all passes of its cells.
    void by_area() {
        std::vector<Size> where;  // of each group's and pass's weights; its blocks follow one another
        Size total = 0;
        for (Size group = 0; group < group_count; ++group)
            for (Size i = 0; i < plan.passes(); ++i) {
                where.push_back(total);
                total += (rows(plan.pass(i)) * columns + 15) / 16 * 16;
            }
        Scratch<T> weights(total);
        const Size packs = static_cast<Size>(where.size()) * blocks;
        parallel(packs, total > 1 << 15 ? limit : 1, [&](Size i, int) {
            const Size each = i / blocks, block = i % blocks;
            const Phase phase = plan.pass(each % plan.passes());
            pack(each / plan.passes(), phase, block, weights.data() + where[each] + rows(phase) * plan.columns[block]);
        });
        parallel(static_cast<Size>(plan.pieces.size()), limit, [&](Size i, int worker) {
            std::vector<Block<T>>& all = spaces[worker].blocks;
            for (Size each = 0; each < static_cast<Size>(where.size()); ++each) {
                const Size group = each / plan.passes();
                const Phase phase = plan.pass(each % plan.passes());
                for (Size b = 0; b < blocks; ++b)
                    all[b] = block(group, b, weights.data() + where[each] + rows(phase) * plan.columns[b]);
                compute(plan.pieces[i], group, phase, all.data(), blocks, spaces[worker]);
            }
        });
    }

    // Large weights: every piece packs the blocks that it computes, into memory that stays in its core's cache.
    void by_block() {
        Size most = 0;
        for (const Piece& piece : plan.pieces)
            most = std::max(most, rows(plan.pass(piece.pass % plan.passes())) *
                                      (plan.columns[piece.block + piece.blocks] - plan.columns[piece.block]));
        most = (most + 15) / 16 * 16;
        Scratch<T> weights(most * limit);
        parallel(static_cast<Size>(plan.pieces.size()), limit, [&](Size i, int worker) {
            const Piece& piece = plan.pieces[i];
            const Size group = piece.pass / plan.passes();
            const Phase phase = plan.pass(piece.pass % plan.passes());
            T* to = weights.data() + most * worker;
            std::vector<Block<T>>& some = spaces[worker].blocks;
            for (Size b = piece.block; b < piece.block + piece.blocks; ++b) {
                pack(group, phase, b, to);
                some[b - piece.block] = block(group, b, to);
                to += rows(phase) * (plan.columns[b + 1] - plan.columns[b]);
            }
            compute(piece, group, phase, some.data(), piece.blocks, spaces[worker]);
        });
    }

    Block<T> block(Size group, Size b, const T* weights) const {
        return {weights, padded_bias.data() + group * columns + plan.columns[b], plan.columns[b],
                plan.columns[b + 1] - plan.columns[b]};
    }

    void compute(const Piece& piece, Size group, const Phase& phase, const Block<T>* some, Size count,
                 Space& space) const {
        Job<T> job{};
        job.blocks = some, job.block_count = count;
        job.weight_stride = plan.method == Method::dot ? rows(phase) : columns;
        job.relu = relu;
        job.written = space.written.get(), job.offsets = space.offsets.data();
        job.copies = count >= fewest_copied_for ? space.copies : nullptr, job.copy_step = copy_step;
        for (Box z : phase.axis[0]->boxes) {
            if (!clip(0, *phase.axis[0], piece, z)) continue;
            for (Box y : phase.axis[1]->boxes) {
                if (!clip(1, *phase.axis[1], piece, y)) continue;
                for (Box x : phase.axis[2]->boxes) {
                    if (!clip(2, *phase.axis[2], piece, x)) continue;
                    const Box boxes[3] = {z, y, x};
                    place(piece, group, phase, boxes, job);
                    if (plan.method == Method::dot) list_columns(phase, boxes, some[0].column, some[count - 1], space);
                    connect(phase, boxes, space.segments);
                    job.segments = space.segments.data(), job.segment_count = static_cast<Size>(space.segments.size());
                    (plan.method == Method::tile ? kernels.tile : plan.method == Method::dot ? kernels.dot : kernels.channels)(
                        job);
                }
            }
        }
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

    void place(const Piece& piece, Size group, const Phase& phase, const Box* boxes, Job<T>& job) const {
        job.in = in.data + piece.image * in.strides[0] + group * p.in_channels();
        job.out = out.data + piece.image * out.strides[0] + group * p.out_channels();
        job.walk.count[0] = piece.images, job.walk.in_step[0] = in.strides[0], job.walk.out_step[0] = out.strides[0];
        for (int axis = 0; axis < 3; ++axis) {
            const Pass& pass = *phase.axis[axis];
            const Box& box = boxes[axis];
            job.in += box.first * pass.in_step * in.strides[axis + 1];
            job.out += (pass.offset + box.first * pass.step) * out.strides[axis + 1];
            job.walk.count[axis + 1] = box.count;
            job.walk.in_step[axis + 1] = pass.in_step * in.strides[axis + 1];
            job.walk.out_step[axis + 1] = pass.step * out.strides[axis + 1];
        }
        const Size channels = plan.method == Method::lanes ? p.groups : p.out_channels();
        job.from = boxes[2].cell * channels;
        job.to = (boxes[2].cell + boxes[2].cells) * channels;
    }

    // Where the columns of some blocks lie, for a dot: a column is a cell along y, one along x, and a channel.
    void list_columns(const Phase& phase, const Box* boxes, Size first, const Block<T>& last, Space& space) const {
        const Size outs = p.out_channels(), width = phase.axis[2]->group;
        for (Size column = first; column < last.column + last.columns; ++column) {
            const Size y = column / outs / width, x = column / outs % width;
            space.offsets[column] = y * out.strides[2] + x * out.strides[3] + column % outs;
            space.written[column] = y >= boxes[1].cell && y < boxes[1].cell + boxes[1].cells && x >= boxes[2].cell &&
                                    x < boxes[2].cell + boxes[2].cells;
        }
    }

    // Which input numbers a position reads: along x in one run where the cells are adjacent.
    void connect(const Phase& phase, const Box* boxes, std::vector<Segment>& segments) const {
        segments.clear();
        const Pass &z = *phase.axis[0], &y = *phase.axis[1], &x = *phase.axis[2];
        const Size depth = plan.method == Method::lanes ? 1 : p.in_channels();
        const bool runs = plan.method != Method::lanes && p.groups == 1 && p.dense_in;
        for (int tz = boxes[0].tap; tz < boxes[0].tap + boxes[0].taps; ++tz)
            for (int ty = boxes[1].tap; ty < boxes[1].tap + boxes[1].taps; ++ty)
                for (int tx = boxes[2].tap; tx < boxes[2].tap + boxes[2].taps; ++tx) {
                    const Size row = ((tz * y.taps() + ty) * x.taps() + tx) * depth;
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

template <class T>
bool finite(const Kernels<T>& kernels, Grid<const T> grid, Size batch, const Size size[3], Size channels) {
    const Size rows = batch * size[0] * size[1], row = size[2] * channels;
    const Size some = std::max<Size>((1 << 15) / std::max<Size>(row, 1), 1);  // rows a task
    std::atomic<bool> all{true};
    parallel(ceil_div(rows, some), rows * row > 1 << 16 ? num_threads() : 1, [&](Size task, int) {
        for (Size i = task * some; i < std::min(rows, (task + 1) * some) && all; ++i) {
            const Size image = i / (size[0] * size[1]), z = i / size[1] % size[0], y = i % size[1];
            const T* from = grid.data + image * grid.strides[0] + z * grid.strides[1] + y * grid.strides[2];
            if (!kernels.finite(from, row)) all = false;
        }
    });
    return all;
}

template bool finite(const Kernels<float>&, Grid<const float>, Size, const Size*, Size);
template bool finite(const Kernels<double>&, Grid<const double>, Size, const Size*, Size);

template <class T>
void transpose(const Kernels<T>& kernels, const T* from, T* to, Size batch, Size rows, Size columns) {
    // Strips of the longer side, of about 64 KiB: reading or writing, one of the two is adjacent.
    const bool tall = rows > columns;
    const Size longer = tall ? rows : columns, shorter = tall ? columns : rows;
    const Size strip = std::max<Size>((1 << 16) / sizeof(T) / std::max<Size>(shorter, 1) / 16 * 16, 16);
    const Size strips = ceil_div(longer, strip);
    parallel(batch * strips, batch * rows * columns > 1 << 15 ? num_threads() : 1, [&](Size i, int) {
        const Size image = i / strips * rows * columns, begin = i % strips * strip, count = std::min(strip, longer - begin);
        if (tall)
            kernels.transpose(from + image + begin * columns, columns, to + image + begin, rows, count, columns);
        else
            kernels.transpose(from + image + begin, columns, to + image + begin * rows, rows, rows, count);
    });
}

template void transpose(const Kernels<float>&, const float*, float*, Size, Size, Size);
template void transpose(const Kernels<double>&, const double*, double*, Size, Size, Size);

}  // namespace unstride
