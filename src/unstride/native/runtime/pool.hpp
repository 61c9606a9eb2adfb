// The library's own threads.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace unstride {

// No call uses more threads than this, whatever was asked for.
constexpr int max_threads = 1024;

// How many threads a call uses, the caller's included: one for each CPU that this process is granted,
// until set_num_threads() changes it.
int num_threads();

// From 1 to max_threads; other counts are moved to the nearer end.
void set_num_threads(int count);

using Task = void (*)(void* context, std::int64_t task, int worker);

// Runs task(context, i, worker) for every i in [0, count), each once, on up to `limit` threads, and
// returns when all are done. They are begun in ascending order, so that one may wait for those before
// it. The caller is worker 0, the others have numbers below `limit`, and no two threads have the same
// number in one call: per-worker memory needs room for `limit` of them (read num_threads() once, and
// pass that).
//
// The calls of many threads at a time are right but not shared out: whoever finds the workers taken
// runs all of its tasks itself, as worker 0. So does a call from within a task. Whatever the tasks
// wrote, the caller sees.
//
// A task must not throw (there is nobody to catch it) and must not fork. Between calls a process
// may fork at any time: the child starts with no workers and makes its own.
void parallel(std::int64_t count, int limit, Task task, void* context);

// Asked first by every call from now on: runs the tasks as parallel() does and returns true, or does nothing and returns
// false. A null pointer: nobody is asked.
using OtherPool = bool (*)(std::int64_t count, int limit, Task task, void* context);
void set_other_pool(OtherPool other);

// The same with body(task, worker).
template <class Body>
void parallel(std::int64_t count, int limit, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    const Task call = [](void* context, std::int64_t task, int worker) noexcept {
        (*static_cast<Plain*>(context))(task, worker);
    };
    parallel(count, limit, call,
             const_cast<void*>(static_cast<const void*>(std::addressof(body))));
}

template <class Body>
void parallel(std::int64_t count, Body&& body) {
    parallel(count, num_threads(), body);
}

}  // namespace unstride
