#include "runtime/system.hpp"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>
#include <thread>

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace unstride {
namespace {

#if defined(__linux__)

// The CPUs that the scheduler may put this process on; 0 if it does not say.
int affinity_cpus() {
    // The kernel refuses a mask smaller than its own, and does not tell how large that is.
    for (int room = CPU_SETSIZE; room <= (1 << 18); room *= 4) {
        cpu_set_t* mask = CPU_ALLOC(room);
        if (!mask) return 0;
        const std::size_t size = CPU_ALLOC_SIZE(room);
        const bool known = sched_getaffinity(0, size, mask) == 0;
        const int cpus = known ? CPU_COUNT_S(size, mask) : 0;
        CPU_FREE(mask);
        if (known) return cpus;
    }
    return 0;
}

// The CPUs' worth of time, rounded up, that control groups leave this process: a container may see
// 64 CPUs and be granted two of them.
int quota_cpus(int most) {
    double least = std::numeric_limits<double>::infinity();
    const auto grant = [&](double quota, double period) {
        if (quota > 0 && period > 0) least = std::min(least, quota / period);
    };
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
        // number:controllers:path, with no controllers in version 2
        const std::size_t first = line.find(':');
        const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        const bool unified = controllers.empty();
        if (!unified && ("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
        const std::string mount = "/sys/fs/cgroup" + (unified ? "" : "/" + controllers);
        // Every group above has its say too. Within a container the path may be the host's, of
        // which only the last of these, the mount itself, exists.
        std::string path = line.substr(second + 1);
        for (;;) {
            while (!path.empty() && path.back() == '/') path.pop_back();
            double quota = 0, period = 0;
            if (unified) {
                std::ifstream file(mount + path + "/cpu.max");
                if (file >> quota >> period) grant(quota, period);  // not if it says "max"
            } else {
                std::ifstream quotas(mount + path + "/cpu.cfs_quota_us");
                std::ifstream periods(mount + path + "/cpu.cfs_period_us");
                if (quotas >> quota && periods >> period) grant(quota, period);  // -1 for none
            }
            if (path.empty()) break;
            const std::size_t slash = path.rfind('/');
            path.resize(slash == std::string::npos ? 0 : slash);
        }
    }
    if (!(least < most)) return most;
    const int whole = static_cast<int>(least);
    return whole < least ? whole + 1 : whole;
}

#endif

}  // namespace

int usable_cpus(int most) {
    int cpus = 0;
#if defined(__linux__)
    cpus = affinity_cpus();
#endif
    if (cpus < 1) cpus = static_cast<int>(std::thread::hardware_concurrency());
    return std::clamp(cpus, 1, most);
}

int granted_cpus(int most) {
    const int cpus = usable_cpus(most);
#if defined(__linux__)
    try {
        return std::clamp(quota_cpus(most), 1, cpus);
    } catch (...) {  // no memory for a file name: then without the quota
    }
#endif
    return cpus;
}

int this_cpu() {
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

void AffinityGuard::leave([[maybe_unused]] int cpu) {
#if defined(__linux__)
    cpu_set_t mask;
    if (cpu < 0 || cpu >= CPU_SETSIZE) return;
    if (sched_getaffinity(0, sizeof mask, &mask) != 0) return;
    // What it may use is what it was given: by whoever started the process, or by somebody
    // since, if the mask is not the one that was set here.
    if (!narrowed_ || !CPU_EQUAL(&mask, &mine_)) given_ = mask;
    mine_ = given_;
    CPU_CLR(cpu, &mine_);
    narrowed_ = CPU_COUNT(&mine_) != 0 && sched_setaffinity(0, sizeof mine_, &mine_) == 0;
#endif
}

#if defined(_WIN32)  // no signals to threads, and no forks

SignalsBlocked::SignalsBlocked() = default;
SignalsBlocked::~SignalsBlocked() = default;
bool at_fork(void (*)()) { return true; }

#else

SignalsBlocked::SignalsBlocked() {
    sigset_t blocked;
    sigfillset(&blocked);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS})
        sigdelset(&blocked, fault);
    masked_ = pthread_sigmask(SIG_SETMASK, &blocked, &before_) == 0;
}

SignalsBlocked::~SignalsBlocked() {
    if (masked_) pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

bool at_fork(void (*in_child)()) { return pthread_atfork(nullptr, nullptr, in_child) == 0; }

#endif

void name_this_thread() {
#if defined(__linux__)
    pthread_setname_np(pthread_self(), "unstride");
#endif
}

}  // namespace unstride
