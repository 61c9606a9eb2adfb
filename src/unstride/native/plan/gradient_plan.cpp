#include "plan/gradient_plan.hpp"

#include <algorithm>

#include "runtime/caches.hpp"

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

constexpr Size enough_tasks = 8;
constexpr Size max_parts = 16;

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
    plan.row_cuts = ceil_div(plan.rows(), product_channels), plan.lane_cuts = ceil_div(plan.lanes(), product_channels);
    const Size sums = std::min(plan.rows(), product_channels) * std::min(plan.lanes(), product_channels);
    plan.tap_cuts = ceil_div(plan.steps(), std::max<Size>(cache::product_sums / sums, 1));
    Size tasks = plan.depthwise ? p.taps() : p.groups * plan.row_cuts * plan.lane_cuts * plan.tap_cuts;
    Size positions = p.batch, cells_big = p.batch;
    for (const Axis& axis : p.axes) positions *= axis.small, cells_big *= axis.big;
    const Size kernel_bytes = std::max<Size>(p.taps() * big * small * p.groups * p.bytes, 1);
    const Size wanted =
        std::min({ceil_div(2 * enough_tasks, tasks), max_parts, positions / 64, cache::product_parts / kernel_bytes});
    const Size parts = tasks >= enough_tasks ? 1 : std::max<Size>(wanted, 1);
    const Size cells = p.axes[plan.split_axis].small;
    // Of the big array a task reads its channels of all cells; or less, where strides are larger than the taps of its own.
    const Size all_cells = std::max(cells_big, positions) * std::min(p.groups * big, product_channels);
    const Size own_taps = ceil_div(plan.steps(), plan.tap_cuts);
    const Size of_taps = positions * own_taps * std::min(plan.runs ? k * big : p.groups * big, product_channels);
    const Size bytes = p.bytes * (positions * std::min(p.groups * small, product_channels) + std::min(all_cells, of_taps));
    for (const Area& part : cut_areas(p.batch, cells, parts)) {
        // (cache::product_input: two cores of a Zen 5, 22 shapes 4% faster than with 192 KiB, as fewer areas begin with lines
        // that nobody has fetched.)
        const Size share = bytes / std::max<Size>(p.batch * cells, 1) * part.images * part.cells;
        std::vector<Area> areas;
        for (Area area : cut_areas(part.images, part.cells, share / cache::product_input + 1)) {
            area.image += part.image, area.cell += part.cell;
            areas.push_back(area);
        }
        plan.parts.push_back(std::move(areas));
    }
    while (plan.parts.size() > static_cast<std::size_t>(parts)) {  // cut_areas may cut more finely than it was asked to
        auto& last = plan.parts.back();
        auto& before = plan.parts[plan.parts.size() - 2];
        before.insert(before.end(), last.begin(), last.end());
        plan.parts.pop_back();
    }
    tasks *= parts;
    if (tasks < enough_tasks)
        plan.tap_cuts = std::min(plan.steps(), plan.tap_cuts * ceil_div(enough_tasks, tasks));
    plan.multiply_adds = double(p.batch * p.groups) * double(big * small);
    for (const AxisPhase& phase : plan.axes) {
        double taps = 0;
        for (const BorderRegion& region : phase.regions) taps += double(region.count) * region.taps;
        plan.multiply_adds *= taps;
    }
    return plan;
}

}  // namespace unstride
