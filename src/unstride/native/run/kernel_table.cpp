// Which compiled kernels run.
#include "run/kernel_table.hpp"

#include <chrono>

#include "stack/batch_kernel_table.hpp"

namespace unstride {

#define DECLARE(SET)                                    \
    namespace SET {                                     \
    extern const Kernels<float> narrow;                 \
    extern const Kernels<double> wide;                  \
    extern const BatchKernels batch_table;              \
    double multiply_adds(Size rounds, float* used);     \
    }
DECLARE(baseline)
#if defined(UNSTRIDE_X86)
DECLARE(avx2)
DECLARE(avx512)
#elif defined(UNSTRIDE_ARM)
DECLARE(neon)
#endif
#undef DECLARE

#if defined(UNSTRIDE_X86)
#define CHOOSE(set, what)                                            \
    switch (set) {                                                   \
        case InstructionSet::avx512: return avx512::what;            \
        case InstructionSet::avx2: return avx2::what;                \
        default: return baseline::what;                              \
    }
#elif defined(UNSTRIDE_ARM)
#define CHOOSE(set, what) \
    switch (set) {                                       \
        case InstructionSet::neon: return neon::what;    \
        default: return baseline::what;                  \
    }
#else
#define CHOOSE(set, what) \
    (void)set;            \
    return baseline::what;
#endif

template <>
const Kernels<float>& kernels<float>(InstructionSet set) {
    CHOOSE(set, narrow)
}

template <>
const Kernels<double>& kernels<double>(InstructionSet set) {
    CHOOSE(set, wide)
}

int lanes_of(InstructionSet set, int bytes) { return bytes == 4 ? kernels<float>(set).lanes : kernels<double>(set).lanes; }

const BatchKernels& batch_kernels(InstructionSet set) { CHOOSE(set, batch_table) }

namespace {

double rounds_of(InstructionSet set, Size rounds, float* used) { CHOOSE(set, multiply_adds(rounds, used)) }

}  // namespace

double fma_peak(InstructionSet set, double seconds) {
    using Clock = std::chrono::steady_clock;
    float used[16] = {};
    double best = 0;
    const auto begin = Clock::now();
    do {
        const auto start = Clock::now();
        const double operations = rounds_of(set, 20000, used);
        const double taken = std::chrono::duration<double>(Clock::now() - start).count();
        if (operations / taken > best) best = operations / taken;
    } while (std::chrono::duration<double>(Clock::now() - begin).count() < seconds);
    return best / 1e9;
}

}  // namespace unstride
