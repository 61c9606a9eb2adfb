#include "plan/plan.hpp"

#include <algorithm>

#include "plan/spatial_plan.hpp"
#include "runtime/caches.hpp"

namespace unstride {

constexpr Size max_areas = 4096;

std::vector<Area> cut_areas(Size batch, Size cells, Size wanted) {
    std::vector<Area> areas;
    if (batch < 1 || cells < 1) return areas;
    const Size units = std::max<Size>(std::min({batch * cells, wanted, max_areas}), 1);
    if (units <= batch) {
        for (Size i = 0; i < units; ++i) {
            Size from = i * batch / units, to = (i + 1) * batch / units;
            areas.push_back({from, to - from, 0, cells});
        }
        return areas;
    }
    const Size parts = std::min(ceil_div(units, batch), cells);
    for (Size image = 0; image < batch; ++image)
        for (Size i = 0; i < parts; ++i) {
            Size from = i * cells / parts, to = (i + 1) * cells / parts;
            areas.push_back({image, 1, from, to - from});
        }
    return areas;
}

namespace {

constexpr Size max_unpacked_conv_positions = 64;  // of a tap
constexpr Size max_parts = 8;  // whose sums are added afterwards
constexpr Size max_columns = 4096;  // of a position that computes several cells
constexpr Size max_merged_spatial_columns = 128;  // the same with positions in the lanes

bool adjacent(const AxisPhase& phase) {
    for (int t = 1; t < phase.taps(); ++t)
        if (phase.shifts[t] != phase.shifts[t - 1] + 1) return false;
    return true;
}

bool gaps(const std::vector<AxisPhase>& phases) {
    return std::any_of(phases.begin(), phases.end(), [](const AxisPhase& phase) {
        return std::count(phase.index.begin(), phase.index.end(), -1) > 0;
    });
}

// Half cycles (one vector operation each) for an output cell, all channels of a group. What a tile adds to its products
// (pointers, loading the bias, storing) was fitted to the reading's first layer, 9 products a cell, where it is half of the
// time. A dot loads its input at any address: that costs a whole cycle, as every second load straddles two cache lines.
double cost(const Problem& p, Method method, const std::vector<AxisPhase>& y, const std::vector<AxisPhase>& x) {
    const Axis& z = p.axes[0];
    const double planes = p.transposed() ? double(z.kernel) / double(z.stride) : double(z.kernel);
    double total = 0, cells = 0;
    for (const AxisPhase& row : y)
        for (const AxisPhase& phase : x) {
            const double rows = planes * row.taps();
            const Size columns = row.group * phase.group * p.out_channels();
            if (method == Method::igemm) {
                const double vectors = double(ceil_div(columns, p.lanes));
                const double narrow = vectors == 1 ? 1.1 : 1.0;
                total += vectors * (rows * phase.taps() * double(p.in_channels()) * narrow + 2) + 4;
            } else {
                const bool one_run = adjacent(phase) && p.dense_in && p.groups == 1;
                const Size run = p.in_channels() * (one_run ? phase.taps() : 1);
                const double loads = rows * double(ceil_div(run, p.lanes) * (one_run ? 1 : phase.taps()));
                const double fresh = rows * double(p.in_channels() * std::min<Size>(phase.in_step, phase.taps())) / p.lanes;
                // Sums of adjacent cells are stored at once, others number by number.
                const double each = phase.group == phase.step ? 3.5 : 8;
                total += std::max(loads * double(columns) * 1.3, 2 * loads) + 1.5 * fresh + double(columns) * each + 4;
            }
            cells += double(row.group * phase.group);
        }
    return total / cells;
}

Size unpacked_block(const Problem& p) { return p.transposed() ? unpacked_columns : 2 * p.lanes; }

Size sum_bytes(const Problem& p) {  // of one block's columns, unpacked
    return std::max<Size>(p.batch * p.out_size(0) * p.out_size(1) * p.out_size(2) * unpacked_block(p) * p.bytes, 1);
}

// Whether the weights are too many to stay in the cache while few positions use each of them: they are then read once, as
// they lie, for packing them would take longer than using them does. (Two cores of a Zen 5, microseconds unpacked and packed:
// DCGAN's first layer for one image 740 and 1140; 16 positions, 4 x 4 taps of 128 to 256 channels 50 and 72; 27 positions,
// 3 x 3 x 3 taps of 128 to 128 channels 47 and 122; 25 positions, 8 x 8 taps of 256 to 32 channels 86 and 84; 36 positions,
// 4 x 4 taps of 128 to 256 channels 115 and 93; 48 positions, 4 x 4 taps of 1024 to 512 channels 2020 and 2120. Gradients of
// the input: DCGAN's first layer 690 and 2430; 100 positions of 512 to 512 channels 140 and 120.)
bool reads_unpacked(const Problem& p) {
    const Size weights = p.taps() * p.in_channels() * p.out_channels() * p.bytes;
    if (p.groups > 1 || weights <= cache::weights || sum_bytes(p) > cache::unpacked_sums) return false;
    Size of_phase = p.batch, of_tap = p.batch;  // positions
    for (const Axis& axis : p.axes) of_phase *= ceil_div(axis.big, axis.stride), of_tap *= axis.small;
    const Size block = unpacked_block(p), outs = p.out_channels();
    if (!p.transposed())
        return of_tap <= max_unpacked_conv_positions && p.in_channels() >= unpacked_rows && outs % block == 0 &&
               outs <= max_unpacked_blocks * block && 4 * outs / block * sum_bytes(p) <= cache::split_k_sums;
    // Many positions are several tiles, which turn the weights each.
    const Size most = p.in_channels() >= 32 * p.lanes ? max_unpacked_positions : 27;
    return of_phase <= most && p.in_channels() >= 4 * p.lanes && outs >= 5 * block;
}

// Positions in the lanes, with the cells of one or more steps along y together: each number that is loaded serves them all.
void consider_spatial(Plan& plan, double best) {
    const Problem& p = plan.problem;
    const Axis &a = p.axes[2], &b = p.axes[1];
    const Size unit_x = p.transposed() ? a.stride : 1, unit_y = p.transposed() ? b.stride : 1;
    if (unit_x * p.out_channels() > max_merged_spatial_columns) return;
    Plan trial = plan;
    trial.axes[2] = p.transposed() ? merged_phases(a, unit_x) : sweep(a, 1);
    for (Size steps : {1, 2, 4}) {
        const Size group = steps * unit_y;
        if (group * unit_x * p.out_channels() > max_merged_spatial_columns || (steps > 1 && group >= p.out_size(1))) break;
        trial.axes[1] = p.transposed() ? merged_phases(b, group) : sweep(b, group);
        const double now = plan_spatial(trial);
        if (now < 0.97 * best) best = now, plan = trial, plan.vector_operations = now;
    }
}

// The method and the phases along y and x that the cost rule likes best: phases one by one, or cells in groups that fill
// the lanes.
void choose(Plan& plan) {
    const Problem& p = plan.problem;
    const Axis &a = p.axes[2], &b = p.axes[1];
    auto plain = [&](const Axis& axis) { return p.transposed() ? phases(axis) : sweep(axis, 1); };
    for (int axis = 0; axis < 3; ++axis) plan.axes[axis] = plain(p.axes[axis]);
    if (p.groups > 1 && p.small_channels == 1 && p.big_channels == 1) {
        plan.method = Method::depthwise;
        return;
    }
    if (reads_unpacked(p)) {
        if (p.transposed())
            plan.work = UnpackedColumns{};
        else
            plan.work = UnpackedRows{};
        for (int axis = 0; axis < 3; ++axis) plan.axes[axis] = by_tap(p.axes[axis], p.transposed());
        return;
    }
    const std::vector<AxisPhase> rows = plan.axes[1];
    const bool dense = p.dense_in && p.dense_out && p.groups == 1;
    std::vector<AxisPhase> merged_rows;
    if (dense && p.transposed() && b.stride > 1 && b.stride * p.out_channels() <= max_dots)
        merged_rows = merged_phases(b, b.stride);
    double best = cost(p, Method::igemm, rows, plan.axes[2]);
    auto consider = [&](Method method, const std::vector<AxisPhase>& y, const std::vector<AxisPhase>& x) {
        if (method == Method::dot && y[0].group * x[0].group * p.out_channels() > max_dots) return;
        if (!p.finite && (gaps(y) || gaps(x))) return;
        const double now = cost(p, method, y, x);
        if (now < 0.99 * best) best = now, plan.method = method, plan.axes[1] = y, plan.axes[2] = x;
    };
    auto consider_all = [&](const std::vector<AxisPhase>& x) {
        consider(Method::igemm, rows, x);
        consider(Method::dot, rows, x);
        if (!merged_rows.empty()) consider(Method::dot, merged_rows, x);
    };
    consider_all(std::vector<AxisPhase>(plan.axes[2]));
    const Size unit = p.transposed() ? a.stride : 1;
    if (!dense || unit * p.out_channels() > max_columns) return;
    const Size most = std::max<Size>(4 * p.lanes, unit * p.out_channels());
    for (Size group = unit; group * p.out_channels() <= most && group <= p.out_size(2) + unit; group += unit)
        if (group > 1) consider_all(p.transposed() ? merged_phases(a, group) : sweep(a, group));
    if (p.finite) consider_spatial(plan, best);
}

void cut_columns(Plan& plan) {
    if (plan.method == Method::spatial) return;  // plan_spatial has
    const Problem& p = plan.problem;
    const Size columns = plan.cells() * p.out_channels();
    plan.columns = {0};
    if (plan.unpacked()) {
        for (Size column = 0; column < columns;)
            plan.columns.push_back(column = std::min(column + unpacked_block(p), columns));
    } else if (plan.method == Method::igemm) {
        for (Size vectors = ceil_div(columns, p.lanes); vectors > 0;) {
            Size now = vectors == 3 ? 3 : std::min<Size>(vectors, 2);  // 3: two tiles, of 2 and of 1, are slower
            plan.columns.push_back(plan.columns.back() + now * p.lanes);
            vectors -= now;
        }
    } else if (plan.method == Method::dot) {
        // The columns of one cell along y are adjacent in memory, and so should a block's be.
        const Size run = plan.axes[2][0].group * p.out_channels();
        for (Size done = 0; done < columns; done = plan.columns.back()) {
            const Size left = run - done % run;
            const Size now = left == 5 || left == 9 ? 3 : left == 7 || left == 8 ? 4 : std::min(left, max_dot_columns);
            plan.columns.push_back(done + now);
        }
    } else {
        plan.columns.push_back(ceil_div(p.groups, p.lanes) * p.lanes);
    }
}

double sum_of_connections(const std::vector<AxisPhase>& phases) {
    double sum = 0;
    for (const AxisPhase& phase : phases) {
        std::vector<int> before(phase.shifts.size() + 1, 0);  // taps of a cell that come before each
        for (Size c = 0; c < phase.group; ++c) {
            for (int t = 0; t < phase.taps(); ++t) before[t + 1] = before[t] + (phase.index[c * phase.taps() + t] >= 0);
            for (const BorderRegion& region : phase.regions)
                if (region.cell <= c && c < region.cell + region.cells)
                    sum += double(region.count) * (before[region.tap + region.taps] - before[region.tap]);
        }
    }
    return sum;
}

constexpr Size max_tap_blocks = 4096;           // about
constexpr Size min_positions_of_tap_blocks = 32;           // positions: for fewer, weights come from where they are anyway
constexpr Size rows_of_tap_blocks = 4;           // of a task: positions at the borders along x then fill a dot together

int max_taps(const std::vector<AxisPhase>& phases) {
    int most = 1;  // even where a crop leaves none
    for (const AxisPhase& phase : phases) most = std::max(most, phase.taps());
    return most;
}

// Where a dot's weights of one block of columns are more than the first-level cache holds, all positions of a task meet some
// rows of taps before the next. (Gradients of the input of FCN's upsampling, two cores of a Zen 5: 16 x 16 taps of 21 channels
// 3.2 -> 2.4 ms, 64 x 64 taps 6.4 -> 2.7; with tap blocks of 32 KiB 5% slower, of 48 20%.)
void cut_into_tap_blocks(Plan& plan) {
    const Problem& p = plan.problem;
    const Size tap = p.in_channels() * max_dot_columns * p.bytes;
    const Size positions = p.batch * p.out_size(0) * p.out_size(1) * p.out_size(2) / plan.subconvolutions() / plan.cells();
    Size all[3], cuts[3], taps = 1;
    for (int axis = 0; axis < 3; ++axis) all[axis] = max_taps(plan.axes[axis]), taps *= all[axis];
    // How many fit, along an axis once all of the axes after it are whole.
    Size fit = std::max(cache::tap_block / tap, taps / max_tap_blocks);
    if (plan.method != Method::dot || positions < min_positions_of_tap_blocks) fit = taps;
    for (int axis = 2; axis >= 0; --axis) {
        cuts[axis] = ceil_div(all[axis], std::clamp<Size>(fit, 1, all[axis]));
        fit = cuts[axis] > 1 ? 1 : fit / all[axis];
    }
    for (Size i = 0; i < cuts[0] * cuts[1] * cuts[2]; ++i) {
        const Size at[3] = {i / cuts[2] / cuts[1], i / cuts[2] % cuts[1], i % cuts[2]};
        TapBlock tap_block;
        for (int axis = 0; axis < 3; ++axis) {
            tap_block.first[axis] = static_cast<int>(at[axis] * all[axis] / cuts[axis]);
            tap_block.end[axis] = static_cast<int>((at[axis] + 1) * all[axis] / cuts[axis]);
        }
        plan.tap_blocks.push_back(tap_block);
    }
}

constexpr double task_work = 400e3;  // vector operations: about 100 microseconds

// [0, count) in parts of about the same size.
std::vector<Range> cut_range(Size count, Size parts) {
    std::vector<Range> ranges;
    for (Size i = 0; i < parts; ++i) ranges.push_back({i * count / parts, (i + 1) * count / parts - i * count / parts});
    return ranges;
}

// Some blocks at a time, so that their weights stay in the cache and the input is read few times; enough tasks for all
// threads. Every task packs its own weights, which costs about as much as 16 positions. `weights`: bytes of one subconvolution.
PackedPerTask cut_blocks(const Plan& plan, Size weights) {
    const Problem& p = plan.problem;
    const Size blocks = plan.blocks(), subconvolutions = plan.subconvolutions() * p.groups;
    Size share = std::clamp<Size>(blocks * cache::task_weights / std::max<Size>(weights, 1), 1, blocks);
    while (share > 1 && subconvolutions * ceil_div(blocks, share) < 16) --share;
    const Size shares = ceil_div(blocks, share);
    const Size positions = p.batch * p.out_size(0) * p.out_size(1) * p.out_size(2) / plan.subconvolutions() / plan.cells();
    const Size split = std::min(ceil_div(16, subconvolutions * shares), std::max<Size>(positions / 192, 1));
    const std::vector<Area> areas = cut_areas(p.batch, p.out_size(plan.split_axis), split);
    PackedPerTask work;
    for (Size sub = 0; sub < subconvolutions; ++sub)
        for (const Range& some : cut_range(blocks, shares))
            for (const Area& area : areas) work.tasks.push_back({area, sub, some.first, some.count});
    // The longest first: phases have different numbers of taps, and who takes the last task is waited for.
    const auto length = [&plan](const PackedPerTask::Task& task) {
        const Size columns = plan.columns[task.block + task.blocks] - plan.columns[task.block];
        return columns * task.area.cells * plan.subconvolution(task.subconvolution % plan.subconvolutions()).taps();
    };
    std::stable_sort(work.tasks.begin(), work.tasks.end(), [&](const auto& a, const auto& b) { return length(a) > length(b); });
    return work;
}

void cut_into_tasks(Plan& plan) {
    const Problem& p = plan.problem;
    const double work = plan.vector_operations;
    const Size wanted = work < short_work ? 1 : std::max<Size>(8, ceil_div(Size(work / task_work), 8) * 8);
    if (plan.method == Method::spatial) {
        lay_out_spatial(plan, wanted);
        return;
    }
    plan.split_axis = p.out_size(0) > 1 ? 0 : p.out_size(1) > 1 ? 1 : 2;
    if (auto* unpacked = std::get_if<UnpackedRows>(&plan.work)) {
        const Size count = plan.subconvolutions() * ceil_div(p.in_channels(), unpacked_rows);
        const Size fit = cache::split_k_sums / (plan.blocks() * sum_bytes(p));
        unpacked->row_blocks = cut_range(count, std::min({count, max_parts, fit}));
    }
    if (plan.unpacked()) return;
    const Size cells = p.out_size(plan.split_axis);
    Size rows = p.in_channels();  // of one subconvolution, at most
    for (const auto& axis : plan.axes) rows *= max_taps(axis);
    const Size weights = rows * plan.columns.back() * p.bytes;
    const Size tap_blocks = static_cast<Size>(plan.tap_blocks.size()), parts = std::min(tap_blocks, max_parts);
    const Size bytes = p.batch * p.groups * p.out_channels() * p.bytes * p.out_size(0) * p.out_size(1) * p.out_size(2);
    const bool large = plan.subconvolutions() * p.groups * weights > cache::weights;
    if (large && parts > 1 && p.groups == 1 && parts * bytes <= cache::split_k_sums) {
        plan.work = SplitK{cut_range(tap_blocks, parts)};
    } else if (large && tap_blocks == 1 && plan.method != Method::depthwise) {
        plan.work = cut_blocks(plan, weights);
    } else {
        const Size most = tap_blocks == 1 ? max_areas : std::max<Size>(p.batch * cells / rows_of_tap_blocks, 8);
        plan.work = PackedOnce{cut_areas(p.batch, cells, std::min(std::max(wanted, bytes / cache::task_output), most))};
    }
}

}  // namespace

Size Plan::tasks() const {
    struct Count {
        const Plan& plan;
        std::size_t operator()(const PackedOnce& work) const { return work.areas.size(); }
        std::size_t operator()(const PackedPerTask& work) const { return work.tasks.size(); }
        std::size_t operator()(const SplitK& work) const { return work.tap_blocks.size(); }
        std::size_t operator()(const UnpackedRows& work) const { return work.row_blocks.size(); }
        std::size_t operator()(const UnpackedColumns&) const { return plan.columns.size() - 1; }
        std::size_t operator()(const Spatial& work) const { return work.areas.size(); }
    };
    return static_cast<Size>(std::visit(Count{*this}, work));
}

Plan make_plan(const Problem& problem) {
    Plan plan;
    plan.problem = problem;
    choose(plan);
    plan.gaps = gaps(plan.axes[1]) || gaps(plan.axes[2]);
    cut_columns(plan);
    double cells = double(problem.batch * problem.groups);
    for (int axis = 0; axis < 3; ++axis) cells *= double(problem.out_size(axis));
    plan.multiply_adds = double(problem.batch * problem.groups) * double(problem.in_channels() * problem.out_channels());
    for (const auto& axis : plan.axes) plan.multiply_adds *= sum_of_connections(axis);
    if (plan.method == Method::spatial)
        plan.vector_operations *= cells;
    else if (plan.method == Method::depthwise || plan.unpacked())
        plan.vector_operations = 2 * plan.multiply_adds / problem.lanes + cells / problem.lanes;
    else
        plan.vector_operations = cells * cost(problem, plan.method, plan.axes[1], plan.axes[2]);
    cut_into_tap_blocks(plan);
    cut_into_tasks(plan);
    return plan;
}

const char* name(Method method) {
    switch (method) {
        case Method::igemm: return "igemm";
        case Method::dot: return "dot";
        case Method::spatial: return "spatial";
        case Method::depthwise: break;
    }
    return "depthwise";
}

}  // namespace unstride
