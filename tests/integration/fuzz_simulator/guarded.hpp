// SPDX-License-Identifier: LGPL-2.1-or-later
// An array between two guards. AddressSanitizer stops instrumented code that touches a guard at once. Code that is not
// instrumented, such as numpy and torch, is found out afterwards by what it has written there.
#pragma once

#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

template <class Value>
class Guarded {
  public:
    explicit Guarded(const std::vector<Value>& values)
        : size_(values.size()), memory_(new Value[size_ + 2 * guard_size]) {
        std::fill_n(memory_.get(), size_ + 2 * guard_size, guard);
        std::copy(values.begin(), values.end(), data());
        poison();
    }
    ~Guarded() {
        if (memory_) {
            unpoison();
        }
    }
    Guarded(Guarded&&) noexcept = default;
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;

    Value* data() const {
        return memory_.get() + guard_size;
    }
    std::vector<Value> values() const {
        return {data(), data() + size_};
    }

    // Whether both guards hold what they held.
    bool is_intact() const {
        unpoison();
        const auto holds = [](Value value) { return value == guard; };
        const bool intact = std::all_of(memory_.get(), data(), holds) &&
                            std::all_of(data() + size_, data() + size_ + guard_size, holds);
        poison();
        return intact;
    }

  private:
    static constexpr std::size_t guard_size = 64;
    static constexpr Value guard = static_cast<Value>(-77777);

    void poison() const {
        ASAN_POISON_MEMORY_REGION(memory_.get(), guard_size * sizeof(Value));
        ASAN_POISON_MEMORY_REGION(data() + size_, guard_size * sizeof(Value));
    }
    void unpoison() const {
        ASAN_UNPOISON_MEMORY_REGION(memory_.get(), (size_ + 2 * guard_size) * sizeof(Value));
    }

    std::size_t size_;
    std::unique_ptr<Value[]> memory_;
};
