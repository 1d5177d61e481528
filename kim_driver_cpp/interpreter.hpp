// SPDX-License-Identifier: LGPL-2.1-or-later
// The Python interpreter: the host's where there is one, else our own.
#pragma once

namespace kim_torchml {

// Starts Python unless it runs already. Call before the GIL is first taken.
void ensure_interpreter(bool host_has_python);

// True where this driver started Python, so that process-wide settings are ours to make.
bool interpreter_is_ours();

// Held by every model, and while one is created. Starting Python leaves a thread state behind: it is given up while
// there are models, so that other threads can take the GIL, and taken back with the last one. Without that a host
// that finalises Python when it exits, as Debian's lmp does, crashes there.
class LiveModel {
  public:
    LiveModel();
    ~LiveModel();
    LiveModel(const LiveModel&) = delete;
    LiveModel& operator=(const LiveModel&) = delete;
};

}  // namespace kim_torchml
