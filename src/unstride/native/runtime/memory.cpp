#include "runtime/memory.hpp"

#include "runtime/caches.hpp"

#include <algorithm>
#include <mutex>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace unstride {

namespace {

constexpr std::size_t small = std::size_t(64) << 10;      // below, the system's allocator keeps them itself
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t cached_bytes = 0;  // so that what is freed, and what is beyond, is known to be out of bounds
#else
constexpr std::size_t cached_bytes = std::size_t(128) << 20;  // bytes in all that wait for the next call
#endif
constexpr std::size_t huge_page = cache::huge_page;

struct Free {
    void* block;
    std::size_t bytes;
};

// Leaked, so that what is given back while the process ends finds it. A process that was forked while another thread held
// the lock never gets it, and goes without.
std::mutex& lock = *new std::mutex;
std::vector<Free>& waiting = *new std::vector<Free>;
std::size_t waiting_bytes = 0;

std::align_val_t alignment(std::size_t bytes) { return std::align_val_t(bytes >= 2 * huge_page ? huge_page : 64); }

// Blocks are of these sizes, so that one fits the next call of about the same size.
std::size_t rounded(std::size_t bytes) {
    if (bytes < small || cached_bytes == 0) return bytes;
    std::size_t step = small / 4;
    while (step * 16 < bytes) step *= 2;
    return (bytes + step - 1) / step * step;
}

void deallocate(Free free) { ::operator delete(free.block, alignment(free.bytes)); }

}  // namespace

void* allocate(std::size_t bytes) {
    if (bytes > PTRDIFF_MAX / 2) throw std::bad_alloc();
    bytes = rounded(bytes);
    if (bytes >= small) {
        std::unique_lock<std::mutex> held(lock, std::try_to_lock);
        if (held) {
            auto cached = std::find_if(waiting.rbegin(), waiting.rend(), [&](const Free& f) { return f.bytes == bytes; });
            if (cached != waiting.rend()) {
                void* block = cached->block;
                waiting.erase(std::next(cached).base());
                waiting_bytes -= bytes;
                return block;
            }
        }
    }
    void* block = ::operator new(bytes, alignment(bytes), std::nothrow);
    if (!block) throw std::bad_alloc();
#if defined(__linux__)
    if (bytes >= 2 * huge_page) madvise(block, bytes, MADV_HUGEPAGE);  // a page fault for 2 MiB, not for 4 KiB
#endif
    return block;
}

void release(void* block, std::size_t bytes) noexcept {
    bytes = rounded(bytes);
    Free free{block, bytes};
    if (bytes >= small && bytes <= cached_bytes) {
        std::unique_lock<std::mutex> held(lock, std::try_to_lock);
        try {
            if (held) {
                waiting.push_back(free);
                waiting_bytes += bytes;
                std::size_t old = 0;
                while (waiting_bytes > cached_bytes) waiting_bytes -= waiting[old].bytes, deallocate(waiting[old]), ++old;
                waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(old));
                return;
            }
        } catch (const std::bad_alloc&) {  // no room to remember it in
        }
    }
    deallocate(free);
}

}  // namespace unstride
