#include "plan/spatial_plan.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/caches.hpp"

namespace unstride {

namespace {

constexpr Size max_of_row = 64;            // columns of one row of results
constexpr Size max_steps = 1 << 14;

Size floor_div(Size a, Size b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

Size positions(const AxisPhase& phase) {
    return phase.regions.empty() ? 0 : phase.regions.back().first + phase.regions.back().count;
}

// An odd number of cache lines, so that planes do not share few cache sets.
Size apart(Size numbers) {
    const Size lines = ceil_div(numbers, 16);
    return (lines + 1 - lines % 2) * 16;
}

Size columns_of_row(const Plan& plan) { return plan.axes[2][0].group * plan.problem.out_channels(); }
Size plane_count(const Plan& plan) {
    return plan.axes[1][0].in_step * plan.axes[2][0].in_step * plan.problem.in_channels();
}

// The places of planes if an area has at most these numbers of positions along y and x, and input cells along z.
Spatial layout(const Plan& plan, Size rows, Size row, Size slabs) {
    const Problem& p = plan.problem;
    Spatial at;
    at.pitch = row + window_of(plan.axes[2][0]).halo();
    at.plane = apart((rows + window_of(plan.axes[1][0]).halo()) * at.pitch);
    at.slab = at.plane * plane_count(plan);
    at.slabs = slabs;
    const Size columns = plan.cells() * p.out_channels();
    at.strip = std::min(std::max<Size>(cache::spatial_strip / (columns * at.pitch * p.bytes), 1), std::max<Size>(rows, 1));
    at.result = apart(std::max(at.strip * at.pitch, spatial_slack));
    return at;
}

Spatial layout_of(const Plan& plan, const std::vector<Area>& areas) {
    Size most[3] = {0, 0, 0}, slabs = 0;
    for (const Area& area : areas) {
        for (int axis = 1; axis < 3; ++axis)
            most[axis] = std::max(most[axis], positions_of(plan, axis, plan.axes[axis][0], area).count);
        slabs = std::max(slabs, slabs_of(plan, area).count);
    }
    return layout(plan, most[1], most[2], slabs);
}

Size bytes_of(const Spatial& at, const Plan& plan) {
    return (at.slab * at.slabs + at.result * plan.cells() * plan.problem.out_channels() + 2 * spatial_slack) *
           plan.problem.bytes;
}

// Calls with each tap and the runs of a block's columns that have it: see(taps, from, to).
template <class See>
void each_step(const Plan& plan, const AxisPhase& z, Size first, Size last, See see) {
    const AxisPhase &y = plan.axes[1][0], &x = plan.axes[2][0];
    const Size outs = plan.problem.out_channels();
    for (int tz = 0; tz < z.taps(); ++tz)
        for (int ty = 0; ty < y.taps(); ++ty)
            for (int tx = 0; tx < x.taps(); ++tx)
                for (Size from = first; from < last;) {
                    auto has = [&](Size column) {
                        const Size cell = column / outs;
                        return y.index[cell / x.group * y.taps() + ty] >= 0 && x.index[cell % x.group * x.taps() + tx] >= 0;
                    };
                    Size to = from;
                    while (to < last && has(to)) ++to;
                    const int taps[3] = {tz, ty, tx};
                    if (to > from) see(taps, static_cast<int>(from - first), static_cast<int>(to - first));
                    from = std::max(to, from + 1);
                }
}

std::vector<Size> cut_spatial_columns(Size columns) {
    const Size blocks = ceil_div(columns, max_spatial_columns);
    std::vector<Size> cuts;
    for (Size i = 0; i <= blocks; ++i) cuts.push_back(i * columns / blocks);
    return cuts;
}

// The cells of the largest areas that fit, or 0. One of several positions reads fewer cells twice.
Size max_cells(const Plan& plan, Size cells) {
    const Size step = plan.axes[plan.split_axis].back().step;
    for (Size some = cells;; some = ceil_div(some, 2)) {
        const Size middle = std::max<Size>((cells - some) / 2, 0);
        std::vector<Area> trial{{0, 1, 0, some}, {0, 1, middle, some}};
        if (bytes_of(layout_of(plan, trial), plan) <= cache::spatial_planes) return some;
        if (some <= step) return 0;
    }
}

}  // namespace

Window window_of(const AxisPhase& phase) {
    Window window{phase.in_step, 0, 0};
    if (phase.shifts.empty()) return window;
    window.first = floor_div(phase.shifts.front(), phase.in_step);
    window.last = floor_div(phase.shifts.back(), phase.in_step);
    return window;
}

Range positions_of(const Plan& plan, int axis, const AxisPhase& phase, const Area& area) {
    const Size all = positions(phase);
    if (axis != plan.split_axis) return {0, all};
    auto position = [&](Size cell) { return std::min(std::max<Size>(ceil_div(cell - phase.offset, phase.step), 0), all); };
    const Size from = area.cell == 0 ? 0 : position(area.cell);
    return {from, std::max<Size>(position(area.cell + area.cells) - from, 0)};
}

Range slabs_of(const Plan& plan, const Area& area) {
    Size first = std::numeric_limits<Size>::max(), end = std::numeric_limits<Size>::min();
    for (const AxisPhase& phase : plan.axes[0]) {
        const Range some = positions_of(plan, 0, phase, area);
        if (some.count == 0 || phase.shifts.empty()) continue;
        first = std::min(first, some.first * phase.in_step + phase.shifts.front());
        end = std::max(end, (some.first + some.count - 1) * phase.in_step + phase.shifts.back() + 1);
    }
    return first < end ? Range{first, end - first} : Range{0, 0};
}

double plan_spatial(Plan& plan) {
    constexpr double never = std::numeric_limits<double>::infinity();
    const Problem& p = plan.problem;
    plan.method = Method::spatial;
    const AxisPhase &y = plan.axes[1][0], &x = plan.axes[2][0];
    const Size columns = plan.cells() * p.out_channels();
    Size taps_z = 0;
    for (const AxisPhase& z : plan.axes[0]) taps_z = std::max<Size>(taps_z, z.taps());
    if (columns_of_row(plan) > max_of_row || columns > 4 * max_of_row ||
        taps_z * y.taps() * x.taps() * columns > max_steps)
        return never;
    plan.split_axis = p.out_size(0) > 1 ? 0 : p.out_size(1) > 1 ? 1 : 2;
    const Size cells = p.out_size(plan.split_axis), most = max_cells(plan, cells);
    if (most == 0) return never;
    plan.columns = cut_spatial_columns(columns);
    // Half cycles for a vector of positions, as in plan.cpp. A load that begins anywhere takes as long as two multiply-adds.
    double steps = 0, z_positions = 0;
    for (const AxisPhase& z : plan.axes[0]) {
        double one = 0;
        for (std::size_t b = 0; b + 1 < plan.columns.size(); ++b)
            each_step(plan, z, plan.columns[b], plan.columns[b + 1],
                      [&](const int*, int from, int to) { one += std::max(1.05 * double(to - from), 2.0) + 0.1; });
        steps += one * double(p.in_channels()) * double(positions(z));
        z_positions += double(positions(z));
    }
    steps /= z_positions;
    const double merged = double(columns_of_row(plan)), split = double(x.in_step * p.in_channels());
    auto moved = [](double n) { return n == 1 ? 3.0 : n <= 8 ? 3 + n / 2 : 8.0; };  // a vector, with loading and storing
    const double results = double(columns) * (3 + moved(merged));
    // What is copied for a vector of positions: more where areas are small compared with what their edges read.
    std::vector<Area> trial{{0, 1, std::max<Size>((cells - most) / 2, 0), most}};
    const Spatial at = layout_of(plan, trial);
    const double rows = double(positions_of(plan, 1, y, trial[0]).count),
                 row = double(positions_of(plan, 2, x, trial[0]).count);
    if (rows * row < 4 * double(p.lanes)) return never;  // next to nothing to share the preparations
    double computed = 0;
    for (const AxisPhase& z : plan.axes[0]) computed += double(positions_of(plan, 0, z, trial[0]).count);
    const double area = (rows + double(window_of(y).halo())) * double(at.pitch) * double(at.slabs) / (rows * row * computed);
    const double copied = double(plane_count(plan)) * moved(split) * area;
    const double waste = std::ceil(rows * double(at.pitch) / double(p.lanes)) * double(p.lanes) / (rows * row);
    // Measured, one core: 1.2 times the sum, from 1 to 100 channels and kernels of 3 to 9. (Three
    // channels to three, kernel 3, stride 2, 128 x 128 cells, two threads: 40 us, 69 with output channels in the lanes; one
    // channel to one, kernel 4, 256 x 256: 37 us and 100; 24 to 2, kernel and stride 4: 67 us and 91.)
    return 1.2 * (waste * (steps + results) + copied) / double(p.lanes) / double(plan.cells());
}

void lay_out_spatial(Plan& plan, Size wanted) {
    const Problem& p = plan.problem;
    const Size cells = p.out_size(plan.split_axis);
    const AxisPhase& cut = plan.axes[plan.split_axis].back();
    const Window edge = window_of(cut);
    const Size parts = std::max<Size>(positions(cut) / std::max<Size>(2 * edge.halo(), 4), 1);
    wanted = std::max(std::min(wanted, p.batch * parts), p.batch * ceil_div(cells, max_cells(plan, cells)));
    std::vector<Area> areas = cut_areas(p.batch, cells, wanted);
    Spatial at = layout_of(plan, areas);
    at.areas = std::move(areas);
    const AxisPhase &y = plan.axes[1][0], &x = plan.axes[2][0];
    const Window sy = window_of(y), sx = window_of(x);
    for (const AxisPhase& z : plan.axes[0])
        for (std::size_t b = 0; b + 1 < plan.columns.size(); ++b) {
            std::vector<Spatial::Step> steps;
            each_step(plan, z, plan.columns[b], plan.columns[b + 1], [&](const int* taps, int from, int to) {
                const Size cell_y = floor_div(y.shifts[taps[1]], sy.step), cell_x = floor_div(x.shifts[taps[2]], sx.step);
                const Size in_y = y.shifts[taps[1]] - cell_y * sy.step, in_x = x.shifts[taps[2]] - cell_x * sx.step;
                const Size offset = (z.shifts[taps[0]] - z.shifts[0]) * at.slab +
                                    (in_y * sx.step + in_x) * p.in_channels() * at.plane +
                                    (cell_y - sy.first) * at.pitch + cell_x - sx.first;
                steps.push_back({offset, from, to, {taps[0], taps[1], taps[2]}});
            });
            // Those of the same columns follow one another.
            std::stable_sort(steps.begin(), steps.end(), [](const Spatial::Step& a, const Spatial::Step& b) {
                return a.from != b.from ? a.from < b.from : a.to < b.to;
            });
            at.steps.push_back(std::move(steps));
        }
    plan.work = std::move(at);
    plan.gaps = false;
    for (const auto& axis : plan.axes)
        for (const AxisPhase& phase : axis)
            for (const BorderRegion& region : phase.regions) plan.gaps = plan.gaps || region.taps < phase.taps();
}

}  // namespace unstride
