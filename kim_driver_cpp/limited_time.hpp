// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <pthread.h>

#include <ctime>

namespace kim_torchml {

// Runs a function in a thread of its own, and waits for it for some seconds at most; then it is left behind. Python may
// end that thread in the middle, so the function must have nothing with a destructor. Without threads it is not run.
template <void (*function)()>
void run_for_at_most(int seconds) {
    const auto body = [](void* /*nothing*/) -> void* {
        function();
        return nullptr;
    };
    pthread_t thread;
    if (pthread_create(&thread, nullptr, body, nullptr) != 0) {
        return;
    }
    timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += seconds;
    pthread_timedjoin_np(thread, nullptr, &deadline);
}

}  // namespace kim_torchml
