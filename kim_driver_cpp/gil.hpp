// SPDX-License-Identifier: LGPL-2.1-or-later
// Acquiring and releasing the GIL, whoever started Python.
#pragma once

#include <Python.h>

namespace kim_torchml {

// Holds the GIL while this object lives, whether or not the thread held it before.
class GilLock {
  public:
    GilLock() : state_(PyGILState_Ensure()) {}
    ~GilLock() {
        PyGILState_Release(state_);
    }
    GilLock(const GilLock&) = delete;
    GilLock& operator=(const GilLock&) = delete;

  private:
    PyGILState_STATE state_;
};

// Releases the GIL while this object lives, if `release` is true.
class GilRelease {
  public:
    explicit GilRelease(bool release) : state_(release ? PyEval_SaveThread() : nullptr) {}
    ~GilRelease() {
        if (state_ != nullptr) {
            PyEval_RestoreThread(state_);
        }
    }
    GilRelease(const GilRelease&) = delete;
    GilRelease& operator=(const GilRelease&) = delete;

  private:
    PyThreadState* state_;
};

}  // namespace kim_torchml
