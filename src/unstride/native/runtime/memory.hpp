// Large blocks of memory that are used again, rather than given back to the system between calls: for a new block the
// system must clear every page, which takes about half as long as computing what goes into it (64 -> 64 channels, kernel 3,
// stride 2, output of 8 MB: 5.1 ms with new pages every time, 4.0 ms without).
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

namespace unstride {

// Memory of at least this size, aligned for the widest vectors. Throws std::bad_alloc.
void* allocate(std::size_t bytes);

// Takes back what `allocate` returned, with the size asked for.
void release(void* block, std::size_t bytes) noexcept;

// Memory for one call. Small amounts are in the object itself: the system's allocator is slow with aligned blocks.
template <class T>
class Scratch {
public:
    explicit Scratch(std::int64_t count)
        : bytes_(count > 0 ? static_cast<std::size_t>(count) * sizeof(T) : 0),
          data_(bytes_ == 0 ? nullptr : bytes_ <= sizeof(own_) ? own_ : static_cast<T*>(allocate(bytes_))) {}
    ~Scratch() {
        if (bytes_ > sizeof(own_)) release(data_, bytes_);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    T* data() const { return data_; }

private:
    const std::size_t bytes_;
    T* const data_;
    alignas(64) T own_[1024 / sizeof(T)];
};

}  // namespace unstride
