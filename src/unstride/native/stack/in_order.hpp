// Sums of what tasks make side by side, added in the tasks' order, so that they do not depend on which is done first.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "runtime/memory.hpp"

namespace unstride {

// For tasks 0, 1, 2, ... that are begun in this order. A task that is some places ahead of the first unfinished one waits, so
// that no more than that many results wait to be added; the first one itself never does.
class InOrder {
   public:
    InOrder(Size numbers, Size places)
        : numbers_(numbers), places_(places), results_(numbers * places), sums_(numbers), ready_(new bool[places]()) {
        std::fill_n(sums_.data(), numbers, 0.0);
    }

    // Where a task writes its numbers.
    float* place(Size task) {
        std::unique_lock<std::mutex> held(lock_);
        added_.wait(held, [&] { return task < next_ + places_; });
        return results_.data() + task % places_ * numbers_;
    }

    // They are written.
    void done(Size task) {
        const std::lock_guard<std::mutex> held(lock_);
        ready_[task % places_] = true;
        for (; ready_[next_ % places_]; ++next_) {
            ready_[next_ % places_] = false;
            const float* const result = results_.data() + next_ % places_ * numbers_;
            for (Size i = 0; i < numbers_; ++i) sums_.data()[i] += result[i];
        }
        added_.notify_all();
    }

    double* sums() const { return sums_.data(); }

   private:
    const Size numbers_, places_;
    Size next_ = 0;
    Scratch<float> results_;
    Scratch<double> sums_;
    std::unique_ptr<bool[]> ready_;
    std::mutex lock_;
    std::condition_variable added_;
};

}  // namespace unstride
