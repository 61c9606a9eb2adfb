// Another library's threads, for calls on its arrays.
//
// A library with threads of its own, as PyTorch, lets them watch for work for a while after every operation. Beside them
// ours would share the processors with threads that do nothing, up to half of the time where both have as many threads as
// there are processors. So a call on that library's arrays runs on that library's threads.
#pragma once

namespace unstride {

// OpenMP's way to run body(data) on that many threads, the caller's included: GOMP_parallel() of GNU's run-time library,
// which LLVM's has too; and how many threads a call of this thread may use: omp_get_max_threads().
using ForkJoin = void (*)(void (*body)(void*), void* data, unsigned threads, unsigned flags);
using MaxThreads = int (*)();

// From now on calls within an InTeam run by these. Null pointers: on our own threads again. So does a forked child: of the
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
