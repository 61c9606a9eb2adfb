// Puts the thread pool under stress; exits with 0 if all went well. .ci/sanitize builds and runs it
// under the sanitizers; by hand:
//
//   g++ -std=c++17 -O2 -pthread -Isrc/unstride/native tests/native/pool_stress.cpp
//       src/unstride/native/runtime/pool.cpp -o pool_stress && ./pool_stress [seconds for each part]
//
// What tasks write is plain memory on purpose: if a task ran twice, if two workers had the same
// number or if the caller went on too early, ThreadSanitizer would see it even where no count is
// wrong.
#include "runtime/pool.hpp"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__has_feature)  // clang
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__
#endif
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__
#endif
#endif

namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
// ThreadSanitizer loses track of threads that a forked child starts. AddressSanitizer's allocator has
// locks that the runtime of GCC 12 does not take around a fork: a child of a program whose other
// threads allocate can find one held for ever.
constexpr bool forks = false;
#else
constexpr bool forks = true;
#endif
constexpr bool lacks_memory = forks;  // the sanitizers need much address space for themselves

using Clock = std::chrono::steady_clock;
using Random = std::mt19937;

constexpr int seconds_until_stuck = 120;  // for a part

std::chrono::duration<double> part_length{1};

[[noreturn]] void fail(const std::string& message) {
    std::fprintf(stderr, "pool_stress: %s\n", message.c_str());
    std::fflush(stderr);
    std::_Exit(1);
}

void expect(bool holds, const char* message) {
    if (!holds) fail(message);
}

void fail_if_stuck() {
    signal(SIGALRM, [](int) {
        constexpr char message[] = "pool_stress: stuck\n";
        [[maybe_unused]] const auto written = write(2, message, sizeof message - 1);
        _exit(1);
    });
    alarm(seconds_until_stuck);
}

int pick(Random& random, int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
}

void work(double microseconds) {
    const auto end = Clock::now() + std::chrono::duration<double, std::micro>(microseconds);
    while (Clock::now() < end) {
    }
}

// One call: each task once, worker numbers below the limit and no two threads with the same, all
// of it seen by the caller.
void check_call(int count, int limit, double microseconds) {
    struct Worker {
        std::thread::id thread;
        int tasks = 0;
    };
    std::vector<int> runs(count);
    std::vector<Worker> workers(limit);
    const std::thread::id caller = std::this_thread::get_id();
    unstride::parallel(count, limit, [&](std::int64_t task, int worker) {
        expect(task >= 0 && task < count, "a task that does not exist");
        expect(worker >= 0 && worker < limit, "a worker's number out of range");
        const std::thread::id thread = std::this_thread::get_id();
        expect((thread == caller) == (worker == 0), "the caller is not worker 0");
        Worker& mine = workers[worker];
        if (mine.tasks++ == 0) mine.thread = thread;
        expect(mine.thread == thread, "two threads with the same worker's number");
        ++runs[task];
        if (microseconds > 0) work(microseconds);
    });
    int sum = 0;
    for (const Worker& worker : workers) sum += worker.tasks;
    expect(sum == count, "tasks lost or run twice");
    for (const int n : runs) expect(n == 1, "a task that did not run exactly once");
    if (count <= 1 || limit <= 1)
        for (int i = 1; i < limit; ++i) expect(workers[i].tasks == 0, "not run by the caller");
}

void random_call(Random& random) {
    const double microseconds = pick(random, 0, 3) ? 0 : pick(random, 1, 20);
    check_call(pick(random, 0, pick(random, 0, 3) ? 9 : 200), pick(random, 1, 8), microseconds);
    // Workers found running, watching and asleep.
    switch (pick(random, 0, 7)) {
        case 0: std::this_thread::sleep_for(std::chrono::microseconds(pick(random, 1, 200))); break;
        case 1: work(pick(random, 1, 100)); break;
        default: break;
    }
}

template <class Step>
void for_a_while(Step&& step) {
    const auto end = Clock::now() + part_length;
    do {
        step();
    } while (Clock::now() < end);
}

// Tasks that wait for each other, as many as threads: done only if that many run at a time.
void meet(int limit) {
    std::atomic<int> come{0};
    const auto end = Clock::now() + std::chrono::seconds(30);
    unstride::parallel(limit, limit, [&](std::int64_t, int) {
        ++come;
        while (come.load() < limit) {
            if (Clock::now() > end) fail("fewer threads came than were asked for");
            std::this_thread::yield();
        }
    });
}

void one_caller() {
    Random random(1);
    for_a_while([&] { random_call(random); });
}

