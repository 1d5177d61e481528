// SPDX-License-Identifier: LGPL-2.1-or-later
// What Python has been told to print but has not written yet.
#pragma once

namespace kim_torchml {

// Flushes Python's sys.stdout and sys.stderr if Python runs in this process. To be called by a thread that then ends
// the process, with or without the GIL. It gives up after a few seconds if the GIL cannot be had; errors are dropped.
void flush_python_streams();

}  // namespace kim_torchml
