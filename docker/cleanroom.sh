#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Makes an empty Debian in a folder (debootstrap), clones the project's HEAD into it, runs a command there, tells how long
# it took and how much was downloaded, and removes it. Needs root, and Debian or Ubuntu for debootstrap.
#
#   bash docker/cleanroom.sh [OPTIONS] -- COMMAND..     such as: bash docker/cleanroom.sh -- bash examples/run.sh
#   bash docker/cleanroom.sh --possible                 succeeds if a clean room can be made here; if not, says why
#   bash docker/cleanroom.sh --remove ROOM              removes a room that --keep has left
#
#   --suite NAME        bookworm (Debian 12, the default), trixie (Debian 13), forky, testing, sid or unstable
#   --package NAME      a package of Debian that root installs before COMMAND, such as python3-torch; may be repeated
#   --user              as a user without rights; root has installed the system packages before
#   --image             as docker/Dockerfile: its steps make the room; COMMAND runs as in a container of the image
#   --check             with --image: docker/check.py, before COMMAND (which may be missing then)
#   --build-arg N=V     with --image: a value for an ARG of the Dockerfile
#   --working-tree      with what has not been committed
#   --keep              leaves the room there, and prints its folder
#   --room ROOM         in a room that --keep has left, as it is
#   --help
#
# The exit code is the command's. No file or folder of the host is mounted in the room: what it needs (name servers,
# certificates, settings of apt and pip, wheels that pip is told to find on this machine) is copied, most of it into
# memory. Its root is the room (pivot_root), its processes are its own, and root in there has no more rights than in a
# container; the host's kernel (/proc and /sys, which cannot be written), network and clock are what it shares.
# Variables: KIM_TORCHML_CLEANROOM (where rooms are made, default TMPDIR or /tmp), KIM_TORCHML_CLEANROOM_CACHE (a folder
# to keep the empty Debian of each suite in, as a tar file, and what pip has compiled in a room, for later ones),
# KIM_TORCHML_DEBIAN_MIRROR (default: the host's, or debootstrap's own), KIM_TORCHML_DEBIAN_SNAPSHOT=1 (the mirror is a
# snapshot: apt takes package lists whose time is over).
set -euo pipefail

docker=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=docker/cleanroom_machine.sh
source "$docker/cleanroom_machine.sh"
# shellcheck source=docker/cleanroom_remove.sh
source "$docker/cleanroom_remove.sh"

usage() { sed -n '/^# Makes an empty/,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

# Rooms that are made at the same time wait for each other here, because apt does not.
install_debootstrap() (
    flock 9
    [ ! -f "$(cached_base "$suite")" ] && ! command -v debootstrap >/dev/null || return 0
    say "installing debootstrap"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        debootstrap debian-archive-keyring; } >/dev/null || fail "apt could not install debootstrap (its reason is above)"
) 9<"$docker"

# The name is chosen before the folder is made, so that `finish` removes it whenever a signal comes.
make_room() {
    room=$(mktemp --dry-run "$(realpath "$(rooms_folder)")/kim-torchml-cleanroom.XXXXXX")
    # Other users of this machine must not reach the room's programs that run as root.
    mkdir --mode=700 "$room"
    touch "$room/$marker"
}

# Keeps the wheels that pip has compiled in the room: kimpy takes minutes. Nothing runs there any more.
keep_wheels() {
    local folder part
    folder=$(kept_wheels)
    [ -n "$folder" ] && [ "$status" = 0 ] || return 0
    mkdir -p "$folder"
    # A room that is made meanwhile must not find half a file.
    part=$(mktemp -d "$folder.XXXXXX")
    find "$room"/root/{home,root} -path "*/.cache/pip/wheels/*" -name "*.whl" -type f -exec cp -t "$part" {} + 2>/dev/null ||
        true
    find "$part" -name "*.whl" -exec mv -t "$folder" {} +
    rm -rf "$part"
}

# Ends what runs in the room: when its first process ends, all others end too.
# shellcheck disable=SC2329 # called by finish
stop_child() {
    # The process is $! rather than a variable: a signal may come before a variable is set.
    [ -n "$running" ] && [ -n "${!:-}" ] || return 0
    kill -KILL "$!" 2>/dev/null || true
    wait "$!" 2>/dev/null || true
    for _ in {1..50}; do
        [ -n "$(mounted "$room")" ] || break
        sleep 0.2
    done
}

# shellcheck disable=SC2329 # called by a trap
finish() {
    local status=$?
    trap - EXIT
    # Nothing but KILL ends this half way.
    trap '' HUP INT TERM
    stop_child
    if [ -z "$room" ] || [ ! -e "$room" ] || rmdir "$room" 2>/dev/null; then
        exit "$status"
    elif [ -n "$keep" ]; then
        say "kept: $room (bash docker/cleanroom.sh --remove $room)"
    elif ! (remove_room "$room"); then
        say "the room is still there: $room (its reason is above; then: bash docker/cleanroom.sh --remove $room)"
        [ "$status" != 0 ] || status=1
    fi
    exit "$status"
}

# Prints why what was asked for cannot be done here; nothing if it can.
obstacle() {
    local reason
    reason=$(obstacle_to_running)
    [ -n "$reason" ] || [ -n "$reuse" ] || reason=$(obstacle_to_making "$suite")
    echo "$reason"
}

room="" running="" keep="" check="" mode=root working_tree="" reuse="" only="" build_arguments=()
suite=bookworm packages=()
while [ $# -gt 0 ]; do
    case "$1" in
        --help)
            usage
            exit
            ;;
        --possible) only=possible ;;
        --remove)
            remove_room "${2:?--remove needs a folder}"
            exit
            ;;
        --suite)
            suite=${2:?--suite needs a name} && shift
            is_suite "$suite" || fail "--suite must be one of ${suites[*]}, got $suite"
            ;;
        --package)
            is_package "${2:?--package needs a name}" || fail "--package must be the name of a package of Debian, got $2"
            packages+=("$2") && shift
            ;;
        --user) mode=user ;;
        --image) mode=image ;;
        --check) check=yes ;;
        --build-arg) build_arguments+=(--build-arg "${2:?--build-arg needs NAME=VALUE}") && shift ;;
        --working-tree) working_tree=yes ;;
        --keep) keep=yes ;;
        --room) reuse=${2:?--room needs a folder} && shift ;;
        --) shift && break ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
    shift
done
if [ -z "$only" ] && [ $# = 0 ] && [ "$mode" != image ]; then
    usage >&2
    exit 2
fi
[ "$mode" != image ] || [ ${#packages[@]} = 0 ] || fail "--package cannot be used with --image: the Dockerfile's steps install all"

reason=$(obstacle)
if [ -n "$only" ]; then
    [ -n "$reason" ] || exit 0
    say "no clean room can be made here: $reason"
    exit 1
fi
[ -z "$reason" ] || fail "no clean room can be made here: $reason"
started=$SECONDS
if [ -n "$reuse" ]; then
    check_room "$reuse"
    chmod 700 "$reuse"
    room=$reuse keep=yes
else
    install_debootstrap
fi
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
[ -n "$reuse" ] || make_room
running=yes status=0
# The room runs in the background, because a trap would wait for the end of what runs in the foreground.
"${private[@]}" bash "$docker/cleanroom_outside.sh" "$room" "$suite" "$mode" "${reuse:+reuse}" "$working_tree" \
    "$check" "${packages[*]}" "${#build_arguments[@]}" "${build_arguments[@]}" "$@" <&0 &
wait "$!" || status=$?
running=""
keep_wheels
say "$((SECONDS - started)) s in all, exit code $status"
exit "$status"
