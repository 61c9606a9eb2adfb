// Releases Python's lock while the kernels work.
#pragma once

#include <nanobind/nanobind.h>

#include <chrono>
#include <thread>

namespace unstride {

// While this lives, other threads may run Python.
//
// Where the program ends meanwhile, a daemon thread does not get the lock back: Python 3.11 to 3.13 end it with
// pthread_exit, which with glibc unwinds the stack like an exception, and from a destructor or nanobind's noexcept
// functions that aborts the whole process. Such a thread sleeps here instead, until the process is gone. From 3.14 on
// Python itself does so.
class Unlocked {
   public:
    Unlocked() : state_(PyEval_SaveThread()) {}
    ~Unlocked() {
        try {
            PyEval_RestoreThread(state_);
        } catch (...) {  // leaving this block would end in abort()
            for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
        }
    }
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;

   private:
    PyThreadState* const state_;
};

}  // namespace unstride
