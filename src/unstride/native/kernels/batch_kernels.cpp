// The kernels of a stack, and of the loss after it, for one instruction set: compiled once for each, with UNSTRIDE_SET
// naming it.
#include "kernels/activations.hpp"
#include "kernels/batch_kernels.hpp"
#include "kernels/losses.hpp"
#include "kernels/winograd.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

extern const BatchKernels batch_table;
const BatchKernels batch_table{W<float>,
                               batch_sums_job,
                               batch_products_job,
                               transposed_products_job,
                               frequency_positions,
                               transform_domain_gemm,
                               input_transform,
                               output_transform,
                               adjoint_transform,
                               adjoint_transform_transposed,
                               activate,
                               differentiate,
                               reduce_lanes,
                               binary_crossentropy};

}  // namespace UNSTRIDE_SET
}  // namespace unstride
