// The scalar twin of igemm.hpp: what its tiles compute, number by number and in the same order, so that both have the same
// bits. It is for reading, and for tests.
#pragma once

#include "kernels/simd.hpp"

namespace unstride {
namespace UNSTRIDE_SET {

// Rounded once where the vectors' multiply-adds are. Left to itself the compiler would multiply first, several at a time.
template <class T>
INLINE T multiply_add(T a, T b, T sum) {
#if defined(__FMA__) || defined(__aarch64__)
    if constexpr (sizeof(T) == sizeof(float))
        return __builtin_fmaf(a, b, sum);
    else
        return __builtin_fma(a, b, sum);
#else
    return a * b + sum;
#endif
}

template <class T>
void igemm_scalar_job(const IgemmJob<T>& job) {
    Cursor cursor(job.loops);
    for (Size left = positions(job.loops); left > 0; --left) {
        const T* in;
        T* out;
        cursor.take(1, job.in, job.out, &in, &out);
        for (const Block<T>* block = job.blocks; block < job.blocks + job.block_count; ++block)
            for (Size c = 0; c < block->columns; ++c) {
                const Size column = block->column + c;
                if (column < job.from || column >= job.to) continue;
                T sum = block->bias[c];
                for (const InputRun* run = job.runs; run < job.runs + job.run_count; ++run)
                    for (Size k = 0; k < run->length; ++k)
                        sum = multiply_add(in[run->in + k], block->weights[(run->row + k) * block->columns + c], sum);
                out[column] = job.relu && sum < T(0) ? T(0) : sum;
            }
    }
}

}  // namespace UNSTRIDE_SET
}  // namespace unstride
