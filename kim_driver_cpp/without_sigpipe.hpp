// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <signal.h>

#include <ctime>

namespace kim_torchml {

// Keeps SIGPIPE from ending the process where the reader of stderr is gone: simulators do not ignore it. It is this
// thread's matter, for as long as the object lives.
class WithoutSigpipe {
  public:
    WithoutSigpipe() {
        sigemptyset(&sigpipe_);
        sigaddset(&sigpipe_, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
    }
    ~WithoutSigpipe() {
        // One that was blocked before is its owner's.
        if (sigismember(&before_, SIGPIPE) == 0) {
            const timespec no_time{0, 0};
            sigtimedwait(&sigpipe_, nullptr, &no_time);
            pthread_sigmask(SIG_SETMASK, &before_, nullptr);
        }
    }
    WithoutSigpipe(const WithoutSigpipe&) = delete;
    WithoutSigpipe& operator=(const WithoutSigpipe&) = delete;

  private:
    sigset_t sigpipe_;
    sigset_t before_;
};

}  // namespace kim_torchml
