# SPDX-License-Identifier: LGPL-2.1-or-later
"""A small room for docker/cleanroom.sh with copies of a few host programs; an empty Debian would take a minute."""

import re
import shutil
import subprocess
from pathlib import Path

CLEANROOM = Path(__file__).parents[2] / "docker" / "cleanroom.sh"
MARKER = ".kim-torchml-cleanroom"
PROGRAMS = "awk bash cat cp cut du env find ls mount mkdir perl readlink sed setpriv sleep tail touch".split()


def libraries(program: Path) -> set[Path]:
    """Return the libraries that a program is linked with, the loader among them."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    return {Path(path) for path in re.findall(r"(/\S+) \(0x", done.stdout)}


def make_small_room(room: Path) -> Path:
    """Return a folder that docker/cleanroom.sh takes for a room of its own, with a shell in it."""
    root = room / "root"
    for folder in ("dev", "etc", "mnt", "proc", "root", "sys", "usr/bin", "usr/lib", "usr/lib64"):
        (root / folder).mkdir(parents=True)
    for folder in ("bin", "lib", "lib64"):
        (root / folder).symlink_to(f"usr/{folder}")
    programs = [Path(path) for name in PROGRAMS if (path := shutil.which(name)) is not None]
    for program in programs:
        shutil.copy(program, root / "usr/bin" / program.name)
    for library in set().union(*map(libraries, programs)):
        target = root / library.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    (room / MARKER).touch()
    return room
