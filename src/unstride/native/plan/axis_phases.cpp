// The phases along one axis (see plan.hpp): which cells share taps, and where those taps enter and leave the input.
#include <algorithm>
#include <utility>

#include "plan/plan.hpp"

namespace unstride {

namespace {

Size modulo(Size a, Size b) { return ((a % b) + b) % b; }

// Cuts positions 0 .. count - 1 where a tap enters or leaves the input, and where the output ends within a group of cells.
void cut_into_regions(AxisPhase& phase, Size count, Size in_size, Size out_size) {
    std::vector<Size> cuts{0, count};
    auto cut = [&](Size at) {
        if (at > 0 && at < count) cuts.push_back(at);
    };
    auto enters = [&](int tap) { return ceil_div(-phase.shifts[tap], phase.in_step); };
    auto leaves = [&](int tap) { return ceil_div(in_size - phase.shifts[tap], phase.in_step); };
    for (int tap = 0; tap < phase.taps(); ++tap) cut(enters(tap)), cut(leaves(tap));
    if (phase.group > 1) cut(1), cut(count - 1);
    std::sort(cuts.begin(), cuts.end());
    cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
    // Shifts ascend, so that a later tap enters earlier and leaves earlier: those inside follow one another, and both
    // their first and their last come down as positions go up.
    int entered = phase.taps(), end = phase.taps();
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
        Size first = cuts[i];
        while (entered > 0 && enters(entered - 1) <= first) --entered;
        while (end > 0 && leaves(end - 1) <= first) --end;
        const int begin = std::min(entered, end);
        Size start = phase.offset + first * phase.step;
        Size cell = std::max<Size>(-start, 0);
        Size cells = std::min(phase.group, out_size - start) - cell;
        if (cells > 0) phase.regions.push_back({first, cuts[i + 1] - first, begin, end - begin, cell, cells});
    }
}

// Cell c of a position meets kernel tap j in input cell q * in_step + at.
struct Meeting {
    Size c, j, at;
};

AxisPhase make_phase(Size offset, Size step, Size in_step, Size group, const std::vector<Meeting>& meetings) {
    AxisPhase phase{offset, step, in_step, group, {}, {}, {}};
    for (const Meeting& meeting : meetings) phase.shifts.push_back(meeting.at);
    std::sort(phase.shifts.begin(), phase.shifts.end());
    phase.shifts.erase(std::unique(phase.shifts.begin(), phase.shifts.end()), phase.shifts.end());
    phase.index.assign(group * phase.shifts.size(), -1);
    for (const Meeting& meeting : meetings) {
        const auto place = std::lower_bound(phase.shifts.begin(), phase.shifts.end(), meeting.at) - phase.shifts.begin();
        phase.index[meeting.c * phase.shifts.size() + place] = meeting.j;
    }
    return phase;
}

}  // namespace

std::vector<AxisPhase> phases(const Axis& a) {
    std::vector<std::vector<Meeting>> meetings(std::min(a.stride, a.big));
    for (Size j = 0; j < a.kernel; ++j) {
        const Size big = j * a.dilation - a.begin, r = modulo(big, a.stride);  // the cell that small cell 0 meets, its phase
        if (r < static_cast<Size>(meetings.size())) meetings[r].push_back({0, j, (r - big) / a.stride});
    }
    std::vector<AxisPhase> all;
    for (Size r = 0; r < static_cast<Size>(meetings.size()); ++r) {
        all.push_back(make_phase(r, a.stride, 1, 1, meetings[r]));
        cut_into_regions(all.back(), ceil_div(a.big - r, a.stride), a.small, a.big);
    }
    return all;
}

std::vector<AxisPhase> merged_phases(const Axis& a, Size group) {
    // Groups begin where a copy of the kernel begins, so that all phases read the same input cells where s divides k.
    const Size before = modulo(a.begin, a.stride);
    std::vector<Meeting> meetings;
    for (Size j = 0; j < a.kernel; ++j) {
        const Size big = j * a.dilation - a.begin + before;
        for (Size c = modulo(big, a.stride); c < group; c += a.stride) meetings.push_back({c, j, (c - big) / a.stride});
    }
    AxisPhase phase = make_phase(-before, group, group / a.stride, group, meetings);
    cut_into_regions(phase, ceil_div(a.big + before, group), a.small, a.big);
    return {std::move(phase)};
}

std::vector<AxisPhase> by_tap(const Axis& a, bool transposed) {
    std::vector<AxisPhase> all;
    for (Size j = 0; j < a.kernel; ++j) {
        const Size big = j * a.dilation - a.begin;  // that small cell 0 meets
        AxisPhase phase{0, 1, a.stride, 1, {big}, {j}, {}};
        if (transposed) phase = {big, a.stride, 1, 1, {0}, {j}, {}};
        const Size first = std::max<Size>(ceil_div(-big, a.stride), 0);
        const Size end = std::min(ceil_div(a.big - big, a.stride), a.small);
        if (first < end) phase.regions.push_back({first, end - first, 0, 1, 0, 1});
        all.push_back(std::move(phase));
    }
    return all;
}

std::vector<AxisPhase> sweep(const Axis& a, Size group) {
    std::vector<Meeting> meetings;
    for (Size c = 0; c < group; ++c)
        for (Size j = 0; j < a.kernel; ++j) meetings.push_back({c, j, c * a.stride + j * a.dilation - a.begin});
    AxisPhase phase = make_phase(0, group, group * a.stride, group, meetings);
    cut_into_regions(phase, ceil_div(a.small, group), a.big, a.small);
    return {std::move(phase)};
}

}  // namespace unstride
