# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Functions for docker/cleanroom.sh and the scripts it runs: they tell whether and how this machine can make a room.

say() { printf '\033[1m[cleanroom]\033[0m %s\n' "$*"; }

fail() {
    printf '[cleanroom] error: %s\n' "$*" >&2
    exit 1
}

# A command in namespaces of its own: nobody else sees what it mounts, and when it ends, all that it started ends.
# shellcheck disable=SC2034 # used by the scripts that source this file
private=(unshare --mount --ipc --propagation private --pid --fork --kill-child --mount-proc)

rooms_folder() { echo "${KIM_TORCHML_CLEANROOM:-${TMPDIR:-/tmp}}"; }

# Succeeds for a path without blanks and the like. /proc/PID/mountinfo writes these in another way, so that such a path
# would not be found there.
is_plain() { [[ "$1" =~ ^/[A-Za-z0-9/._-]+$ ]]; }

# What --suite takes. Those that have been released have suites of updates beside them.
released_suites=(bookworm trixie)
suites=("${released_suites[@]}" forky testing sid unstable)

is_suite() { [[ " ${suites[*]} " = *" $1 "* ]]; }

# Succeeds for what Debian allows as the name of a package.
is_package() { [[ "$1" =~ ^[a-z0-9][a-z0-9+.-]+$ ]]; }

# Prints a suite's mirrors as lines of a sources.list: those that the host's apt uses for the host's own suite.
# shellcheck disable=SC2016 # apt's own format
host_sources() {
    local suite=$1 branches=""
    [[ " ${released_suites[*]} " != *" $suite "* ]] || branches="-updates|-security|"
    apt-get indextargets --format '$(ORIGIN) $(RELEASE) $(REPO_URI) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
        sed -nE "s/^Debian [a-z]+($branches) ([^ ]*) (.*)/deb \\2 $suite\\1 \\3/p" | sort -u
}

# Prints the mirror to take for a suite; nothing for debootstrap's own.
mirror() {
    local suite=$1 from_host
    from_host=$(host_sources "$suite" | awk -v suite="$suite" '$3 == suite { print $2; exit }')
    echo "${KIM_TORCHML_DEBIAN_MIRROR:-$from_host}"
}

# Prints the name of the tar file that keeps the empty Debian of a suite; nothing if none is to be kept.
cached_base() {
    echo "${KIM_TORCHML_CLEANROOM_CACHE:+$KIM_TORCHML_CLEANROOM_CACHE/debian-$1-$(dpkg --print-architecture).tar}"
}

# Prints the folder of the wheels that were compiled in rooms; nothing if none are to be kept.
kept_wheels() { echo "${KIM_TORCHML_CLEANROOM_CACHE:+$KIM_TORCHML_CLEANROOM_CACHE/wheels}"; }

# Succeeds if the address answers within seconds.
answers() {
    timeout 10 python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5).close()' "$1" \
        >/dev/null 2>&1
}

# Prints why nothing can be run in a room here; nothing if it can.
obstacle_to_running() {
    local tool
    if [ "$(uname -s)" != Linux ] || [ "$(id -u)" != 0 ]; then
        echo "it takes root on Linux"
        return
    fi
    for tool in unshare git python3; do
        command -v "$tool" >/dev/null || { echo "$tool is not installed" && return; }
    done
    # shellcheck disable=SC2016 # for the inner shell
    "${private[@]}" sh -ec 'mount -t tmpfs none "$1"; mknod "$1/null" c 1 3; : >"$1/null"; cd "$1"; pivot_root . .' \
        sh "$(dirname "${BASH_SOURCE[0]}")" >/dev/null 2>&1 ||
        echo "this machine does not let root mount, make devices and change the root in a mount namespace of its own"
}

# Prints why no room of a suite can be made here; nothing if it can.
obstacle_to_making() {
    local suite=$1 parent megabytes=8000 address
    parent=$(rooms_folder)
    if [ ! -d "$parent" ]; then
        echo "there is no folder $parent (KIM_TORCHML_CLEANROOM names the one to make rooms in)"
    elif ! is_plain "$(realpath "$parent")"; then
        echo "the path of $parent must be of plain letters and digits (KIM_TORCHML_CLEANROOM names another folder)"
    elif [ "$(df --output=avail -m "$parent" | tail -n 1)" -lt "$megabytes" ]; then
        echo "$parent has less than $megabytes MB free (KIM_TORCHML_CLEANROOM names another folder)"
    elif [ -f "$(cached_base "$suite")" ]; then
        return
    elif ! command -v debootstrap >/dev/null && ! command -v apt-get >/dev/null; then
        echo "debootstrap is not installed, and there is no apt-get to install it"
    else
        address=$(mirror "$suite")
        if [ -z "$address" ] && ! command -v debootstrap >/dev/null; then
            echo "debootstrap is not installed, and no Debian mirror is known (KIM_TORCHML_DEBIAN_MIRROR names one)"
            return
        fi
        [ -n "$address" ] || address=$(sed -n 's/^DEF_MIRROR="\(.*\)"/\1/p' "$(command -v debootstrap || echo /dev/null)")
        [ -z "$address" ] || answers "${address%/}/dists/$suite/InRelease" ||
            echo "the Debian mirror $address has no answer, or no $suite (KIM_TORCHML_DEBIAN_MIRROR names another)"
    fi
}
