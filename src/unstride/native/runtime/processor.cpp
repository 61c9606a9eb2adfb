#include "runtime/processor.hpp"

#include <atomic>

namespace unstride {

InstructionSet widest_instruction_set() {
#if defined(__x86_64__) || defined(__i386__)
    // The compiler's run-time check asks the operating system too: without its support for the
    // wide registers an instruction that the processor has would still fault.
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return InstructionSet::avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return InstructionSet::avx2;
    return InstructionSet::baseline;
#elif defined(__aarch64__)
    return InstructionSet::neon;  // part of the architecture
#else
    return InstructionSet::baseline;
#endif
}

bool available(InstructionSet set) {
    const InstructionSet widest = widest_instruction_set();
    return set == InstructionSet::baseline || set == widest ||
           (set == InstructionSet::avx2 && widest == InstructionSet::avx512);
}

namespace {

std::atomic<InstructionSet> used{widest_instruction_set()};

}  // namespace

InstructionSet used_instruction_set() { return used.load(std::memory_order_relaxed); }
void use_instruction_set(InstructionSet set) { used.store(set, std::memory_order_relaxed); }

const char* name(InstructionSet set) {
    switch (set) {
        case InstructionSet::avx2: return "avx2";
        case InstructionSet::avx512: return "avx512";
        case InstructionSet::neon: return "neon";
        case InstructionSet::baseline: break;
    }
    return "baseline";
}

}  // namespace unstride
