# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Functions for docker/cleanroom.sh: they tell a room from other folders, find what is mounted there, and remove it.

marker=".kim-torchml-cleanroom"

# Prints what is mounted on a folder, in it or from it, in any mount namespace; fails if that cannot be told.
mounted() {
    local folder=$1 device="" root="" target="" inner
    # The folder's file system is the one with the longest mount point above it, and the last one that was mounted there.
    read -r device root target < <(awk -v folder="$folder" '
        (folder == $5 || $5 == "/" || index(folder, $5 "/") == 1) && length($5) >= length(target) {
            device = $3; root = $4; target = $5
        }
        END { print device, root, target }' /proc/self/mountinfo 2>/dev/null) || true
    [ -n "$target" ] || return 1
    # The folder's path within its file system. Nothing else shows for a process whose root is the folder or part of it.
    inner="${root%/}/${folder#"${target%/}/"}"
    { cat /proc/[0-9]*/mountinfo 2>/dev/null || true; } |
        awk -v folder="$folder" -v device="$device" -v inner="$inner" '
            function within(path, top) { return path == top || index(path, top "/") == 1 }
            within($5, folder) { print $5 }
            $3 == device && within($4, inner) { print $4 " (in another place)" }' | sort -u
}

# Fails unless the folder is a room, and nothing is mounted there.
check_room() {
    local room=$1 found
    [ -f "$room/$marker" ] || fail "$room has no file $marker: it is not a clean room, and is left alone"
    is_plain "$room" && [ "$room" = "$(realpath "$room")" ] ||
        fail "$room must be a plain absolute path, without links: it is left alone"
    found=$(mounted "$room") || fail "/proc does not tell what is mounted in $room, which is left alone"
    [ -z "$found" ] || fail "something is mounted in $room, or runs there, so it is left alone: ${found//$'\n'/, }"
}

remove_room() {
    check_room "$1"
    rm -rf --one-file-system -- "$1" || fail "not all of $1 could be removed"
}
