#include "runtime/team.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>

#include <pthread.h>

#include "runtime/pool.hpp"

namespace unstride {
namespace {

std::atomic<ForkJoin> fork_join{nullptr};
std::atomic<MostThreads> most_of_team{nullptr};
std::atomic<bool> taken{false};  // by a caller: the others run their tasks themselves, as in our own pool
thread_local bool in_team = false;

[[maybe_unused]] const int at_fork = pthread_atfork(nullptr, nullptr, [] {
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

bool run_in_team(std::int64_t count, int limit, Task task, void* context) {
    if (!in_team) return false;
    const ForkJoin own = fork_join.load();
    const MostThreads most = most_of_team.load();
    if (!own || !most) return false;
    // As many as the library itself uses: OpenMP ends threads that a call does not ask for, and starts them anew.
    const int threads = std::min(limit, most());
    Work all{task, context, count, threads};
    if (threads <= 1 || taken.exchange(true, std::memory_order_acquire)) {
        all.limit = 1;
        work(&all);
        return true;
    }
    in_team = false;  // a task that calls again stays on its thread
    own(work, &all, static_cast<unsigned>(threads), 0);
    in_team = true;
    taken.store(false, std::memory_order_release);
    return true;
}

}  // namespace

void set_team(ForkJoin own, MostThreads most) {
    most_of_team.store(most);
    fork_join.store(own);
    set_other_pool(own && most ? run_in_team : nullptr);
}

InTeam::InTeam() : before_(in_team) { in_team = true; }
InTeam::~InTeam() { in_team = before_; }

}  // namespace unstride
