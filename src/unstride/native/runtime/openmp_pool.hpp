// PyTorch's workers spin after each operator; a second pool beside them would oversubscribe the cores, so tensor calls run on
// OpenMP's.
#pragma once

namespace unstride {

// OpenMP's way to run body(data) on that many threads, the caller's included: GOMP_parallel() of GNU's run-time library,
// which LLVM's has too; and how many threads a call of this thread may use: omp_get_max_threads().
using ForkJoin = void (*)(void (*body)(void*), void* data, unsigned threads, unsigned flags);
using MaxThreads = int (*)();

// From now on calls within an OnOpenMP run by these. Null pointers: on our own threads again. So does a forked child: of the
// OpenMP threads only the one that forked is left there, and OpenMP does not know.
void set_openmp(ForkJoin fork_join, MaxThreads most);

// While it lives, what this thread calls runs on OpenMP's threads, if there are any.
class OnOpenMP {
public:
    OnOpenMP();
    ~OnOpenMP();
    OnOpenMP(const OnOpenMP&) = delete;
    OnOpenMP& operator=(const OnOpenMP&) = delete;

private:
    bool before_;
};

}  // namespace unstride
