#include "runtime/openmp_pool.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "runtime/pool.hpp"
#include "runtime/system.hpp"

namespace unstride {
namespace {

std::atomic<ForkJoin> fork_join{nullptr};
std::atomic<MaxThreads> openmp_max_threads{nullptr};
std::atomic<bool> taken{false};  // by a caller: the others run their tasks themselves, as in our own pool
thread_local bool on_openmp = false;

[[maybe_unused]] const bool forks_known = at_fork([] {
    fork_join.store(nullptr, std::memory_order_relaxed);
    taken.store(false, std::memory_order_relaxed);
});

struct Work {
    Task task;
    void* context;
    std::int64_t count;
    int limit;
    std::atomic<std::int64_t> next{0};
    std::atomic<int> workers{0};
};

void work(void* data) {
    Work& all = *static_cast<Work*>(data);
    const int worker = all.workers.fetch_add(1, std::memory_order_relaxed);
    if (worker >= all.limit) return;
    for (;;) {
        const std::int64_t claimed = all.next.fetch_add(1, std::memory_order_relaxed);
        if (claimed >= all.count) return;
        all.task(all.context, claimed, worker);
    }
}

bool run_on_openmp(std::int64_t count, int limit, Task task, void* context) {
    if (!on_openmp) return false;
    const ForkJoin own = fork_join.load();
    const MaxThreads most = openmp_max_threads.load();
    if (!own || !most) return false;
    // As many as the library itself uses: OpenMP ends threads that a call does not ask for, and starts them anew.
    const int threads = std::min(limit, most());
    Work all{task, context, count, threads};
    if (threads <= 1 || taken.exchange(true, std::memory_order_acquire)) {
        all.limit = 1;
        work(&all);
        return true;
    }
    on_openmp = false;  // a task that calls again stays on its thread
    own(work, &all, static_cast<unsigned>(threads), 0);
    on_openmp = true;
    taken.store(false, std::memory_order_release);
    return true;
}

}  // namespace

void set_openmp(ForkJoin own, MaxThreads most) {
    openmp_max_threads.store(most);
    fork_join.store(own);
    set_other_pool(own && most ? run_on_openmp : nullptr);
}

OnOpenMP::OnOpenMP() : before_(on_openmp) { on_openmp = true; }
OnOpenMP::~OnOpenMP() { on_openmp = before_; }

}  // namespace unstride
