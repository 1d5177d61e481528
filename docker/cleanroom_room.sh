#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The part of docker/cleanroom.sh that runs in the room, as its first process. Of the host it sees /mnt/host alone.
# shellcheck disable=SC2329 # prepare_* and run_* are called by the name of the mode
set -euo pipefail

mode=$1 reuse=$2 check=$3 packages=$4
shift 4
host=/mnt/host
visitor=visitor

say() { printf '\033[1m[cleanroom]\033[0m %s\n' "$*"; }

# Prints the size of files and folders, in MB, without what is mounted there.
size() { { du -smxc --apparent-size "$@" 2>/dev/null || true; } | tail -n 1 | cut -f1; }

# Prints how much this machine, with all that runs on it, has received from the network, in MB.
received() { sed 's/:/ /' /proc/net/dev | awk '$1 != "lo" { sum += $2 } END { printf "%d", sum / 1048576 }'; }

report() {
    say "the room: $size_before MB before, $(size /) MB after; this machine has received" \
        "$(($(received) - received_before)) MB meanwhile (all that runs on it), and pip had wheels of" \
        "$(size "$host"/wheels*) MB from it"
}

name_servers() {
    cp --remove-destination "$host/resolv.conf" /etc/resolv.conf
    cp --remove-destination "$host/hosts" /etc/hosts
}

# Installs the packages of Debian that --package has named.
install_packages() {
    local log=/mnt/packages.log names
    [ -n "$packages" ] || return 0
    read -ra names <<<"$packages"
    say "installing $packages"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${names[@]}"; } \
        >"$log" 2>&1 || { tail -n 20 "$log" >&2 && exit 1; }
}

prepare_root() {
    [ -e /root/kim-torchml ] || cp -R "$host/context" /root/kim-torchml
}

run_as_root() { env --chdir=/root/kim-torchml "$@"; }

prepare_user() {
    local home="/home/$visitor"
    id "$visitor" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$visitor"
    [ -e "$home/kim-torchml" ] || cp -R "$host/context" "$home/kim-torchml"
    chown -R "$visitor:$visitor" "$home/kim-torchml"
    bash "$home/kim-torchml/docker/install.sh" system
}

run_as_user() {
    env --chdir="/home/$visitor/kim-torchml" HOME="/home/$visitor" USER="$visitor" \
        setpriv --reuid="$visitor" --regid="$visitor" --init-groups "$@"
}

layer() {
    local title=$1 before started=$SECONDS
    shift
    before=$(size /)
    printf '\n[cleanroom] RUN %s\n' "$title"
    "$@"
    printf '[cleanroom] layer: %d s, %+d MB\n' "$((SECONDS - started))" "$(($(size /) - before))"
}

# Runs the Dockerfile's steps, and prints the time and the size of each layer.
prepare_image() {
    [ -z "$reuse" ] || return 0
    # They run in a subshell: as after a build, none of their variables stays for what follows.
    (
        # shellcheck source=/dev/null
        source "$host/steps.sh"
    ) </dev/null
}

# Runs a command as in a container, as the user of this number, or as the image's user if there is no number.
run_container() {
    local user=$1
    shift
    bash "$host/run$user.sh" "$@"
}

check_image() {
    local checks=(python /opt/kim-torchml/docker/check.py) status=0
    say "what the image holds"
    run_container 0 "${checks[@]}" contents || status=1
    # A number without an account, as in docker run --user "$(id -u)"; the next container starts without its files.
    run_container 4321 "${checks[@]}" use || status=1
    find /home /workdir -xdev -uid 4321 -delete
    run_container "" "${checks[@]}" use || status=1
    return "$status"
}

run_as_image() {
    if [ -n "$check" ]; then
        check_image || return 1
    fi
    run_container "" "$@"
}

received_before=$(received)
size_before=$(size /)
say "the room holds $size_before MB; to run: $*"
name_servers
started=$SECONDS
install_packages
"prepare_$mode"
say "prepared in $((SECONDS - started)) s"
status=0
started=$SECONDS
"run_as_$mode" "$@" || status=$?
say "the command took $((SECONDS - started)) s"
report
exit "$status"
