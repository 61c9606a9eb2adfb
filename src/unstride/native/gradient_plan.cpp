#include "gradient_plan.hpp"

#include <algorithm>

namespace unstride {

namespace {

// Cycles a position of a tile of `rows` broadcast numbers and `lanes` lanes: two multiply-adds or two loads a cycle, and no
// sum sooner than four cycles after the one before.
double cost(Size rows, Size lanes, int width) {
    const double vectors = double((lanes + width - 1) / width);
    const double c = vectors == 1 ? 1 : rows <= 4 && vectors >= 6 ? 6 : 2;
    const double most = c == 6 ? 4 : c == 1 ? 14 : 12;
    const double tiles = double(Size((double(rows) + most - 1) / most));
    const double r = double(rows) / tiles;
    const double cycles = std::max({r * c / 2, (r + c) / 2, 4.0});
    return tiles * double(Size((vectors + c - 1) / c)) * cycles;
}

constexpr Size parted_kernel = 64 * 1024;  // bytes: sixteen of them are 1 MiB
constexpr Size most_parts = 16;
constexpr Size piece_bytes = 256 * 1024;    // of both grids: stays in the second-level cache
constexpr Size slice = 128;                 // channels of both that a task of a large kernel reads

}  // namespace

GradientPlan make_gradient_plan(const Problem& problem) {
    GradientPlan plan;
    plan.problem = problem;
    const Problem& p = problem;
    for (int axis = 0; axis < 3; ++axis) plan.axes[axis] = sweep(p.axes[axis], 1)[0];
    const Size k = p.axes[2].kernel, big = p.big_channels, small = p.small_channels;
    plan.depthwise = p.groups > 1 && big == 1 && small == 1;
    double best = -1;
    for (bool runs : {false, true}) {
        if (runs && (k == 1 || p.axes[2].dilation != 1 || !p.dense_in || p.groups != 1)) continue;
        const double repeat = runs ? 1 : double(k);
        const Size run = runs ? k * big : big;
        for (bool big_in_lanes : {false, true}) {
            const double now = repeat * (big_in_lanes ? cost(small, run, p.lanes) : cost(run, small, p.lanes));
            if (best >= 0 && now >= 0.97 * best) continue;
            best = now, plan.runs = runs, plan.big_in_lanes = big_in_lanes;
        }
    }
    plan.split_axis = p.axes[0].small > 1 ? 0 : p.axes[1].small > 1 ? 1 : 2;
    const Size cells = p.axes[plan.split_axis].small;
    Size positions = p.batch, cells_big = p.batch;
    for (const Axis& axis : p.axes) positions *= axis.small, cells_big *= axis.big;
    const Size kernel_bytes = p.taps() * big * small * p.groups * p.bytes;
    const bool parted = kernel_bytes <= parted_kernel;
    // Bytes of both grids that one position adds to what a task reads.
    const Size small_bytes = (parted ? p.groups * small : std::min(p.groups * small, slice)) * p.bytes;
    const Size big_bytes = (parted ? p.groups * big : std::min(p.groups * big, slice)) * p.bytes;
    const Size bytes = positions * small_bytes + std::max(cells_big, positions) * big_bytes;
    const Size parts = parted ? std::min(most_parts, std::max<Size>(positions / 64, 1)) : 1;
    for (const Piece& part : cut_areas(p.batch, cells, parts)) {
        const Size share = bytes / std::max<Size>(p.batch * cells, 1) * part.images * part.cells;
        std::vector<Piece> pieces;
        for (Piece piece : cut_areas(part.images, part.cells, share / piece_bytes + 1)) {
            piece.image += part.image, piece.cell += part.cell;
            pieces.push_back(piece);
        }
        plan.parts.push_back(std::move(pieces));
    }
    if (!parted && plan.parts.size() > 1) {  // cut_areas may cut more finely than it was asked to
        for (std::size_t i = 1; i < plan.parts.size(); ++i)
            plan.parts[0].insert(plan.parts[0].end(), plan.parts[i].begin(), plan.parts[i].end());
        plan.parts.resize(1);
    }
    plan.multiply_adds = double(p.batch * p.groups) * double(big * small);
    for (const Pass& pass : plan.axes) {
        double taps = 0;
        for (const Box& box : pass.boxes) taps += double(box.count) * box.taps;
        plan.multiply_adds *= taps;
    }
    return plan;
}

}  // namespace unstride
