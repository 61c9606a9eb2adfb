// The kernels of a stack, and of the loss after it, for one instruction set: compiled once for each, with UNSTRIDE_SET naming it.
#include "kernels/activations.hpp"
#include "kernels/lanes.hpp"
#include "kernels/losses.hpp"
#include "kernels/winograd.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

extern const LaneKernels lane_table;
const LaneKernels lane_table{W<float>, lane_sums_job, lane_products_job, turned_products_job, frequency_positions, frequencies,
                             spread, gather, spread_results, spread_turned, activate, differentiate, reduce_lanes,
                             binary_crossentropy};

}  // namespace UNSTRIDE_SET
}  // namespace unstride
