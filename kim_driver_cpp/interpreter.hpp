// SPDX-License-Identifier: LGPL-2.1-or-later
// The Python interpreter: the host's where there is one, else our own.
#pragma once

namespace kim_torchml {

// Starts Python unless it runs already. Call before the GIL is first taken.
void ensure_interpreter(bool host_has_python);

// True where this driver started Python, so that process-wide settings are ours to make.
bool interpreter_is_ours();

// Every model holds one of these, and so does the routine that creates a model. The thread that starts Python holds the
// GIL and a thread state. It gives both up while there are models, so that other threads can take the GIL, and takes
// them back when the last model is destroyed: otherwise a host that finalises Python when it exits, as Debian's lmp
// does, crashes there.
class LiveModel {
  public:
    LiveModel();
    ~LiveModel();
    LiveModel(const LiveModel&) = delete;
    LiveModel& operator=(const LiveModel&) = delete;
};

}  // namespace kim_torchml
