// The plan of method `spatial`: positions in the vector lanes. The input of an area is copied to planes, one a channel;
// each row of a plane is a row of positions with zeros around it:
//
//     x x x   cells of channels a, b       0 a a a 0 a a a 0 ...   plane a
//     x x x   (a b a b a b)                0 b b b 0 b b b 0 ...   plane b
//
// so that what all positions read through one tap is one run of memory, across the ends of rows as well: what is computed
// there is not written. Where positions lie `step` input cells apart, each cell of a step has planes of its own.
#pragma once

#include "plan/plan.hpp"

namespace unstride {

// What each position along one axis reads: cells from position + first to position + last, each of `step` input cells.
struct Window {
    Size step = 1, first = 0, last = 0;
    Size halo() const { return last - first; }
};

Window window_of(const AxisPhase& phase);

// The positions along `axis` of a phase that an area has: those whose first cell is the area's.
Range positions_of(const Plan& plan, int axis, const AxisPhase& phase, const Area& area);

// The input cells along z that an area reads.
Range slabs_of(const Plan& plan, const Area& area);

// Makes `plan` one of method `spatial` if that is possible, and returns the cost of an output cell, or infinity.
double plan_spatial(Plan& plan);

// The areas, and where everything is in a worker's memory.
void lay_out_spatial(Plan& plan, Size wanted);

}  // namespace unstride
