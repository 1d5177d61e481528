# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process that the driver runs in: its settings, MPI rank, device and threads, and what it says on stderr."""
