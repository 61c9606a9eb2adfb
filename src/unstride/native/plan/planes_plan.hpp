// The plan of method `planes`, which lays positions into the vector lanes. For a piece of the work the input is copied to
// planes, one a channel, of a row a row of positions with zeros around:
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
struct Spread {
    Size step = 1, first = 0, last = 0;
    Size halo() const { return last - first; }
};

Spread spread(const Pass& pass);

// Positions [first, first + count) along one axis.
struct Range {
    Size first, count;
};

// The positions along `axis` of a pass that a piece computes: those whose first cell is the piece's.
Range positions_of(const Plan& plan, int axis, const Pass& pass, const Piece& piece);

// The input cells along z that a piece reads.
Range slices_of(const Plan& plan, const Piece& piece);

// Makes `plan` one of method `planes` if that is possible, and returns the cost of an output cell, or infinity.
double plan_planes(Plan& plan);

// The pieces, and where everything lies in a worker's memory.
void lay_out_planes(Plan& plan, Size wanted);

}  // namespace unstride