void growing_and_shrinking() {
    Random random(2);
    for_a_while([&] {
        meet(pick(random, 1, 12));
        if (pick(random, 0, 3) == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
    });
    meet(40);
    meet(2);
}

void many_callers() {
    std::vector<std::thread> callers;
    for (int i = 0; i < 5; ++i)
        callers.emplace_back([i] {
            Random random(10 + i);
            for_a_while([&] { random_call(random); });
        });
    for (std::thread& caller : callers) caller.join();
}

void check_nested(Random& random, bool alone) {
    const int outer = pick(random, 0, 12), inner = pick(random, 0, 12);
    const int limit = pick(random, 2, 5);
    std::vector<int> runs(outer * inner);
    unstride::parallel(outer, limit, [&](std::int64_t i, int) {
        const std::thread::id here = std::this_thread::get_id();
        unstride::parallel(inner, limit, [&](std::int64_t j, int worker) {
            // Of other callers' calls some find the pool free: with nobody else, none of these do.
            if (alone && outer > 1)
                expect(worker == 0 && std::this_thread::get_id() == here, "nested and shared out");
            unstride::parallel(2, limit, [](std::int64_t, int) {});
            ++runs[i * inner + j];
        });
    });
    for (const int n : runs) expect(n == 1, "a nested task that did not run exactly once");
}

void nested() {
    Random random(3);
    for_a_while([&] { check_nested(random, true); });
    std::vector<std::thread> callers;
    for (int i = 0; i < 3; ++i)
        callers.emplace_back([i] {
            Random own(20 + i);
            for_a_while([&] { check_nested(own, false); });
        });
    for (std::thread& caller : callers) caller.join();
}

void changing_the_number() {
    const int before = unstride::num_threads();
    std::atomic<bool> stop{false};
    std::thread changer([&] {
        Random random(4);
        while (!stop) {
            unstride::set_num_threads(pick(random, 1, 6));
            std::this_thread::yield();
        }
    });
    std::vector<std::thread> callers;
    for (int i = 0; i < 3; ++i)
        callers.emplace_back([i] {
            Random random(30 + i);
            for_a_while([&] {
                const int count = pick(random, 0, 40);
                std::vector<int> runs(count);
                unstride::parallel(count, [&](std::int64_t task, int worker) {
                    expect(worker >= 0 && worker < 6, "a worker's number out of range");
                    ++runs[task];
                });
                for (const int n : runs) expect(n == 1, "a task that did not run exactly once");
            });
        });
    for (std::thread& caller : callers) caller.join();
    stop = true;
    changer.join();
    unstride::set_num_threads(0);
    expect(unstride::num_threads() == 1, "fewer threads than one");
    unstride::set_num_threads(unstride::max_threads + 1);
    expect(unstride::num_threads() == unstride::max_threads, "more threads than there may be");
    unstride::set_num_threads(before);
}

// Runs body() in a forked child and waits for it.
template <class Body>
void in_a_child(Body&& body) {
    const pid_t child = fork();
    expect(child >= 0, "fork failed");
    if (child == 0) {
        fail_if_stuck();
        body();
        std::_Exit(0);
    }
    int status = 0;
    expect(waitpid(child, &status, 0) == child, "waitpid failed");
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a forked child failed");
}

void forking() {
    // Threads that keep the pool taken, so that most forks come in the middle of a call, and some
    // while a lock is held.
    std::atomic<bool> stop{false};
    std::vector<std::thread> callers;
    for (int i = 0; i < 2; ++i)
        callers.emplace_back([&stop, i] {
            Random random(40 + i);
            while (!stop) random_call(random);
        });
    Random random(5);
    const auto use = [&random] {
        meet(3);
        for (int i = 0; i < 20; ++i) random_call(random);
        meet(5);
    };
    for_a_while([&] {
        in_a_child(use);
        random_call(random);  // the parent goes on
    });
    stop = true;
    for (std::thread& caller : callers) caller.join();
    in_a_child([&] {
        use();
        in_a_child(use);
        use();
    });
    meet(4);
}

// No threads to be had: fewer are used, nothing else happens.
void no_more_threads() {
    in_a_child([] {
        meet(2);
        // No room for more stacks. (The superuser could start threads beyond RLIMIT_NPROC.)
        const rlimit limit{1, 1};
        expect(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit failed");
        int runs[50] = {};
        for (int call = 0; call < 3000; ++call)
            unstride::parallel(50, 8, [&](std::int64_t task, int) { ++runs[task]; });
        for (const int n : runs) expect(n == 3000, "tasks lost without threads");
    });
}

void part(const char* name, void (*run)()) {
    fail_if_stuck();
    const auto begin = Clock::now();
    run();
    std::printf("%-22s %.1f s\n", name,
                std::chrono::duration<double>(Clock::now() - begin).count());
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1) part_length = std::chrono::duration<double>(std::atof(argv[1]));
    expect(unstride::num_threads() >= 1, "no threads at all");
    if (lacks_memory) part("no more threads", no_more_threads);
    part("one caller", one_caller);
    part("growing and shrinking", growing_and_shrinking);
    part("many callers", many_callers);
    part("nested", nested);
    part("changing the number", changing_the_number);
    if (forks) part("forking", forking);
    part("one caller again", one_caller);
}
