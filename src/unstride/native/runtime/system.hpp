// What differs between operating systems: CPUs that may be used, affinity, signals, forks. The rest of
// the core is standard C++, but for the large pages of runtime/memory.cpp and api/xla.cpp.
#pragma once

#if !defined(_WIN32)
#include <signal.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

namespace unstride {

// The CPUs that this process may run on, at most `most`.
int usable_cpus(int most);

// The CPUs' worth of time that it is granted: a container may see 64 CPUs and get two of them.
int granted_cpus(int most);

// The CPU that this thread is on, or -1.
int this_cpu();

// A worker's way off the caller's CPU. Some schedulers (those that pack what they can onto few
// CPUs, as in small virtual machines) wake a thread on its waker's CPU, and there the two would
// share it for a whole call of some milliseconds, with the next CPU idle.
class AffinityGuard {
public:
    // Moves this thread to another CPU than that one, and keeps it off that one until the next
    // time, if there is another that it may use.
    void leave(int cpu);

private:
#if defined(__linux__)
    bool narrowed_ = false;
    cpu_set_t given_{};
    cpu_set_t mine_{};
#endif
};

// Blocks the signals of this thread while it lives. A thread that is started meanwhile inherits that:
// signals to the process are for the threads of the program, which may be waiting for one. A fault is
// not blocked, so that it reaches whatever reports faults.
class SignalsBlocked {
public:
    SignalsBlocked();
    ~SignalsBlocked();
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

private:
#if !defined(_WIN32)
    bool masked_ = false;
    sigset_t before_;
#endif
};

// Calls the function in each child of a fork; false if there was no memory for that.
bool at_fork(void (*in_child)());

void name_this_thread();

}  // namespace unstride
