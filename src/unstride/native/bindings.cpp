// The Python face of the native core.
#include <nanobind/nanobind.h>

#include "processor.hpp"

namespace nb = nanobind;

NB_MODULE(_native, m) {
    m.doc() = "The native core of unstride.";
    m.def(
        "instruction_set", [] { return unstride::name(unstride::widest_instruction_set()); },
        "The widest instruction set that this machine runs: 'avx512', 'avx2', 'neon' or 'baseline'.");
}
