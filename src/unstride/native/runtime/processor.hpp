// What the processor at hand can run.
#pragma once

namespace unstride {

// The instruction sets that kernels are compiled for, narrowest first within one architecture.
enum class InstructionSet { baseline, avx2, avx512, neon };

// The widest one that both the processor and the operating system support.
InstructionSet widest_instruction_set();

const char* name(InstructionSet set);

}  // namespace unstride
