# SPDX-License-Identifier: LGPL-2.1-or-later
"""Make a clean room the root of this mount namespace, let go of the host's, and run a command there as root.

    python3 docker/cleanroom_enter.py ROOM COMMAND..

ROOM must be a mount point in a mount namespace of its own (docker/cleanroom_outside.sh). From a mere chroot, root could
get out, by /proc/1/root or a second chroot. The command gets no environment variable and no open file but the first
three, and root has no rights (capabilities) but the ones below.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
DETACH = 2  # MNT_DETACH of umount2
DROP = 24  # PR_CAPBSET_DROP of prctl
# These are the capabilities that Docker leaves to root in a container, without those to make devices and raw sockets.
# The numbers are Linux's.
RIGHTS = {
    "chown": 0,
    "dac_override": 1,
    "fowner": 3,
    "fsetid": 4,
    "kill": 5,
    "setgid": 6,
    "setuid": 7,
    "setpcap": 8,
    "net_bind_service": 10,
    "sys_chroot": 18,
    "audit_write": 29,
    "setfcap": 31,
}


def call(function: str, *arguments: object) -> None:
    """Call a function of the C library that sets errno."""
    if getattr(LIBC, function)(*arguments) != 0:
        error = ctypes.get_errno()
        sys.exit(f"[cleanroom] error: {function}{arguments}: {os.strerror(error)}")


def change_root(room: str) -> None:
    """Make the room the root folder, and unmount the old root, which pivot_root leaves mounted on top of it."""
    os.chdir(room)
    call("pivot_root", b".", b".")
    call("umount2", b".", DETACH)
    os.chdir("/")


def give_up_rights() -> None:
    """Drop all other capabilities, so that no program started from now on can get them, not even as root."""
    last = Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="utf-8")
    for number in range(int(last) + 1):
        if number not in RIGHTS.values():
            call("prctl", DROP, number, 0, 0, 0)


def main() -> None:
    """Enter the room, and become the command."""
    room, *command = sys.argv[1:]
    give_up_rights()
    # A new session has no terminal. Into the caller's a program could type commands for the host's shell (TIOCSTI).
    os.setsid()
    # A shell lets programs that it runs in the background ignore these signals.
    for name in (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(name, signal.SIG_DFL)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    # This comes last, because imports after it would read the room's files.
    change_root(room)
    os.execve(command[0], command, {})


if __name__ == "__main__":
    main()
