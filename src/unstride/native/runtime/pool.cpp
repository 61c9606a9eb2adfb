#include "runtime/pool.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#include "runtime/system.hpp"

namespace unstride {
namespace {

// ---- How many threads ---------------------------------------------------------------------------

// Read when the library is loaded, by one thread: read at first need, a fork at a bad moment could
// leave a child waiting for a reader that it does not have.
const int cpus = usable_cpus(max_threads);
std::atomic<int> threads{granted_cpus(max_threads)};

// ---- The pool -----------------------------------------------------------------------------------

// How long a thread with nothing to do watches for work before it sleeps. Being woken takes about
// as long; and this much of a CPU's time is not missed if no work comes.
constexpr std::chrono::microseconds patience{50};

// Where threads cannot be had, how many calls go by before they are asked for again.
constexpr int calls_between_attempts = 1000;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Watches until ready() or out of patience; says whether ready() came. It yields all along: the
// thread watched for may be waiting for this very CPU, on which the scheduler is free to put both,
// and where nobody waits yielding costs a fraction of a microsecond.
template <class Ready>
bool watch(Ready&& ready) {
    const auto end = std::chrono::steady_clock::now() + patience;
    do {
        for (int i = 0; i < 16; ++i) {
            if (ready()) return true;
            relax();
        }
        std::this_thread::yield();
    } while (std::chrono::steady_clock::now() < end);
    return ready();
}

// The gate through which workers come into a call, in one word: the call's number (32 bits), the
// places left (16) and the workers inside (16). A worker comes in by taking a place, and its
// place's number is its own; a caller who runs out of tasks takes away the places that are left and
// waits until nobody is inside. So it never waits for a worker that has not woken yet.
using Gate = std::uint64_t;
constexpr Gate one_inside = 1;
constexpr Gate one_place = Gate{1} << 16;
constexpr Gate one_call = Gate{1} << 32;
constexpr Gate all_inside = one_place - one_inside;
constexpr Gate all_places = one_call - one_place;
static_assert(max_threads < (1 << 16));

int inside(Gate gate) { return static_cast<int>(gate & all_inside); }
int places(Gate gate) { return static_cast<int>((gate & all_places) / one_place); }
std::uint32_t call_number(Gate gate) { return static_cast<std::uint32_t>(gate / one_call); }

class Pool {
public:
    // Runs the tasks, or returns false if another caller has the pool.
    bool run(std::int64_t count, int limit, Task task, void* context);

private:
    void start_workers(int wanted);
    void serve();
    Gate next_gate(std::uint32_t last);
    void work(int worker);
    void work_as_caller(int helpers, bool patient);
    void wait_until_empty(bool patient);

    alignas(64) std::atomic<bool> taken_{false};  // by a caller, who alone may touch these four:
    int workers_ = 0;
    int attempt_in_ = 0;
    std::uint32_t calls_ = 0;

    // What there is to do: written while nobody is inside, read by those inside.
    Task task_ = nullptr;
    void* context_ = nullptr;
    std::int64_t count_ = 0;

    alignas(64) std::atomic<std::int64_t> next_{0};  // the first task that nobody has claimed
    alignas(64) std::atomic<Gate> gate_{0};

