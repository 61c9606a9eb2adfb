// What the processor at hand can run.
#pragma once

namespace unstride {

// The instruction sets that kernels are compiled for, narrowest first within one architecture.
enum class InstructionSet { baseline, avx2, avx512, neon };

// The widest one that both the processor and the operating system support.
InstructionSet widest_instruction_set();

// Whether this machine runs it.
bool available(InstructionSet set);

// The one in use: the widest, until another one is set. A call reads it once, and passes on what it read: another thread
// may set another one at any time.
InstructionSet used_instruction_set();
void use_instruction_set(InstructionSet set);

const char* name(InstructionSet set);

}  // namespace unstride
