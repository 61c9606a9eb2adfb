// How a kernel's gradient is computed: which array is in the lanes, and how the sum over positions is cut. The cuts follow
// from sizes alone, so that the sums are the same for any number of threads.
#pragma once

#include <vector>

#include "plan/plan.hpp"

namespace unstride {

struct GradientPlan {
    Problem problem;
    // Whether the big grid's numbers lie in the lanes and the small grid's are broadcast, or the other way round.
    bool big_in_lanes = false;
    bool depthwise = false;  // channels of both in the lanes
    // Adjacent taps along x and the big grid's channels are one run of memory, computed at once.
    bool runs = false;
    AxisPhase axes[3];  // the small grid's positions and what each meets
    int split_axis = 1;
    std::vector<std::vector<Area>> parts;  // summed apart, each area by area; then added in their order
    Size row_cuts = 1, lane_cuts = 1;       // of rows() and lanes(), into tasks
    Size tap_cuts = 1;                      // of steps()
    double multiply_adds = 0;

    // Of one group and one tap along z and y, for all taps along x: the numbers that are broadcast and those in the lanes.
    Size rows() const { return big_in_lanes ? problem.small_channels : run(); }
    Size lanes() const { return big_in_lanes ? run() : problem.small_channels; }
    Size run() const { return (runs ? problem.axes[2].kernel : 1) * problem.big_channels; }
    Size planes() const { return problem.axes[0].kernel * problem.axes[1].kernel; }
    Size runs_per_row() const { return runs ? 1 : problem.axes[2].kernel; }
    Size steps() const { return planes() * runs_per_row(); }  // taps, or runs of taps along x
};

GradientPlan make_gradient_plan(const Problem& problem);

}  // namespace unstride