    // Not where there are more threads than CPUs: whoever watches might keep the CPU from whoever
    // works.
    alignas(64) std::atomic<bool> watching_{false};
    std::atomic<int> caller_cpu_{-1};  // likewise -1 where there are more threads than CPUs
    std::atomic<int> sleepers_{0};
    std::atomic<bool> caller_sleeps_{false};
    std::mutex sleep_;
    std::condition_variable work_came_;
    std::condition_variable all_left_;
};

bool Pool::run(std::int64_t count, int limit, Task task, void* context) {
    // The plain load first: callers who find the pool taken should not pull its cache line over.
    if (taken_.load(std::memory_order_relaxed)) return false;
    if (taken_.exchange(true, std::memory_order_acquire)) return false;

    start_workers(limit - 1);
    const int helpers = std::min(limit - 1, workers_);
    task_ = task;
    context_ = context;
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    const bool patient = limit <= cpus;
    watching_.store(patient, std::memory_order_relaxed);
    caller_cpu_.store(patient ? this_cpu() : -1, std::memory_order_relaxed);

    // Sequentially consistent, as is a worker's way to sleep: of the caller who opens the gate and
    // then looks for sleepers, and the worker who counts itself as one and then looks at the gate,
    // at least one sees the other.
    gate_.store(++calls_ * one_call + static_cast<Gate>(helpers) * one_place);
    const int asleep = sleepers_.load();
    const int to_wake = helpers - (workers_ - asleep);  // the others are awake already
    if (to_wake > 0) {
        // A worker between its last look at the gate and its sleep holds the lock.
        { std::lock_guard<std::mutex> lock(sleep_); }
        if (to_wake >= asleep) {
            work_came_.notify_all();
        } else {
            for (int i = 0; i < to_wake; ++i) work_came_.notify_one();
        }
        if (patient) std::this_thread::yield();  // see work_as_caller()
    }

    work_as_caller(helpers, patient);
    if (inside(gate_.fetch_and(~all_places)) != 0) wait_until_empty(patient);
    taken_.store(false, std::memory_order_release);
    return true;
}

void Pool::work(int worker) {
    const Task task = task_;
    void* const context = context_;
    const std::int64_t count = count_;
    for (;;) {
        const std::int64_t claimed = next_.fetch_add(1, std::memory_order_relaxed);
        if (claimed >= count) return;
        task(context, claimed, worker);
    }
}

void Pool::work_as_caller(int helpers, bool patient) {
    for (;;) {
        const std::int64_t claimed = next_.fetch_add(1, std::memory_order_relaxed);
        if (claimed >= count_) return;
        task_(context_, claimed, 0);
        // If nobody has come yet, perhaps somebody waits for this CPU, to move off it.
        if (patient && places(gate_.load(std::memory_order_relaxed)) == helpers)
            std::this_thread::yield();
    }
}

void Pool::wait_until_empty(bool patient) {
    const auto empty = [this] { return inside(gate_.load()) == 0; };
    if (patient && watch(empty)) return;
    std::unique_lock<std::mutex> lock(sleep_);
    caller_sleeps_.store(true);
    all_left_.wait(lock, empty);
    caller_sleeps_.store(false);
}

void Pool::start_workers(int wanted) {
    if (workers_ >= wanted) return;
    if (attempt_in_ > 0) {
        --attempt_in_;
        return;
    }
    const SignalsBlocked blocked;
    try {
        for (; workers_ < wanted; ++workers_) std::thread([this] { serve(); }).detach();
    } catch (const std::exception&) {  // no more threads to be had, or no memory for one
        attempt_in_ = calls_between_attempts;
    }
}

void Pool::serve() {
    name_this_thread();
    AffinityGuard guard;
    std::uint32_t last = 0;  // the call that this worker was in
    for (;;) {
        Gate gate = next_gate(last);
        // Before coming in, since the caller waits for those who did.
        const int taken = caller_cpu_.load(std::memory_order_relaxed);
        if (taken >= 0 && this_cpu() == taken) {
            guard.leave(taken);
            gate = gate_.load();
            if (call_number(gate) == last) continue;
        }
        bool in = false;
        while (!in && places(gate) != 0)
            in = gate_.compare_exchange_weak(gate, gate - one_place + one_inside);
        if (!in) continue;  // others were faster
        last = call_number(gate);
        work(places(gate));
        if (inside(gate_.fetch_sub(one_inside)) == 1 && caller_sleeps_.load()) {
            { std::lock_guard<std::mutex> lock(sleep_); }
            all_left_.notify_one();
        }
    }
}

// The gate once it is open for a call that this worker has not been in.
Gate Pool::next_gate(std::uint32_t last) {
    Gate gate = 0;
    const auto open = [&] {
        gate = gate_.load();
        return places(gate) != 0 && call_number(gate) != last;
    };
    if (watching_.load(std::memory_order_relaxed) && watch(open)) return gate;
    std::unique_lock<std::mutex> lock(sleep_);
    sleepers_.fetch_add(1);
    work_came_.wait(lock, open);
    sleepers_.fetch_sub(1);
    return gate;
}

// Never destroyed: workers sleep in it until the process is gone.
std::atomic<Pool*> current{nullptr};

// The forked child has none of the workers, and perhaps a caller's or a worker's lock that nobody
// will release. It leaves all that where it is and makes a new pool at its first need.
[[maybe_unused]] const bool forks_known = at_fork([] { current.store(nullptr, std::memory_order_relaxed); });

std::atomic<OtherPool> other_pool{nullptr};

// nullptr if there is no memory for it.
Pool* the_pool() {
    Pool* pool = current.load(std::memory_order_acquire);
    if (pool) return pool;
    Pool* fresh = new (std::nothrow) Pool;
    if (!fresh || current.compare_exchange_strong(pool, fresh)) return fresh;
    delete fresh;  // another thread was first
    return pool;
}

}  // namespace

int num_threads() { return threads.load(std::memory_order_relaxed); }

void set_num_threads(int count) {
    threads.store(std::clamp(count, 1, max_threads), std::memory_order_relaxed);
}

void set_other_pool(OtherPool other) { other_pool.store(other, std::memory_order_release); }

void parallel(std::int64_t count, int limit, Task task, void* context) {
    limit = static_cast<int>(std::min<std::int64_t>({count, limit, max_threads}));
    if (limit > 1) {
        const OtherPool other = other_pool.load(std::memory_order_acquire);
        if (other && other(count, limit, task, context)) return;
        Pool* pool = the_pool();
        if (pool && pool->run(count, limit, task, context)) return;
    }
    for (std::int64_t i = 0; i < count; ++i) task(context, i, 0);
}

}  // namespace unstride
