// All kernels for one instruction set: compiled once for each, with UNSTRIDE_SET = baseline, avx2, avx512 or neon.
#include "kernels/depthwise.hpp"
#include "kernels/dot.hpp"
#include "kernels/outer_product.hpp"
#include "kernels/spatial.hpp"
#include "kernels/igemm.hpp"
#include "kernels/igemm_scalar.hpp"
#include "kernels/transpose.hpp"
#include "kernels/igemm_unpacked.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

template <class T>
bool finite(const T* from, Size count) {
    // Times zero, what is not finite is NaN, and stays so in a sum.
    Vector<T> sums[4] = {};
    Size i = 0;
    for (; i + 4 * W<T> <= count; i += 4 * W<T>)
        for (int u = 0; u < 4; ++u) sums[u] += load(from + i + u * W<T>) * Vector<T>{};
    for (; i < count; i += W<T>) sums[0] += LaneMask<T>(0, count - i).load(from + i) * Vector<T>{};
    T lanes[W<T>];
    store(lanes, (sums[0] + sums[1]) + (sums[2] + sums[3]));
    T sum = 0;
    for (T lane : lanes) sum += lane;
    return sum == 0;
}

template <class T>
constexpr Kernels<T> table{W<T>,
                           igemm_job<IgemmJob, T>,
                           igemm_scalar_job<T>,
                           igemm_job<UnpackedJob, T>,
                           igemm_unpacked_job<T>,
                           dot_job<T>,
                           depthwise_job<T>,
                           spatial_job<T>,
                           outer_product_job<T>,
                           depthwise_gradient_job<T>,
                           finite<T>,
                           transpose<T>};

extern const Kernels<float> narrow;
extern const Kernels<double> wide;
const Kernels<float> narrow = table<float>;
const Kernels<double> wide = table<double>;

// Twelve independent chains hide the latency of a multiply-add, and fit in 16 registers. Returns the operations done.
double multiply_adds(Size rounds, float* used);

double multiply_adds(Size rounds, float* used) {
    constexpr int chains = 12;
    Vector<float> sums[chains], x = load(used), y = x + x;
    for (auto& sum : sums) sum = y;
    for (Size i = 0; i < rounds; ++i)
        UNROLLED
        for (int c = 0; c < chains; ++c) sums[c] = sums[c] * x + y;
    for (auto& sum : sums) y += sum;
    store(used, y);
    return 2.0 * chains * W<float> * static_cast<double>(rounds);
}

}  // namespace UNSTRIDE_SET
}  // namespace unstride
