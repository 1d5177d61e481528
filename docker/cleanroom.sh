#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Makes an empty Debian 12 in a folder (debootstrap), clones the project's HEAD into it, runs a command there, tells how
# long it took and how much was downloaded, and removes it. Needs root, and Debian or Ubuntu for debootstrap.
#
#   bash docker/cleanroom.sh [OPTIONS] -- COMMAND..     such as: bash docker/cleanroom.sh -- bash examples/run.sh
#   bash docker/cleanroom.sh --possible                 succeeds if a clean room can be made here; if not, says why
#   bash docker/cleanroom.sh --remove ROOM              removes a room that --keep has left
#
#   --user              as a user without rights; root has installed the system packages before
#   --image             as docker/Dockerfile: its steps make the room; COMMAND runs as in a container of the image
#   --check             with --image: docker/check.py, before COMMAND (which may be missing then)
#   --build-arg N=V     with --image: a value for an ARG of the Dockerfile
#   --working-tree      with what has not been committed
#   --keep              leaves the room there, and prints its folder
#   --room ROOM         in a room that --keep has left, as it is
#   --help
#
# The exit code is the command's. Nothing of the host is mounted in the room: what it needs (name servers, certificates,
# settings of apt and pip, wheels that pip is told to find on this machine) is copied, most of it into memory.
# Variables: KIM_TORCHML_CLEANROOM (where rooms are made, default TMPDIR or /tmp), KIM_TORCHML_CLEANROOM_CACHE (a folder
# to keep the empty Debian in, as a tar file), KIM_TORCHML_DEBIAN_MIRROR (default: the host's, or debootstrap's own).
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
marker=".kim-torchml-cleanroom"
megabytes_needed=8000

say() { printf '\033[1m[cleanroom]\033[0m %s\n' "$*"; }

fail() {
    printf '[cleanroom] error: %s\n' "$*" >&2
    exit 1
}

usage() { sed -n '/^# Makes an empty/,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

# Prints why a room cannot be made; nothing if it can.
obstacle() {
    local parent=${KIM_TORCHML_CLEANROOM:-${TMPDIR:-/tmp}} probe
    if [ "$(uname -s)" != Linux ] || [ "$(id -u)" != 0 ]; then
        echo "it takes root on Linux"
    elif ! command -v debootstrap >/dev/null && ! command -v apt-get >/dev/null; then
        echo "debootstrap is not installed"
    elif [ "$(df --output=avail -m "$parent" | tail -n 1)" -lt "$megabytes_needed" ]; then
        echo "$parent has less than $megabytes_needed MB free (KIM_TORCHML_CLEANROOM names another folder)"
    else
        probe=$(mktemp -d "$parent/kim-torchml-probe.XXXXXX")
        # shellcheck disable=SC2016 # for the shell in there
        "${private[@]}" sh -ec 'mount -t tmpfs none "$1"; mknod "$1/null" c 1 3; : >"$1/null"' sh "$probe" >/dev/null 2>&1 ||
            echo "this machine does not let root mount and make devices in a mount namespace of its own"
        rmdir "$probe"
    fi
}

# What is mounted in it nobody else sees, and it ends with all that it started.
private=(unshare --mount --propagation private --pid --fork --kill-child --mount-proc)

install_debootstrap() {
    command -v debootstrap >/dev/null && return
    say "installing debootstrap"
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends debootstrap debian-archive-keyring >/dev/null
}

# Fails unless the folder is one that this script has made, and nothing is mounted in it, in whatever namespace.
check_room() {
    local room=$1 mounted
    [ -f "$room/$marker" ] || fail "$room has no file $marker: it is not a clean room, and is left alone"
    [[ "$room" =~ ^/[A-Za-z0-9/._-]+$ && "$room" = "$(realpath "$room")" ]] ||
        fail "$room must be a plain absolute path, without links: it is left alone"
    ! mountpoint --quiet "$room" || fail "something is mounted on $room itself, which is left alone"
    mounted=$(findmnt --noheadings --raw --output TARGET | grep -F "$room/" || true)
    [ -z "$mounted" ] || fail "something is mounted in $room, which is left alone: $mounted"
    ! grep -qsF " $room/" /proc/[0-9]*/mountinfo || fail "a process still has mounts in $room, which is left alone"
}

remove_room() {
    check_room "$1"
    rm -rf --one-file-system -- "$1"
}

make_room() {
    local parent
    parent=$(realpath "${KIM_TORCHML_CLEANROOM:-${TMPDIR:-/tmp}}")
    room=$(mktemp -d "$parent/kim-torchml-cleanroom.XXXXXX")
    touch "$room/$marker"
    chmod 755 "$room"
}

# Ends what runs in the room: with its first process all others end.
# shellcheck disable=SC2329 # by finish
stop_child() {
    [ -n "$child" ] || return 0
    kill -KILL "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
    for _ in {1..50}; do
        grep -qsF " $room/" /proc/[0-9]*/mountinfo || break
        sleep 0.2
    done
}

# shellcheck disable=SC2329 # by a trap
finish() {
    local status=$?
    trap - EXIT
    stop_child
    if [ -z "$room" ]; then
        exit "$status"
    fi
    if [ -n "$keep" ]; then
        say "kept: $room (bash docker/cleanroom.sh --remove $room)"
    else
        remove_room "$room"
    fi
    exit "$status"
}

room="" child="" keep="" check="" mode=root working_tree="" reuse="" build_arguments=()
while [ $# -gt 0 ]; do
    case "$1" in
        --help) usage && exit ;;
        --possible)
            reason=$(obstacle)
            [ -z "$reason" ] && exit
            say "no clean room can be made here: $reason"
            exit 1
            ;;
        --remove) remove_room "${2:?--remove needs a folder}" && exit ;;
        --user) mode=user ;;
        --image) mode=image ;;
        --check) check=yes ;;
        --build-arg) build_arguments+=(--build-arg "${2:?--build-arg needs NAME=VALUE}") && shift ;;
        --working-tree) working_tree=yes ;;
        --keep) keep=yes ;;
        --room) reuse=${2:?--room needs a folder} && shift ;;
        --) shift && break ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift
done
[ $# -gt 0 ] || [ "$mode" = image ] || { usage >&2 && exit 2; }

reason=$(obstacle)
[ -z "$reason" ] || fail "no clean room can be made here: $reason"
install_debootstrap
started=$SECONDS
if [ -n "$reuse" ]; then
    check_room "$reuse"
    room=$reuse keep=yes
fi
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
[ -n "$reuse" ] || make_room
# In the background, as a trap waits for what runs in the foreground.
"${private[@]}" bash "$repository/docker/cleanroom_inside.sh" "$repository" "$room" "$mode" "${reuse:+reuse}" "$working_tree" \
    "$check" "${#build_arguments[@]}" "${build_arguments[@]}" "$@" <&0 &
child=$!
status=0
wait "$child" || status=$?
child=""
say "$((SECONDS - started)) s in all, exit code $status"
exit "$status"
